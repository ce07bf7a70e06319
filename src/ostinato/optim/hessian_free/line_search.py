"""From a direction to a step: the best iterate along the way, then backtracking until the loss has fallen.

Sources: Martens 2010, section 4.6 (walking back over iterates); Armijo 1966 (sufficient decrease).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ostinato.optim.hessian_free.conjugate_gradient import Candidate


@dataclass(frozen=True)
class Choice:
    """A candidate, the loss there, and how many losses were computed to find it."""

    candidate: Candidate
    loss: float
    evaluations: int


def best_candidate(candidates: Sequence[Candidate], loss_at: Callable[[Tensor], float]) -> Choice:
    """Walk back from the last candidate while an earlier one has the lower loss.

    Late iterates fit the quadratic model of a part of the data; an earlier one may serve the loss better.

    Example:
        >>> import torch
        >>> path = [Candidate(i, torch.tensor(float(i))) for i in (1, 2, 3, 4)]
        >>> best_candidate(path, lambda x: float((x - 2) ** 2)).candidate.iteration
        2
    """
    best = Choice(candidates[-1], _finite(loss_at(candidates[-1].value)), 1)
    for evaluations, candidate in enumerate(reversed(candidates[:-1]), start=2):
        loss = _finite(loss_at(candidate.value))
        # where the later one was not even finite, go on walking
        if loss > best.loss or (loss == best.loss and math.isfinite(loss)):
            return Choice(best.candidate, best.loss, evaluations)
        best = Choice(candidate, loss, evaluations)
    return best


@dataclass(frozen=True)
class LineSearch:
    """Where backtracking ended: the step size (0: no step lowers the loss enough) and the loss there."""

    step_size: float
    loss: float
    evaluations: int


def backtrack(
    loss_at: Callable[[float], float],
    before: float,
    slope: float,
    *,
    at_one: float | None = None,
    sufficient: float = 0.01,
    shrink: float = 0.8,
    max_evaluations: int = 60,
) -> LineSearch:
    """Shrink the step size s from 1 until f(s) <= f(0) + sufficient * s * f'(0).

    Args:
        loss_at: s -> f(s).
        before: f(0).
        slope: f'(0); where it is not negative there is no step to take.
        at_one: f(1), if it is known.
        sufficient: share of the decrease along the tangent that a step has to reach.
        shrink: what the step size is multiplied by.
        max_evaluations: losses to compute before giving up.

    Example:
        >>> backtrack(lambda s: (s - 0.5) ** 2, before=0.25, slope=-1.0, shrink=0.5)
        LineSearch(step_size=0.5, loss=0.0, evaluations=2)
    """
    if not slope < 0:
        return LineSearch(0.0, before, 0)
    size, evaluations = 1.0, 0
    while evaluations < max_evaluations:
        known = at_one is not None and size == 1.0
        loss = _finite(at_one if known and at_one is not None else loss_at(size))
        evaluations += not known
        if loss <= before + sufficient * size * slope:
            return LineSearch(size, loss, evaluations)
        size *= shrink
    return LineSearch(0.0, before, evaluations)


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf
