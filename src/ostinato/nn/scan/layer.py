"""One recurrent layer, projection and scan, as a single step of the autograd graph on the CPU.

    drive = x U^T + b,   h = leaky_scan(drive, W, a, h0, starts)

The composition of `project` and `leaky_scan` computes the same; this saves what lies between them: one call
of the native code goes from the inputs to the states, and one from their gradient to those of all weights. It
serves plain eager training; whatever differentiates in another way (`torch.func`, forward mode,
`torch.compile`, a gradient for the leak), and tensors that are not numbers in memory, get the composition.

Shapes: T time, B streams, N = T * B frames, I inputs, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import layer_cpu, nonlinearities, select
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.plain import check_memory, plain, still_plain
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan import functions
from ostinato.nn.scan.operators import LIBRARY
from ostinato.nn.scan.recurrence import leaky_scan


def recurrent_layer(
    inputs: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    weight_hh: Tensor,
    leak: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    nonlinearity: str,
    second_bias: Tensor | None = None,
    masked: bool = False,
) -> tuple[Tensor, Tensor]:
    """States (T, B, H), and the last of them (1, B, H), of a layer over frames (T, B, I) or tokens (T, B).

    The initial state is (B, H) or (1, B, H). A second bias is added to the first, as in `torch.nn.RNN`.
    Recurrent weights that are `masked`, or for which no gradient is asked, are multiplied as a sparse matrix
    where they are one (`cpu.sparse_count`): others may be one for the first step alone.
    """
    tensors = (inputs, weight_ih, bias, second_bias, weight_hh, leak, h0, starts)
    if not plain(*tensors):
        return LAYER(*tensors, nonlinearity)
    if not (nonlinearity in nonlinearities.FUSED and _fuses(*tensors)):
        return _composition(*tensors, nonlinearity)
    return _apply(*tensors, nonlinearity, masked, way_back(*tensors))


LIBRARY.define(
    "recurrent_layer(Tensor inputs, Tensor weight_ih, Tensor? bias, Tensor? second_bias, Tensor weight_hh, "
    "Tensor? leak, Tensor? h0, Tensor? starts, str nonlinearity) -> (Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)
LAYER = torch.ops.ostinato.recurrent_layer.default  # what is not plain takes it


def _composition(
    inputs: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    second_bias: Tensor | None,
    weight_hh: Tensor,
    leak: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """The operator, made of others, whose rules are therefore its own."""
    drive = project(inputs, weight_ih, bias, second_bias)
    states = leaky_scan(drive, weight_hh, leak, _row(h0), starts, nonlinearity)
    return states, states[-1:].clone()


def _operator(*arguments: Any) -> tuple[Tensor, Tensor]:
    check_memory(*arguments[:-1])
    return _composition(*arguments)


LIBRARY.impl("recurrent_layer", _operator, "CompositeImplicitAutograd")
# Without this `vmap` runs the operator once for each element, and PyTorch warns of that.
LIBRARY.impl("recurrent_layer", _operator, "FuncTorchBatched")


def way_back(*tensors: Tensor | None) -> bool:
    """Whether a gradient may be asked of something that these tensors go into."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _row(h0: Tensor | None) -> Tensor | None:
    return h0 if h0 is None or h0.dim() == 2 else h0.squeeze(0)


def _fuses(*tensors: Tensor | None) -> bool:
    """Whether one call of the native code does all that is asked of plain tensors."""
    inputs, weight_ih, _, _, _, leak, _, starts = tensors
    assert inputs is not None
    assert weight_ih is not None
    return (
        forward_ad._current_level < 0
        and inputs.dim() == 3
        and (inputs.dtype is weight_ih.dtype or inputs.dtype in layer_cpu.BINARY)
        and inputs.numel() > 0
        and not (leak is not None and leak.requires_grad)
        and (starts is None or starts.dtype is torch.bool)
        and select.has_native(weight_ih.dtype)
    )


