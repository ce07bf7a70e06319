"""The cells with gates, in PyTorch: what one step of each is, and the three scans of any of them.

    forward    (h_t, c_t) = step(x_t, u_t, hp_t, cp_t),  u_t = hp_t W^T + b
    adjoint    g_t = G_t + what J_{t+1}^T and W^T make of g_{t+1},  deltas_t = J_t^T g_t
    tangent    s_t = J_t (sp_t, sp_t W^T) + force_t

with hp, cp and sp zero where a sequence starts, x the drive and J_t the derivatives of a step: a few
coefficients for every unit. A cell is a class of numbers and pointwise functions (`Gru`, `Lstm`); all of them
are differentiable. A cell without c has c of shape (..., 0).

Shapes: T time, B streams, H hidden; of a cell K gates that the state before contributes to, D drives, S
numbers saved, C coefficients and R deltas for each unit. The adjoint's deltas are of u and x, in the cell's
own order.
"""

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments

Tensors = Sequence[Tensor]
Pair = tuple[Tensor, Tensor]


class Cell(Protocol):
    """The pointwise part of a cell; every tensor holds some units, those of gates and so on come as lists."""

    code: ClassVar[int]  # in `native/gated/arguments.hpp`
    names: ClassVar[tuple[str, ...]]  # of the first numbers saved: gates, and "new", the candidate
    gates: ClassVar[int]
    drives: ClassVar[int]
    saved: ClassVar[int]
    coefficients: ClassVar[int]
    deltas: ClassVar[int]
    delta_of_gate: ClassVar[tuple[int, ...]]  # which of the deltas is that of each gate's u
    has_cell: ClassVar[bool]

    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """h and c after the step, and what is saved."""

    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """The coefficients J, from what was saved and the state before."""

    def deltas_of(self, by: Tensors, h: Tensor, c: Tensor) -> list[Tensor]:
        """J^T g, for g of h and of c."""

    def total(self, by: Tensors, h: Tensor, c: Tensor) -> Tensor:
        """g of c, with what h passes on."""

    def forces_of(self, by: Tensors, deltas: Tensors) -> Pair:
        """`deltas_of`, transposed: from numbers like the deltas to numbers like h and c."""

    def apply(self, by: Tensors, u: Tensors, h: Tensor, c: Tensor, after: Tensor) -> Pair:
        """Changes of h and c, from those of u, of h and c before, and of c after (which h follows)."""

    def drive_forces(self, by: Tensors, x: Tensors) -> Pair:
        """Changes of h and c from those of x; of h without what follows c."""

    def by_coefficient(
        self, total: Pair, deltas: Tensors, h: Tensor, c: Tensor, after: Tensor
    ) -> list[Tensor]:
        """The gradient of each coefficient, of which both `deltas_of` and `apply` are linear functions."""

    def drive_deltas(self, deltas: Tensor) -> Tensor:
        """Of deltas (..., R, H) those of x, (..., D, H)."""

    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """What gradients of what was saved contribute to those of u, x and c."""

    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """`saved_adjoint`, transposed."""

    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """How h (without what follows c) and c change with the leak."""


def _rest(leak: Tensor | None, x: Tensor) -> Tensor:
    return x if leak is None else x * (1 - leak)


def _kept(leak: Tensor | None, gate: Tensor) -> Tensor:
    return gate if leak is None else gate + leak * (1 - gate)


