"""The recurrence as it is defined, one line of PyTorch per equation: slow, differentiable, the reference.

Shapes: T time, B streams, H hidden. Every kernel module has the same three functions; see
`ostinato.nn.scan.recurrence` for the equations.
"""

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, nonlinearities


def previous_states(states: Tensor, h0: Tensor, starts: Tensor | None) -> Tensor:
    """The state each step starts from (T, B, H): the one before it, or zero where a sequence starts."""
    previous = torch.cat([h0.unsqueeze(0), states[:-1]]) if len(states) else states
    return previous if starts is None else previous.masked_fill(starts.unsqueeze(-1), 0)


def _masked(state: Tensor, starts: Tensor | None, t: int) -> Tensor:
    return state if starts is None else state.masked_fill(starts[t].unsqueeze(-1), 0)


def forward(
    drive: Tensor, weight: Tensor, leak: Tensor | None, h0: Tensor, starts: Tensor | None, nonlinearity: str
) -> tuple[Tensor, Tensor]:
    """States h (T, B, H) and slopes (1 - a) phi'(z) (T, B, H)."""
    arguments.of_scan(drive, weight, leak, h0, starts, nonlinearity)
    h, states, slopes = h0, [], []
    for t in range(drive.shape[0]):
        previous = _masked(h, starts, t)
        phi = nonlinearities.value(nonlinearity, drive[t] + previous @ weight.T)
        slope = nonlinearities.slope(nonlinearity, phi)
        h = phi if leak is None else leak * previous + (1 - leak) * phi
        states.append(h)
        slopes.append(slope if leak is None else (1 - leak) * slope)
    if not states:
        return torch.empty_like(drive), torch.empty_like(drive)
    return torch.stack(states), torch.stack(slopes)


def adjoint(
    grad_states: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    *,
    want_adjoint_states: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """delta = dL/dz (T, B, H), dL/dh0 (B, H) and, if wanted, the total dL/dh (T, B, H)."""
    arguments.of_adjoint(grad_states, slopes, weight, leak, starts)
    carried = torch.zeros_like(slopes[0]) if len(slopes) else slopes.new_zeros(slopes.shape[1:])
    deltas, totals = [], []
    for t in reversed(range(slopes.shape[0])):
        total = grad_states[t] + carried
        delta = slopes[t] * total
        carried = delta @ weight if leak is None else delta @ weight + leak * total
        carried = _masked(carried, starts, t)
        deltas.append(delta)
        totals.append(total)
    if not deltas:
        return torch.empty_like(slopes), carried, torch.empty_like(slopes) if want_adjoint_states else None
    adjoint_states = torch.stack(totals[::-1]) if want_adjoint_states else None
    return torch.stack(deltas[::-1]), carried, adjoint_states


def tangent(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """s_t = a s_{t-1} + slope_t * (s_{t-1} W^T) + force_t, from s_{-1} = h0_tangent (T, B, H)."""
    arguments.of_tangent(force, slopes, weight, leak, h0_tangent, starts)
    state, states = h0_tangent, []
    for t in range(slopes.shape[0]):
        previous = _masked(state, starts, t)
        state = slopes[t] * (previous @ weight.T) + force[t]
        if leak is not None:
            state = state + leak * previous
        states.append(state)
    return torch.stack(states) if states else torch.empty_like(slopes)
