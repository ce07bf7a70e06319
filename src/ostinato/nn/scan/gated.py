"""The scans of cells with gates, GRU and LSTM, as PyTorch's operators, closed under differentiation.

    ostinato::gated_scan(drive, weight, bias?, leak?, h0, c0, starts?, cell) -> (h, c, saved)
    ostinato::gated_adjoint(G of h, G of c, coefficients, weight, starts?, cell)
        -> (deltas, g of h, g of c, dL/dh0, dL/dc0)
    ostinato::gated_tangent(forces on h, on c, coefficients, weight, h0', c0', starts?, cell) -> (h', c')

The derivatives of each are made of these three, of pointwise functions of the cell and of products over all
frames at once, so they have derivatives of every order, in both modes. What the forward scan saved has a
gradient of its own: it is what derivatives of derivatives go through. Equations, shapes and the cells are in
`ostinato.nn.kernels.gated`; letters as there.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import arguments, gated, select
from ostinato.nn.kernels.autocast import in_widest_type
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.gated_cells import Cell, named
from ostinato.nn.kernels.plain import check_memory, dense, plain
from ostinato.nn.scan.functions import (
    batched,
    below_autograd,
    is_differentiated,
    plain_apply,
    weight_gradient,
    without_autocast,
)
from ostinato.nn.scan.operators import LIBRARY
from ostinato.nn.scan.rules import add_rules

for _schema in (
    "gated_scan(Tensor drive, Tensor weight, Tensor? bias, Tensor? leak, Tensor h0, Tensor c0, "
    "Tensor? starts, str cell) -> (Tensor, Tensor, Tensor)",
    "gated_adjoint(Tensor grad_states, Tensor grad_cells, Tensor coefficients, Tensor weight, "
    "Tensor? starts, str cell) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    "gated_tangent(Tensor force_states, Tensor force_cells, Tensor coefficients, Tensor weight, "
    "Tensor h0_tangent, Tensor c0_tangent, Tensor? starts, str cell) -> (Tensor, Tensor)",
):
    LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))

SCAN = torch.ops.ostinato.gated_scan.default
ADJOINT = torch.ops.ostinato.gated_adjoint.default
TANGENT = torch.ops.ostinato.gated_tangent.default


@in_widest_type
def gated_scan(
    drive: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    starts: Tensor | None,
    cell: str,
) -> tuple[Tensor, Tensor]:
    """Run a GRU or an LSTM over time; return all states h and all cells c, each (T, B, H).

    Args:
        drive: what inputs contribute to the gates, (T, B, D H), with D = 3 for a GRU (r, z, n) and 4 for an
            LSTM (i, f, g, o).
        weight: W_hh, (D H, H).
        bias: b_hh, (D H,), or None. An LSTM's may as well be part of the drive.
        leak: a, (H,), each in [0, 1), or None, where a = 0.
        h0: the state before the first step, (B, H).
        c0: the cells before it, (B, H); None for a GRU, whose cells are of shape (T, B, 0).
        starts: boolean (T, B): where the state before the step is zero, and no gradient passes.
        cell: "gru" or "lstm".

    Raises:
        ValueError: tensors do not go together in shape, type or device.

    Example:
        >>> states, cells = gated_scan(
        ...     torch.zeros(2, 1, 3), torch.zeros(3, 1), None, None, torch.ones(1, 1), None, None, "gru"
        ... )
        >>> states.flatten(), cells.shape
        (tensor([0.5000, 0.2500]), torch.Size([2, 1, 0]))
    """
    if c0 is None:
        c0 = h0.new_zeros(h0.shape[0], 0)
    inputs = (drive, weight, bias, leak, h0, c0, starts)
    if not plain(*inputs):
        states, cells, _ = SCAN(*inputs, cell)
    elif forward_ad._current_level < 0 and not _wants_gradient(inputs):
        states, cells, _ = _forward(*inputs, cell, want_saved=False)
    else:
        states, cells, _ = _apply(*inputs, cell)
    return states, cells


def _wants_gradient(tensors: tuple[Tensor | None, ...]) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _kernel(*tensors: Tensor | None) -> Any:
    """What has the three scans: the native kernel where it applies, else PyTorch."""
    if not dense(*tensors):
        check_memory(*tensors)
        return gated
    native = select.kernel_for(tensors[0])  # type: ignore[arg-type]
    if not hasattr(native, "extension"):
        return gated
    from ostinato.nn.kernels import gated_cpu

    return gated_cpu.BEST if gated_cpu.available() else gated


def _forward(*arguments: Any, want_saved: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    chosen = _kernel(*arguments[:-1])
    further = {} if chosen is gated else {"want_saved": want_saved}
    made: tuple[Tensor, Tensor, Tensor] = chosen.forward(*arguments, **further)
    return made


def _adjoint(*arguments: Any) -> tuple[Tensor, ...]:
    made: tuple[Tensor, ...] = _kernel(*arguments[:-1]).adjoint(*arguments)
    return made


def _tangent(*arguments: Any) -> tuple[Tensor, Tensor]:
    made: tuple[Tensor, Tensor] = _kernel(*arguments[:-1]).tangent(*arguments)
    return made


def _scan_shapes(drive: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    cell = named(others[-1])
    arguments.of_gated(drive, weight, *(*others[:-1], cell))
    steps, streams, hidden = *drive.shape[:2], weight.shape[1]
    return (
        drive.new_empty(steps, streams, hidden),
        drive.new_empty(steps, streams, hidden if cell.has_cell else 0),
        drive.new_empty(steps, streams, cell.saved, hidden),
    )


def _adjoint_shapes(
    grad_states: Tensor,
    grad_cells: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    starts: Tensor | None,
    name: str,
) -> tuple[Tensor, ...]:
    cell = named(name)
    arguments.of_gated_linear(grad_states, grad_cells, coefficients, weight, starts, cell)
    shape, new = coefficients.shape, coefficients.new_empty
    of_h, of_c = grad_states.shape, grad_cells.shape
    return (new(*shape[:2], cell.deltas, shape[3]), new(of_h), new(of_c), new(of_h[1:]), new(of_c[1:]))


def _tangent_shapes(force_states: Tensor, force_cells: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    coefficients, weight, *before, starts, name = others
    arguments.of_gated_linear(
        force_states, force_cells, coefficients, weight, starts, named(name), tuple(before)
    )
    return torch.empty_like(force_states), torch.empty_like(force_cells)


def _later(x: Tensor) -> Tensor:
    """x_{t+1} at t, and zero at the end."""
    return torch.cat((x[1:], torch.zeros_like(x[:1])))


def _joined(x: Tensor, starts: Tensor | None) -> Tensor:
    """x (T, B, ...), zero where a sequence starts: what passes from a step to the one before."""
    return x if starts is None else x.masked_fill(starts.unsqueeze(-1), 0)


def side_by_side(blocks: Tensor) -> Tensor:
    """(T, B, K, H) as (T, B, K H)."""
    # not flattened, for which batches of gradients (is_grads_batched) have no rule
    return blocks.reshape(*blocks.shape[:2], blocks.shape[2] * blocks.shape[3])


def gate_deltas(deltas: Tensor, cell: Cell) -> Tensor:
    """Of deltas (T, B, R, H) those of u, (T, B, K H)."""
    if cell.delta_of_gate == tuple(range(cell.deltas)):
        return side_by_side(deltas)
    return torch.cat([deltas[:, :, k] for k in cell.delta_of_gate], 2)


def _zero_if_none(x: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if x is None else x


class Scan(torch.autograd.Function):
    """(drive, weight, bias, leak, h0, c0) -> (states, cells, saved)."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Run the kernel."""
        if plain(*inputs[:-1]):
            return _forward(*inputs)
        made: tuple[Tensor, Tensor, Tensor] = below_autograd(SCAN, *inputs)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivatives need; drive is not among it."""
        _, weight, bias, leak, h0, c0, starts, ctx.cell = inputs
        ctx.found = recorder(weight, bias)
        if ctx.found is not None:
            ctx.parameters = weight, bias
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, leak, h0, c0, starts, *output)
        ctx.save_for_forward(weight, leak, h0, c0, starts, *output)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """One adjoint scan and a large product."""
        if all(g is None for g in grads):
            return (None,) * 8
        tensors = ctx.saved_tensors
        if grads[2] is None and not is_differentiated() and plain(*grads[:2], *tensors):
            native = _kernel(*tensors[:1], *grads[:2], *tensors)
            if native is not gated:
                return _native_backward(ctx, native, *grads[:2])
        return _backward(ctx, *grads)

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """One tangent scan."""
        drive_t, weight_t, bias_t, leak_t, h0_t, c0_t, *_ = tangents
        weight, leak, h0, c0, starts, states, cells, kept = ctx.saved_tensors
        cell, saved = named(ctx.cell), kept.unbind(2)
        h, c = previous_states(states, h0, starts), previous_states(cells, c0, starts)
        by = cell.linearize(saved, leak, h, c)
        zero = torch.zeros_like(states)
        u = zero.repeat(1, 1, cell.gates)
        if weight_t is not None:
            u = u + h @ weight_t.mT
        if bias_t is not None:
            u = u + bias_t
        of_h, of_c = cell.apply(by, u.chunk(cell.gates, -1), zero, torch.zeros_like(c), torch.zeros_like(c))
        x = (zero,) * cell.drives
        if drive_t is not None:
            x = drive_t.chunk(cell.drives, -1)
            more_h, more_c = cell.drive_forces(by, x)
            of_h, of_c = of_h + more_h, of_c + more_c
        if leak_t is not None:
            more_h, more_c = cell.by_leak(saved, h, c)
            of_h, of_c = of_h + leak_t * more_h, of_c + more_c * (leak_t if cell.has_cell else 1)
        start_h, start_c = _zero_if_none(h0_t, h0), _zero_if_none(c0_t, c0)
        made_h, made_c = tangent(of_h, of_c, torch.stack(by, 2), weight, start_h, start_c, starts, ctx.cell)
        u = u + previous_states(made_h, start_h, starts) @ weight.mT
        return made_h, made_c, torch.stack(cell.saved_tangent(saved, u.chunk(cell.gates, -1), x, made_c), 2)


def _native_backward(
    ctx: Any, native: Any, grad_states: Tensor | None, grad_cells: Tensor | None
) -> tuple[Tensor | None, ...]:
    """One call of the native code."""
    weight, leak, h0, c0, starts, states, cells, kept = ctx.saved_tensors
    need_drive, need_weight, need_bias, need_leak, need_h0, need_c0, *_ = ctx.needs_input_grad
    cell, own = named(ctx.cell), ctx.found is None
    found = native.backward(
        _zero_if_none(grad_states, states),
        grad_cells,
        weight,
        leak,
        h0,
        c0,
        starts,
        states,
        cells,
        kept,
        ctx.cell,
        want_totals=need_leak,
        want_weight=need_weight and own,
        want_bias=need_bias and own,
    )
    if not own:
        _record(ctx, gate_deltas(found.deltas, cell), previous_states(states, h0, starts))
    grad_leak = None
    if need_leak:
        h, c = previous_states(states, h0, starts), previous_states(cells, c0, starts)
        grad_leak = _leak_gradient(cell, kept.unbind(2), h, c, found.total_states, found.total_cells)
    return (
        side_by_side(cell.drive_deltas(found.deltas)) if need_drive else None,
        found.weight,
        found.bias,
        grad_leak,
        found.h0 if need_h0 else None,
        found.c0 if need_c0 else None,
        None,
        None,
    )


def _record(ctx: Any, deltas: Tensor, previous: Tensor) -> None:
    """What the streams' own gradients are made from; see `kernels.by_stream`."""
    weight, bias = ctx.parameters
    ctx.found.product(weight, deltas, previous)
    ctx.found.vector(bias, deltas)


