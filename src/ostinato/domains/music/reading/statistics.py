"""What is in a piano-roll data set, in numbers.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.music.layout import COLUMNS, LOWEST, roll
from ostinato.domains.music.rhythm import attacks


def of(sequences: SequenceOf[Sequence], frames_per_beat: int | None = None) -> dict[str, Any]:
    """Counts over the frames of some songs, pooled; all of it can be written as JSON.

    With a number of frames to a quarter note also how their notes begin, see `rhythm.attacks`.
    `polyphony_mean` is the mean number of notes in a frame, silent ones included, and `notes_per_frame[k]`
    the number of frames with k notes.

    Example:
        >>> of([Sequence("two notes", np.eye(88, dtype=np.uint8)[[39, 43]])])["pitch_range"]
        [60, 64]
    """
    songs = [song.values for song in sequences]
    frames = np.concatenate([np.zeros((0, COLUMNS), np.uint8), *(roll(song) for song in songs)])
    sounding = np.flatnonzero(frames.any(axis=0)) + LOWEST
    notes = frames.sum(axis=1)
    counts = np.bincount(notes, minlength=1)
    return {
        "songs": len(sequences),
        "frames": len(frames),
        "polyphony_mean": float(notes.mean()) if len(frames) else 0.0,
        "polyphony_max": int(notes.max(initial=0)),
        "silent_frames": float(counts[0] / len(frames)) if len(frames) else 0.0,
        "pitch_range": [int(sounding[0]), int(sounding[-1])] if len(sounding) else None,
        "notes_per_frame": counts.tolist(),
        **({} if frames_per_beat is None else {"attacks": attacks(songs, frames_per_beat)}),
    }


def describe(data: Splits) -> dict[str, Any]:
    """A whole data set: each split, all together, how it was made, and what was skipped.

    Example:
        >>> song = Sequence("one note", np.eye(88, dtype=np.uint8)[[39]])
        >>> describe(Splits("tiny", (song,), (), ()))["splits"]["train"]["frames"]
        1
    """
    beat = data.details["frames_per_beat"] if data.details.get("frames") == "onsets" else None
    return {
        "name": data.name,
        "kind": data.kind,
        "version": data.version,
        "details": data.details,
        "splits": {split: of(sequences, beat) for split, sequences in data.items()},
        "all": of([song for _, sequences in data.items() for song in sequences], beat),
        "listing": list(data.listing),
        "skipped": [{"path": skip.path, "reason": skip.reason} for skip in data.skipped],
    }
