"""One layer of a cell with gates, projection and scan, as a single step of the autograd graph on the CPU.

    drive = x U^T + b + b2,   (h, c) = gated_scan(drive, W, d, a, h0, c0, starts)

The composition of `project` and `gated_scan` computes the same; this saves what lies between them, and makes
the gradients of all weights in one call of the native code. It serves plain eager training and evaluation;
whatever differentiates in another way, other inputs than frames of the weights' type, and tensors that are
not numbers in memory get the composition.

Shapes: T time, B streams, I inputs, H hidden, D drives of the cell.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import select
from ostinato.nn.kernels.by_stream import recorder, refuse_backward
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.gated_cells import named
from ostinato.nn.kernels.plain import plain, still_plain
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan.functions import is_differentiated, plain_apply, without_autocast
from ostinato.nn.scan.gated import gate_deltas, gated_scan, side_by_side


def gated_layer(
    inputs: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    second_bias: Tensor | None,
    weight_hh: Tensor,
    gate_bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor | None,
    starts: Tensor | None,
    cell: str,
) -> tuple[Tensor, Tensor]:
    """States h and cells c, each (T, B, H), of a layer over frames (T, B, I).

    Args:
        inputs: x, or whatever `project` takes.
        weight_ih, bias, second_bias: U (D H, I), b and b2 (D H,) or None.
        weight_hh, gate_bias, leak, h0, c0, starts, cell: as in `gated_scan`.
    """
    if c0 is None:
        c0 = h0.new_zeros(h0.shape[0], 0)
    tensors = (inputs, weight_ih, bias, second_bias, weight_hh, gate_bias, leak, h0, c0, starts)
    if not (plain(*tensors) and _fuses(tensors)):
        return _composition(*tensors, cell)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
        made: tuple[Tensor, Tensor] = _apply(*tensors, cell)
        return made
    return _forward(tensors, cell, want_saved=False)[:2]


def _composition(*arguments: Any) -> tuple[Tensor, Tensor]:
    inputs, weight_ih, bias, second_bias, *rest = arguments
    return gated_scan(project(inputs, weight_ih, bias, second_bias), *rest)


def _fuses(tensors: tuple[Any, ...]) -> bool:
    """Whether one call of the native code does all that is asked of plain tensors."""
    inputs, weight_ih, _, _, _, _, leak, *_ = tensors
    if not (
        forward_ad._current_level < 0
        and inputs.dim() == 3
        and inputs.dtype is weight_ih.dtype
        and inputs.numel() > 0
        and not (leak is not None and leak.requires_grad)
        and select.has_native(weight_ih.dtype)
    ):
        return False
    from ostinato.nn.kernels import gated_cpu

    return gated_cpu.projects()


def _forward(tensors: tuple[Any, ...], cell: str, *, want_saved: bool) -> tuple[Tensor, Tensor, Tensor]:
    from ostinato.nn.kernels.gated_cpu import BEST

    inputs, weight_ih, bias, second_bias = tensors[:4]
    drive = BEST.project(inputs, weight_ih, bias, second_bias)
    arguments: Any = (drive, *tensors[4:], cell)
    made: Any = BEST.forward(*arguments, want_saved=want_saved)
    return made


class _Layer(torch.autograd.Function):
    """(x, U, b, b2, W, d, a, h0, c0, starts) -> states and cells."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """Project and scan."""
        *tensors, ctx.cell = arguments
        _, *parameters = tensors[:6]
        ctx.found = recorder(*parameters)
        if ctx.found is not None:
            ctx.parameters = parameters
        states, cells, saved = _forward(tuple(tensors), ctx.cell, want_saved=True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, states, cells, saved)
        return states, cells

    @staticmethod
    @without_autocast
    def backward(
        ctx: Any, grad_states: Tensor | None, grad_cells: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """One adjoint scan and one product for each weight."""
        if grad_states is None and grad_cells is None:
            return (None,) * 11
        *tensors, states, cells, saved = ctx.saved_tensors
        if is_differentiated() or not (
            plain(grad_states, grad_cells) and still_plain(*tensors, states, saved)
        ):
            return _again(ctx, tensors, (grad_states, grad_cells))
        return _native_backward(ctx, tensors, (states, cells, saved), grad_states, grad_cells)


def _native_backward(
    ctx: Any, tensors: list[Any], made: tuple[Tensor, Tensor, Tensor], grad_states: Any, grad_cells: Any
) -> tuple[Tensor | None, ...]:
    from ostinato.nn.kernels.gated_cpu import BEST

    inputs, weight_ih, _, _, weight_hh, _, leak, h0, c0, starts = tensors
    need_x, need_ih, need_b, need_b2, need_hh, need_d, _, need_h0, need_c0, *_ = ctx.needs_input_grad
    cell, own = named(ctx.cell), ctx.found is None
    found = BEST.backward(
        torch.zeros_like(made[0]) if grad_states is None else grad_states,
        grad_cells,
        weight_hh,
        leak,
        h0,
        c0,
        starts,
        *made,
        ctx.cell,
        want_weight=need_hh and own,
        want_bias=need_d and own,
        inputs=inputs,
        want_input_weight=need_ih and own,
        want_input_bias=(need_b or need_b2) and own,
    )
    of_drive = side_by_side(cell.drive_deltas(found.deltas))
    if not own:
        of_ih, of_b, of_b2, of_hh, of_d = ctx.parameters
        of_gates = gate_deltas(found.deltas, cell)
        ctx.found.product(of_ih, of_drive, inputs)
        ctx.found.vector(of_b, of_drive)
        ctx.found.vector(of_b2, of_drive)
        ctx.found.product(of_hh, of_gates, previous_states(made[0], h0, starts))
        ctx.found.vector(of_d, of_gates)
    summed = found.input_bias
    return (
        of_drive @ weight_ih if need_x else None,
        found.input_weight,
        summed if need_b else None,
        # a tensor of its own: autograd may add to it in place
        (summed.clone() if need_b and summed is not None else summed) if need_b2 else None,
        found.weight,
        found.bias,
        None,
        found.h0 if need_h0 else None,
        found.c0 if need_c0 else None,
        None,
        None,
    )


def _again(ctx: Any, tensors: list[Any], cotangents: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """The gradients with a graph of their own, through the operators."""
    if ctx.found is not None:
        refuse_backward()
    with torch.enable_grad():
        # aliases cut off whatever one input owes to another upstream
        aliases: list[Any] = [None if x is None else x.view_as(x) for x in tensors]
        made = _composition(*aliases, ctx.cell)
        pairs = [(y, g) for y, g in zip(made, cotangents, strict=True) if g is not None]
        places = [i for i, need in enumerate(ctx.needs_input_grad[: len(tensors)]) if need]
        wanted = [aliases[i] for i in places]
        found = torch.autograd.grad(
            [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True, allow_unused=True
        )
    result: list[Tensor | None] = [None] * 11
    for place, gradient in zip(places, found, strict=True):
        result[place] = gradient
    return tuple(result)


_apply = plain_apply(_Layer)
