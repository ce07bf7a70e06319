"""One piece from a file, as a model reads it, and the way back to the piece's own key.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import math
import os
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.data.sequences import Skipped
from ostinato.data.side import Side
from ostinato.domains.music.bars import COMMON_TIME, Bars
from ostinato.domains.music.grid import fitting
from ostinato.domains.music.layout import shifted_values
from ostinato.domains.music.metre import side_of
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.folder import find
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.keys import key
from ostinato.domains.music.reading.notation import KERN, labels
from ostinato.domains.music.reading.readers import read_few
from ostinato.errors import MissingExtra, UserError, check_installed

EIGHTHS = AsFrames(frames_per_beat=2)
_FEW = 4  # processes of their own take longer to start than so few files to read


@dataclass(frozen=True)
class Piece:
    """A piece as frames, and where they come from.

    Arguments:
        name: of the file.
        frames: binary (T, 88) uint8, or (T, 176) with onsets.
        frames_per_beat: frames to a quarter note.
        semitones: how far the piece was moved up (down, if negative) from its own key.
        first_beat: where the first frame lies: quarter notes after the first full bar begins.
        bars: of the piece; without any time signature, they have four quarters.
        metre: whether the model that it is for reads its bars.
        look_back: whether it reads what sounded in the bars before.
        key: by which it was moved, and where that is from (`keys.key`); "" where it was not looked for.
    """

    name: str
    frames: np.ndarray
    frames_per_beat: int
    semitones: int = 0
    first_beat: float = 0.0
    bars: Bars = COMMON_TIME
    metre: bool = False
    look_back: bool = False
    key: str = ""

    def __len__(self) -> int:
        return len(self.frames)

    def in_own_key(self, frames: np.ndarray) -> np.ndarray:
        """Frames of what was composed, or surprisals, moved back; what leaves the keyboard is dropped.

        Example:
            >>> piece = Piece("a.mid", np.eye(88, dtype=np.uint8)[39:40], frames_per_beat=1, semitones=-2)
            >>> int(piece.in_own_key(piece.frames).argmax())
            41
        """
        # frames of a program's own may be on another keyboard: such a piece was not moved
        return frames if self.semitones == 0 else shifted_values(frames, -self.semitones)

    def side(self, frames: int | None = None) -> Side | None:
        """What a model reads of the bars; None for nothing.

        Args:
            frames: so many from the first; by default all.
        """
        if not self.metre:
            return None
        frames = len(self) if frames is None else frames
        grid, look_back = self.frames_per_beat, self.look_back
        return side_of(self.bars, self.time(0), frames, grid, look_back=look_back)

    def beat(self, frame: int) -> float:
        """Quarter notes from the beginning of the first full bar to a frame."""
        return self.first_beat + frame / self.frames_per_beat

    def time(self, frame: int) -> float:
        """Quarter notes from the piece's beginning to a frame: what `bars` counts in."""
        return self.bars.pickup + self.beat(frame)

    def place(self, frame: int, beats_per_bar: float | None = None) -> tuple[int, float]:
        """Number of a frame's bar, and the quarter note in it, from 1; bar 0 is an incomplete first one.

        Args:
            frame: of the piece.
            beats_per_bar: quarter notes in every bar; by default what the piece's own metres say.

        Example:
            >>> bars = Bars(metres=((0.0, 3, 4), (6.0, 2, 4)))
            >>> piece = Piece("waltz", np.eye(88, dtype=np.uint8), 1, bars=bars)
            >>> [piece.place(frame) for frame in (0, 2, 3, 6, 9)]
            [(1, 1.0), (1, 3.0), (2, 1.0), (3, 1.0), (4, 2.0)]
        """
        if beats_per_bar is None:
            bar, offset, _ = self.bars.place(self.time(frame))
            return bar, offset + 1
        # rounded, or a third of a beat could fall a hair before its bar
        beat = round(self.beat(frame), 6)
        bar = math.floor(beat / beats_per_bar)
        return bar + 1, round(beat - bar * beats_per_bar + 1, 6)


