"""How much of a piece stands in the training pieces already: runs of its frames, in any key.

Shapes: T time, V = 88 notes.
"""

import itertools
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf

import numpy as np

from ostinato.data.sequences import Sequence
from ostinato.domains.domain import Overlap
from ostinato.domains.music.layout import roll
from ostinato.domains.music.reading.similarity import versions

# A run that is seen in training is this many frames long, and changes this often at least: one chord that is
# held, or silence, is in every piece.
RUN, CHANGES = 8, 3

# A piece counts as seen where so many of its frames lie in such runs.
SEEN = 0.25


def overlap(training: SequenceOf[Sequence], pieces: SequenceOf[Sequence]) -> Overlap:
    """Which pieces stand in the training pieces in part, in any key.

    A piece counts as seen where a quarter of its frames lie in runs that a training piece has too, or where
    its tune or harmony is a training piece's; see `similarity.versions`. Empty pieces are left out.

    Example:
        >>> notes = np.eye(88, dtype=np.uint8)
        >>> tune, other = notes[[40, 42, 44, 45, 47, 49, 51, 52, 52, 50]], notes[[40, 47, 41, 43] * 3]
        >>> found = overlap([Sequence("a", tune)], [Sequence("b", np.roll(tune, 5, 1)), Sequence("c", other)])
        >>> found.shares.tolist(), found.seen.tolist()
        ([1.0, 0.0], [True, False])
    """
    pieces = [piece for piece in pieces if len(piece) > 0]
    marked = seen_frames([roll(p.values) for p in training], [roll(p.values) for p in pieces])
    shares = np.array([frames.mean() for frames in marked])
    seen = shares >= SEEN
    pairs = versions([roll(piece.values) for piece in (*training, *pieces)])
    first = len(training)
    seen[[j - first for i, j, _ in pairs if i < first <= j]] = True
    how = (
        f"seen: a training song's tune or harmony in any key, or {SEEN:.0%} of the frames in runs of {RUN} "
        "that a training song has in any key"
    )
    return Overlap(shares, seen, how)


def seen_frames(
    training: Iterable[np.ndarray], pieces: SequenceOf[np.ndarray], *, run: int = RUN, changes: int = CHANGES
) -> list[np.ndarray]:
    """For each piece which of its frames lie in a run that a training piece has too, in any key, (T,) bool.

    Args:
        training: pieces (T, V) of zeros and ones.
        pieces: others.
        run: frames of a run.
        changes: frames of a run, at least, that differ from the frame before them.

    Example:
        >>> tune = np.eye(88, dtype=np.uint8)[[40, 42, 44, 45, 47, 49, 51, 52, 52, 50]]
        >>> higher = np.roll(tune, 5, axis=1)
        >>> [frames.astype(int).tolist() for frames in seen_frames([tune[:9]], [higher])]
        [[1, 1, 1, 1, 1, 1, 1, 1, 1, 0]]
    """
    known: set[tuple[int, ...]] = set()
    for piece in training:
        known.update(found for _, found in _runs(piece, run, changes))
    marked = []
    for piece in pieces:
        seen = np.zeros(len(piece), dtype=bool)
        for begin, found in _runs(piece, run, changes):
            if found in known:
                seen[begin : begin + run] = True
        marked.append(seen)
    return marked


def _runs(piece: np.ndarray, run: int, changes: int) -> Iterable[tuple[int, tuple[int, ...]]]:
    """Every run that changes often enough, with where it begins, moved so that its lowest note is note 0."""
    frames = [
        int.from_bytes(row.tobytes(), "little") for row in np.packbits(piece, axis=1, bitorder="little")
    ]
    changed = np.concatenate([[0], np.cumsum([a != b for a, b in itertools.pairwise(frames)])])
    for begin in range(len(frames) - run + 1):
        if changed[begin + run - 1] - changed[begin] < changes:
            continue
        window = frames[begin : begin + run]
        together = 0
        for frame in window:
            together |= frame
        if together:
            lowest = (together & -together).bit_length() - 1
            yield begin, tuple(frame >> lowest for frame in window)
