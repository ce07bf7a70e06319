"""One piece from a file, as a model reads it, and the way back to the piece's own key.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.domains.music.notes import shifted
from ostinato.domains.music.reading.notation import read
from ostinato.errors import MissingExtra, UserError


@dataclass(frozen=True)
class Piece:
    """A piece as frames, and where they come from.

    Arguments:
        name: of the file.
        frames: binary (T, 88) uint8.
        frames_per_beat: frames to a quarter note.
        semitones: how far the piece was moved up (down, if negative) from its own key.
        first_beat: where the first frame lies: quarter notes after the first full bar begins.
    """

    name: str
    frames: np.ndarray
    frames_per_beat: int
    semitones: int = 0
    first_beat: float = 0.0

    def __len__(self) -> int:
        return len(self.frames)

    def in_own_key(self, frames: np.ndarray) -> np.ndarray:
        """Frames of a continuation or a harmony, moved back; what leaves the keyboard is dropped.

        Example:
            >>> piece = Piece("a.mid", np.eye(88, dtype=np.uint8)[39:40], frames_per_beat=1, semitones=-2)
            >>> int(piece.in_own_key(piece.frames).argmax())
            41
        """
        # frames of a program's own may be on another keyboard: such a piece was not moved
        return frames if self.semitones == 0 else shifted(frames, -self.semitones)

    def beat(self, frame: int) -> float:
        """Quarter notes from the beginning of the first full bar to a frame."""
        return self.first_beat + frame / self.frames_per_beat


def read_piece(
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    transpose: bool = True,
    semitones: int | None = None,
) -> Piece:
    """The piece in a MIDI, MusicXML, ABC or kern file.

    Args:
        path: The file; its suffix, in any case, says what it holds.
        frames_per_beat: Frames to a quarter note.
        transpose: Move the piece to C major or C minor, as its notes tell the key.
        semitones: Move it by so many semitones instead.

    Raises:
        UserError: the file is damaged, empty, not what its suffix says, or holds several pieces.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tune.abc"
        >>> _ = path.write_text("X:1\\nL:1/4\\nK:D\\nDEFD|A4|]\\n")
        >>> piece = read_piece(path, frames_per_beat=1)
        >>> len(piece), piece.semitones, piece.first_beat
        (8, -2, 0.0)
    """
    try:
        pieces = read(Path(path))
        if len(pieces) > 1:
            raise UserError(
                f"expected one piece, found {len(pieces)}; a collection is read by reading.data_sets.load"
            )
        notes = pieces[0]
        if semitones is None:
            semitones = notes.to_c() if transpose and len(notes) else 0
        notes = notes.transposed(semitones)
        frames, first_beat = notes.frames(frames_per_beat), notes.first_beat(frames_per_beat)
        return Piece(Path(path).name, frames, frames_per_beat, semitones, first_beat)
    except MissingExtra:
        raise  # whatever the file is
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
