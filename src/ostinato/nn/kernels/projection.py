"""The input's share of the pre-activation, `U x + b`, for real, binary and token inputs.

Shapes: N frames (any leading shape), I inputs, H hidden. A binary frame or a token picks columns of U, so
neither is turned into a dense floating-point array of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TOKEN_TYPES = (torch.int64, torch.int32)


def project(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`weight @ x + bias` for every frame, shape (..., H).

    Args:
        inputs: real frames (..., I) of weight's type, binary frames (..., I) as uint8 or bool, or token
            ids (...) as int64 or int32, each in [0, I).
        weight: U, shape (H, I).
        bias: b, shape (H,), or None.

    Example:
        >>> weight = torch.tensor([[1.0, 10.0, 100.0]])
        >>> project(torch.tensor([[1, 0, 1]], dtype=torch.uint8), weight, None)
        tensor([[101.]])
        >>> project(torch.tensor([2]), weight, None)
        tensor([[100.]])
    """
    if inputs.dtype in TOKEN_TYPES:
        drive = F.embedding(inputs, weight.T)
        return drive if bias is None else drive + bias
    if inputs.dtype in (torch.uint8, torch.bool):
        inputs = inputs.to(weight.dtype)
    return F.linear(inputs, weight, bias)


def sum_of_biases(bias: Tensor | None, second_bias: Tensor | None) -> Tensor | None:
    """`bias + second_bias`, each of shape (H,) or None, which counts as zero; None where both are.

    Example:
        >>> sum_of_biases(torch.tensor([1.0]), None), sum_of_biases(torch.ones(1), torch.ones(1))
        (tensor([1.]), tensor([2.]))
    """
    if bias is None or second_bias is None:
        return second_bias if bias is None else bias
    return bias + second_bias


def embed(tokens: Tensor, rows: Tensor, bias: Tensor | None, *, sparse: bool = False) -> Tensor:
    """`project` for tokens and a weight that is stored transposed, so that a token's weights lie together.

    Args:
        tokens: ids (...), each in [0, I).
        rows: the transpose of U, shape (I, H).
        bias: b, shape (H,), or None.
        sparse: whether the gradient of `rows` is sparse: the rows of the tokens that occurred.

    Example:
        >>> embed(torch.tensor([2]), torch.tensor([[1.0], [10.0], [100.0]]), None)
        tensor([[100.]])
    """
    drive = F.embedding(tokens, rows, sparse=sparse)
    return drive if bias is None else drive + bias
