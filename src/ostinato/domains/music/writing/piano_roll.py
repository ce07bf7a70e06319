"""A file of music -> binary frames (T, 88), and frames -> MIDI file or picture.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import os
from pathlib import Path

import numpy as np

from ostinato.domains.music.bars import Bars, Metre
from ostinato.domains.music.notes import LOWEST, checked, seconds_per_frame, spans
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.notation import MIDI
from ostinato.domains.music.reading.pieces import read_piece
from ostinato.domains.music.writing import pictures
from ostinato.domains.music.writing.audio import to_wav
from ostinato.domains.music.writing.pictures import picture
from ostinato.errors import UserError, argument, check_installed, needs
from ostinato.files import atomic_write

__all__ = ["check_writable", "from_file", "picture", "spans", "to_midi", "to_wav", "write"]

_TICKS = 480
_VELOCITY = 80


def from_file(
    path: str | os.PathLike[str], *, frames_per_beat: int = 2, transpose: bool = True
) -> np.ndarray:
    """The frames (T, 88) uint8 of one piece in a MIDI, MusicXML, ABC or kern file.

    Frames follow the beat, whatever the tempo, from the first sounding frame to the last; drums are left out.

    Args:
        path: The file; its suffix, in any case, says what it holds.
        frames_per_beat: Frames to a quarter note.
        transpose: Move the piece to C major or C minor.

    Raises:
        UserError: the file is damaged, empty, not what its suffix says, or holds several pieces.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tune.abc"
        >>> _ = path.write_text("X:1\\nL:1/4\\nK:D\\nDEFD|A4|]\\n")
        >>> frames = from_file(path, frames_per_beat=1)
        >>> frames.shape, (frames.argmax(axis=1) + LOWEST).tolist()
        ((8, 88), [60, 62, 64, 60, 67, 67, 67, 67])
    """
    return read_piece(path, AsFrames(frames_per_beat, transpose)).frames


def to_midi(
    frames: np.ndarray,
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    tempo: float = 100.0,
    bars: Bars | None = None,
) -> None:
    """Write frames (T, 88) as a MIDI file; a note that sounds in successive frames is held.

    Args:
        frames: What is not zero sounds.
        path: The file; it is written in one step.
        frames_per_beat: Frames to a quarter note: at most 480.
        tempo: Quarter notes a minute.
        bars: The bars, whose time signature is written; a pickup is a shorter first bar, as MIDI has it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scale.mid"
        >>> to_midi(np.eye(88), path)
        >>> np.array_equal(from_file(path, transpose=False), np.eye(88))
        True
    """
    with needs("music"):
        import symusic

    frames = checked(frames)
    if not 1 <= frames_per_beat <= _TICKS:
        raise UserError(f"expected {argument('frames_per_beat')} of 1 to {_TICKS}, found {frames_per_beat}")
    seconds_per_frame(frames_per_beat, tempo)  # checks the tempo
    # a multiple of the frames, so that every frame begins on a tick
    ticks = frames_per_beat * -(-_TICKS // frames_per_beat)
    step = ticks // frames_per_beat
    midi = symusic.Score(ticks)
    midi.tempos.append(symusic.Tempo(time=0, qpm=tempo))
    for time, metre in _signatures(bars):
        signature = symusic.TimeSignature(round(time * ticks), metre.beats, metre.unit)
        midi.time_signatures.append(signature)
    track = symusic.Track(name="ostinato", program=0, is_drum=False)
    for begin, end, column in spans(frames):
        track.notes.append(
            symusic.Note(
                time=begin * step, duration=(end - begin) * step, pitch=column + LOWEST, velocity=_VELOCITY
            )
        )
    midi.tracks.append(track)
    # silence at the end lasts, too: without an event there, the file would end with its last note
    midi.markers.append(symusic.TextMeta(time=len(frames) * step, text="end"))
    atomic_write(path, midi.dumps_midi())


def _signatures(bars: Bars | None) -> list[tuple[float, Metre]]:
    """Time signatures by where they hold from; a pickup is a bar of its own, in the largest unit that it has.

    Example:
        >>> _signatures(Bars(0.5, ((0.0, 2, 4),)))
        [(0.0, Metre(beats=1, unit=8)), (0.5, Metre(beats=2, unit=4))]
    """
    if bars is None:
        return []
    found = [(one.begin, one.metre) for one in bars.stretches]
    if bars.pickup:
        units = (unit for unit in (1, 2, 4, 8, 16, 32, 64) if (bars.pickup * unit / 4) % 1 == 0)
        unit = next(units, 0)
        if unit:  # thirds of a beat have none
            found.insert(0, (0.0, Metre(round(bars.pickup * unit / 4), unit)))
    return found


def check_writable(path: str | os.PathLike[str]) -> None:
    """A UserError if `write` could not write there: better before long work than after it."""
    pictures.check_writable(path, (*MIDI[:2], ".wav", *pictures.FORMATS))
    if Path(path).suffix.lower() in MIDI:
        check_installed("music", "symusic")


def write(
    frames: np.ndarray,
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    tempo: float = 100.0,
    title: str = "",
    bars: Bars | None = None,
) -> None:
    """Write frames (T, 88) as what the file's ending says: MIDI, sound (.wav) or a picture.

    Args:
        frames: What is not zero sounds.
        path: The file; it is written in one step.
        frames_per_beat: Frames to a quarter note.
        tempo: Quarter notes a minute; a picture has none.
        title: Of a picture.
        bars: Whose time signature a MIDI file has.

    Example:
        >>> import tempfile
        >>> write(np.eye(88), Path(tempfile.mkdtemp()) / "scale.txt")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a file name ending in .mid, .midi, .wav, .png, .svg, .pdf, \
found scale.txt
    """
    check_writable(path)
    suffix = Path(path).suffix.lower()
    if suffix in MIDI:
        to_midi(frames, path, frames_per_beat=frames_per_beat, tempo=tempo, bars=bars)
    elif suffix == ".wav":
        to_wav(frames, path, frames_per_beat=frames_per_beat, tempo=tempo)
    else:
        picture(frames, path, frames_per_beat=frames_per_beat, title=title, max_frames=pictures.MOST_FRAMES)