class Gru:
    """See `ostinato.nn.GRU` for the equations; saved are r, z, n and u_n."""

    code: ClassVar[int] = 0
    names: ClassVar[tuple[str, ...]] = ("reset", "update", "new")
    gates: ClassVar[int] = 3
    drives: ClassVar[int] = 3
    saved: ClassVar[int] = 4
    coefficients: ClassVar[int] = 5
    deltas: ClassVar[int] = 4
    delta_of_gate: ClassVar[tuple[int, ...]] = (1, 2, 0)
    has_cell: ClassVar[bool] = False

    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """See `Cell`."""
        r, z = torch.sigmoid(x[0] + u[0]), torch.sigmoid(x[1] + u[1])
        n = torch.tanh(torch.addcmul(x[2], r, u[2]))
        return torch.lerp(n, h, _kept(leak, z)), c, [r, z, n, u[2]]

    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; h by u_r, u_z, u_n, x_n and h before."""
        r, z, n, u = saved
        by_n = _rest(leak, (1 - z) * (1 - n * n))
        by_z = _rest(leak, (h - n) * z * (1 - z))
        return [by_n * u * r * (1 - r), by_z, by_n * r, by_n, _kept(leak, z)]

    def deltas_of(self, by: Tensors, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; of u_n, x_r, x_z and x_n."""
        return [by[2] * h, by[0] * h, by[1] * h, by[3] * h]

    def total(self, by: Tensors, h: Tensor, c: Tensor) -> Tensor:
        """See `Cell`."""
        return c

    def forces_of(self, by: Tensors, deltas: Tensors) -> Pair:
        """See `Cell`."""
        h = by[2] * deltas[0] + by[0] * deltas[1] + by[1] * deltas[2] + by[3] * deltas[3]
        return h, _nothing(h)

    def apply(self, by: Tensors, u: Tensors, h: Tensor, c: Tensor, after: Tensor) -> Pair:
        """See `Cell`."""
        return by[0] * u[0] + by[1] * u[1] + by[2] * u[2] + by[4] * h, after

    def drive_forces(self, by: Tensors, x: Tensors) -> Pair:
        """See `Cell`."""
        h = by[0] * x[0] + by[1] * x[1] + by[3] * x[2]
        return h, _nothing(h)

    def by_coefficient(
        self, total: Pair, deltas: Tensors, h: Tensor, c: Tensor, after: Tensor
    ) -> list[Tensor]:
        """See `Cell`."""
        return [total[0] * x for x in (deltas[1], deltas[2], deltas[0], deltas[3], h)]

    def drive_deltas(self, deltas: Tensor) -> Tensor:
        """See `Cell`."""
        return deltas[..., 1:, :]

    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """See `Cell`."""
        r, z, n, u = saved
        to_n = grads[2] * (1 - n * n)
        to_r = (grads[0] + to_n * u) * r * (1 - r)
        to_z = grads[1] * z * (1 - z)
        return [to_r, to_z, grads[3] + to_n * r], [to_r, to_z, to_n], _nothing(r)

    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """See `Cell`."""
        r, z, n, before = saved
        of_r = r * (1 - r) * (u[0] + x[0])
        of_n = (1 - n * n) * (x[2] + of_r * before + r * u[2])
        return [of_r, z * (1 - z) * (u[1] + x[1]), of_n, u[2]]

    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """See `Cell`."""
        return (1 - saved[1]) * (h - saved[2]), c


class Lstm:
    """See `ostinato.nn.LSTM` for the equations; saved are i, f, g, o and tanh c."""

    code: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("input", "forget", "new", "output")
    gates: ClassVar[int] = 4
    drives: ClassVar[int] = 4
    saved: ClassVar[int] = 5
    coefficients: ClassVar[int] = 6
    deltas: ClassVar[int] = 4
    delta_of_gate: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    has_cell: ClassVar[bool] = True

    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """See `Cell`."""
        i, f, o = (torch.sigmoid(x[k] + u[k]) for k in (0, 1, 3))
        g = torch.tanh(x[2] + u[2])
        step = f * c + i * g
        c = step if leak is None else torch.lerp(step, c, leak)
        squashed = torch.tanh(c)
        return o * squashed, c, [i, f, g, o, squashed]

    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; c by u_i, u_f and u_g, h by u_o and c, c by c before."""
        i, f, g, o, squashed = saved
        by_c = (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g))
        return [
            *(_rest(leak, x) for x in by_c),
            squashed * o * (1 - o),
            o * (1 - squashed * squashed),
            _kept(leak, f),
        ]

    def deltas_of(self, by: Tensors, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; of x, which are those of u."""
        return [by[0] * c, by[1] * c, by[2] * c, by[3] * h]

    def total(self, by: Tensors, h: Tensor, c: Tensor) -> Tensor:
        """See `Cell`."""
        return torch.addcmul(c, by[4], h)

    def forces_of(self, by: Tensors, deltas: Tensors) -> Pair:
        """See `Cell`."""
        return by[3] * deltas[3], by[0] * deltas[0] + by[1] * deltas[1] + by[2] * deltas[2]

    def apply(self, by: Tensors, u: Tensors, h: Tensor, c: Tensor, after: Tensor) -> Pair:
        """See `Cell`."""
        return by[4] * after + by[3] * u[3], by[5] * c + by[0] * u[0] + by[1] * u[1] + by[2] * u[2]

    def drive_forces(self, by: Tensors, x: Tensors) -> Pair:
        """See `Cell`."""
        return self.forces_of(by, x)

    def by_coefficient(
        self, total: Pair, deltas: Tensors, h: Tensor, c: Tensor, after: Tensor
    ) -> list[Tensor]:
        """See `Cell`."""
        of_h, of_c = total
        return [*(of_c * x for x in deltas[:3]), of_h * deltas[3], of_h * after, of_c * c]

    def drive_deltas(self, deltas: Tensor) -> Tensor:
        """See `Cell`."""
        return deltas

    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """See `Cell`."""
        i, f, g, o, squashed = saved
        back = [grads[k] * y * (1 - y) for k, y in ((0, i), (1, f), (3, o))]
        to = [back[0], back[1], grads[2] * (1 - g * g), back[2]]
        return to, to, grads[4] * (1 - squashed * squashed)

    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """See `Cell`."""
        i, f, g, o, squashed = saved
        slopes = (i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o))
        of_gates = [slope * (a + b) for slope, a, b in zip(slopes, u, x, strict=True)]
        return [*of_gates, (1 - squashed * squashed) * c]

    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """See `Cell`."""
        i, f, g, *_ = saved
        return torch.zeros_like(h), c - (f * c + i * g)


