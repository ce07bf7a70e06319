"""Which pieces are versions of one another: the same tune, or the same harmony, in any key.

A tune is the highest sounding note of each quarter-note frame, repeated notes taken once. Pieces are compared
by the runs of SIX melodic intervals (in semitones) that their tunes contain, a harmony by its runs of FOUR
chords (as pitch classes above the first chord's bass): neither depends on the key. With A and B the two
pieces' sets of runs, the likeness is |A and B| / min(|A|, |B|), so a part of a piece is like the whole.

On the chorales the likeness of tunes falls in two heaps with few pairs between: 66,000 pairs below 0.3, 300
above 0.45. The bounds err on the side of joining: a pair joined by mistake only moves to one split, a pair
missed lets a model be tested on a tune that it was trained on.
"""

from collections.abc import Hashable, Sequence

import numpy as np

from ostinato.errors import needs

TUNE_RUN, TUNE_BOUND = 6, 1 / 3
HARMONY_RUN, HARMONY_BOUND = 4, 0.25

# fewer runs in common than this are chance, however short the pieces
_LEAST_SHARED = 3


def versions(pieces: Sequence[np.ndarray]) -> list[tuple[int, int, float]]:
    """Pairs (i, j, likeness) of pieces (T, 88), in quarter-note frames, with the same tune or harmony.

    Example:
        >>> notes = np.array([0, 2, 4, 5, 7, 9, 7, 5, 4, 2, 0])
        >>> tune, higher, other = (np.eye(88)[30 + n] for n in (notes, notes + 5, notes[::-1] // 2))
        >>> versions([tune, other, higher])
        [(0, 2, 1.0)]
    """
    tunes = _alike([runs(tune(frames), TUNE_RUN) for frames in pieces], TUNE_BOUND)
    harmonies = _alike([chord_runs(frames) for frames in pieces], HARMONY_BOUND)
    best = {pair: max(tunes.get(pair, 0.0), harmonies.get(pair, 0.0)) for pair in tunes | harmonies}
    return [(i, j, likeness) for (i, j), likeness in sorted(best.items())]


def tune(frames: np.ndarray) -> list[int]:
    """The melodic intervals of the highest notes, in semitones; a repeated note is one note.

    Example:
        >>> tune(np.eye(88)[[30, 30, 34, 32]])
        [4, -2]
    """
    highest = [int(np.flatnonzero(frame)[-1]) for frame in frames if frame.any()]
    return [int(step) for step in np.diff(highest) if step]


def chord_runs(frames: np.ndarray) -> set[Hashable]:
    """Runs of four successive chords that change, each as its pitch classes above the first one's bass."""
    chords = [np.flatnonzero(frame) for frame in frames if frame.any()]
    chords = [chord for k, chord in enumerate(chords) if k == 0 or not np.array_equal(chord, chords[k - 1])]
    return {
        tuple(frozenset(((chord - run[0][0]) % 12).tolist()) for chord in run)
        for run in (chords[k : k + HARMONY_RUN] for k in range(len(chords) - HARMONY_RUN + 1))
    }


def runs(sequence: Sequence[Hashable], length: int) -> set[Hashable]:
    """All runs of `length` successive elements.

    Example:
        >>> sorted(runs("abcb", 2))
        [('a', 'b'), ('b', 'c'), ('c', 'b')]
    """
    return {tuple(sequence[k : k + length]) for k in range(len(sequence) - length + 1)}


def _alike(sets: Sequence[set[Hashable]], bound: float) -> dict[tuple[int, int], float]:
    """Pairs whose likeness reaches the bound; all pairs at once, as one sparse matrix product."""
    with needs("music"):
        from scipy.sparse import csr_array

    number: dict[Hashable, int] = {}
    rows = [(k, number.setdefault(run, len(number))) for k, found in enumerate(sets) for run in found]
    row, column = np.array(rows, dtype=int).reshape(-1, 2).T
    has = csr_array((np.ones(len(row)), (row, column)), shape=(len(sets), max(1, len(number))))
    shared = (has @ has.T).tocoo()
    size = np.array([len(found) for found in sets])
    likeness = shared.data / np.minimum(size[shared.row], size[shared.col])
    keep = (shared.row < shared.col) & (likeness >= bound) & (shared.data >= _LEAST_SHARED)
    pairs = zip(shared.row[keep].tolist(), shared.col[keep].tolist(), strict=True)
    return dict(zip(pairs, likeness[keep].tolist(), strict=True))
