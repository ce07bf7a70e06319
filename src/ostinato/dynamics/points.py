"""Fixed points of a recurrence at a constant input: where they are, and whether they attract.

    F(h*, x) = h*       found where q(h) = |F(h, x) - h|^2 / 2 has the minimum 0

From many starts at once q is minimised, first by gradient descent (Adam), then by Levenberg's and Marquardt's
damped Newton steps, which converge quadratically near a fixed point:

    (A^T A + lambda I) d = -A^T (F(h) - h),   A = J(h) - I

A fixed point is stable where every eigenvalue of the Jacobian J(h*) lies within the unit circle. Minima of q
that are no fixed points (slow points) are handed back by themselves. Sussillo & Barak 2013, "Opening the
black box" (Neural Computation 25); Golub & Sussillo 2018 (JOSS 3, 1003).

Shapes: N starts, P fixed points, M starts that found none, I inputs, S numbers in a state.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.dynamics.jacobians import for_points, jacobians_at, reads_tokens
from ostinato.dynamics.maps import StepMap, step_map
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-14, 1e10


@dataclass(frozen=True)
class FixedPoints:
    """The fixed points that were found, the most stable one first.

    Attributes:
        states: h*, (P, S).
        residual: the largest |F(h*) - h*| over a state's numbers, (P,).
        jacobian: J(h*), (P, S, S).
        eigenvalues: of J(h*), complex (P, S), the largest absolute value first.
        stable: whether all of them lie within the unit circle, (P,).
        count: starts that led to the point, (P,).
        starts: N.
        unconverged: where the other starts ended, (M, S): slow points, or starts that needed more iterations.
        unconverged_residual: as `residual`, (M,).
    """

    states: Tensor
    residual: Tensor
    jacobian: Tensor
    eigenvalues: Tensor
    stable: Tensor
    count: Tensor
    starts: int
    unconverged: Tensor
    unconverged_residual: Tensor

    @property
    def converged(self) -> int:
        """How many starts led to a fixed point."""
        return self.starts - self.unconverged.shape[0]

    def __len__(self) -> int:
        return self.states.shape[0]

    def __str__(self) -> str:
        return (
            f"{len(self)} fixed points, {int(self.stable.sum())} stable; {self.converged} of {self.starts} "
            "starts converged"
        )


@torch.no_grad()
def fixed_points(
    cell: Any,
    inputs: Tensor | None = None,
    *,
    starts: State,
    tolerance: float | None = None,
    distance: float | None = None,
    descent: int = 50,
    rate: float = 0.02,
    iterations: int = 60,
) -> FixedPoints:
    """The fixed points that a search from many starts finds, each once.

    Args:
        cell: a recurrence, or f(state, input); see `ostinato.dynamics.step_map`. Its own precision is used.
        inputs: the constant input (I,), or a token (); None is no input, for a recurrence the input zero.
        starts: states (N, S), or as the cell returns them: visited ones with some noise are a good choice,
            see `ostinato.dynamics.sample_states`.
        tolerance: a start has converged where its residual is at most this times max(1, |h|); 1e-10 in
            float64 and 1e-6 in float32 if None.
        distance: converged states that differ by no more than this times max(1, |h|) in each number are one
            point; the square root of the tolerance if None.
        descent: steps of gradient descent, which bring starts near to a minimum of q.
        rate: of the first of these steps; it falls to 0 along a half cosine.
        iterations: at most as many damped Newton steps.

    Raises:
        UserError: the arguments do not go together, or the network is no map without chance.

    Example:
        >>> def bistable(state, input):  # 0 repels, +1 and -1 attract
        ...     return state + 0.5 * (state - state**3)
        >>> found = fixed_points(bistable, starts=torch.linspace(-2, 2, 21, dtype=torch.float64).view(-1, 1))
        >>> print(found)
        3 fixed points, 2 stable; 21 of 21 starts converged
        >>> found.eigenvalues.real.flatten()
        tensor([0.0000, 0.0000, 1.5000], dtype=torch.float64)
    """
    flow = step_map(cell)
    points = flow.flat(starts).detach().clone()
    double = points.dtype == torch.float64
    tolerance = (1e-10 if double else 1e-6) if tolerance is None else tolerance
    distance = math.sqrt(tolerance) if distance is None else distance
    _check(inputs, points, tolerance=tolerance, distance=distance)
    drive = for_points(inputs, points)
    points = _descended(flow, points, drive, descent, rate)
    points = _polished(flow, points, drive, iterations, tolerance)
    residual = _residual(flow, points, drive)
    good = residual <= tolerance * _scale(points)
    chosen, count = _unique(points[good], residual[good], distance)
    states = points[good][chosen]
    jacobian = jacobians_at(flow, states, None if drive is None else drive[: len(chosen)])
    eigenvalues = _eigenvalues(jacobian)
    order = eigenvalues[:, 0].abs().argsort() if len(chosen) else chosen
    return FixedPoints(
        states[order],
        residual[good][chosen][order],
        jacobian[order],
        eigenvalues[order],
        (eigenvalues.abs() < 1).all(1)[order],
        count[order],
        points.shape[0],
        points[~good],
        residual[~good],
    )


def _check(inputs: Tensor | None, points: Tensor, **positive: float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise UserError(f"expected {argument(name)} above 0, found {value}")
    if not points.is_floating_point() or not bool(points.isfinite().all()):
        raise UserError(f"expected finite real {argument('starts')}, found others")
    if points.shape[0] < 1:
        raise UserError(f"expected at least one state in {argument('starts')}, found none")
    if inputs is not None and inputs.dim() + reads_tokens(inputs) != 1:
        raise UserError(
            f"expected one constant input (I,), or one token (), in {argument('inputs')}, found "
            f"{tuple(inputs.shape)}; search once for each input"
        )


def _scale(points: Tensor) -> Tensor:
    """max(1, |h|) for each point."""
    return points.abs().amax(1).clamp(min=1)


def _residual(flow: StepMap, points: Tensor, drive: Tensor | None) -> Tensor:
    return (flow.step(points, drive) - points).abs().amax(1).nan_to_num(nan=math.inf)


def _descended(flow: StepMap, points: Tensor, drive: Tensor | None, steps: int, rate: float) -> Tensor:
    """The points after so many steps of Adam on q, each point's q by itself."""
    average, square = torch.zeros_like(points), torch.zeros_like(points)
    for step in range(1, steps + 1):
        with torch.enable_grad():
            here = points.detach().requires_grad_()
            q = 0.5 * (flow.step(here, drive) - here).square().sum()
            (gradient,) = torch.autograd.grad(q, here)
        average = torch.lerp(gradient, average, 0.9)
        square = torch.lerp(gradient.square(), square, 0.99)
        size = rate * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
        root = (square / (1 - 0.99**step)).sqrt() + torch.finfo(points.dtype).eps
        following = points - size * (average / (1 - 0.9**step)) / root
        # a start whose q is not finite stays where it was
        points = torch.where(following.isfinite(), following, points)
    return points


