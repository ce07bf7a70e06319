"""A file of music -> binary frames (T, 88), and frames -> MIDI file.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import os
from fractions import Fraction

import numpy as np

from ostinato.domains.music.notes import LOWEST, Notes, checked, seconds_per_frame, spans
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import read_piece
from ostinato.domains.music.writing.audio import to_wav
from ostinato.domains.music.writing.midi_file import Played, Voice, of_notes
from ostinato.domains.music.writing.pictures import picture
from ostinato.errors import UserError, argument
from ostinato.files import atomic_write

__all__ = ["from_file", "picture", "spans", "to_midi", "to_wav"]

# To a quarter note: finer than any score's notes.
MOST_FRAMES = 480


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
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "tune.abc"
        >>> _ = path.write_text("X:1\\nL:1/4\\nK:D\\nDEFD|A4|]\\n")
        >>> frames = from_file(path, frames_per_beat=1)
        >>> frames.shape, (frames.argmax(axis=1) + LOWEST).tolist()
        ((8, 88), [60, 62, 64, 60, 67, 67, 67, 67])
    """
    return read_piece(path, AsFrames(frames_per_beat, transpose)).frames


def to_midi(
    frames: np.ndarray, path: str | os.PathLike[str], *, frames_per_beat: int = 2, tempo: float = 100.0
) -> None:
    """Write frames (T, 88) as a MIDI file; a note that sounds in successive frames is held.

    Args:
        frames: What is not zero sounds.
        path: The file; it is written in one step.
        frames_per_beat: Frames to a quarter note: at most 480.
        tempo: Quarter notes a minute.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "scale.mid"
        >>> to_midi(np.eye(88), path)
        >>> np.array_equal(from_file(path, transpose=False), np.eye(88))
        True
    """
    frames = checked(frames)
    if not 1 <= frames_per_beat <= MOST_FRAMES:
        raise UserError(
            f"expected {argument('frames_per_beat')} of 1 to {MOST_FRAMES}, found {frames_per_beat}"
        )
    seconds_per_frame(frames_per_beat, tempo)  # checks the tempo
    played = [
        Played(Fraction(begin, frames_per_beat), Fraction(end, frames_per_beat), column + LOWEST)
        for begin, end, column in spans(frames)
    ]
    # silence at the end lasts, too
    nothing = Notes(np.zeros(0), np.zeros(0), np.zeros(0, dtype=int))
    end = Fraction(len(frames), frames_per_beat)
    atomic_write(path, of_notes(nothing, [Voice("ostinato", played)], end=end, tempo=tempo))
