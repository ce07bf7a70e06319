"""Blocks of neighbouring sequences, where neighbours depend on each other: the sentences of a text.

Errors over sentences say too little there, as what one is about the next one is about as well. Errors over
blocks of them, long enough to hardly depend on each other, do not (Künsch 1989).

Shapes: S sequences, C blocks, K trainings.
"""

import math

import numpy as np

# Blocks are never fewer: an error over fewer is hardly one.
FEWEST_BLOCKS = 10


def block_length(residuals: np.ndarray) -> int:
    """How many neighbours make a block: the rule of Politis & White 2004 for circular blocks.

        b = (2 G^2 / D)^(1/3) S^(1/3),  G = sum_k w_k |k| R_k,  D = 4/3 (sum_k w_k R_k)^2

    with autocovariances R_k, and w the flat-top window that ends at twice the lag from which on they are no
    longer significant (as corrected by Patton, Politis & White 2009). Independent sequences come to 1 or 2.

    Args:
        residuals: of each sequence, in their order, (S,).

    Example:
        >>> block_length(np.random.default_rng(0).normal(size=2000)) <= 2
        True
    """
    x = np.asarray(residuals, dtype=np.float64)
    size = len(x)
    most = size // FEWEST_BLOCKS
    if most < 2 or not np.isfinite(x).all() or x.std() == 0:
        return 1
    x = x - x.mean()
    few = max(5, math.ceil(math.sqrt(math.log10(size))))
    last = min(math.ceil(math.sqrt(size)) + few, size - 1)
    covariance = np.array([x[: size - lag] @ x[lag:] / size for lag in range(last + 1)])
    significant = np.abs(covariance / covariance[0]) > 2 * math.sqrt(math.log10(size) / size)
    end = next((lag for lag in range(last - few + 1) if not significant[lag + 1 : lag + 1 + few].any()), None)
    if end is None:
        end = int(np.flatnonzero(significant)[-1])
    end = min(2 * max(end, 1), last)
    lags = np.arange(1, end + 1)
    window = np.clip(2 * (1 - lags / end), 0, 1)
    spectrum = covariance[0] + 2 * (window * covariance[1 : end + 1]).sum()
    slope = 2 * (window * lags * covariance[1 : end + 1]).sum()
    if spectrum <= 0:
        return 1
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * size ** (1 / 3)
    return int(min(max(round(length), 1), most))


def blocks_of(size: int, length: int) -> np.ndarray:
    """The block of each of S sequences in their order, (S,): as many blocks as fit, nearly equally long.

    Example:
        >>> blocks_of(7, 3)
        array([0, 0, 0, 0, 1, 1, 1])
    """
    return np.arange(size) * max(size // length, 1) // max(size, 1)


def in_blocks(values: np.ndarray, length: int) -> np.ndarray:
    """Sums over blocks of neighbours, (C,) or (K, C), of values (S,) or (K, S).

    Example:
        >>> in_blocks(np.array([1.0, 2.0, 3.0, 4.0]), 2)
        array([3., 7.])
    """
    values = np.asarray(values, dtype=np.float64)
    size = values.shape[-1]
    if size == 0:
        return values
    blocks = blocks_of(size, length)
    return np.add.reduceat(values, np.flatnonzero(np.diff(blocks, prepend=-1)), axis=-1)


def residuals(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """What each sequence differs by from the pooled mean: x_s - n_s (sum x / sum n), (S,).

    Sums that are not all finite have no mean, and are given back.

    Example:
        >>> residuals(np.array([-2.0, -4.0]), np.array([1.0, 1.0]))
        array([ 1., -1.])
    """
    sums, counts = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if not np.isfinite(sums).all():
        return sums
    total = counts.sum()
    return sums - counts * (sums.sum() / total if total > 0 else 0.0)
