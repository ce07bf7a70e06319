"""The autograd functions of the recurrence: scan, adjoint and tangent, closed under differentiation.

The equations are in `ostinato.nn.scan.recurrence`. T is time, B streams, H hidden, N models under `vmap`.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels import nonlinearities
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.definition import previous_states

# For each input of a function, the dimension that holds its streams; None for one that has no such
# dimension. A model batch under vmap is folded into that dimension.
_SCAN_STREAMS = (1, None, None, 0, 1, None, None)
_ADJOINT_STREAMS = (1, 1, None, None, 1, None, None)
_TANGENT_STREAMS = (1, 1, None, None, 0, 1, None)


def weight_gradient(delta: Tensor, previous: Tensor) -> Tensor:
    """Sum over frames of delta^T hp, shape (H, H).

    As (hp^T delta)^T, the faster order of the two on a CPU.
    """
    return (previous.flatten(0, 1).T @ delta.flatten(0, 1)).T


def _differentiable_slopes(
    states: Tensor, previous: Tensor, leak: Tensor | None, slopes: Tensor, nonlinearity: str
) -> Tensor:
    """The slopes again, as a differentiable function of the states and the leak.

    phi is recovered from h = a hp + (1 - a) phi. The rectifier's mask is taken from the saved slopes,
    since rounding in the recovery could turn an exact zero into a small positive number.
    """
    keep: Any = 1.0 if leak is None else 1 - leak
    if nonlinearity == "relu":
        return keep * (slopes > 0).to(slopes.dtype)
    if nonlinearity == "identity":
        return keep * torch.ones_like(slopes)
    phi = states if leak is None else (states - leak * previous) / keep
    return keep * nonlinearities.slope(nonlinearity, phi)


def _vmap(
    function: type[torch.autograd.Function],
    models: int,
    in_dims: tuple[int | None, ...],
    inputs: tuple[Any, ...],
    stream_dims: tuple[int | None, ...],
    output_stream_dims: tuple[int, ...],
) -> tuple[Any, Any]:
    """Batch a scan over models: as more streams where they share the weights, else one after another."""
    if any(dim is not None and stream is None for dim, stream in zip(in_dims, stream_dims, strict=True)):
        runs = [
            function.apply(
                *(x if d is None else x.select(d, i) for x, d in zip(inputs, in_dims, strict=True))
            )
            for i in range(models)
        ]
        if isinstance(runs[0], Tensor):
            return torch.stack(runs), 0
        stacked = tuple(None if group[0] is None else torch.stack(group) for group in zip(*runs, strict=True))
        return stacked, tuple(None if group is None else 0 for group in stacked)

    def fold(x: Any, dim: int | None, stream: int | None) -> Any:
        if stream is None or not isinstance(x, Tensor):
            return x
        batched = x.unsqueeze(0).expand(models, *x.shape) if dim is None else x.movedim(dim, 0)
        return batched.movedim(0, stream).flatten(stream, stream + 1)

    out = function.apply(*map(fold, inputs, in_dims, stream_dims))
    if isinstance(out, Tensor):
        return out.unflatten(1, (models, -1)), 1
    unfolded = tuple(
        None if x is None else x.unflatten(d, (models, -1))
        for x, d in zip(out, output_stream_dims, strict=True)
    )
    return unfolded, tuple(None if x is None else d for x, d in zip(out, output_stream_dims, strict=True))


class Scan(torch.autograd.Function):
    """(drive, weight, leak, h0) -> (states, slopes); the slopes serve the derivatives and carry none."""

    @staticmethod
    def forward(
        drive: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        h0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
        kernel: ModuleType,
    ) -> tuple[Tensor, Tensor]:
        """Run the kernel."""
        return kernel.forward(drive, weight, leak, h0, starts, nonlinearity)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the derivatives need; drive is not among it."""
        _, weight, leak, h0, starts, ctx.nonlinearity, ctx.kernel = inputs
        ctx.found = recorder(weight)
        if ctx.found is not None:
            ctx.weight = weight
        states, slopes = output
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(weight, leak, h0, starts, states, slopes)
        ctx.save_for_forward(weight, leak, h0, starts, states, slopes)

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """One adjoint scan and two large products."""
        if grad_states is None:
            return (None,) * 7
        weight, leak, h0, starts, states, slopes = ctx.saved_tensors
        _, need_weight, need_leak, *_ = ctx.needs_input_grad
        again = torch.is_grad_enabled()
        previous = previous_states(states, h0, starts) if need_weight or need_leak or again else None
        if again and previous is not None:
            slopes = _differentiable_slopes(states, previous, leak, slopes, ctx.nonlinearity)
        delta, grad_h0, total = Adjoint.apply(
            grad_states, slopes, weight, leak, starts, need_leak, ctx.kernel
        )
        grad_weight = grad_leak = None
        if need_weight and previous is not None and ctx.found is not None:
            ctx.found.product(ctx.weight, delta, previous)
        elif need_weight and previous is not None:
            grad_weight = weight_gradient(delta, previous)
        if need_leak and leak is not None and previous is not None:
            # dh/da = hp - phi = (hp - h) / (1 - a)
            grad_leak = (total * (previous - states)).sum((0, 1)) / (1 - leak)
        return delta, grad_weight, grad_leak, grad_h0, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
        """One tangent scan."""
        drive_t, weight_t, leak_t, h0_t, *_ = tangents
        weight, leak, h0, starts, states, slopes = ctx.saved_tensors
        previous = previous_states(states, h0, starts)
        if torch.is_grad_enabled():
            slopes = _differentiable_slopes(states, previous, leak, slopes, ctx.nonlinearity)
        inner = torch.zeros_like(states) if drive_t is None else drive_t
        if weight_t is not None:
            inner = inner + previous @ weight_t.mT
        force = slopes * inner
        if leak_t is not None:
            force = force + leak_t * (previous - states) / (1 - leak)
        start = torch.zeros_like(h0) if h0_t is None else h0_t
        return Tangent.apply(force, slopes, weight, leak, start, starts, ctx.kernel), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Models as streams, or one after another where their weights differ."""
        return _vmap(Scan, info.batch_size, in_dims, inputs, _SCAN_STREAMS, (1, 1))


class Adjoint(torch.autograd.Function):
    """(G, slopes, weight, leak) -> (delta, dL/dh0, g or None)."""

    @staticmethod
    def forward(
        grad_states: Tensor,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        starts: Tensor | None,
        want_adjoint_states: bool,
        kernel: ModuleType,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the kernel."""
        return kernel.adjoint(
            grad_states, slopes, weight, leak, starts, want_adjoint_states=want_adjoint_states
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep the inputs; g is made again from them in the rare case that it is needed."""
        *tensors, ctx.want_adjoint_states, ctx.kernel = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, output[0])
        ctx.save_for_forward(*tensors, output[0])

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The transpose of an adjoint scan is a tangent scan."""
        delta_c, h0_c, total_c = cotangents
        grad_states, slopes, weight, leak, starts, delta = ctx.saved_tensors
        delta_c = torch.zeros_like(slopes) if delta_c is None else delta_c
        start = torch.zeros_like(slopes[0]) if h0_c is None else h0_c
        force = slopes * delta_c if total_c is None else slopes * delta_c + total_c
        transposed = Tangent.apply(force, slopes, weight, leak, start, starts, ctx.kernel)
        previous = previous_states(transposed, start, starts)
        total = Adjoint.apply(grad_states, slopes, weight, leak, starts, True, ctx.kernel)[2]
        grad_slopes = total * (delta_c + previous @ weight.mT)
        grad_leak = None if leak is None else (total * previous).sum((0, 1))
        return transposed, grad_slopes, weight_gradient(delta, previous), grad_leak, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """An adjoint scan again, over what the perturbations add to its input."""
        grad_t, slopes_t, weight_t, leak_t, *_ = tangents
        grad_states, slopes, weight, leak, starts, delta = ctx.saved_tensors
        total = Adjoint.apply(grad_states, slopes, weight, leak, starts, True, ctx.kernel)[2]
        direct = torch.zeros_like(delta) if slopes_t is None else slopes_t * total
        passed = direct @ weight
        if weight_t is not None:
            passed = passed + delta @ weight_t
        if leak_t is not None:
            passed = passed + leak_t * total
        if starts is not None:
            passed = passed.masked_fill(starts.unsqueeze(-1), 0)
        later = torch.cat([passed[1:], torch.zeros_like(passed[:1])])
        grad_t = later if grad_t is None else grad_t + later
        delta_t, h0_t, total_t = Adjoint.apply(
            grad_t, slopes, weight, leak, starts, ctx.want_adjoint_states, ctx.kernel
        )
        return delta_t + direct, h0_t + passed[0], total_t

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Models as streams, or one after another where their weights differ."""
        return _vmap(Adjoint, info.batch_size, in_dims, inputs, _ADJOINT_STREAMS, (1, 0, 1))


class Tangent(torch.autograd.Function):
    """(force, slopes, weight, leak, h0_tangent) -> state tangents."""

    @staticmethod
    def forward(
        force: Tensor,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        h0_tangent: Tensor,
        starts: Tensor | None,
        kernel: ModuleType,
    ) -> Tensor:
        """Run the kernel."""
        return kernel.tangent(force, slopes, weight, leak, h0_tangent, starts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep everything but the force, in which the scan is linear."""
        _, *tensors, ctx.kernel = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """The transpose of a tangent scan is an adjoint scan."""
        slopes, weight, leak, start, starts, states = ctx.saved_tensors
        delta, grad_start, total = Adjoint.apply(cotangent, slopes, weight, leak, starts, True, ctx.kernel)
        previous = previous_states(states, start, starts)
        grad_slopes = total * (previous @ weight.mT)
        grad_leak = None if leak is None else (total * previous).sum((0, 1))
        return total, grad_slopes, weight_gradient(delta, previous), grad_leak, grad_start, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        """A tangent scan again, over what the perturbations add to its force."""
        force_t, slopes_t, weight_t, leak_t, start_t, *_ = tangents
        slopes, weight, leak, start, starts, states = ctx.saved_tensors
        previous = previous_states(states, start, starts)
        force = torch.zeros_like(states) if force_t is None else force_t
        if slopes_t is not None:
            force = force + slopes_t * (previous @ weight.mT)
        if weight_t is not None:
            force = force + slopes * (previous @ weight_t.mT)
        if leak_t is not None:
            force = force + leak_t * previous
        start_t = torch.zeros_like(start) if start_t is None else start_t
        return Tangent.apply(force, slopes, weight, leak, start_t, starts, ctx.kernel)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        """Models as streams, or one after another where their weights differ."""
        return _vmap(Tangent, info.batch_size, in_dims, inputs, _TANGENT_STREAMS, (1,))