def _nothing(like: Tensor) -> Tensor:
    """c of a cell that has none."""
    return like.new_zeros(*like.shape[:-1], 0)


CELLS: dict[str, Cell] = {"gru": Gru(), "lstm": Lstm()}


def _without(state: Tensor, starts: Tensor | None, t: int) -> Tensor:
    return state if starts is None else state.masked_fill(starts[t].unsqueeze(-1), 0)


def forward(
    drive: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    starts: Tensor | None,
    name: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """States h (T, B, H), cells c (T, B, H) and what is saved (T, B, S, H).

    Args:
        drive: x, (T, B, D H).
        weight: W, (K H, H).
        bias: b, (K H,), or None.
        leak: a, (H,), or None.
        h0, c0: the state before the first step, each (B, H).
        starts: boolean (T, B), or None.
        name: of the cell, "gru" or "lstm".
    """
    cell = CELLS[name]
    arguments.of_gated(drive, weight, bias, leak, h0, c0, starts, cell)
    h, c, transposed = h0, c0, weight.T
    made: list[tuple[Tensor, ...]] = []
    for t, x in enumerate(drive.unbind(0)):
        h, c = _without(h, starts, t), _without(c, starts, t)
        u = h @ transposed if bias is None else torch.addmm(bias, h, transposed)
        h, c, saved = cell.step(x.chunk(cell.drives, -1), u.chunk(cell.gates, -1), leak, h, c)
        made.append((h, c, torch.stack(saved, 1)))
    if not made:
        return drive.new_empty(0, *h0.shape), drive.new_empty(0, *c0.shape), _blocks(drive, h0, cell.saved)
    states, cells, kept = (torch.stack(x) for x in zip(*made, strict=True))
    return states, cells, kept


def _blocks(drive: Tensor, h0: Tensor, count: int) -> Tensor:
    return drive.new_empty(len(drive), h0.shape[0], count, h0.shape[1])


def adjoint(
    grad_states: Tensor,
    grad_cells: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    starts: Tensor | None,
    name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """deltas (T, B, R, H), g of h and of c (T, B, H), and of h0 and c0 (B, H).

    Args:
        grad_states, grad_cells: G of h and of c, each (T, B, H).
        coefficients: J, (T, B, C, H).
        weight, starts, name: as of `forward`.
    """
    cell = CELLS[name]
    arguments.of_gated_linear(grad_states, grad_cells, coefficients, weight, starts, cell)
    h, c = torch.zeros_like(grad_states[:1]).sum(0), torch.zeros_like(grad_cells[:1]).sum(0)
    made: list[tuple[Tensor, ...]] = []
    for t in reversed(range(len(grad_states))):
        by = coefficients[t].unbind(1)
        h = grad_states[t] + h
        c = cell.total(by, h, grad_cells[t] + c)
        deltas = cell.deltas_of(by, h, c)
        made.append((torch.stack(deltas, 1), h, c))
        passed = torch.cat([deltas[k] for k in cell.delta_of_gate], 1) @ weight
        h, c = (passed, by[-1] * c) if cell.has_cell else (passed + by[-1] * h, c)
        h, c = _without(h, starts, t), _without(c, starts, t)
    if not made:
        empty = coefficients.new_empty(*coefficients.shape[:2], cell.deltas, coefficients.shape[3])
        return empty, torch.empty_like(grad_states), torch.empty_like(grad_cells), h, c
    deltas_of_all, total_h, total_c = (torch.stack(x) for x in zip(*made[::-1], strict=True))
    return deltas_of_all, total_h, total_c, h, c


def tangent(
    force_states: Tensor,
    force_cells: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    h0_tangent: Tensor,
    c0_tangent: Tensor,
    starts: Tensor | None,
    name: str,
) -> tuple[Tensor, Tensor]:
    """The changes of h and c, each (T, B, H).

    Args:
        force_states, force_cells: what is added to them at every step, each (T, B, H).
        coefficients: J, (T, B, C, H).
        h0_tangent, c0_tangent: before the first step, each (B, H).
        weight, starts, name: as of `forward`.
    """
    cell = CELLS[name]
    before = (h0_tangent, c0_tangent)
    arguments.of_gated_linear(force_states, force_cells, coefficients, weight, starts, cell, before)
    h, c, transposed = h0_tangent, c0_tangent, weight.T
    made: list[tuple[Tensor, ...]] = []
    for t in range(len(force_states)):
        h, c = _without(h, starts, t), _without(c, starts, t)
        by, u = coefficients[t].unbind(1), (h @ transposed).chunk(cell.gates, -1)
        if cell.has_cell:
            c = force_cells[t] + cell.apply(by, u, h, c, c)[1]
        h = force_states[t] + cell.apply(by, u, h, c, c)[0]
        made.append((h, c))
    if not made:
        return torch.empty_like(force_states), torch.empty_like(force_cells)
    states, cells = (torch.stack(x) for x in zip(*made, strict=True))
    return states, cells
