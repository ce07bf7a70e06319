"""Weights, biases and frames of NADE with their notes in the order of drawing, or in another one.

Shapes: V notes, J hidden units, N frames; an order is (V,) int64, or None for the order they are in.
"""

import torch
from torch import Tensor


def order_rows(weight: Tensor, order: Tensor | None) -> Tensor:
    """Encoder or decoder (V, J) with its notes in this order."""
    return weight if order is None else weight[order]


def order_frames(values: Tensor, order: Tensor | None) -> Tensor:
    """Frames (..., V) with their notes in this order."""
    return values if order is None else values[..., order]


def order_biases(biases: Tensor, order: Tensor | None) -> Tensor:
    """[b, c] of every frame (N, V + J), b in this order.

    Example:
        >>> order_biases(torch.tensor([[1, 2, 3]]), torch.tensor([1, 0]))
        tensor([[2, 1, 3]])
    """
    if order is None:
        return biases
    tail = torch.arange(len(order), biases.shape[1], device=order.device)
    return biases[:, torch.cat([order, tail])]
