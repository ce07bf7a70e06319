"""A file of music -> binary frames (T, 88), and frames -> MIDI file.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import os

import numpy as np

from ostinato.domains.music.notes import LOWEST, checked, seconds_per_frame, spans
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import read_piece
from ostinato.domains.music.writing.audio import to_wav
from ostinato.domains.music.writing.pictures import picture
from ostinato.errors import UserError, argument, needs
from ostinato.files import atomic_write

__all__ = ["from_file", "picture", "spans", "to_midi", "to_wav"]

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