def _polished(
    flow: StepMap, points: Tensor, drive: Tensor | None, iterations: int, tolerance: float
) -> Tensor:
    """The points after damped Newton steps on q; a step that does not lessen q is not taken."""
    points = points.clone()
    damping = torch.full_like(points[:, 0], _FIRST_DAMPING)
    active = torch.arange(points.shape[0], device=points.device)
    for _ in range(iterations):
        here = points[active]
        own = None if drive is None else drive[active]
        force = flow.step(here, own) - here
        # one step more than the tolerance asks for costs little and gains half of the digits that are left
        rest = force.abs().amax(1) > 1e-2 * tolerance * _scale(here)
        rest &= damping[active] < _MOST_DAMPING
        active, here, force = active[rest], here[rest], force[rest]
        if not len(active):
            break
        own = None if drive is None else drive[active]
        tried = here + _newton_step(jacobians_at(flow, here, own), force, damping[active])
        better = (flow.step(tried, own) - tried).square().sum(1) < force.square().sum(1)
        points[active] = torch.where(better.unsqueeze(1), tried, here)
        factor = torch.where(better, 0.1, 10.0).to(damping.dtype)
        damping[active] = (damping[active] * factor).clamp(min=_LEAST_DAMPING)
    return points


def _newton_step(jacobian: Tensor, force: Tensor, damping: Tensor) -> Tensor:
    """d of (A^T A + lambda I) d = -A^T force; lambda is a share of A^T A's mean diagonal."""
    identity = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    a = jacobian - identity
    normal = a.mT @ a
    own = damping * normal.diagonal(dim1=1, dim2=2).mean(1).clamp(min=torch.finfo(a.dtype).tiny)
    step, _ = torch.linalg.solve_ex(normal + own.view(-1, 1, 1) * identity, -(a.mT @ force.unsqueeze(-1)))
    return step.squeeze(-1)


def _unique(points: Tensor, residual: Tensor, distance: float) -> tuple[Tensor, Tensor]:
    """Indices of the points of which each stands for all within the distance, and how many these are."""
    waiting = residual.argsort()
    chosen: list[Tensor] = []
    counts: list[int] = []
    while len(waiting):
        first = points[waiting[0]]
        same = (points[waiting] - first).abs().amax(1) <= distance * _scale(first.unsqueeze(0))
        chosen.append(waiting[0])
        counts.append(int(same.sum()))
        waiting = waiting[~same]
    if not chosen:
        return waiting, waiting.clone()
    return torch.stack(chosen), torch.tensor(counts, device=points.device)


def _eigenvalues(jacobian: Tensor) -> Tensor:
    """Complex eigenvalues (P, S), the largest absolute value first."""
    values = torch.linalg.eigvals(jacobian)
    return values.gather(1, values.abs().argsort(dim=1, descending=True))
