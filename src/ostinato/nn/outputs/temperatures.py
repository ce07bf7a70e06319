"""Where the temperatures of an annealing path lie: dense where chains lag behind the path.

Going along the path in finitely many steps costs work: forward chains lag behind it, backward ones lag on the
other side. What an interval takes away from the mean log-weights of both directions together,

    D_k = E_backward[log f_k+1 / f_k] - E_forward[log f_k+1 / f_k] >= 0,

is proportional to (beta_k+1 - beta_k)^2 / steps, with a friction that depends on where it is (Crooks 2007,
Measuring thermodynamic length; Sivak & Crooks 2012). The steps n of an interval that make the sum smallest
are in proportion to the root of its friction, n ~ sqrt(D n_before). It is measured, so that slow mixing at
some temperature brings more of them there, not only a large variance.

Shapes: K steps.
"""

import itertools
from collections.abc import Sequence

import numpy as np

# An RBM lags most near its own temperature: where nothing has been measured, 1 - beta shrinks as a cube.
_POWER = 3

# Intervals of the path in which the loss is measured.
_BINS = 25

# Steps that every interval keeps, as a share of the mean one's: a measured loss has noise, and can be zero.
_KEPT = 0.1


def cubic(steps: int) -> list[float]:
    """beta_0 = 0 ... beta_K = 1 before anything is known: beta_k = 1 - (1 - k / K)^3.

    Example:
        >>> [round(beta, 3) for beta in cubic(4)]
        [0.0, 0.578, 0.875, 0.984, 1.0]
    """
    return [1 - (1 - k / steps) ** _POWER for k in range(steps + 1)]


def respaced(betas: Sequence[float], losses: Sequence[float], steps: int) -> list[float]:
    """Temperatures for another number of steps, by what each step of a first run lost.

    Args:
        betas: those of the first run, K + 1 of them, rising from 0 to 1.
        losses: D of each of its steps, (K,).
        steps: how many steps the next run shall have.

    Example:
        >>> new = respaced([0, 0.25, 0.5, 0.75, 1], [0, 0, 0, 1], 8)
        >>> sum(beta > 0.75 for beta in new), new[0], new[-1]
        (8, 0.0, 1.0)
    """
    before = len(betas) - 1
    edges = np.unique(np.linspace(0, before, min(_BINS, before) + 1).round().astype(int))
    lost = np.array([max(0.0, float(np.sum(losses[a:z]))) for a, z in itertools.pairwise(edges)])
    wanted = np.sqrt(lost * np.diff(edges))
    wanted = wanted + _KEPT * wanted.mean() if wanted.any() else np.diff(edges).astype(float)
    reached = np.concatenate([[0.0], np.cumsum(wanted) / wanted.sum()])
    new = np.interp(np.arange(steps + 1) / steps, reached, np.asarray(betas, dtype=float)[edges])
    new[0], new[-1] = 0.0, 1.0
    return [float(beta) for beta in new]
