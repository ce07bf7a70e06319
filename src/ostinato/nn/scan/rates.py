"""The two scans that rate networks have besides the leaky one, with derivatives of every order.

    pushed     h_t = a hp_t + (1 - a) phi(drive_t + hp_t W^T) + push_t
    fed back   h_t = a hp_t + rp_t W^T + drive_t,   r_t = phi(h_t)

with hp_t = h_{t-1} and rp_t = r_{t-1}, both zero where starts_t. What is pushed is added outside of phi: the
noise of a state, or what a start is set to. Their derivatives are the leaky scan's own kernels. For the first
one that is plain: a push is a force of its tangent. For the second one they change places and run the other
way in time, over the transposed weights: with d = phi'(h),

    adjoint    g_t = d_t G_t + m_{t+1} (d_t (g_{t+1} W) + a g_{t+1})      a tangent, backwards
    tangent    s_t = force_t + m_t ((d_{t-1} s_{t-1}) W^T + a s_{t-1})    an adjoint, backwards

so these operators, too, are closed under differentiation; see `ostinato.nn.scan.recurrence`.

Shapes: T time, B streams, H hidden.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, nonlinearities, rates, select
from ostinato.nn.kernels.autocast import in_widest_type
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.kernels.plain import check_memory, dense, plain
from ostinato.nn.scan import functions
from ostinato.nn.scan.operators import LIBRARY
from ostinato.nn.scan.rules import add_rules

for _schema in (
    "pushed_scan(Tensor drive, Tensor weight, Tensor leak, Tensor push, Tensor h0, Tensor? starts, "
    "str nonlinearity) -> (Tensor, Tensor)",
    "fed_back_scan(Tensor drive, Tensor weight, Tensor leak, Tensor h0, Tensor r0, Tensor? starts, "
    "str nonlinearity) -> (Tensor, Tensor, Tensor)",
):
    LIBRARY.define(_schema, tags=(torch.Tag.pt2_compliant_tag,))

PUSHED = torch.ops.ostinato.pushed_scan.default
FED_BACK = torch.ops.ostinato.fed_back_scan.default


@in_widest_type
def pushed_scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    push: Tensor,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> Tensor:
    """Run `h_t = a h_{t-1} + (1 - a) phi(W h_{t-1} + drive_t) + push_t` over time; return all states.

    Args:
        drive: (T, B, H).
        weight: W, (H, H).
        leak: a, (H,), each in [0, 1).
        push: what is added to the states, (T, B, H).
        h0: the state before the first step, (B, H).
        starts: boolean (T, B): where the state before the step is zero, and no gradient passes.
        nonlinearity: phi, one of `ostinato.nn.kernels.nonlinearities`.

    Raises:
        ValueError: tensors do not go together in shape, type or device.

    Example:
        >>> ones, zero = torch.ones(3, 1, 1), torch.zeros(1, 1)
        >>> pushed_scan(0 * ones, zero, torch.tensor([0.5]), ones, zero, None, "tanh").flatten()
        tensor([1.0000, 1.5000, 1.7500])
    """
    states: Tensor = PUSHED(drive, weight, leak, push, h0, starts, nonlinearity)[0]
    return states


@in_widest_type
def fed_back_scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    h0: Tensor,
    r0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """Run `h_t = a h_{t-1} + W r_{t-1} + drive_t, r_t = phi(h_t)`; return all rates and all states.

    Args:
        drive, weight, leak, starts, nonlinearity: as in `pushed_scan`.
        h0: the state before the first step, (B, H).
        r0: the rates that it has, (B, H).

    Raises:
        ValueError: tensors do not go together in shape, type or device.

    Example:
        >>> ones, one = torch.ones(3, 1, 1), torch.ones(1, 1)
        >>> rates, states = fed_back_scan(ones, one, torch.tensor([0.0]), 0 * one, 0 * one, None, "relu")
        >>> rates.flatten()
        tensor([1., 2., 3.])
    """
    made, states, _ = FED_BACK(drive, weight, leak, h0, r0, starts, nonlinearity)
    return made, states


def _kernel(*tensors: Tensor | None) -> Any:
    """What has the forward scans: the native kernel where it applies, else PyTorch."""
    if not dense(*tensors):
        check_memory(*tensors)
        return rates
    native: Any = select.kernel_for(tensors[0])  # type: ignore[arg-type]
    return native if getattr(native, "has_rates", bool)() else rates


def _pushed(
    drive: Tensor, weight: Tensor, leak: Tensor, push: Tensor, h0: Tensor, starts: Tensor | None, phi: str
) -> tuple[Tensor, Tensor]:
    chosen = _kernel(drive, weight, leak, push, h0, starts)
    made: tuple[Tensor, Tensor] = chosen.pushed(drive, weight, leak, push, h0, starts, phi)
    return made


def _fed_back(
    drive: Tensor, weight: Tensor, leak: Tensor, h0: Tensor, r0: Tensor, starts: Tensor | None, phi: str
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = _kernel(drive, weight, leak, h0, r0, starts)
    made: tuple[Tensor, Tensor, Tensor] = chosen.fed_back(drive, weight, leak, h0, r0, starts, phi)
    return made


def _pushed_shapes(drive: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    arguments.of_pushed(drive, *others)
    return drive.new_empty(drive.shape), drive.new_empty(drive.shape)


def _fed_back_shapes(drive: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    arguments.of_fed_back(drive, *others)
    return drive.new_empty(drive.shape), drive.new_empty(drive.shape), drive.new_empty(drive.shape)


class Pushed(torch.autograd.Function):
    """(drive, weight, leak, push, h0) -> (states, slopes); the slopes carry no derivatives."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        """Run the operator."""
        made: tuple[Tensor, Tensor] = functions.below_autograd(PUSHED, *inputs)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the derivatives need; drive is not among it."""
        _, *tensors, ctx.nonlinearity = inputs
        states, slopes = output
        ctx.mark_non_differentiable(slopes)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, states, slopes)
        ctx.save_for_forward(*tensors, states, slopes)

    @staticmethod
    @functions.without_autocast
    def backward(ctx: Any, grad_states: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
        """One adjoint scan and a large product."""
        if grad_states is None:
            return (None,) * 7
        weight, leak, push, h0, starts, states, slopes = ctx.saved_tensors
        _, need_weight, need_leak, need_push, *_ = ctx.needs_input_grad
        previous = previous_states(states, h0, starts)
        if functions.is_differentiated():
            slopes = functions.differentiable_slopes(states - push, previous, leak, slopes, ctx.nonlinearity)
        delta, grad_h0, total = functions.adjoint(
            grad_states, slopes, weight, leak, starts, need_leak or need_push
        )
        grad_leak = None
        if need_leak:
            # dh/da = hp - phi = (hp + push - h) / (1 - a)
            grad_leak = (total * (previous + push - states)).sum((0, 1)) / (1 - leak)
        grad_weight = functions.weight_gradient(delta, previous) if need_weight else None
        return delta, grad_weight, grad_leak, total if need_push else None, grad_h0, None, None

    @staticmethod
    @functions.without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
        """One tangent scan."""
        drive_t, weight_t, leak_t, push_t, h0_t, *_ = tangents
        weight, leak, push, h0, starts, states, slopes = ctx.saved_tensors
        previous = previous_states(states, h0, starts)
        slopes = functions.differentiable_slopes(states - push, previous, leak, slopes, ctx.nonlinearity)
        inner = torch.zeros_like(states) if drive_t is None else drive_t
        if weight_t is not None:
            inner = inner + previous @ weight_t.mT
        force = slopes * inner
        if leak_t is not None:
            force = force + leak_t * (previous + push - states) / (1 - leak)
        if push_t is not None:
            force = force + push_t
        start = torch.zeros_like(h0) if h0_t is None else h0_t
        return functions.tangent(force, slopes, weight, leak, start, starts), None


class FedBack(torch.autograd.Function):
    """(drive, weight, leak, h0, r0) -> (rates, states, slopes); the slopes carry no derivatives."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Run the operator."""
        made: tuple[Tensor, Tensor, Tensor] = functions.below_autograd(FED_BACK, *inputs)
        return made

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep what the derivatives need; drive is not among it."""
        _, *tensors, ctx.nonlinearity = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *output)
        ctx.save_for_forward(*tensors, *output)

    @staticmethod
    @functions.without_autocast
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """One tangent scan backwards in time, and a large product."""
        grad_rates, grad_states, _ = grads
        if grad_rates is None and grad_states is None:
            return (None,) * 7
        weight, leak, h0, r0, starts, made, states, slopes = ctx.saved_tensors
        if functions.is_differentiated():
            slopes = nonlinearities.slope(ctx.nonlinearity, made)
        total = _adjoint(grad_rates, grad_states, slopes, weight, leak, starts)
        _, need_weight, need_leak, *need_start = ctx.needs_input_grad
        grad_weight = grad_leak = grad_h0 = grad_r0 = None
        if need_weight:
            grad_weight = functions.weight_gradient(total, previous_states(made, r0, starts))
        if need_leak:
            grad_leak = (total * previous_states(states, h0, starts)).sum((0, 1))
        if any(need_start):
            first = total[0] if starts is None else total[0].masked_fill(starts[0].unsqueeze(-1), 0)
            grad_h0, grad_r0 = leak * first, first @ weight
        return total, grad_weight, grad_leak, grad_h0, grad_r0, None, None

    @staticmethod
    @functions.without_autocast
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, Tensor, None]:
        """One adjoint scan backwards in time."""
        drive_t, weight_t, leak_t, h0_t, r0_t, *_ = tangents
        weight, leak, h0, r0, starts, made, states, _ = ctx.saved_tensors
        slopes = nonlinearities.slope(ctx.nonlinearity, made)
        force = torch.zeros_like(states) if drive_t is None else drive_t
        if weight_t is not None:
            force = force + previous_states(made, r0, starts) @ weight_t.mT
        if leak_t is not None:
            force = force + leak_t * previous_states(states, h0, starts)
        first = torch.zeros_like(h0)
        if h0_t is not None:
            first = first + leak * h0_t
        if r0_t is not None:
            first = first + r0_t @ weight.mT
        if starts is not None:
            first = first.masked_fill(starts[0].unsqueeze(-1), 0)
        force = force + torch.cat((first.unsqueeze(0), torch.zeros_like(force[1:])))
        _, _, total = functions.adjoint(
            force.flip(0), slopes.flip(0), weight.mT, leak, _backwards(starts), True
        )
        tangent = total.flip(0)
        return slopes * tangent, tangent, None


def _adjoint(
    grad_rates: Tensor | None,
    force: Tensor | None,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """dL/dh (T, B, H): force_t + d_t (G_t + m_{t+1} g_{t+1} W) + m_{t+1} a g_{t+1}; None is zero."""
    tensors = (grad_rates, force, slopes, weight, leak, starts)
    if not functions.is_differentiated() and plain(*tensors):
        native = _kernel(slopes, *tensors)
        if native is not rates:
            total: Tensor = native.fed_back_adjoint(*tensors)
            return total
    if grad_rates is not None:
        force = slopes * grad_rates if force is None else force + slopes * grad_rates
    assert force is not None
    zero, marks = torch.zeros_like(force[0]), _backwards(starts)
    return functions.tangent(force.flip(0), slopes.flip(0), weight.mT, leak, zero, marks).flip(0)


def _backwards(starts: Tensor | None) -> Tensor | None:
    """Where a sequence starts for who comes from its end: at the step after which the next one starts."""
    if starts is None:
        return None
    return torch.cat((torch.zeros_like(starts[:1]), starts[1:].flip(0)))


for _operator, _run, _shapes, _function, _streams, _output_streams in (
    (PUSHED, _pushed, _pushed_shapes, Pushed, (1, None, None, 1, 0, 1), (1, 1)),
    (FED_BACK, _fed_back, _fed_back_shapes, FedBack, (1, None, None, 0, 0, 1), (1, 1, 1)),
):
    LIBRARY.impl(_operator, _run, "CompositeExplicitAutograd")
    torch.library.register_fake(_operator, _shapes, lib=LIBRARY)
    _rule = functions.batched(_operator, _streams, _output_streams)
    add_rules(_operator, _function, _rule, LIBRARY)