def read_piece(
    path: str | os.PathLike[str], how: AsFrames = EIGHTHS, *, semitones: int | None = None
) -> Piece:
    """The piece in a MIDI, MusicXML, ABC or kern file.

    Args:
        path: The file; its suffix, in any case, says what it holds. A tune of a collection is `book.abc#3`.
        how: The frames; where it leaves it open, notes are placed on the nearest frame.
        semitones: Move it by so many semitones, and not to C.

    Raises:
        UserError: the file is damaged, empty, not what its suffix says, or holds several pieces.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tune.abc"
        >>> _ = path.write_text("X:1\\nL:1/4\\nK:D\\nDEFD|A4|]\\n")
        >>> piece = read_piece(path, AsFrames(frames_per_beat=1))
        >>> len(piece), piece.semitones, piece.first_beat
        (8, -2, 0.0)
    """
    try:
        return piece_of(Path(path).name, one_of(Path(path), how), how, semitones)
    except MissingExtra:
        raise  # whatever the file is
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_pieces(
    paths: SequenceOf[Path], how: AsFrames = EIGHTHS, *, semitones: int | None = None, progress: bool = False
) -> tuple[list[tuple[str, Piece]], list[Skipped]]:
    """All pieces of files, collections and folders, each with its name; and what cannot be used, and why.

    Args:
        paths: of files, of folders for all that is in them, and of tunes of a collection (`book.abc#3`).
        how: the frames, as for `read_piece`.
        semitones: move every piece by so many semitones, and not to C.
        progress: whether to show a progress bar, on standard error, while music is read.
    """
    asked, skipped = _expanded(paths)
    files = [parted(path) for path in asked]
    if len(files) < _FEW:
        readings = [read_few(file, how.playing) for file, _ in files]
    else:
        readings = read_files([file for file, _ in files], how.playing, progress=progress)
    pieces: list[tuple[str, Piece]] = []
    for path, (file, wanted), reading in zip(asked, files, readings, strict=True):
        names = labels(reading)
        if wanted is not None and not reading.reason and wanted not in names:
            skipped.append(Skipped(str(path), f"expected a piece #{wanted}, found {_some(names)}"))
        faults = () if wanted in names else reading.faults
        skipped += [Skipped(str(file), reason) for reason in (reading.reason, *faults) if reason]
        for label, notes in zip(names, reading.pieces, strict=True):
            if wanted in (None, label):
                name = f"{file}#{label}" if len(names) > 1 else str(file)
                try:
                    pieces.append((name, piece_of(Path(name).name, notes, how, semitones)))
                except UserError as error:
                    skipped.append(Skipped(name, str(error)))
    return pieces, skipped


def _expanded(paths: SequenceOf[Path]) -> tuple[list[Path], list[Skipped]]:
    """The files of folders in their place."""
    found: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        try:
            files, unreadable = find(path)
        except UserError as error:
            skipped.append(Skipped(str(path), str(error)))
            continue
        found += files
        skipped += [Skipped(str(path / skip.path), skip.reason) for skip in unreadable]
    return found, skipped


def piece_of(name: str, notes: Notes, how: AsFrames, semitones: int | None) -> Piece:
    """Notes as a model reads them; the arguments are those of `read_piece`."""
    if how.pedal:
        notes = notes.pedalled()
    called = ""
    if semitones is None:
        semitones, called = key(notes, how.key) if how.transpose and len(notes) else (0, "")
    notes = notes.transposed(semitones)
    quantize, grid = how.quantize or "nearest", how.frames_per_beat
    if not isinstance(grid, int):
        grid = fitting([(notes.start, notes.end, notes.pitch, notes.pickup)])
    bars = Bars.of(notes)
    frames = notes.frames(grid, quantize=quantize, onsets=how.onsets)
    first_beat = notes.first_beat(grid, quantize) + notes.pickup - bars.pickup
    return Piece(
        name,
        frames,
        grid,
        semitones,
        first_beat,
        bars,
        how.metre,
        how.look_back,
        called,
    )


def one_of(path: Path, how: AsFrames) -> Notes:
    """The only piece of a file, or the one that its name says after a #."""
    file, label = parted(path)
    if file.suffix.lower() in KERN:
        check_installed("music", "music21")
    found = read_few(file, how.playing)
    if found.reason:
        raise UserError(found.reason)
    names = labels(found)
    if label is not None:
        if label not in names:
            raise UserError(f"expected a piece #{label} in {file.name}, found {_some(names)}")
        return found.pieces[names.index(label)]
    if len(names) > 1:
        raise UserError(f"expected one piece, found {len(names)}; say which: {path.name}#{names[0]}, ...")
    return found.pieces[0]


def parted(path: Path) -> tuple[Path, str | None]:
    """A path, and what stands after its # if it is a piece of a collection.

    Example:
        >>> parted(Path("no-such-book.abc#3"))
        (PosixPath('no-such-book.abc'), '3')
    """
    name, sign, label = path.name.rpartition("#")
    return (path.with_name(name), label) if sign and name and not path.exists() else (path, None)


def _some(names: list[str]) -> str:
    shown = ", ".join(f"#{name}" for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
