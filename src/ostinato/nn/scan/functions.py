"""The autograd functions of the recurrence: scan, adjoint and tangent, closed under differentiation.

The equations are in `ostinato.nn.scan.recurrence`. T is time, B streams, H hidden, N models under `vmap`.

`scan`, `adjoint` and `tangent` choose: plain tensors (`ostinato.nn.kernels.plain`) go through the functions
here to a kernel at once; all others through the operators of `ostinato.nn.scan.operators`, whose derivatives
are the same functions.
"""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import nonlinearities, select, unrolled
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.plain import plain
from ostinato.nn.scan.operators import ADJOINT, LIBRARY, SCAN, TANGENT
from ostinato.nn.scan.rules import add_rules

# A kernel's own functions, or the name that an operator takes: "" for the fastest that applies.
Kernel = ModuleType | str


def scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
    kernel: Kernel = "",
) -> tuple[Tensor, Tensor]:
    """States and slopes, each (T, B, H); the slopes carry no derivatives."""
    inputs = (drive, weight, leak, h0, starts)
    if not plain(*inputs):
        return SCAN(*inputs, nonlinearity, _name(kernel))
    return _apply_scan(*inputs, nonlinearity, _functions(kernel, drive))


def adjoint(
    grad_states: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    want_total: bool,
    kernel: Kernel = "",
) -> tuple[Tensor, Tensor, Any]:
    """delta (T, B, H), dL/dh0 (B, H), and g (T, B, H), which may be None where it is not wanted."""
    inputs = (grad_states, slopes, weight, leak, starts)
    if not plain(*inputs):
        return ADJOINT(*inputs, _name(kernel))
    return _apply_adjoint(*inputs, _functions(kernel, slopes), want_total)


def tangent(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
    kernel: Kernel = "",
) -> Tensor:
    """The tangents of the states, (T, B, H)."""
    inputs = (force, slopes, weight, leak, h0_tangent, starts)
    if not plain(*inputs):
        return TANGENT(*inputs, _name(kernel))
    return _apply_tangent(*inputs, _functions(kernel, slopes))


def plain_apply(function: type[torch.autograd.Function]) -> Any:
    """`function.apply` for plain tensors, without default values of arguments.

    What the method does besides is for transforms of `torch.func`, and takes longer than a short scan.
    """
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]


def _functions(kernel: Kernel, like: Tensor) -> ModuleType:
    return select.kernel_for(like, kernel or None) if isinstance(kernel, str) else kernel


def _name(kernel: Kernel) -> str:
    if isinstance(kernel, str):
        return kernel
    return "unrolled" if kernel is unrolled else ""


def below_autograd(operator: Any, *arguments: Any) -> Any:
    """An operator without its derivatives, which the function that calls this is."""
    with torch._C._AutoDispatchBelowAutograd():
        return operator(*arguments)


def without_autocast(formula: Callable[..., Any]) -> Callable[..., Any]:
    """A derivative's products in the type of its tensors, also where it is taken under autocast."""

    @functools.wraps(formula)
    def exact(ctx: Any, *arguments: Any) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return formula(ctx, *arguments)
        with torch.autocast(ctx.saved_tensors[0].device.type, enabled=False):
            return formula(ctx, *arguments)

    return exact


def is_differentiated() -> bool:
    """Whether a derivative that is being computed may itself be differentiated."""
    return (
        torch.is_grad_enabled()
        or forward_ad._current_level >= 0
        or torch._C._are_functorch_transforms_active()
    )


def weight_gradient(delta: Tensor, previous: Tensor) -> Tensor:
    """Sum over frames of delta^T hp, shape (H, H).

    As (hp^T delta)^T, the faster order of the two on a CPU.
    """
    # not flattened, for which batches of gradients (is_grads_batched) have no rule
    return (previous.reshape(-1, previous.shape[-1]).T @ delta.reshape(-1, delta.shape[-1])).T


