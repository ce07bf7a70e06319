"""What Hessian-free optimisation asks of a model: its loss, its gradient and its curvature times a vector.

Shapes: P, all parameters that are trained, one after another in one vector.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor


class CurvatureOperator(Protocol):
    """The loss of one minibatch as a function of P parameters, and its Gauss-Newton matrix.

    The matrix belongs to the parameters at which `gradient` was last called: an operator may keep what all
    products of one conjugate-gradient run share, and expects the parameters to be back there when it is asked
    for one. `structural` is the weight of a further positive
    semi-definite term, which holds back the change of hidden units; an operator that has none is never
    asked for one unless the optimizer was given `structural_damping`.

    Two further methods are asked for where they are there: `parameters()`, the tensors that the vectors are
    made of, in order, which the optimizer then goes by and checks its own against; and, for a preconditioner,
    `squared_gradient()`, of shape (P,).
    """

    def loss(self) -> float:
        """The loss at the parameters as they are now."""

    def gradient(self) -> Tensor:
        """The gradient at the parameters as they are now, shape (P,)."""

    def curvature(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        """G v + structural * S v, with G the Gauss-Newton matrix, undamped; shape (P,)."""


def flatten(tensors: Iterable[Tensor]) -> Tensor:
    """The tensors' elements in one new vector; gradients of an embedding may be sparse.

    Example:
        >>> flatten([torch.eye(2), torch.tensor([5.0])])
        tensor([1., 0., 0., 1., 5.])
    """
    return torch.cat([dense(tensor).detach().reshape(-1) for tensor in tensors])


def dense(x: Tensor) -> Tensor:
    """The tensor itself, or what a sparse one stands for."""
    return x.to_dense() if x.is_sparse else x


def unflatten(vector: Tensor, like: Iterable[Tensor]) -> list[Tensor]:
    """Parts of the vector, as views in the shapes of the tensors `like`.

    Example:
        >>> unflatten(torch.arange(3.0), [torch.zeros(1, 2), torch.zeros(1)])
        [tensor([[0., 1.]]), tensor([2.])]
    """
    shapes = [tensor.shape for tensor in like]
    if vector.shape != (total := sum(shape.numel() for shape in shapes),):
        raise ValueError(f"expected a vector of {total} elements, found shape {tuple(vector.shape)}")
    parts = vector.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