class _Layer(torch.autograd.Function):
    """(x, U, b, b2, W, a, h0, starts) -> states and last; derivatives of derivatives go by the operators."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """Project and scan."""
        *tensors, ctx.nonlinearity, masked, returns = arguments
        _, weight_ih, bias, second_bias, weight_hh, *_ = tensors
        ctx.found = recorder(weight_ih, bias, second_bias, weight_hh)
        if ctx.found is not None:
            ctx.parameters = weight_ih, bias, second_bias, weight_hh
        ctx.may_be_sparse = masked or not (returns and weight_hh.requires_grad)
        states, last, slopes, ctx.sparse = layer_cpu.forward(
            layer_cpu.Layer(*tensors),
            ctx.nonlinearity,
            keep_slopes=returns,
            may_be_sparse=ctx.may_be_sparse,
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, slopes, states)
        return states, last

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:
        """One adjoint scan and one product for each weight."""
        *tensors, slopes, states = ctx.saved_tensors
        if grad_last is not None:
            before = torch.zeros_like(states[:-1]) if grad_states is None else grad_states[:-1]
            end = grad_last if grad_states is None else grad_last + grad_states[-1:]
            grad_states = torch.cat((before, end))
        if grad_states is None:
            return (None,) * 11
        if functions.is_differentiated() or not (plain(grad_states) and still_plain(*tensors, states)):
            return _differentiable_backward(ctx, grad_states)
        need_inputs, *wanted, _, need_h0, _, _, _, _ = ctx.needs_input_grad
        layer = layer_cpu.Layer(*tensors)
        if ctx.found is not None:
            wanted, need_deltas = [False] * 4, True
        else:
            need_deltas = need_inputs
        grad = layer_cpu.backward(
            layer,
            states,
            slopes,
            ctx.sparse,
            grad_states,
            tuple(wanted),
            need_deltas,
            may_be_sparse=ctx.may_be_sparse,
        )
        if ctx.found is not None:
            _record(ctx, layer, states, grad.delta)
        grad_inputs = None
        if need_inputs and grad.delta is not None:
            grad_inputs = (grad.delta.flatten(0, 1) @ layer.weight_ih).view(layer.inputs.shape)
        return (
            grad_inputs,
            grad.weight_ih,
            grad.bias,
            grad.second_bias,
            grad.weight_hh,
            None,
            grad.h0 if need_h0 else None,
            *(None,) * 4,
        )


def _record(ctx: Any, layer: layer_cpu.Layer, states: Tensor, delta: Any) -> None:
    """What the streams' own gradients of the weights are made from; see `kernels.by_stream`."""
    weight_ih, bias, second_bias, weight_hh = ctx.parameters
    start = _row(layer.h0)
    h0 = torch.zeros_like(states[0]) if start is None else start
    ctx.found.product(weight_ih, delta, layer.inputs)
    ctx.found.vector(bias, delta)
    ctx.found.vector(second_bias, delta)
    ctx.found.product(weight_hh, delta, previous_states(states, h0, layer.starts))


@functions.without_autocast
def _differentiable_backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients by operations that PyTorch knows, and which it can differentiate or batch in turn."""
    *inputs, _, states = ctx.saved_tensors
    x, weight_ih, bias, second_bias, weight_hh, leak, h0, starts = inputs
    start = torch.zeros_like(states[0]) if h0 is None else _row(h0)
    assert start is not None
    previous = previous_states(states, start, starts)
    # Of the saved slopes only the native code knows the order; those of kinked ones alone are needed.
    slopes = states
    if leak is not None and nonlinearities.parse(ctx.nonlinearity)[0] in nonlinearities.KINKED:
        drive = project(x, weight_ih, bias, second_bias)
        slopes = functions.scan(drive, weight_hh, leak, start, starts, ctx.nonlinearity)[1]
    slopes = functions.differentiable_slopes(states, previous, leak, slopes, ctx.nonlinearity)
    delta, grad_h0, _ = functions.adjoint(grad_states, slopes, weight_hh, leak, starts, False)
    need_x, need_ih, need_bias, need_second, need_hh, _, need_h0, *_ = ctx.needs_input_grad
    if ctx.found is not None:
        _record(ctx, layer_cpu.Layer(*inputs), states, delta)
        need_ih = need_bias = need_second = need_hh = False
    summed = delta.sum((0, 1)) if need_bias or need_second else None
    return (
        delta @ weight_ih if need_x else None,
        functions.weight_gradient(delta, x.to(delta.dtype)) if need_ih else None,
        summed if need_bias else None,
        summed if need_second else None,
        functions.weight_gradient(delta, previous) if need_hh else None,
        None,
        grad_h0.view_as(h0) if need_h0 else None,
        *(None,) * 4,
    )


_apply = functions.plain_apply(_Layer)
