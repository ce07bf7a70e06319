"""What rates cost: to be added to a loss, so that few units fire, and little.

Shapes: T time, B streams, H hidden.
"""

import math

import torch
from torch import Tensor


def rate_penalty(rates: Tensor, *, l1: float = 0.0, l2: float = 0.0, mask: Tensor | None = None) -> Tensor:
    """`l1 mean |r| + l2 mean r^2` over all units of the frames that count.

    Args:
        rates: r, (T, B, H), or of any other leading shape.
        l1, l2: the weights of the two terms, at least 0.
        mask: boolean, the leading shape of `rates`: the frames that count; all, if None.

    Returns:
        A number, differentiable by the rates.

    Raises:
        ValueError: a weight is negative, or the mask has another shape or no frame.

    Example:
        >>> float(rate_penalty(torch.tensor([[1.0, -3.0]]), l1=1.0, l2=0.1))
        2.5
    """
    if not (0 <= l1 < math.inf and 0 <= l2 < math.inf):
        raise ValueError(f"l1 and l2 must be at least 0, and finite, got {l1} and {l2}")
    if mask is not None:
        if mask.dtype is not torch.bool or mask.shape != rates.shape[:-1]:
            raise ValueError(
                f"mask must be boolean of shape {tuple(rates.shape[:-1])}, got {mask.dtype} "
                f"{tuple(mask.shape)}"
            )
        rates = rates[mask]
        if not len(rates):
            raise ValueError("mask must have a frame that counts, got none")
    return l1 * rates.abs().mean() + l2 * rates.square().mean()