def _leak_gradient(cell: Cell, saved: Any, h: Tensor, c: Tensor, total_h: Tensor, total_c: Tensor) -> Tensor:
    of_h, of_c = cell.by_leak(saved, h, c)
    return ((total_c * of_c) if cell.has_cell else (total_h * of_h)).sum((0, 1))


def _backward(
    ctx: Any, grad_states: Tensor | None, grad_cells: Tensor | None, grad_saved: Tensor | None
) -> tuple[Tensor | None, ...]:
    """The gradients by operations that can be differentiated or batched in turn."""
    weight, leak, h0, c0, starts, states, cells, kept = ctx.saved_tensors
    _, need_weight, need_bias, need_leak, *_ = ctx.needs_input_grad
    cell, saved = named(ctx.cell), kept.unbind(2)
    h, c = previous_states(states, h0, starts), previous_states(cells, c0, starts)
    by = cell.linearize(saved, leak, h, c)
    grad_h, grad_c = _zero_if_none(grad_states, states), _zero_if_none(grad_cells, cells)
    more = None
    if grad_saved is not None:
        to_u, to_x, to_c = cell.saved_adjoint(saved, grad_saved.unbind(2))
        to_gates = torch.cat(to_u, 2)
        more = _joined(to_gates @ weight, starts)
        grad_h, grad_c = grad_h + _later(more), grad_c + to_c
    deltas, total_h, total_c, grad_h0, grad_c0 = adjoint(
        grad_h, grad_c, torch.stack(by, 2), weight, starts, ctx.cell
    )
    of_gates, of_drive = gate_deltas(deltas, cell), side_by_side(cell.drive_deltas(deltas))
    if more is not None:
        of_gates, of_drive = of_gates + to_gates, of_drive + torch.cat(to_x, 2)
        grad_h0 = grad_h0 + more[0]
    if ctx.found is not None:
        _record(ctx, of_gates, h)
        need_weight = need_bias = False
    return (
        of_drive,
        weight_gradient(of_gates, h) if need_weight else None,
        of_gates.sum((0, 1)) if need_bias else None,
        _leak_gradient(cell, saved, h, c, total_h, total_c) if need_leak else None,
        grad_h0,
        grad_c0,
        None,
        None,
    )


