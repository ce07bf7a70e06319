"""The time constants of a rate network: fixed, or learned within bounds that no optimizer can leave.

    tau = low + (high - low) sigmoid(s)

The sum is held within [low, high] as well, which rounding could leave by its last bit.

Shape: H hidden.
"""

from typing import Any

import torch
from torch import Tensor


def bounded(logit: Tensor, low: float, high: float) -> Tensor:
    """tau of s, which has any shape.

    Example:
        >>> bounded(torch.tensor([-1e4, 0.0, 1e4]), 20.0, 100.0)
        tensor([ 20.,  60., 100.])
    """
    return (low + (high - low) * torch.sigmoid(logit)).clamp(low, high)


def logit_of(tau: Tensor, low: float, high: float) -> Tensor:
    """s of tau, which lies between low and high; one at a bound counts as the nearest that learns still.

    Example:
        >>> bounded(logit_of(torch.tensor([40.0, 60.0]), 20.0, 100.0), 20.0, 100.0)
        tensor([40., 60.])
    """
    margin = torch.finfo(tau.dtype).eps ** 0.5
    share = ((tau.double() - low) / (high - low)).clamp(margin, 1 - margin)
    return torch.logit(share).to(tau.dtype)


def as_numbers(name: str, values: Any, hidden: int, like: Tensor) -> Tensor:
    """A number, or one for each unit, as a tensor () or (H,) of its own, of the type of `like`.

    Raises:
        ValueError: it is neither.

    Example:
        >>> as_numbers("tau", [20, 100], 2, torch.empty(0))
        tensor([ 20., 100.])
    """
    try:
        tensor = torch.as_tensor(values, dtype=like.dtype, device=like.device).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        tensor = None
    if tensor is None or isinstance(values, str):
        raise ValueError(f"{name} must be a number or numbers of shape ({hidden},), got {values!r}")
    if tuple(tensor.shape) not in ((), (hidden,)):
        raise ValueError(f"{name} must be a number or have shape ({hidden},), got {tuple(tensor.shape)}")
    return tensor


def checked_step(dt: Any) -> float:
    """dt, above 0.

    Raises:
        ValueError: it is no such number.
    """
    try:
        number = float(dt)
    except (TypeError, ValueError):
        raise ValueError(f"dt must be a number above 0, got {dt!r}") from None
    if not 0 < number < float("inf"):
        raise ValueError(f"dt must be above 0, and finite, got {number}")
    return number


def checked(tau: Any, dt: float, hidden: int, like: Tensor) -> Tensor:
    """Time constants (H,), each at least dt.

    Raises:
        ValueError: one of them is below dt or not finite, or their number is another.

    Example:
        >>> checked(100.0, 20.0, 2, torch.empty(0))
        tensor([100., 100.])
    """
    tensor = as_numbers("tau", tau, hidden, like)
    if tensor.dim() == 0:
        tensor = tensor.expand(hidden).clone()
    if not tensor.is_meta and not bool((torch.isfinite(tensor) & (tensor >= dt)).all()):
        raise ValueError(
            f"every tau must be finite and at least dt = {dt}, since a = dt / tau is at most 1, got "
            f"{float(tensor.min()):g} to {float(tensor.max()):g}"
        )
    return tensor


def checked_bounds(bounds: Any, tau: Tensor, dt: float) -> tuple[float, float]:
    """Bounds (low, high) of a learned tau.

    Raises:
        ValueError: they are not dt <= low < high, or a tau lies outside of them.
    """
    try:
        low, high = map(float, bounds)
    except (TypeError, ValueError):
        raise ValueError(f"tau_bounds must be two numbers (low, high), got {bounds!r}") from None
    if not dt <= low < high < float("inf"):
        raise ValueError(f"tau_bounds must be finite, dt <= low < high with dt = {dt}, got ({low}, {high})")
    if not tau.is_meta and not bool(((tau >= low) & (tau <= high)).all()):
        raise ValueError(
            f"every tau must lie in tau_bounds = [{low}, {high}], got {float(tau.min()):g} to "
            f"{float(tau.max()):g}"
        )
    return low, high
