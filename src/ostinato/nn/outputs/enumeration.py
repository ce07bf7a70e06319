"""Small RBMs exactly: log Z and samples, by enumerating the smaller of its two layers.

Shapes: N frames, V visible, J hidden units, K = 2^min(V, J) configurations.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.devices import multinomial, uniform

# Up to so many units a layer is enumerated.
MOST_UNITS = 20

# Numbers in the largest intermediate array.
_PIECE = 1 << 24


def is_small(visible: int, hidden: int) -> bool:
    """Whether enumeration is possible."""
    return min(visible, hidden) <= MOST_UNITS


def log_partition(visible_bias: Tensor, hidden_bias: Tensor, weight: Tensor) -> Tensor:
    """log Z (N,), exact: the log of the sum over the smaller layer's configurations.

    Args:
        visible_bias: b, shape (N, V).
        hidden_bias: c, shape (N, J).
        weight: W, shape (V, J), min(V, J) <= 20.

    Example:
        >>> log_partition(torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(3, 2)).exp().round()
        tensor([32.])
    """
    own, other, across = _smaller_first(visible_bias, hidden_bias, weight)
    total = torch.full(own.shape[:1], -torch.inf, dtype=own.dtype, device=own.device)
    for states in _configurations(own, across.shape[1]):
        total = torch.logaddexp(total, _log_weights(states, own, other, across).logsumexp(1))
    return total


def sample(
    visible_bias: Tensor,
    hidden_bias: Tensor,
    weight: Tensor,
    count: int,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`count` exact samples (count, N, V) of each frame, uint8."""
    own, other, across = _smaller_first(visible_bias, hidden_bias, weight)
    every = torch.cat([_log_weights(s, own, other, across) for s in _configurations(own, across.shape[1])], 1)
    chosen = multinomial(every.softmax(1), count, generator)
    states = _states(chosen.T.reshape(-1), own.shape[1]).to(own.dtype).reshape(count, *own.shape)
    if own is visible_bias:
        return states.to(torch.uint8)
    p = torch.sigmoid(other + states @ across)
    return (uniform(p.shape, p, generator) < p).to(torch.uint8)


def _smaller_first(b: Tensor, c: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The biases of the layer to enumerate, those of the other, and W from the first to the other."""
    if not is_small(*weight.shape):
        raise ValueError(
            f"enumeration needs a layer of at most {MOST_UNITS} units, got {tuple(weight.shape)}"
        )
    return (b, c, weight) if weight.shape[0] <= weight.shape[1] else (c, b, weight.T)


def _log_weights(states: Tensor, own: Tensor, other: Tensor, across: Tensor) -> Tensor:
    """log sum_other exp(-E) for every frame and state, (N, states)."""
    return own @ states.T + F.softplus(other.unsqueeze(1) + states @ across).sum(2)


def _configurations(own: Tensor, other_size: int) -> list[Tensor]:
    """All 2^U states of the enumerated layer, in pieces that keep intermediate arrays small."""
    frames, units = own.shape
    rows = max(1, _PIECE // max(1, frames * other_size))
    numbers = torch.arange(1 << units, device=own.device)
    return [_states(part, units).to(own.dtype) for part in numbers.split(rows)]


def _states(numbers: Tensor, units: int) -> Tensor:
    return (numbers.unsqueeze(1) >> torch.arange(units, device=numbers.device)) & 1