class Adjoint(torch.autograd.Function):
    """(G of h, G of c, coefficients, weight) -> (deltas, g of h, g of c, dL/dh0, dL/dc0)."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, ...]:
        """Run the kernel."""
        if plain(*inputs[:-1]):
            return _adjoint(*inputs)
        made: tuple[Tensor, ...] = below_autograd(ADJOINT, *inputs)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep everything but G, in which the scan is linear."""
        _, _, coefficients, weight, starts, ctx.cell = inputs
        ctx.save_for_backward(coefficients, weight, starts, *output[:3])
        ctx.save_for_forward(coefficients, weight, starts, *output[:3])

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """The transpose of an adjoint scan is a tangent scan."""
        of_deltas, of_h, of_c, start_h, start_c = cotangents
        coefficients, weight, starts, deltas, total_h, total_c = ctx.saved_tensors
        cell, by = named(ctx.cell), coefficients.unbind(2)
        force_h, force_c = cell.forces_of(by, of_deltas.unbind(2))
        made_h, made_c = tangent(
            force_h + of_h, force_c + of_c, coefficients, weight, start_h, start_c, starts, ctx.cell
        )
        h, c = previous_states(made_h, start_h, starts), previous_states(made_c, start_c, starts)
        changes = _with_products(list(of_deltas.unbind(2)), h, weight, cell)
        of_coefficients = cell.by_coefficient((total_h, total_c), changes, h, c, made_c)
        of_weight = weight_gradient(gate_deltas(deltas, cell), h)
        return made_h, made_c, torch.stack(of_coefficients, 2), of_weight, None, None

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, ...]:
        """An adjoint scan again, over what the perturbations add to G."""
        grad_h, grad_c, coefficients_t, weight_t, *_ = tangents
        coefficients, weight, starts, deltas, total_h, total_c = ctx.saved_tensors
        cell = named(ctx.cell)
        grad_h, grad_c = _zero_if_none(grad_h, total_h), _zero_if_none(grad_c, total_c)
        direct, passed = torch.zeros_like(deltas), torch.zeros_like(total_h)
        passed_c = torch.zeros_like(total_c)
        if coefficients_t is not None:
            by = coefficients_t.unbind(2)
            direct = torch.stack(cell.deltas_of(by, total_h, total_c), 2)
            passed = passed + gate_deltas(direct, cell) @ weight
            if cell.has_cell:
                passed_c = passed_c + by[-1] * total_c
                grad_c = cell.total(by, total_h, grad_c)
            else:
                passed = passed + by[-1] * total_h
        if weight_t is not None:
            passed = passed + gate_deltas(deltas, cell) @ weight_t
        passed, passed_c = _joined(passed, starts), _joined(passed_c, starts)
        made, of_h, of_c, start_h, start_c = adjoint(
            grad_h + _later(passed), grad_c + _later(passed_c), coefficients, weight, starts, ctx.cell
        )
        return made + direct, of_h, of_c, start_h + passed[0], start_c + passed_c[0]