def differentiable_slopes(
    states: Tensor, previous: Tensor, leak: Tensor | None, slopes: Tensor, nonlinearity: str
) -> Tensor:
    """The slopes again, as a differentiable function of the states and the leak.

    phi is recovered from h = a hp + (1 - a) phi. On which side of a kink it is the saved slopes say, since
    rounding in the recovery could turn an exact zero into a small positive number.
    """
    keep: Any = 1.0 if leak is None else 1 - leak
    phi = states if leak is None else (states - leak * previous) / keep
    return keep * nonlinearities.slope_again(nonlinearity, phi, slopes)


def batched(operator: Any, streams: tuple[int | None, ...], output_streams: tuple[int, ...]) -> Any:
    """How an operator is batched: models as more streams where they share the weights, else one by one.

    Args:
        operator: which.
        streams: of each argument the dimension that holds streams; None where it has none.
        output_streams: of each result.
    """

    def fold(x: Any, dim: int | None, stream: int | None, models: int) -> Any:
        if stream is None or not isinstance(x, Tensor):
            return x
        batched = x.unsqueeze(0).expand(models, *x.shape) if dim is None else x.movedim(dim, 0)
        return batched.movedim(0, stream).flatten(stream, stream + 1)

    def unfold(x: Tensor, stream: int, models: int) -> Tensor:
        return x.unflatten(stream, (models, x.shape[stream] // models))

    def rule(info: Any, dims: tuple[int | None, ...], *inputs: Any) -> tuple[Any, Any]:
        models = info.batch_size
        if any(d is not None and stream is None for d, stream in zip(dims, streams, strict=False)):
            runs = [
                operator(*(x if d is None else x.select(d, i) for x, d in zip(inputs, dims, strict=True)))
                for i in range(models)
            ]
            if isinstance(runs[0], Tensor):
                return torch.stack(runs), 0
            return tuple(torch.stack(group) for group in zip(*runs, strict=True)), (0,) * len(runs[0])
        places = (*streams, *(None,) * (len(inputs) - len(streams)))
        out = operator(*(fold(x, d, s, models) for x, d, s in zip(inputs, dims, places, strict=True)))
        if isinstance(out, Tensor):
            return unfold(out, output_streams[0], models), output_streams[0]
        return tuple(unfold(x, d, models) for x, d in zip(out, output_streams, strict=True)), output_streams

    return rule


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
        kernel: Kernel,
    ) -> tuple[Tensor, Tensor]:
        """Run the kernel."""
        if isinstance(kernel, str):
            return below_autograd(SCAN, drive, weight, leak, h0, starts, nonlinearity, kernel)
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
    @without_autocast
    def backward(ctx: Any, grad_states: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """One adjoint scan and two large products."""
        if grad_states is None:
            return (None,) * 7
        weight, leak, h0, starts, states, slopes = ctx.saved_tensors
        _, need_weight, need_leak, *_ = ctx.needs_input_grad
        again = is_differentiated()
        previous = previous_states(states, h0, starts) if need_weight or need_leak or again else None
        if again and previous is not None:
            slopes = differentiable_slopes(states, previous, leak, slopes, ctx.nonlinearity)
        delta, grad_h0, total = adjoint(grad_states, slopes, weight, leak, starts, need_leak, ctx.kernel)
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
    @without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
        """One tangent scan."""
        drive_t, weight_t, leak_t, h0_t, *_ = tangents
        weight, leak, h0, starts, states, slopes = ctx.saved_tensors
        previous = previous_states(states, h0, starts)
        slopes = differentiable_slopes(states, previous, leak, slopes, ctx.nonlinearity)
        inner = torch.zeros_like(states) if drive_t is None else drive_t
        if weight_t is not None:
            inner = inner + previous @ weight_t.mT
        force = slopes * inner
        if leak_t is not None:
            force = force + leak_t * (previous - states) / (1 - leak)
        start = torch.zeros_like(h0) if h0_t is None else h0_t
        return tangent(force, slopes, weight, leak, start, starts, ctx.kernel), None


class Adjoint(torch.autograd.Function):
    """(G, slopes, weight, leak) -> (delta, dL/dh0, g or None)."""

    @staticmethod
    def forward(
        grad_states: Tensor,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        starts: Tensor | None,
        kernel: Kernel,
        want_total: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run the kernel."""
        if isinstance(kernel, str):
            return below_autograd(ADJOINT, grad_states, slopes, weight, leak, starts, kernel)
        return kernel.adjoint(grad_states, slopes, weight, leak, starts, want_adjoint_states=want_total)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep the inputs; g is made again from them in the rare case that it is needed."""
        *tensors, ctx.kernel = inputs[:6]
        ctx.want_total = output[2] is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, output[0])
        ctx.save_for_forward(*tensors, output[0])

    @staticmethod
    @without_autocast
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """The transpose of an adjoint scan is a tangent scan."""
        delta_c, h0_c, total_c = cotangents
        grad_states, slopes, weight, leak, starts, delta = ctx.saved_tensors
        delta_c = torch.zeros_like(slopes) if delta_c is None else delta_c
        start = slopes.new_zeros(slopes.shape[1:]) if h0_c is None else h0_c
        force = slopes * delta_c if total_c is None else slopes * delta_c + total_c
        transposed = tangent(force, slopes, weight, leak, start, starts, ctx.kernel)
        previous = previous_states(transposed, start, starts)
        total = adjoint(grad_states, slopes, weight, leak, starts, True, ctx.kernel)[2]
        grad_slopes = total * (delta_c + previous @ weight.mT)
        grad_leak = None if leak is None else (total * previous).sum((0, 1))
        rest = (None,) * (len(ctx.needs_input_grad) - 4)
        return transposed, grad_slopes, weight_gradient(delta, previous), grad_leak, *rest

    @staticmethod
    @without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        """An adjoint scan again, over what the perturbations add to its input."""
        grad_t, slopes_t, weight_t, leak_t, *_ = tangents
        grad_states, slopes, weight, leak, starts, delta = ctx.saved_tensors
        total = adjoint(grad_states, slopes, weight, leak, starts, True, ctx.kernel)[2]
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
        delta_t, h0_t, total_t = adjoint(grad_t, slopes, weight, leak, starts, ctx.want_total, ctx.kernel)
        return delta_t + direct, h0_t + passed[0], total_t if ctx.want_total else None


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
        kernel: Kernel,
    ) -> Tensor:
        """Run the kernel."""
        if isinstance(kernel, str):
            return below_autograd(TANGENT, force, slopes, weight, leak, h0_tangent, starts, kernel)
        return kernel.tangent(force, slopes, weight, leak, h0_tangent, starts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep everything but the force, in which the scan is linear."""
        _, *tensors, ctx.kernel = inputs
        ctx.save_for_backward(*tensors, output)
        ctx.save_for_forward(*tensors, output)

    @staticmethod
    @without_autocast
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        """The transpose of a tangent scan is an adjoint scan."""
        slopes, weight, leak, start, starts, states = ctx.saved_tensors
        delta, grad_start, total = adjoint(cotangent, slopes, weight, leak, starts, True, ctx.kernel)
        previous = previous_states(states, start, starts)
        grad_slopes = total * (previous @ weight.mT)
        grad_leak = None if leak is None else (total * previous).sum((0, 1))
        return total, grad_slopes, weight_gradient(delta, previous), grad_leak, grad_start, None, None

    @staticmethod
    @without_autocast
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
        return tangent(force, slopes, weight, leak, start_t, starts, ctx.kernel)


_apply_scan, _apply_adjoint, _apply_tangent = map(plain_apply, (Scan, Adjoint, Tangent))

for _operator, _function, _streams, _output_streams in (
    (SCAN, Scan, (1, None, None, 0, 1), (1, 1)),
    (ADJOINT, Adjoint, (1, 1, None, None, 1), (1, 0, 1)),
    (TANGENT, Tangent, (1, 1, None, None, 0, 1), (1,)),
):
    add_rules(_operator, _function, batched(_operator, _streams, _output_streams), LIBRARY)
