"""Linear conjugate gradients for A x = b, as Hessian-free optimisation runs them.

Sources: Hestenes & Stiefel 1952; Martens 2010, "Deep learning via Hessian-free optimization", sections 4.4
(when to stop) and 4.6 (candidates along the way). Shapes: P unknowns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
Status = Literal["converged", "little progress", "all iterations", "no curvature", "not finite"]


@dataclass(frozen=True)
class Candidate:
    """An iterate that was kept, and the iteration it was reached in."""

    iteration: int
    value: Tensor


@dataclass(frozen=True)
class Solution:
    """Where conjugate gradients ended.

    Arguments:
        value: x, shape (P,).
        status: why they ended: "converged" (the residual is small enough), "little progress" (Martens'
            rule), "all iterations", "no curvature" (a direction p with p^T A p <= 0: A is not positive
            definite, or nothing is left to solve), or "not finite" (a product was not; x is the iterate
            before).
        iterations: steps taken.
        products: times A was applied.
        objective: phi(x) = x^T A x / 2 - b^T x.
        residual: |b - A x|.
        candidates: iterates kept, the earliest first, x the last.
    """

    value: Tensor
    status: Status
    iterations: int
    products: int
    objective: float
    residual: float
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class RelativeProgress:
    """Martens' rule: stop at iteration i where the last k steps took too small a share of phi.

        i > k,   phi_i < 0   and   (phi_i - phi_{i-k}) / phi_i < epsilon k,   k = max(window, share * i)

    Args:
        epsilon: share of phi that a step has to earn on average.
        window: the smallest k.
        share: of the iterations so far to look back over.

    Example:
        >>> RelativeProgress()([0.0] + [-1.0] * 20)
        True
    """

    epsilon: float = 0.0005
    window: int = 10
    share: float = 0.1

    def __call__(self, objectives: list[float]) -> bool:
        """Whether to stop after these values phi_0 ... phi_i."""
        i = len(objectives) - 1
        k = max(self.window, math.floor(self.share * i))
        if i <= k or objectives[i] >= 0:
            return False
        return (objectives[i] - objectives[i - k]) / objectives[i] < self.epsilon * k


def conjugate_gradient(
    product: Product,
    right_side: Tensor,
    start: Tensor | None = None,
    *,
    preconditioner: Tensor | None = None,
    max_iterations: int = 250,
    tolerance: float = 0.0,
    stop: Callable[[list[float]], bool] | None = None,
    spacing: float = 1.3,
    leave_bad_start: bool = False,
    callback: Callable[[int, float], None] | None = None,
) -> Solution:
    """Minimise phi(x) = x^T A x / 2 - b^T x for a symmetric positive definite A.

        alpha = r^T z / p^T A p,   x += alpha p,   r -= alpha A p,   z = M r,   p = z + (r^T z)' / (r^T z) p

    Args:
        product: v -> A v.
        right_side: b, shape (P,).
        start: the first x; zero by default.
        preconditioner: the diagonal of M, an approximate inverse of A, shape (P,); 1 by default.
        max_iterations: steps at most.
        tolerance: it has converged where |b - A x| <= tolerance * |b|.
        stop: says from phi_0 ... phi_i, before every further step, whether to stop; see `RelativeProgress`.
        spacing: iterates ceil(spacing^j), j = 0, 1, ... are kept as candidates; every one where it is 1.
        leave_bad_start: start at zero after all where phi(start) > 0. Then phi < 0 from the first step on,
            and x is a direction of descent for a loss with gradient -b.
        callback: called with the iteration and phi after every step.

    Example:
        >>> a = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
        >>> solution = conjugate_gradient(lambda v: a @ v, torch.tensor([2.0, 5.0]), tolerance=1e-6)
        >>> solution.value, solution.status, solution.iterations
        (tensor([1., 1.]), 'converged', 2)
    """
    x, residual = torch.zeros_like(right_side), right_side.clone()
    products = int(start is not None)
    if start is not None:
        remaining = right_side - product(start)
        if not (leave_bad_start and _objective(start, remaining, right_side) > 0):
            x, residual = start.clone(), remaining
    z = residual if preconditioner is None else preconditioner * residual
    direction, rz = z.clone(), _dot(residual, z)
    threshold = tolerance * math.sqrt(_dot(right_side, right_side))
    objectives, candidates = [_objective(x, residual, right_side)], []
    keep, iteration, status = 1, 0, _status(residual, threshold)
    while status is None and iteration < max_iterations:
        if stop is not None and stop(objectives):
            status = "little progress"
            break
        image = product(direction)
        products += 1
        curvature = _dot(direction, image)
        if not math.isfinite(curvature) or curvature <= 0:
            status = "no curvature" if math.isfinite(curvature) else "not finite"
            break
        step = rz / curvature
        x.add_(direction, alpha=step)
        residual = torch.sub(residual, image, alpha=step)
        z = residual if preconditioner is None else preconditioner * residual
        previous, rz = rz, _dot(residual, z)
        direction.mul_(rz / previous).add_(z)
        iteration += 1
        objectives.append(_objective(x, residual, right_side))
        if iteration == keep:
            candidates.append(Candidate(iteration, x.clone()))
            keep = _next_kept(iteration, spacing)
        if callback is not None:
            callback(iteration, objectives[-1])
        status = _status(residual, threshold)
    if not candidates or candidates[-1].iteration != iteration:
        candidates.append(Candidate(iteration, x))
    norm = math.sqrt(_dot(residual, residual))
    return Solution(
        x, status or "all iterations", iteration, products, objectives[-1], norm, tuple(candidates)
    )


def _next_kept(iteration: int, spacing: float) -> int:
    """The first ceil(spacing^j) after this iteration."""
    if spacing <= 1:
        return iteration + 1
    j = math.floor(math.log(iteration) / math.log(spacing))
    while math.ceil(spacing**j) <= iteration:
        j += 1
    return math.ceil(spacing**j)


def _status(residual: Tensor, threshold: float) -> Status | None:
    squared = _dot(residual, residual)
    if not math.isfinite(squared):
        return "not finite"
    return "converged" if math.sqrt(squared) <= threshold else None


def _dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a, b))


def _objective(x: Tensor, residual: Tensor, right_side: Tensor) -> float:
    """phi(x), from A x = b - r without another product."""
    return -0.5 * (_dot(x, right_side) + _dot(x, residual))