def _with_products(changes: list[Tensor], h: Tensor, weight: Tensor, cell: Cell) -> list[Tensor]:
    """What the deltas are multiplied by, the gates' own with h W^T."""
    products = (h @ weight.mT).chunk(cell.gates, -1)
    for place, product in zip(cell.delta_of_gate, products, strict=True):
        changes[place] = changes[place] + product
    return changes


class Tangent(torch.autograd.Function):
    """(forces on h, on c, coefficients, weight, h0', c0') -> (h', c')."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        """Run the kernel."""
        if plain(*inputs[:-1]):
            return _tangent(*inputs)
        made: tuple[Tensor, Tensor] = below_autograd(TANGENT, *inputs)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep everything but the forces, in which the scan is linear."""
        _, _, *tensors, ctx.cell = inputs
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors, *output)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        """The transpose of a tangent scan is an adjoint scan."""
        coefficients, weight, start_h, start_c, starts, states, cells = ctx.saved_tensors
        cell = named(ctx.cell)
        deltas, total_h, total_c, to_h, to_c = adjoint(*cotangents, coefficients, weight, starts, ctx.cell)
        h, c = previous_states(states, start_h, starts), previous_states(cells, start_c, starts)
        changes = _with_products([torch.zeros_like(h)] * cell.deltas, h, weight, cell)
        of_coefficients = cell.by_coefficient((total_h, total_c), changes, h, c, cells)
        of_weight = weight_gradient(gate_deltas(deltas, cell), h)
        return total_h, total_c, torch.stack(of_coefficients, 2), of_weight, to_h, to_c, None, None

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor]:
        """A tangent scan again, over what the perturbations add to its forces."""
        force_h, force_c, coefficients_t, weight_t, start_h_t, start_c_t, *_ = tangents
        coefficients, weight, start_h, start_c, starts, states, cells = ctx.saved_tensors
        cell = named(ctx.cell)
        h, c = previous_states(states, start_h, starts), previous_states(cells, start_c, starts)
        force_h, force_c = _zero_if_none(force_h, states), _zero_if_none(force_c, cells)
        if coefficients_t is not None:
            u = (h @ weight.mT).chunk(cell.gates, -1)
            more_h, more_c = cell.apply(coefficients_t.unbind(2), u, h, c, cells)
            force_h, force_c = force_h + more_h, force_c + (more_c if cell.has_cell else 0 * more_c)
        if weight_t is not None:
            u = (h @ weight_t.mT).chunk(cell.gates, -1)
            none = torch.zeros_like(c)
            more_h, more_c = cell.apply(coefficients.unbind(2), u, torch.zeros_like(h), none, none)
            force_h, force_c = force_h + more_h, force_c + more_c
        start_h_t, start_c_t = _zero_if_none(start_h_t, start_h), _zero_if_none(start_c_t, start_c)
        return tangent(force_h, force_c, coefficients, weight, start_h_t, start_c_t, starts, ctx.cell)


_apply = plain_apply(Scan)
_apply_adjoint, _apply_tangent = plain_apply(Adjoint), plain_apply(Tangent)


def adjoint(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The operator; plain tensors go to a kernel at once."""
    made: Any = (_apply_adjoint if plain(*arguments[:-1]) else ADJOINT)(*arguments)
    return made


def tangent(*arguments: Any) -> tuple[Tensor, Tensor]:
    """The operator; plain tensors go to a kernel at once."""
    made: Any = (_apply_tangent if plain(*arguments[:-1]) else TANGENT)(*arguments)
    return made


for _operator, _run, _shapes, _function, _streams, _output_streams in (
    (SCAN, _forward, _scan_shapes, Scan, (1, None, None, None, 0, 0, 1), (1, 1, 1)),
    (ADJOINT, _adjoint, _adjoint_shapes, Adjoint, (1, 1, 1, None, 1), (1, 1, 1, 0, 0)),
    (TANGENT, _tangent, _tangent_shapes, Tangent, (1, 1, 1, None, 0, 0, 1), (1, 1)),
):
    LIBRARY.impl(_operator, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(_operator, _shapes, lib=LIBRARY)
    add_rules(_operator, _function, batched(_operator, _streams, _output_streams), LIBRARY)
