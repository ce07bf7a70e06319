"""The recurrence as custom operators, for `torch.compile`: what the compiler sees instead of a Function.

A custom operator lets `fullgraph=True` work; its `jvp` would silently be zero, so eager code takes the
`autograd.Function` in `ostinato.nn.scan.functions` instead. Shapes: T time, B streams, H hidden.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels import select
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.scan.functions import weight_gradient


@torch.library.custom_op("ostinato::leaky_scan", mutates_args=())
def _scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    return select.kernel_for(drive).forward(drive, weight, leak, h0, starts, nonlinearity)


@torch.library.custom_op("ostinato::leaky_adjoint", mutates_args=())
def _adjoint(
    grad_states: Tensor, slopes: Tensor, weight: Tensor, leak: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    kernel = select.kernel_for(slopes)
    delta, grad_h0, total = kernel.adjoint(
        grad_states, slopes, weight, leak, starts, want_adjoint_states=leak is not None
    )
    return delta, grad_h0, slopes.new_empty(0) if total is None else total


@_scan.register_fake
def _(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(drive, memory_format=torch.contiguous_format), torch.empty_like(
        drive, memory_format=torch.contiguous_format
    )


@_adjoint.register_fake
def _(
    grad_states: Tensor, slopes: Tensor, weight: Tensor, leak: Tensor | None, starts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    total = slopes.new_empty(0) if leak is None else torch.empty_like(slopes)
    return torch.empty_like(slopes), slopes.new_empty(slopes.shape[1:]), total


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, weight, leak, h0, starts, _ = inputs
    ctx.save_for_backward(weight, leak, h0, starts, *output)


def _backward(ctx: Any, grad_states: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    weight, leak, h0, starts, states, slopes = ctx.saved_tensors
    delta, grad_h0, total = _adjoint(grad_states.contiguous(), slopes, weight, leak, starts)
    previous = previous_states(states, h0, starts)
    grad_leak = None
    if leak is not None and ctx.needs_input_grad[2]:
        grad_leak = (total * (previous - states)).sum((0, 1)) / (1 - leak)
    return delta, weight_gradient(delta, previous), grad_leak, grad_h0, None, None


_scan.register_autograd(_backward, setup_context=_setup)


def scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """`leaky_scan`'s states (T, B, H), through the custom operator."""
    return _scan(drive, weight, leak, h0, starts, nonlinearity)[0]
