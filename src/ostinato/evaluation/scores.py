"""A score: a number with its unit, convention, count and standard error. Letters: S songs."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Score:
    """One number and everything needed to compare it with another.

    Arguments:
        value: the score.
        unit: what it is measured in.
        convention: how it was taken, in words; scores of different conventions are not comparable.
        count: frames (or songs) it is a mean over.
        songs: songs it was taken from.
        standard_error: over songs; NaN where there is only one.
        estimate: whether the value is itself an estimate, by sampling.
    """

    value: float
    unit: str
    convention: str
    count: int
    songs: int
    standard_error: float
    estimate: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; a standard error that does not exist is None."""
        return asdict(self) | {
            "standard_error": None if math.isnan(self.standard_error) else self.standard_error
        }


def pooled_score(
    sums: np.ndarray, counts: np.ndarray, unit: str, convention: str, *, estimate: bool = False
) -> Score:
    """Ratio of totals r = sum_s x_s / sum_s n_s, with its standard error over songs.

        se^2 = S / (S - 1) * sum_s (x_s - r n_s)^2 / (sum_s n_s)^2

    The linearised variance of a ratio with songs as clusters (Cochran, Sampling Techniques, 1977, 6.13):
    frames of one song depend on each other, songs do not.

    Args:
        sums: x, totals of each song, shape (S,).
        counts: n, what each total is divided by, shape (S,).
        unit: of the score.
        convention: of the score.
        estimate: whether the totals are estimates.

    Example:
        >>> score = pooled_score(np.array([-8.0, -4.0]), np.array([2.0, 1.0]), "nats/frame", "pooled")
        >>> score.value, score.standard_error, score.count
        (-4.0, 0.0, 3)
    """
    sums, counts = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    total, songs = counts.sum(), len(sums)
    value = sums.sum() / total if total > 0 else math.nan
    error = math.nan
    if songs > 1 and total > 0:
        error = math.sqrt(songs / (songs - 1) * np.square(sums - value * counts).sum()) / total
    return Score(float(value), unit, convention, round(float(total)), songs, float(error), estimate)
