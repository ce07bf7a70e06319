"""Sequences side by side, padded at their ends: what is computed for one is computed for many at once.

Shapes: T time, B sequences.
"""

from collections.abc import Iterator, Sequence

import numpy as np

# Enough to keep the kernels busy, and steps that fit into memory.
MOST, MOST_STEPS = 16, 8_000


def batches(lengths: Sequence[int], most: int = MOST, most_steps: int = MOST_STEPS) -> Iterator[list[int]]:
    """The numbers of sequences that go together: those of like lengths, so that little is padded.

    Args:
        lengths: of the sequences.
        most: sequences in a batch.
        most_steps: of a batch, padding included, unless it has one sequence.

    Example:
        >>> list(batches([5, 100, 6, 5], most=2))
        [[1, 2], [0, 3]]
        >>> list(batches([5, 100, 6, 5], most_steps=100))
        [[1], [2, 0, 3]]
    """
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        if group and (len(group) == most or lengths[group[0]] * (len(group) + 1) > most_steps):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def padded(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays (T, ...) as one (T, B, ...), the shorter ones with zeros at their ends.

    Example:
        >>> padded([np.array([1, 2]), np.array([3])]).tolist()
        [[1, 3], [2, 0]]
    """
    longest = max(len(one) for one in sequences)
    found = np.zeros((longest, len(sequences), *sequences[0].shape[1:]), sequences[0].dtype)
    for b, one in enumerate(sequences):
        found[: len(one), b] = one
    return found
