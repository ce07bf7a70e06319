"""One recurrent layer, projection and scan, as a single step of the autograd graph on the CPU.

    drive = x U^T + b,   h = leaky_scan(drive, W, a, h0, starts)

The composition of `project` and `leaky_scan` computes the same; this saves what lies between them: the drive
is overwritten by the slopes, no shifted copy of the states is made for the weight gradient, and binary inputs
are never turned into floating-point numbers. It serves plain eager training; whatever differentiates in
another way (`torch.func`, forward mode, `torch.compile`, a gradient for the leak) gets the composition.

Shapes: T time, B streams, N = T * B frames, I inputs, H hidden.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import select
from ostinato.nn.projection import project
from ostinato.nn.recurrence import leaky_scan

_BINARY = (torch.uint8, torch.bool)
_MANY_FRAMES = 2048


def recurrent_layer(
    inputs: Tensor,
    weight_ih: Tensor,
    bias: Tensor | None,
    weight_hh: Tensor,
    leak: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """States (T, B, H) of a layer that reads real or binary frames (T, B, I) or token ids (T, B)."""
    if _fuses(inputs, weight_ih, leak, starts):
        if h0 is None:
            h0 = weight_hh.new_zeros(inputs.shape[1], weight_hh.shape[0])
        return _Layer.apply(inputs, weight_ih, bias, weight_hh, leak, h0, starts, nonlinearity)
    return leaky_scan(project(inputs, weight_ih, bias), weight_hh, leak, h0, starts, nonlinearity)


def _fuses(inputs: Tensor, weight_ih: Tensor, leak: Tensor | None, starts: Tensor | None) -> bool:
    return (
        not torch.compiler.is_compiling()
        and inputs.dim() == 3
        and inputs.dtype in (weight_ih.dtype, *_BINARY)
        and inputs.device == weight_ih.device
        and not (leak is not None and leak.requires_grad)
        and (starts is None or starts.dtype is torch.bool)
        and hasattr(select.kernel_for(weight_ih), "binary_linear")
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
    )


class _Layer(torch.autograd.Function):
    """(x, U, b, W, a, h0, starts) -> states; second derivatives go through the composition."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight_ih: Tensor,
        bias: Tensor | None,
        weight_hh: Tensor,
        leak: Tensor | None,
        h0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
    ) -> Tensor:
        """Project and scan."""
        kernel = ctx.kernel = select.kernel_for(weight_ih)
        steps, streams, _ = inputs.shape
        drive = _project(kernel, inputs.flatten(0, 1), weight_ih, bias).view(steps, streams, -1)
        # One step more than there are: the states before every step are then a view, not a copy. What is
        # returned shares that memory without being a view, so that callers may change it in place (which
        # the saved output then reports to backward).
        path = kernel.empty(drive, (steps + 1, *h0.shape))
        path[0] = h0
        states = drive.new_empty(0).set_(path.untyped_storage(), h0.numel(), drive.shape, drive.stride())
        states, slopes = kernel.forward(
            drive, weight_hh, leak, h0, starts, nonlinearity, states=states, overwrite_drive=True
        )
        ctx.nonlinearity = nonlinearity
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(inputs, weight_ih, bias, weight_hh, leak, h0, starts, path, slopes, states)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor | None) -> tuple[Tensor | None, ...]:
        """One adjoint scan and one large product for each weight."""
        if grad_states is None:
            return (None,) * 8
        if torch.is_grad_enabled():
            return _differentiable_backward(ctx, grad_states)
        inputs, weight_ih, _, weight_hh, leak, _, starts, path, slopes, _ = ctx.saved_tensors
        need_inputs, need_ih, need_bias, need_hh, _, need_h0, *_ = ctx.needs_input_grad
        delta, grad_h0, _ = ctx.kernel.adjoint(grad_states, slopes, weight_hh, leak, starts)
        frames = delta.flatten(0, 1)
        return (
            (frames @ weight_ih).view(inputs.shape) if need_inputs else None,
            _grad_weight_ih(ctx.kernel, inputs.flatten(0, 1), frames) if need_ih else None,
            frames.sum(0) if need_bias else None,
            _grad_weight_hh(delta, path[:-1], starts) if need_hh else None,
            None,
            grad_h0 if need_h0 else None,
            None,
            None,
        )


def _project(kernel: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (N, I) to x U^T + b (N, H), in fresh memory."""
    if x.dtype in _BINARY:
        return kernel.binary_linear(x, weight, bias)
    drive = kernel.empty(weight, (len(x), len(weight)))
    if bias is None:
        return torch.mm(x, weight.T, out=drive)
    return torch.addmm(bias, x, weight.T, out=drive)


def _grad_weight_ih(kernel: Any, x: Tensor, delta: Tensor) -> Tensor:
    """delta^T x (H, I) from x (N, I) and delta (N, H)."""
    if x.dtype in _BINARY:
        return kernel.binary_linear_weight_grad(x, delta)
    # Of many frames the transpose is the faster product, by more than turning its result costs.
    return (x.T @ delta).T if len(x) >= _MANY_FRAMES else delta.T @ x


def _grad_weight_hh(delta: Tensor, previous: Tensor, starts: Tensor | None) -> Tensor:
    """Sum over frames of delta^T hp (H, H), where hp is the state before, or zero at a start."""
    if starts is not None:
        previous = previous.masked_fill(starts.unsqueeze(-1), 0)
    return delta.flatten(0, 1).T @ previous.flatten(0, 1)


def _differentiable_backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients once more, with a graph: by the composition, whose derivatives have derivatives."""
    *inputs, _, _, _ = ctx.saved_tensors
    # Aliases cut off whatever one input owes to another upstream.
    aliases: list[Any] = [None if x is None else x.view_as(x) for x in inputs]
    x, weight_ih, bias, weight_hh, leak, h0, starts = aliases
    states = leaky_scan(project(x, weight_ih, bias), weight_hh, leak, h0, starts, ctx.nonlinearity)
    wanted = [i for i, need in enumerate(ctx.needs_input_grad[:7]) if need]
    gradients = torch.autograd.grad(
        states, [aliases[i] for i in wanted], grad_states, create_graph=True, allow_unused=True
    )
    result: list[Tensor | None] = [None] * 8
    for i, gradient in zip(wanted, gradients, strict=True):
        result[i] = gradient
    return tuple(result)
