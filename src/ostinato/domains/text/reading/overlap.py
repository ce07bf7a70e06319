"""How much of a text stands in the training text already: runs of its tokens.

Shapes: N tokens, S sentences.
"""

import numpy as np

from ostinato.domains.domain import Overlap
from ostinato.domains.text.reading.vocabulary import END_ID

# A run that is seen in training has this many tokens, by unit.
RUNS = {"words": 8, "chars": 40, "subwords": 11, "bytes": 40}

# A sentence counts as seen where so many of its tokens lie in such runs.
SEEN = 0.5

_BASE = np.uint64(0x9E3779B97F4A7C15)


def seen_tokens(training: np.ndarray, tokens: np.ndarray, run: int) -> np.ndarray:
    """Which tokens lie in a run of so many that the training text has too, (N,) bool.

    Runs are told apart by a polynomial of 64 bits, so that two different ones are taken for the same with a
    probability of about N / 2^64 each.

    Args:
        training: ids.
        tokens: ids (N,).
        run: tokens of a run.

    Example:
        >>> seen_tokens(np.arange(100), np.array([7, 8, 9, 200, 50, 51]), 3).astype(int)
        array([1, 1, 1, 0, 0, 0])
    """
    seen = np.zeros(len(tokens), dtype=bool)
    if min(len(training), len(tokens)) < run:
        return seen
    begins = np.flatnonzero(np.isin(_digests(tokens, run), _digests(training, run)))
    for place in range(run):
        seen[begins + place] = True
    return seen


def _digests(tokens: np.ndarray, run: int) -> np.ndarray:
    """A number for each run of tokens."""
    values = np.asarray(tokens).astype(np.uint64) + np.uint64(1)
    values *= np.uint64(0xD1342543DE82EF95)  # spread: ids are small and many differ by one
    values ^= values >> np.uint64(29)
    count = len(values) - run + 1
    found = np.zeros(count, dtype=np.uint64)
    for place in range(run):
        found = found * _BASE + values[place : place + count]
    return found


def overlap(training: np.ndarray, tokens: np.ndarray, unit: str) -> Overlap:
    """Which sentences of a text stand in the training text, for the most part.

    Args:
        training: ids of the training text.
        tokens: ids (N,).
        unit: words or chars.

    Example:
        >>> training = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 0])
        >>> overlap(training, np.array([5, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]), "words").seen
        array([False,  True])
    """
    run = RUNS[unit]
    seen = seen_tokens(training, tokens, run)
    ends = np.asarray(tokens) == END_ID
    sentence = np.cumsum(ends) - ends
    shares = np.bincount(sentence, seen) / np.bincount(sentence)
    kind = "characters" if unit == "chars" else unit
    how = f"seen: {SEEN:.0%} of a sentence in runs of {run} {kind} that the training text has"
    return Overlap(shares, shares >= SEEN, how)
