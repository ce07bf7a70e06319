"""Training pieces in other keys, drawn anew for each epoch. Shapes: T time, V = 88 notes."""

from collections.abc import Sequence as SequenceOf

import numpy as np

from ostinato.data.sequences import Sequence
from ostinato.domains.music.notes import shifted

# Six semitones down to five up: every key once.
SHIFTS = range(-6, 6)


def in_random_keys(songs: SequenceOf[Sequence], generator: np.random.Generator) -> list[Sequence]:
    """Each song moved by a number of semitones, uniform over -6 to 5 as far as no note leaves the keyboard.

    Example:
        >>> song = Sequence("low", np.eye(88, dtype=np.uint8)[[0, 4, 7]])
        >>> moved = in_random_keys([song] * 50, np.random.default_rng(0))
        >>> sorted({int(one.values[0].argmax()) for one in moved})
        [0, 1, 2, 3, 4, 5]
    """
    return [
        Sequence(song.name, shifted(song.values, int(generator.choice(fitting(song.values)))), song.side)
        for song in songs
    ]


def fitting(frames: np.ndarray) -> list[int]:
    """The shifts of `SHIFTS` that keep all notes of frames (T, V); 0 is always one.

    Example:
        >>> fitting(np.eye(88, dtype=np.uint8)[[3, 85]])
        [-3, -2, -1, 0, 1, 2]
    """
    notes = int((frames != 0).sum())
    return [shift for shift in SHIFTS if int((shifted(frames, shift) != 0).sum()) == notes]
