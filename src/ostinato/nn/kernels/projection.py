"""The input's share of the pre-activation, `U x + b`, for real, binary and token inputs.

Shapes: N frames (any leading shape), I inputs, H hidden. A binary frame or a token picks columns of U, so
neither is turned into a dense floating-point array of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.kernels.autocast import in_widest_type
from ostinato.nn.kernels.by_stream import affine, embedding, recorder, shifted

TOKEN_TYPES = (torch.int64, torch.int32)


@in_widest_type
def project(inputs: Tensor, weight: Tensor, bias: Tensor | None, second_bias: Tensor | None = None) -> Tensor:
    """`weight @ x + bias` for every frame, shape (..., H).

    Args:
        inputs: real frames (..., I) of weight's type, binary frames (..., I) as uint8 or bool, or token
            ids (...) as int64 or int32, each in [0, I).
        weight: U, shape (H, I).
        bias: b, shape (H,), or None.
        second_bias: added to it.

    Example:
        >>> weight = torch.tensor([[1.0, 10.0, 100.0]])
        >>> project(torch.tensor([[1, 0, 1]], dtype=torch.uint8), weight, None)
        tensor([[101.]])
        >>> project(torch.tensor([2]), weight, None)
        tensor([[100.]])
    """
    if inputs.dtype in TOKEN_TYPES:
        return with_biases(F.embedding(inputs, weight.T), bias, second_bias)
    if inputs.dtype in (torch.uint8, torch.bool):
        inputs = inputs.to(weight.dtype)
    if recorder(weight, bias, second_bias) is not None:
        return shifted(affine(inputs, weight, bias), second_bias)
    return F.linear(inputs, weight, sum_of_biases(bias, second_bias))


def with_biases(drive: Tensor, bias: Tensor | None, second_bias: Tensor | None) -> Tensor:
    """`drive + bias + second_bias` of every frame (..., H); a bias that is None counts as zero."""
    if recorder(bias, second_bias) is not None:
        return shifted(shifted(drive, bias), second_bias)
    both = sum_of_biases(bias, second_bias)
    return drive if both is None else drive + both


def sum_of_biases(bias: Tensor | None, second_bias: Tensor | None) -> Tensor | None:
    """`bias + second_bias`, each of shape (H,) or None, which counts as zero; None where both are.

    Example:
        >>> sum_of_biases(torch.tensor([1.0]), None), sum_of_biases(torch.ones(1), torch.ones(1))
        (tensor([1.]), tensor([2.]))
    """
    if bias is None or second_bias is None:
        return second_bias if bias is None else bias
    return bias + second_bias


@in_widest_type
def embed(
    tokens: Tensor,
    rows: Tensor,
    bias: Tensor | None,
    second_bias: Tensor | None = None,
    *,
    sparse: bool = False,
) -> Tensor:
    """`project` for tokens and a weight that is stored transposed, so that a token's weights lie together.

    Args:
        tokens: ids (...), each in [0, I).
        rows: the transpose of U, shape (I, H).
        bias: b, shape (H,), or None.
        second_bias: added to it.
        sparse: whether the gradient of `rows` is sparse: the rows of the tokens that occurred.

    Example:
        >>> embed(torch.tensor([2]), torch.tensor([[1.0], [10.0], [100.0]]), None)
        tensor([[100.]])
    """
    return with_biases(embedding(tokens, rows, sparse=sparse), bias, second_bias)
