"""The three scans of any cell with gates, in PyTorch.

    forward    (h_t, c_t) = step(x_t, u_t, hp_t, cp_t),  u_t = hp_t W^T + b
    adjoint    g_t = G_t + what J_{t+1}^T and W^T make of g_{t+1},  deltas_t = J_t^T g_t
    tangent    s_t = J_t (sp_t, sp_t W^T) + force_t

with hp, cp and sp zero where a sequence starts, x the drive and J_t the derivatives of a step: a few
coefficients for every unit. The cells are in `ostinato.nn.kernels.gated_cells`; all of it is differentiable.
A cell without c has c of shape (..., 0).

Shapes: T time, B streams, H hidden; of a cell K gates that the state before contributes to, D drives, S
numbers saved, C coefficients and R deltas for each unit. The adjoint's deltas are of u and x, in the cell's
own order.
"""

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments
from ostinato.nn.kernels.gated_cells import named


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
    cell = named(name)
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
    cell = named(name)
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
    cell = named(name)
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
