"""Tensors whose gradients are no function of them: those of a loss that was drawn at random under them.

Contrastive divergence takes frames drawn by a model as given. Its gradient estimates that of -log p; but to
differentiate it again would treat the frames as if they did not depend on the model, and leave out a term as
large as the rest. It is refused instead.
"""

from typing import Any

import torch
from torch import Tensor

MEANING = (
    "contrastive divergence has no second derivatives: the frames that it draws depend on the parameters; "
    "take those of `nll`, of an RBM whose smaller layer has at most 20 units"
)


def first_order(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The same tensors; their gradients cannot be differentiated.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> (gradient,) = torch.autograd.grad(first_order(x)[0].square(), x, create_graph=True)
        >>> gradient.detach()
        tensor([2.])
        >>> gradient.backward()
        Traceback (most recent call last):
        ...
        NotImplementedError: contrastive divergence has no second derivatives: ...
    """
    return tuple(_FirstOrder.apply(*tensors))


class _FirstOrder(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        if not torch.is_grad_enabled():
            return gradients
        return tuple(_Refused.apply(*gradients, *ctx.saved_tensors))[: len(gradients)]

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.view_as(x) for x in tangents)


class _Refused(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(MEANING)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(MEANING)
