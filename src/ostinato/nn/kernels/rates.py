"""The forward scans that rate networks have besides the leaky one, in PyTorch.

    pushed     h_t = a hp_t + (1 - a) phi(drive_t + hp_t W^T) + push_t
    fed back   h_t = a hp_t + rp_t W^T + drive_t,   r_t = phi(h_t)

with hp_t = h_{t-1} and rp_t = r_{t-1}, both zero where starts_t. The slopes are (1 - a) phi'(z) of the first
and phi'(h) of the second. `steps` is the definition, for any function phi, differentiable; `pushed` and
`fed_back` are for the named ones, without a graph, and quicker.

Shapes: T time, B streams, H hidden.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, nonlinearities, unrolled


def steps(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    push: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    phi: Callable[[Tensor], Tensor],
    *,
    feeds_back: bool,
) -> tuple[Tensor, Tensor]:
    """The rates r (T, B, H) and the states h (T, B, H), which are the same where nothing is fed back.

    Example:
        >>> ones = torch.ones(3, 1, 1)
        >>> half, zero = torch.tensor([0.5]), torch.zeros(1, 1)
        >>> steps(ones, zero, half, None, zero, None, torch.relu, feeds_back=False)[0].flatten()
        tensor([0.5000, 0.7500, 0.8750])
    """
    h, r = h0, phi(h0) if feeds_back else h0
    rates, states = [], []
    for t in range(drive.shape[0]):
        if starts is not None:
            begins = starts[t].unsqueeze(-1)
            h, r = h.masked_fill(begins, 0), r.masked_fill(begins, 0)
        if feeds_back:
            h = leak * h + r @ weight.T + drive[t]
            r = phi(h)
        else:
            h = leak * h + (1 - leak) * phi(drive[t] + h @ weight.T)
            h = h if push is None else h + push[t]
            r = h
        rates.append(r)
        states.append(h)
    return torch.stack(rates), torch.stack(states)


def pushed(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    push: Tensor,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """States h and slopes (1 - a) phi'(z), each (T, B, H)."""
    arguments.of_pushed(drive, weight, leak, push, h0, starts, nonlinearity)
    return unrolled.forward(drive, weight, leak, h0, starts, nonlinearity, push)


def fed_back(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    h0: Tensor,
    r0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rates r, states h and slopes phi'(h), each (T, B, H)."""
    arguments.of_fed_back(drive, weight, leak, h0, r0, starts, nonlinearity)
    states, rates = drive.clone(), torch.empty_like(drive)
    rows, transposed, h, r = unrolled.start_rows(starts, len(drive)), weight.T, h0, r0
    for t in range(len(drive)):
        row = rows[t]
        if row is not None:
            h, r = h.masked_fill(row, 0), r.masked_fill(row, 0)
        h = states[t].addmm_(r, transposed).addcmul_(h, leak)
        r = nonlinearities.value_(nonlinearity, rates[t].copy_(h))
    return rates, states, nonlinearities.slope(nonlinearity, rates)
