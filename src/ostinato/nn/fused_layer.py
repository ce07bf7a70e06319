"""One recurrent layer, projection and scan, as a single step of the autograd graph on the CPU.

    drive = x U^T + b,   h = leaky_scan(drive, W, a, h0, starts)

The composition of `project` and `leaky_scan` computes the same; this saves what lies between them: one call of
the native code goes from the inputs to the states, and one from their gradient to those of all weights. It
serves plain eager training; whatever differentiates in another way (`torch.func`, forward mode,
`torch.compile`, a gradient for the leak) gets the composition.

Shapes: T time, B streams, N = T * B frames, I inputs, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import layer_cpu, select
from ostinato.nn.projection import project
from ostinato.nn.recurrence import leaky_scan


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
) -> Tensor:
    """States (T, B, H) of a layer that reads real or binary frames (T, B, I) or token ids (T, B).

    A second bias is added to the first, as in `torch.nn.RNN`.
    """
    if _fuses(inputs, weight_ih, leak, starts):
        return _Layer.apply(
            inputs, weight_ih, bias, second_bias, weight_hh, leak, h0, starts, nonlinearity
        )
    drive = project(inputs, weight_ih, _sum(bias, second_bias))
    return leaky_scan(drive, weight_hh, leak, h0, starts, nonlinearity)


def _sum(bias: Tensor | None, second_bias: Tensor | None) -> Tensor | None:
    if bias is None or second_bias is None:
        return second_bias if bias is None else bias
    return bias + second_bias


def _fuses(inputs: Tensor, weight_ih: Tensor, leak: Tensor | None, starts: Tensor | None) -> bool:
    return (
        not torch.compiler.is_compiling()
        and inputs.dim() == 3
        and (inputs.dtype is weight_ih.dtype or inputs.dtype in layer_cpu.BINARY)
        and inputs.is_cpu
        and inputs.numel() > 0
        and not (leak is not None and leak.requires_grad)
        and (starts is None or starts.dtype is torch.bool)
        and select.is_native(weight_ih)
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


class _Layer(torch.autograd.Function):
    """(x, U, b, b2, W, a, h0, starts) -> states; second derivatives go through the composition."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        """Project and scan."""
        *tensors, ctx.nonlinearity = arguments
        path, slopes, ctx.sparse = layer_cpu.forward(layer_cpu.Layer(*tensors), ctx.nonlinearity)
        # The path has one step more than the states: those before every step are then a view, not a copy. What
        # is returned shares its memory without being a view, so that callers may change it in place (which the
        # saved output then reports to backward).
        states = slopes.new_empty(0).set_(
            path.untyped_storage(), path.stride(0), slopes.shape, slopes.stride()
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, path, slopes, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor | None) -> tuple[Tensor | None, ...]:
        """One adjoint scan and one product for each weight."""
        if grad_states is None:
            return (None,) * 9
        if torch.is_grad_enabled():
            return _differentiable_backward(ctx, grad_states)
        *tensors, path, slopes, _ = ctx.saved_tensors
        need_inputs, *wanted, _, need_h0, _, _ = ctx.needs_input_grad
        layer = layer_cpu.Layer(*tensors)
        made = layer_cpu.backward(layer, grad_states, path, slopes, ctx.sparse, tuple(wanted))
        grad_inputs = None
        if need_inputs:
            grad_inputs = (made.delta.flatten(0, 1) @ layer.weight_ih).view(layer.inputs.shape)
        return (
            grad_inputs,
            made.weight_ih,
            made.bias,
            made.second_bias,
            made.weight_hh,
            None,
            made.h0 if need_h0 else None,
            None,
            None,
        )


def _differentiable_backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients once more, with a graph: by the composition, whose derivatives have derivatives."""
    *inputs, _, _, _ = ctx.saved_tensors
    # Aliases cut off whatever one input owes to another upstream.
    aliases: list[Any] = [None if x is None else x.view_as(x) for x in inputs]
    x, weight_ih, bias, second_bias, weight_hh, leak, h0, starts = aliases
    drive = project(x, weight_ih, _sum(bias, second_bias))
    states = leaky_scan(drive, weight_hh, leak, h0, starts, ctx.nonlinearity)
    wanted = [i for i, need in enumerate(ctx.needs_input_grad[:8]) if need]
    gradients = torch.autograd.grad(
        states, [aliases[i] for i in wanted], grad_states, create_graph=True, allow_unused=True
    )
    result: list[Tensor | None] = [None] * 9
    for i, gradient in zip(wanted, gradients, strict=True):
        result[i] = gradient
    return tuple(result)
