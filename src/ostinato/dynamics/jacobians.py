"""Jacobians of a recurrence's step, exact, by forward mode; and products of them without the matrices.

    J_t = dF(h_{t-1}, x_t) / dh_{t-1}      (S, S): the row is of the new state, the column of the old

`pushforward` gives J_T ... J_1 v, by the scan's own tangents, and `pullback` the transpose of it, by its
adjoint: neither forms a matrix. Pascanu, Mikolov & Bengio 2013 (arXiv 1211.5063) read from these products
why gradients vanish or explode.

Shapes: T time, N points or streams, I inputs, S numbers in a state, K vectors.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import jvp, vjp, vmap

from ostinato.dynamics.maps import StepMap, driven, step_map
from ostinato.errors import UserError, argument
from ostinato.nn.cells.state import State
from ostinato.nn.kernels.projection import TOKEN_TYPES

# About as many numbers of tangents are held at once: 64 MiB of float64.
AT_ONCE = 2**23


def jacobian(cell: Any, states: State, inputs: Tensor | None = None) -> Tensor:
    """The Jacobian of one step, at each of N points.

    Args:
        cell: a recurrence, or f(state, input); see `step_map`.
        states: where: (N, S), (S,), or a state as the cell returns it.
        inputs: of the step: (I,) for all points alike, or (N, I), or tokens () or (N,); None is no input,
            which for a recurrence is the input zero.

    Returns:
        (N, S, S), of the states' type; rows are the new state.

    Example:
        >>> from ostinato.nn import RNN
        >>> cell = RNN(3, 5, nonlinearity="identity", dtype=torch.float64)
        >>> torch.allclose(jacobian(cell, torch.zeros(5, dtype=torch.float64))[0], cell.weight_hh_l0)
        True
    """
    flow = step_map(cell)
    points = flow.flat(states).detach()
    return jacobians_at(flow, points, for_points(inputs, points))


def reads_tokens(inputs: Tensor) -> bool:
    """Whether inputs are token ids, which have no dimension I; bytes and booleans are frames."""
    return inputs.dtype in TOKEN_TYPES


def for_points(inputs: Tensor | None, points: Tensor) -> Tensor | None:
    """The input of one step, given once or for each of N points, for each of them: (N, I), or tokens (N,)."""
    if inputs is None:
        return None
    own = inputs.dim() + reads_tokens(inputs)
    if own == 1:
        return inputs.expand(points.shape[0], *inputs.shape)
    if own != 2 or inputs.shape[0] != points.shape[0]:
        raise UserError(
            f"expected {argument('inputs')} (I,) or (N, I), or tokens () or (N,), for N={points.shape[0]} "
            f"points, found {tuple(inputs.shape)} of {inputs.dtype}"
        )
    return inputs


def jacobians_at(flow: StepMap, points: Tensor, inputs: Tensor | None) -> Tensor:
    """The Jacobians (N, S, S) at points (N, S) with an input each, in pieces that fit into memory."""
    size = points.shape[1]
    together = max(1, AT_ONCE // max(1, size * size))
    pieces = [
        _jacobians(flow, points[i : i + together], None if inputs is None else inputs[i : i + together])
        for i in range(0, points.shape[0], together)
    ]
    return torch.cat(pieces) if pieces else points.new_zeros(0, size, size)


@torch.no_grad()
def _jacobians(flow: StepMap, points: Tensor, inputs: Tensor | None) -> Tensor:
    count, size = points.shape

    def column(direction: Tensor) -> Tensor:
        return jvp(lambda h: flow.step(h, inputs), (points,), (direction.expand(count, size),))[1]

    basis = torch.eye(size, dtype=points.dtype, device=points.device)
    width = max(1, AT_ONCE // max(1, count * size))
    # out_dims of -1 fails where a map does not depend on its state, and its columns are no batch
    columns = [vmap(column)(rows) for rows in basis.split(width)]
    return torch.cat(columns).movedim(0, -1)


def trajectory_jacobians(
    cell: Any, inputs: Tensor | None = None, hx: State | None = None, *, steps: int | None = None
) -> tuple[Tensor, Tensor]:
    """The Jacobian of every step along a run, all at once.

    Args:
        cell: a recurrence, or f(state, input); see `step_map`.
        inputs: (T, N, I), or tokens (T, N), in the cell's own layout; None for `steps` without.
        hx: the states before the first step; those before a sequence if None.
        steps: how many, where there are no inputs.

    Returns:
        Jacobians (T, N, S, S), and the states (T, N, S) after each step.

    Example:
        >>> from ostinato.nn import GRU
        >>> jacobians, states = trajectory_jacobians(GRU(3, 5), torch.randn(7, 2, 3))
        >>> jacobians.shape, states.shape
        (torch.Size([7, 2, 5, 5]), torch.Size([7, 2, 5]))
    """
    flow = step_map(cell)
    before, drive, steps = driven(flow, inputs, hx, steps)
    with torch.no_grad():
        states = flow.trajectory(before, drive, steps)
    points = torch.cat([before.detach().unsqueeze(0), states[:-1]]).flatten(0, 1)
    flat = jacobians_at(flow, points, None if drive is None else drive.flatten(0, 1))
    return flat.unflatten(0, states.shape[:2]), states


def jacobian_product(
    cell: Any, inputs: Tensor | None = None, hx: State | None = None, *, steps: int | None = None
) -> Tensor:
    """The product J_T ... J_1 of the Jacobians along a run: how the last state follows the first.

    Args:
        cell, inputs, hx, steps: as in `trajectory_jacobians`.

    Returns:
        (N, S, S).

    Example:
        >>> from ostinato.nn import RNN
        >>> cell = RNN(3, 5, nonlinearity="identity", dtype=torch.float64)
        >>> product = jacobian_product(cell, steps=4)
        >>> torch.allclose(product[0], torch.linalg.matrix_power(cell.weight_hh_l0, 4))
        True
    """
    flow = step_map(cell)
    states, drive, steps = driven(flow, inputs, hx, steps)
    basis = torch.eye(states.shape[1], dtype=states.dtype, device=states.device)
    vectors = basis.unsqueeze(0).expand(states.shape[0], -1, -1)
    return pushed(flow, states.detach(), drive, steps, vectors)[1]


def pushforward(
    cell: Any,
    vectors: Tensor,
    inputs: Tensor | None = None,
    hx: State | None = None,
    *,
    steps: int | None = None,
) -> Tensor:
    """J_T ... J_1 V: how a change of the state before a run shows after it.

    Args:
        cell, inputs, hx, steps: as in `trajectory_jacobians`.
        vectors: V, (N, S, K), or (N, S) for one vector each.

    Returns:
        In the shape of `vectors`.

    Example:
        >>> from ostinato.nn import LSTM
        >>> pushforward(LSTM(3, 5), torch.ones(2, 10), torch.randn(7, 2, 3)).shape
        torch.Size([2, 10])
    """
    return _applied(pushed, cell, vectors, inputs, hx, steps)


def pullback(
    cell: Any,
    vectors: Tensor,
    inputs: Tensor | None = None,
    hx: State | None = None,
    *,
    steps: int | None = None,
) -> Tensor:
    """(J_T ... J_1)^T V: what a gradient at the state after a run becomes at the one before it.

    Args:
        cell, inputs, hx, steps: as in `trajectory_jacobians`.
        vectors: V, (N, S, K), or (N, S) for one vector each.

    Returns:
        In the shape of `vectors`.

    Example:
        >>> from ostinato.nn import RNN
        >>> cell = RNN(3, 5, nonlinearity="identity", dtype=torch.float64)
        >>> v = torch.ones(1, 5, dtype=torch.float64)
        >>> torch.allclose(pullback(cell, v, steps=1), v @ cell.weight_hh_l0)
        True
    """
    return _applied(pulled, cell, vectors, inputs, hx, steps)


_Product = Callable[[StepMap, Tensor, Tensor | None, int, Tensor], tuple[Tensor, Tensor]]


def _applied(
    product: _Product, cell: Any, vectors: Tensor, inputs: Tensor | None, hx: State | None, steps: int | None
) -> Tensor:
    flow = step_map(cell)
    states, drive, steps = driven(flow, inputs, hx, steps)
    if vectors.dim() not in (2, 3) or vectors.shape[:2] != states.shape:
        raise UserError(
            f"expected {argument('vectors')} (N, S) or (N, S, K) with (N, S) = {tuple(states.shape)}, found "
            f"{tuple(vectors.shape)}"
        )
    single = vectors.dim() == 2
    made = product(flow, states.detach(), drive, steps, vectors.unsqueeze(-1) if single else vectors)[1]
    return made.squeeze(-1) if single else made


@torch.no_grad()
def pushed(
    flow: StepMap, states: Tensor, inputs: Tensor | None, steps: int, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """The states (N, S) after the steps, and J_T ... J_1 V for V (N, S, K), by tangents."""

    def one(direction: Tensor) -> tuple[Tensor, Tensor]:
        last, moved = jvp(lambda h: flow.last(h, inputs, steps), (states,), (direction,))[:2]
        return last, moved

    last, made = vmap(one, in_dims=-1)(vectors)
    return last[0], made.movedim(0, -1)


def pulled(
    flow: StepMap, states: Tensor, inputs: Tensor | None, steps: int, vectors: Tensor
) -> tuple[Tensor, Tensor]:
    """The states (N, S) after the steps, and (J_T ... J_1)^T V for V (N, S, K), by the adjoint."""
    with torch.enable_grad():
        last, back = vjp(lambda h: flow.last(h, inputs, steps), states)[:2]
    made = vmap(lambda v: back(v)[0], in_dims=-1)(vectors.detach()).movedim(0, -1)
    return last.detach(), made.detach()


def largest_singular_value(
    cell: Any,
    inputs: Tensor | None = None,
    hx: State | None = None,
    *,
    steps: int | None = None,
    iterations: int = 100,
    tolerance: float = 1e-8,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular value of J_T ... J_1, by power iteration through the tangent and the adjoint.

    It bounds how much a gradient that passes the whole run can grow. No matrix is formed: an iteration costs
    a pass forwards and one backwards over the run.

    Args:
        cell, inputs, hx, steps: as in `trajectory_jacobians`.
        iterations: at most as many.
        tolerance: it ends where no value changes by more than this share of itself.
        generator: of the first vector.

    Returns:
        The values (N,), and the singular vectors (N, S) before the run and after it: J v = sigma u. Where two
        singular values are nearly equal the value is right long before the vectors are.

    Example:
        >>> from ostinato.nn import RNN
        >>> cell = RNN(3, 5, nonlinearity="identity", dtype=torch.float64)
        >>> value, _, _ = largest_singular_value(cell, steps=1, iterations=2000, tolerance=1e-14)
        >>> torch.allclose(value[0], torch.linalg.matrix_norm(cell.weight_hh_l0, 2))
        True
    """
    if iterations < 1:
        raise UserError(f"expected {argument('iterations')} of at least 1, found {iterations}")
    flow = step_map(cell)
    states, drive, steps = driven(flow, inputs, hx, steps)
    states = states.detach()
    right = torch.empty_like(states).normal_(generator=generator)
    right = right / right.norm(dim=1, keepdim=True)
    value = states.new_zeros(states.shape[0])
    for iteration in range(iterations):
        left = pushed(flow, states, drive, steps, right.unsqueeze(-1))[1].squeeze(-1)
        before, value = value, left.norm(dim=1)
        left = left / value.clamp(min=torch.finfo(value.dtype).tiny).unsqueeze(1)
        if iteration == iterations - 1 or bool(((value - before).abs() <= tolerance * value).all()):
            break
        back = pulled(flow, states, drive, steps, left.unsqueeze(-1))[1].squeeze(-1)
        length = back.norm(dim=1, keepdim=True)
        right = torch.where(length > 0, back / length.clamp(min=torch.finfo(value.dtype).tiny), right)
    return value, right, left
