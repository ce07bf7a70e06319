"""Where the recurrent weights start, and which units leak. Every draw takes a generator.

Shapes: H hidden. Sources: Jaeger & Haas 2004 and Sutskever et al. 2013 (echo-state style), Le, Jaitly &
Hinton 2015 (identity for rectifiers), Saxe et al. 2014 (orthogonal).
"""

import math

import torch
from torch import Tensor

INITIALIZATIONS = ("uniform", "echo-state", "identity", "orthogonal")


def initialize_recurrent_(
    weight: Tensor,
    method: str,
    *,
    generator: torch.Generator | None = None,
    spectral_radius: float = 1.1,
    connections: int = 15,
    gain: float = 1.0,
) -> Tensor:
    """Fill a recurrent weight matrix (H, H) in place and return it.

    Args:
        weight: the matrix W of h_t = phi(W h_{t-1} + ...), shape (H, H).
        method: "uniform" (PyTorch's U(-1/sqrt(H), 1/sqrt(H))), "echo-state" (`connections` normal weights
            into each unit, scaled to `spectral_radius`; for tanh), "identity" or "orthogonal" (both times
            `gain`; for rectifiers).
        generator: the source of randomness.
        spectral_radius: largest absolute eigenvalue of an echo-state matrix.
        connections: incoming connections of each unit of an echo-state matrix (all, if H is smaller).
        gain: scale of the identity or the orthogonal matrix.

    Example:
        >>> w = initialize_recurrent_(torch.empty(50, 50), "echo-state", spectral_radius=0.9,
        ...                           generator=torch.Generator().manual_seed(0))
        >>> round(torch.linalg.eigvals(w).abs().max().item(), 3), int((w[0] != 0).sum())
        (0.9, 15)
    """
    hidden = weight.shape[0]
    with torch.no_grad():
        match method:
            case "uniform":
                bound = 1 / math.sqrt(hidden)
                return weight.uniform_(-bound, bound, generator=generator)
            case "echo-state":
                return weight.copy_(_echo_state(weight, generator, spectral_radius, connections))
            case "identity":
                return torch.nn.init.eye_(weight).mul_(gain)
            case "orthogonal":
                return torch.nn.init.orthogonal_(weight, gain, generator=generator)
    raise ValueError(f"initialization must be one of {', '.join(INITIALIZATIONS)}, got {method!r}")


def _echo_state(
    like: Tensor, generator: torch.Generator | None, spectral_radius: float, connections: int
) -> Tensor:
    hidden = like.shape[0]
    dense = torch.empty(hidden, hidden, device=like.device, dtype=torch.float64).normal_(generator=generator)
    order = torch.empty_like(dense).uniform_(generator=generator)
    chosen = order.argsort(1)[:, : min(connections, hidden)]
    sparse = torch.zeros_like(dense).scatter_(1, chosen, dense.gather(1, chosen))
    radius = torch.linalg.eigvals(sparse).abs().max()
    # a nilpotent draw (tiny H) has no spectrum to scale
    return sparse if radius == 0 else sparse * (spectral_radius / radius)


def sample_leak(
    hidden_size: int,
    fraction: float,
    low: float,
    high: float,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Leaks a for `fraction` of the units, uniform in [low, high]; the other units have a = 0.

    a is the share of the OLD state that is kept: h_t = a h_{t-1} + (1 - a) phi(...), one minus the "leak
    rate" of the echo-state literature. The paper prints the range [0.02, 0.2], which makes fast units, and
    describes slow ones, which [0.8, 0.98] makes; both can be asked for.

    Args:
        hidden_size: the number of units, H.
        fraction: share of leaky units; round(fraction * H) of them, at random places.
        low: smallest leak, at least 0.
        high: largest leak, below 1.
        generator: the source of randomness.
        dtype: of the result; the default type if None.

    Returns:
        Leaks, shape (H,).

    Example:
        >>> a = sample_leak(8, 0.5, 0.8, 0.98, generator=torch.Generator().manual_seed(0))
        >>> int((a > 0).sum()), bool(((a == 0) | ((a >= 0.8) & (a <= 0.98))).all())
        (4, True)
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of leaky units must lie in [0, 1], got {fraction}")
    if not 0 <= low <= high < 1:
        raise ValueError(f"a leak range must satisfy 0 <= low <= high < 1, got [{low}, {high}]")
    leak = torch.zeros(hidden_size, dtype=dtype)
    chosen = torch.randperm(hidden_size, generator=generator)[: round(fraction * hidden_size)]
    leak[chosen] = torch.empty(len(chosen), dtype=leak.dtype).uniform_(low, high, generator=generator)
    return leak
