"""What a run's model made, for a report."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Something that a run's model made.

    Arguments:
        run: the run's name.
        seed: of the draw.
        command: what makes the like of it.
        text: of a language model; empty for music.
        notes: begin and end (frames) and MIDI pitch of every note.
        frames: length of the piece.
        frames_per_beat: frames to a quarter note.
        wav: its sound, a WAV file.
        seconds: its length.
    """

    run: str
    seed: int
    command: str
    text: str = ""
    notes: Sequence[tuple[int, int, int]] = ()
    frames: int = 0
    frames_per_beat: int = 1
    wav: bytes = b""
    seconds: float = 0.0
