"""Paired bootstrap: how sure is it that one model predicts the same songs or sentences better than another?

Shapes: S songs (or sentences), R resamples.
"""

import math
from dataclasses import dataclass

import numpy as np

# Resamples drawn at a time: bounds memory where there are many sentences.
_CHUNK = 200


@dataclass(frozen=True)
class Difference:
    """A pooled score of one system minus that of another, on the same songs.

    Arguments:
        value: the difference on the songs as they are; NaN where it cannot be told.
        standard_error: standard deviation over resamples.
        interval: the middle 95% of resamples, wider by the margins of what is estimated.
        p_value: two-sided: twice the smaller share of resamples on either side of zero, at least 1 / R; NaN
            where the difference cannot be told.
        resamples: R.
        songs: S.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    p_value: float
    resamples: int
    songs: int


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    counts: np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    margins: tuple[float, float] = (0.0, 0.0),
    told: bool = True,
) -> Difference:
    """Draw songs with replacement, both systems' totals together, and look at how their difference varies.

        d = sum_s (x_s - y_s) / sum_s n_s

    Songs, not frames, are drawn: frames of one song depend on each other (Efron & Tibshirani, An Introduction
    to the Bootstrap, 1993, 8.3; Koehn 2004 for the paired form).

    Args:
        first: x, totals of log-probability of each song under one system, (S,).
        second: y, under the other, (S,).
        counts: n, frames or tokens of each song, (S,).
        resamples: R.
        seed: of the draws.
        margins: by how much the difference may be smaller and larger than its value, where totals are
            estimated: interval and p-value are for the worst of these.
        told: whether there is a difference to speak of; without one there is only the interval.

    Raises:
        ValueError: shapes differ, or there are fewer than two songs.

    Example:
        >>> d = paired_bootstrap(np.array([-2.0, -3.0]), np.array([-3.0, -4.0]), np.array([1.0, 1.0]))
        >>> d.value, d.interval, d.p_value
        (1.0, (1.0, 1.0), 0.0001)
    """
    first, second, counts = (np.asarray(x, dtype=np.float64) for x in (first, second, counts))
    if not first.shape == second.shape == counts.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(
            "expected totals and counts of the same two or more songs, found shapes "
            f"{first.shape}, {second.shape}, {counts.shape}"
        )
    gaps = first - second
    drawn = _over_songs(gaps, counts, resamples, np.random.default_rng(seed))
    return _difference(float(gaps.sum() / counts.sum()), drawn, len(counts), margins, told=told)


def bootstrap_over_seeds(
    first: np.ndarray,
    second: np.ndarray,
    counts: np.ndarray,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    margins: tuple[float, float] = (0.0, 0.0),
    told: bool = True,
) -> Difference:
    """Is one way of training better than another, whatever the seed and whichever the songs?

        d = sum_s (mean_k x_ks - mean_l y_ls) / sum_s n_s + t_{K-1} sd_k / sqrt(K) - t_{L-1} sd_l / sqrt(L)

    Songs are drawn with replacement, for both together. Three seeds are too few to draw from: resampling them
    says sqrt(1 - 1/K) times too little, and knows nothing of how uncertain the spread is. So the error of
    their mean is drawn from Student's t with the standard deviation of the pooled score over the trainings.

    Args:
        first: x, totals of log-probability of each song under each training of one system, (K, S); K >= 2.
        second: y, under each of the other's, (L, S); L >= 2.
        counts: n, frames or tokens of each song, (S,).
        resamples: R.
        seed: of the draws.
        margins, told: as for `paired_bootstrap`.

    Raises:
        ValueError: shapes differ, or there are fewer than two songs, or seeds of either.

    Example:
        >>> x, y = np.array([[-2.0, -3.0]] * 3), np.array([[-3.0, -4.0]] * 2)
        >>> d = bootstrap_over_seeds(x, y, np.array([1.0, 1.0]))
        >>> d.value, d.interval
        (1.0, (1.0, 1.0))
    """
    first, second, counts = (np.asarray(x, dtype=np.float64) for x in (first, second, counts))
    shapes = (first.shape, second.shape, counts.shape)
    if [len(shape) for shape in shapes] != [2, 2, 1] or len({shape[-1] for shape in shapes}) > 1:
        raise ValueError(f"expected totals (K, S) and (L, S), and counts (S,), found {shapes}")
    if min(len(first), len(second), len(counts)) < 2:
        raise ValueError(f"expected two or more songs, and seeds of either system, found shapes {shapes}")
    gaps, rng = first.mean(0) - second.mean(0), np.random.default_rng(seed)
    drawn = _over_songs(gaps, counts, resamples, rng)
    for totals in (first, second):
        seeds, spread = len(totals), (totals.sum(1) / counts.sum()).std(ddof=1)
        drawn += rng.standard_t(seeds - 1, size=resamples) * spread / np.sqrt(seeds)
    return _difference(float(gaps.sum() / counts.sum()), drawn, len(counts), margins, told=told)


def _over_songs(gaps: np.ndarray, counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """The pooled difference of songs drawn with replacement, (R,)."""
    songs, drawn = len(counts), np.empty(resamples)
    for begin in range(0, resamples, _CHUNK):
        rows = rng.integers(songs, size=(min(_CHUNK, resamples - begin), songs))
        drawn[begin : begin + _CHUNK] = gaps[rows].sum(1) / counts[rows].sum(1)
    return drawn


def _difference(
    value: float,
    drawn: np.ndarray,
    songs: int,
    margins: tuple[float, float] = (0.0, 0.0),
    *,
    told: bool = True,
) -> Difference:
    lowest, highest = drawn - margins[0], drawn + margins[1]
    low, high = np.quantile(lowest, 0.025), np.quantile(highest, 0.975)
    resamples, tail = len(drawn), min((lowest <= 0).mean(), (highest >= 0).mean())
    return Difference(
        value=value if told else math.nan,
        standard_error=float(drawn.std(ddof=1)),
        interval=(float(low), float(high)),
        p_value=float(min(1.0, max(2 * tail, 1 / resamples))) if told else math.nan,
        resamples=resamples,
        songs=songs,
    )
