"""What one use of a parameter contributes to the gradient of each stream: norms, and weighted sums.

See `ostinato.nn.kernels.by_stream`, which collects them; letters as there.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Part(Protocol):
    """What one use of a parameter contributes to every stream's gradient of it."""

    def squares(self, dtype: torch.dtype) -> Tensor:
        """The squared norm of each stream's gradient (B,)."""

    def inner(self, values: Tensor) -> Tensor:
        """The inner product of each stream's gradient with `values`, (B,)."""

    def weighted(self, factors: Tensor) -> Tensor:
        """The sum of the streams' gradients, each times its factor (B,)."""


class Dense:
    """Every stream's gradient itself, (B, ...)."""

    def __init__(self, gradients: Tensor) -> None:
        self.gradients = gradients

    def squares(self, dtype: torch.dtype) -> Tensor:
        """See `Part`."""
        return torch.linalg.vector_norm(self.gradients.flatten(1), dim=1, dtype=dtype).square()

    def inner(self, values: Tensor) -> Tensor:
        """See `Part`."""
        return self.gradients.flatten(1) @ values.flatten()

    def weighted(self, factors: Tensor) -> Tensor:
        """See `Part`."""
        return (factors @ self.gradients.flatten(1)).view(self.gradients.shape[1:])


class Product:
    """sum_t left_t right_t^T of each stream, left (T, B, O) and right (T, B, I), not multiplied out."""

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left, self.right = left, right

    def squares(self, dtype: torch.dtype) -> Tensor:
        """See `Part`."""
        left, right = (x.transpose(0, 1).to(dtype) for x in (self.left, self.right))
        return ((left @ left.mT) * (right @ right.mT)).sum((1, 2)).clamp_(min=0)

    def inner(self, values: Tensor) -> Tensor:
        """See `Part`."""
        return (self.left * (self.right @ values.mT)).sum((0, 2))

    def weighted(self, factors: Tensor) -> Tensor:
        """See `Part`."""
        scaled = self.left * factors.view(1, -1, 1)
        return (self.right.flatten(0, 1).T @ scaled.flatten(0, 1)).T


class Rows:
    """Each stream's gradient of the rows (V, H) that its tokens (T, B) picked, `delta` (T, B, H) of each."""

    def __init__(self, tokens: Tensor, delta: Tensor, rows: Tensor, sparse: bool) -> None:
        self.tokens, self.delta, self.shape, self.sparse = tokens, delta, rows.shape, sparse

    def squares(self, dtype: torch.dtype) -> Tensor:
        """See `Part`; a row that was read twice gets the sum of both."""
        tokens, delta = self.tokens.T, self.delta.transpose(0, 1).to(dtype)
        same = tokens.unsqueeze(2) == tokens.unsqueeze(1)
        return ((delta @ delta.mT) * same).sum((1, 2)).clamp_(min=0)

    def inner(self, values: Tensor) -> Tensor:
        """See `Part`."""
        return (self.delta * F.embedding(self.tokens, values)).sum((0, 2))

    def weighted(self, factors: Tensor) -> Tensor:
        """See `Part`."""
        scaled = (self.delta * factors.view(1, -1, 1)).flatten(0, 1)
        tokens = self.tokens.flatten()
        if self.sparse:
            return torch.sparse_coo_tensor(tokens.unsqueeze(0), scaled, self.shape, check_invariants=False)
        return scaled.new_zeros(self.shape).index_add_(0, tokens, scaled)


class Grouped:
    """Frames in groups, each of which reaches some rows of a weight (V, I) alone: those of a class of tokens.

    Args:
        groups: of each the rows, `left` (n, rows), `right` (n, I) and the stream of each of its n frames.
        shape: of the weight.
        streams: B.
    """

    def __init__(
        self, groups: Sequence[tuple[slice, Tensor, Tensor, Tensor]], shape: torch.Size, streams: int
    ) -> None:
        self.groups, self.shape, self.streams = groups, shape, streams

    def squares(self, dtype: torch.dtype) -> Tensor:
        """See `Part`."""
        total = torch.zeros(self.streams, dtype=dtype, device=self.groups[0][1].device)
        for _, own, inputs, of in self.groups:
            left, right = own.to(dtype), inputs.to(dtype)
            gram = (left @ left.T) * (right @ right.T)
            total.index_add_(0, of, (gram * (of.unsqueeze(0) == of.unsqueeze(1))).sum(1))
        return total.clamp_(min=0)

    def inner(self, values: Tensor) -> Tensor:
        """See `Part`."""
        total = values.new_zeros(self.streams)
        for rows, left, right, of in self.groups:
            total.index_add_(0, of, (left * (right @ values[rows].T)).sum(1))
        return total

    def weighted(self, factors: Tensor) -> Tensor:
        """See `Part`."""
        made = self.groups[0][1].new_zeros(self.shape)
        for rows, left, right, of in self.groups:
            torch.mm((left * factors[of].unsqueeze(1)).T, right, out=made[rows])
        return made


def alike(parts: Sequence[Part]) -> bool:
    """Whether several uses of a parameter can be put together."""
    return any(all(isinstance(part, kind) for part in parts) for kind in (Dense, Product))


def as_one(parts: Sequence[Any]) -> Sequence[Part]:
    """The parts of one parameter as one: gradients must be added before they are squared."""
    if len(parts) < 2:
        return parts
    if isinstance(parts[0], Product):
        return [Product(torch.cat([p.left for p in parts]), torch.cat([p.right for p in parts]))]
    return [Dense(torch.stack([p.gradients for p in parts]).sum(0))]
