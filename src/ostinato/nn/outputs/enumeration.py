"""Small RBMs exactly: log Z and samples, by enumerating the smaller of its two layers.

Shapes: N frames, V visible, J hidden units; U units of the layer that is enumerated, O of the other one,
K = 2^U configurations.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.devices import multinomial, uniform
from ostinato.nn.kernels.operator import eager
from ostinato.nn.outputs.visible_units import BINARY, FORBIDDEN, VisibleUnits

# Up to so many units a layer can be enumerated, and up to so many it is without being asked for: of 24 units
# a frame takes about a second.
MOST_UNITS, QUICK_UNITS = 24, 20

# Numbers in the largest intermediate array of the samples.
_PIECE = 1 << 24

# Of log Z: the first units, whose configurations are worked on together (more of them where frames are few),
# and the numbers in an intermediate array, which stays in cache.
_LOW_UNITS, _LOG_AT_ONCE = 12, 15

# A product of factors whose logs are at most this in all stays in the range of a type.
_RANGE = {torch.float32: 80.0, torch.float64: 600.0}


def is_small(visible: int, hidden: int, units: VisibleUnits = BINARY) -> bool:
    """Whether enumeration is possible."""
    return _enumerated(visible, hidden, units) <= MOST_UNITS


def is_quick(visible: int, hidden: int, units: VisibleUnits = BINARY) -> bool:
    """Whether enumeration takes no longer than an estimate does."""
    return _enumerated(visible, hidden, units) <= QUICK_UNITS


def _enumerated(visible: int, hidden: int, units: VisibleUnits) -> int:
    """Units of the layer that is: of visible rows that are tied, the hidden one."""
    return hidden if units.tied else min(visible, hidden)


def log_partition(
    visible_bias: Tensor, hidden_bias: Tensor, weight: Tensor, units: VisibleUnits = BINARY
) -> Tensor:
    """log Z (N,), exact: the log of the sum over the smaller layer's configurations.

        Z = sum_s exp(own . s) prod_o (1 + exp(other_o) exp(W_o . s))

    The factors exp(W_o . s) are the same in every frame. They are made once for all settings of the first
    half of the units, and multiplied by those of the second half; then every frame takes a multiplication and
    an addition for each factor, and a log for each product of as many as the range of their type allows: that
    of the weights, or float64 where that is too small. Products are summed in float64.

    Args:
        visible_bias: b, shape (N, V).
        hidden_bias: c, shape (N, J).
        weight: W, shape (V, J), min(V, J) <= 24, or J where visible rows are tied.
        units: what the visible ones are.

    Example:
        >>> log_partition(torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(3, 2)).exp().round()
        tensor([32.])
    """
    layers = _smaller_first(visible_bias, hidden_bias, weight, units)
    followed = torch.is_grad_enabled() and any(x.requires_grad for x in layers)
    if not eager(*layers) or followed:
        return _differentiable(*layers, units)
    own, other, across = (x.double() for x in layers)
    if units.tied:
        other, across = _by_state(other), _by_state(across)
    spare = _LOG_AT_ONCE - (max(1, len(own)) - 1).bit_length()
    low_units = min(max(_LOW_UNITS, spare), own.shape[1])
    low = _states(torch.arange(1 << low_units, device=own.device), low_units).double()
    high_units = own.shape[1] - low_units
    high = _states(torch.arange(1 << high_units, device=own.device), high_units).double()
    rows = max(1, (1 << _LOG_AT_ONCE) >> low_units)
    total = torch.full(own.shape[:1], -torch.inf, dtype=torch.float64, device=own.device)
    parts = [slice(first, first + rows) for first in range(0, len(own), rows)]
    dtype, groups = _groups(other, across, visible_bias.dtype, tied=units.tied)
    low_factors = torch.exp(low @ across[:low_units]).T.to(dtype).contiguous()  # (O, 2^low)
    tops = torch.exp(high @ across[low_units:]).to(dtype)  # (2^high, O)
    inner = [own[part, :low_units] @ low.T for part in parts]
    outer = own[:, low_units:] @ high.T
    odds = [other[part].exp().to(dtype) for part in parts]
    for place, top in enumerate(tops):
        factors = low_factors * top.unsqueeze(1)
        for part, start, odd in zip(parts, inner, odds, strict=True):
            logs = start + outer[part, place : place + 1] + _log_products(odd, factors, groups)
            total[part] = torch.logaddexp(total[part], logs.logsumexp(1))
    return total.to(visible_bias.dtype)


def _differentiable(own: Tensor, other: Tensor, across: Tensor, units: VisibleUnits) -> Tensor:
    """The same from operations that have gradients: several times as slow."""
    total = torch.full(own.shape[:1], -torch.inf, dtype=own.dtype, device=own.device)
    for states in _configurations(own, across.shape[1]):
        total = torch.logaddexp(total, _log_weights(states, own, other, across, units).logsumexp(1))
    return total


def _by_state(rows: Tensor) -> Tensor:
    """Log-odds of being held and of being struck (..., 2 P), of those of the rows of pitches."""
    sounds, struck = rows.chunk(2, -1)
    return torch.cat([sounds, sounds + struck], -1)


def _groups(
    other: Tensor, across: Tensor, dtype: torch.dtype, *, tied: bool = False
) -> tuple[torch.dtype, list[list[list[int]]]]:
    """The units of the other layer, each the rows that it has, in groups whose product of factors
    1 + sum of exp(activation) is in range; and the type in which it is.

    Raises:
        ValueError: a single factor is not, in any.
    """
    frames = len(other) > 0
    most = F.softplus(other.amax(0) + across.clamp_min(0).sum(0)) if frames else other.sum(0)
    allowed = other[other > -FORBIDDEN / 2] if tied else other  # what is not is to vanish
    largest = [0.0]
    if frames:
        largest = [float(most.max()), -float(allowed.min()), *across.abs().sum(0).tolist()]
    if max(largest) > _RANGE.get(dtype, 0.0):
        dtype = torch.float64
    limit = _RANGE[dtype]
    if max(largest) > limit:
        raise ValueError(f"expected activations between -{limit:g} and {limit:g}, found larger weights")
    rows = torch.arange(len(most)).reshape(2 if tied else 1, -1).T
    # a factor of two exponentials is at most the product of those of one each
    sizes = most.cpu()[rows].sum(1)
    groups: list[list[list[int]]] = []
    room = 0.0
    for unit, size in zip(rows.tolist(), sizes.tolist(), strict=True):
        if not groups or size > room:
            groups.append([])
            room = limit
        groups[-1].append(unit)
        room -= size
    return dtype, groups


def _log_products(odds: Tensor, factors: Tensor, groups: list[list[list[int]]]) -> Tensor:
    """sum_u log(1 + sum of odds_no factors_os), o the rows of u, (n, states), for odds (n, O) and factors
    (O, states).
    """
    shape = (len(odds), factors.shape[1])
    one = odds.new_ones(())
    total, term = odds.new_zeros(shape), odds.new_empty(shape)
    for group in groups:
        product = odds.new_ones(shape)
        for unit in group:
            torch.addcmul(one, odds[:, unit[0] : unit[0] + 1], factors[unit[0]], out=term)
            for row in unit[1:]:
                term.addcmul_(odds[:, row : row + 1], factors[row])
            product.mul_(term)
        total += product.log_()
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


def _smaller_first(
    b: Tensor, c: Tensor, weight: Tensor, units: VisibleUnits = BINARY
) -> tuple[Tensor, Tensor, Tensor]:
    """The biases of the layer to enumerate, those of the other, and W from the first to the other."""
    if not is_small(weight.shape[0], weight.shape[1], units):
        raise ValueError(
            f"enumeration needs a layer of at most {MOST_UNITS} units, got {tuple(weight.shape)}"
        )
    visible = weight.shape[0] <= weight.shape[1] and not units.tied
    return (b, c, weight) if visible else (c, b, weight.T)


def _log_weights(
    states: Tensor, own: Tensor, other: Tensor, across: Tensor, units: VisibleUnits = BINARY
) -> Tensor:
    """log sum_other exp(-E) for every frame and state, (N, states)."""
    return own @ states.T + units.log_terms(other.unsqueeze(1) + states @ across).sum(2)


def _configurations(own: Tensor, other_size: int) -> list[Tensor]:
    """All 2^U states of the enumerated layer, in pieces that keep intermediate arrays small."""
    frames, units = own.shape
    rows = max(1, _PIECE // max(1, frames * other_size))
    numbers = torch.arange(1 << units, device=own.device)
    return [_states(part, units).to(own.dtype) for part in numbers.split(rows)]


def _states(numbers: Tensor, units: int) -> Tensor:
    return (numbers.unsqueeze(1) >> torch.arange(units, device=numbers.device)) & 1
