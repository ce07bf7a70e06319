"""Lyapunov exponents of a recurrence: how fast nearby states part, or meet, along a run.

    Q_t R_t = J_t Q_{t-1},     lambda_i = sum_t log |R_t[i, i]| / (T dt)

J_t is the Jacobian of step t and Q_t R_t a QR decomposition, so that the columns of Q stay apart (Benettin,
Galgani, Giorgilli & Strelcyn 1980; for networks Engelken, Wolf & Abbott 2023, Phys. Rev. Research 5, 043044).
Few columns are carried by the scan's tangents; many, by the Jacobians of many steps at once. Logarithms are
natural ones.

Shapes: T time, N streams, I inputs, S numbers in a state, K exponents, C blocks.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ostinato.dynamics.jacobians import AT_ONCE, jacobians_at, pushed
from ostinato.dynamics.maps import StepMap, driven, step_map
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State

BLOCKS = 20


@dataclass(frozen=True)
class LyapunovExponents:
    """Exponents of each stream, the largest first, per unit of time.

    Attributes:
        exponents: lambda, (N, K): one run of each stream by itself.
        standard_error: of each of them, (N, K), from the means of C consecutive blocks of the run, taken as
            independent: right where a block is much longer than the dynamics remember. NaN with one block.
        running: the estimate after each block, (C, N, K): one that still moves has not converged.
        mean: of the streams, (K,).
        mean_standard_error: of that, (K,): between the streams where there are two or more, else that of the
            only one.
        steps: that were counted, without the burn-in.
    """

    exponents: Tensor
    standard_error: Tensor
    running: Tensor
    mean: Tensor
    mean_standard_error: Tensor
    steps: int

    @property
    def dimension(self) -> float:
        """Kaplan and Yorke's dimension, j + (lambda_1 + ... + lambda_j) / |lambda_{j+1}|, of the means.

        j is the largest number whose leading exponents have a sum of at least 0; NaN where that is K, so that
        more exponents are needed.
        """
        total, values = 0.0, self.mean.tolist()
        for place, value in enumerate(values):
            if total + value < 0:
                return place + total / abs(value)
            total += value
        return math.nan


@torch.no_grad()
def lyapunov_exponents(
    cell: Any,
    inputs: Tensor | None = None,
    number: int | None = None,
    *,
    hx: State | None = None,
    steps: int | None = None,
    burn_in: int | None = None,
    every: int = 1,
    dt: float = 1.0,
    generator: torch.Generator | None = None,
) -> LyapunovExponents:
    """The leading Lyapunov exponents, or all of them, along a run.

    Args:
        cell: a recurrence, or f(state, input); see `ostinato.dynamics.step_map`.
        inputs: (T, N, I), or tokens (T, N), in the cell's own layout; None for `steps` without.
        number: K, how many exponents; all S if None.
        hx: the states before the first step; those before a sequence if None.
        steps: T, where there are no inputs.
        burn_in: steps at the start that are not counted, in which state and directions settle; a tenth if
            None.
        every: steps between two QR decompositions. More is faster; but directions that part by 16 digits in
            between cannot be told apart: where all exponents are asked for, `every` times the difference of
            the first and the last should stay below 30.
        dt: time that a step takes.
        generator: of the first directions.

    Raises:
        UserError: the arguments do not go together, or the run left the finite numbers.

    Example:
        >>> def cat_map(state, input):  # Arnold's: log((3 + sqrt(5)) / 2) and its negative
        ...     x, y = state.unbind(-1)
        ...     return torch.stack([2 * x + y, x + y], -1) % 1
        >>> found = lyapunov_exponents(cat_map, hx=torch.tensor([0.1, 0.2], dtype=torch.float64), steps=200)
        >>> found.mean
        tensor([ 0.9624, -0.9624], dtype=torch.float64)
    """
    flow = step_map(cell)
    states, drive, steps = driven(flow, inputs, hx, steps)
    states = states.detach()
    size = states.shape[1]
    number = size if number is None else number
    burn_in = steps // 10 if burn_in is None else burn_in
    _check(number, size, burn_in, steps, every, dt)
    start = torch.empty(states.shape[0], size, number, dtype=states.dtype, device=states.device)
    directions = torch.linalg.qr(start.normal_(generator=generator)).Q
    pieces = [*pairwise([*range(0, burn_in, every), *range(burn_in, steps, every), steps])]
    # a Jacobian takes S tangents, which many steps share; carrying few directions takes few, step after step
    along = _by_jacobians if 2 * number >= size else _by_tangents
    growth: list[Tensor] = []
    for (begin, end), moved in zip(pieces, along(flow, states, drive, pieces), strict=True):
        image = moved(directions)
        if not bool(image.isfinite().all()):
            raise UserError(
                f"expected a run that stays finite, found one that does not by step {end}; begin elsewhere "
                f"({argument('hx')}), or make {argument('every')} smaller"
            )
        directions, upper = torch.linalg.qr(image)
        if begin >= burn_in:
            growth.append(upper.diagonal(dim1=1, dim2=2).abs().log())
    lengths = torch.tensor([end - begin for begin, end in pieces[-len(growth) :]], device=states.device)
    return _summary(torch.stack(growth), lengths, dt)


_Pieces = list[tuple[int, int]]
_Moves = Iterator[Callable[[Tensor], Tensor]]


def _by_tangents(flow: StepMap, states: Tensor, drive: Tensor | None, pieces: _Pieces) -> _Moves:
    """What each piece of the run makes of directions, by the tangents of the piece as one scan."""
    for begin, end in pieces:
        own = None if drive is None else drive[begin:end]

        def moved(directions: Tensor, own: Any = own, steps: int = end - begin) -> Tensor:
            nonlocal states
            states, made = pushed(flow, states, own, steps, directions)
            return made

        yield moved


def _by_jacobians(flow: StepMap, states: Tensor, drive: Tensor | None, pieces: _Pieces) -> _Moves:
    """The same by the Jacobians of many steps at once."""
    count, size = states.shape
    together = max(1, AT_ONCE // (count * size * size))
    first, matrices = 0, states.new_zeros(0, count, size, size)
    for begin, end in pieces:
        if end > first + matrices.shape[0]:
            first, until = begin, max(end, min(begin + together, pieces[-1][1]))
            own = None if drive is None else drive[begin:until]
            after = flow.trajectory(states, own, until - begin)
            points = torch.cat([states.unsqueeze(0), after[:-1]]).flatten(0, 1)
            matrices = jacobians_at(flow, points, None if own is None else own.flatten(0, 1))
            matrices = matrices.unflatten(0, after.shape[:2])
            ends = after
        states = ends[end - 1 - first]
        yield partial(_multiplied, matrices[begin - first : end - first])


def _multiplied(matrices: Tensor, directions: Tensor) -> Tensor:
    for matrix in matrices:
        directions = matrix @ directions
    return directions


def _check(number: int, size: int, burn_in: int, steps: int, every: int, dt: float) -> None:
    if not 1 <= number <= size:
        raise UserError(
            f"expected {argument('number')} from 1 to {size}, the numbers in a state, found {number}"
        )
    if not 0 <= burn_in < steps:
        raise UserError(f"expected {argument('burn_in')} from 0 to below {steps} steps, found {burn_in}")
    if every < 1:
        raise UserError(f"expected {argument('every')} of at least 1, found {every}")
    if not dt > 0:
        raise UserError(f"expected {argument('dt')} above 0, found {dt}")


def _summary(growth: Tensor, lengths: Tensor, dt: float) -> LyapunovExponents:
    """Of the growth (C', N, K) in pieces of so many steps."""
    blocks = min(BLOCKS, growth.shape[0])
    edges = torch.linspace(0, growth.shape[0], blocks + 1).round().long().tolist()
    spans = [slice(a, b) for a, b in pairwise(edges)]
    sums = torch.stack([growth[span].sum(0) for span in spans])
    times = torch.stack([lengths[span].sum() for span in spans]).to(growth.dtype).view(-1, 1, 1) * dt
    exponents = sums.sum(0) / times.sum()
    running = sums.cumsum(0) / times.cumsum(0)
    # of one block there is no spread
    error = (sums / times).std(0) / blocks**0.5 if blocks > 1 else torch.full_like(exponents, math.nan)
    streams = exponents.shape[0]
    between = exponents.std(0) / streams**0.5 if streams > 1 else error[0]
    return LyapunovExponents(exponents, error, running, exponents.mean(0), between, int(lengths.sum()))
