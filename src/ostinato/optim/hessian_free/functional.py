"""The operator of any `nn.Module` whose outputs feed a convex loss, by `torch.func`.

Shapes: P parameters.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vjp

from ostinato.optim.hessian_free.operator import flatten, unflatten


class ModuleOperator:
    """Loss, gradient and Gauss-Newton products of `loss(module(*inputs))`.

        G v = J^T H J v,   J the Jacobian of the outputs, H the Hessian of the loss at the outputs

    H is positive semi-definite, and so is G, where the loss is convex in the outputs: put the last
    nonlinearity into the loss (logits, not probabilities). The module must compute the same outputs twice:
    no dropout, no batch statistics in training mode.

    Args:
        module: anything whose trained parameters are those given to the optimizer, in the same order.
        inputs: what to call the module with, for loss and gradient.
        loss: a twice differentiable, convex function of the module's output, with a scalar value.
        curvature_inputs: a smaller minibatch for the curvature; the same by default.
        curvature_loss: the loss on it (its targets differ); the same by default.

    Example:
        >>> module = nn.Linear(2, 1, bias=False)
        >>> x, y = torch.eye(2), torch.tensor([[1.0], [2.0]])
        >>> operator = ModuleOperator(module, (x,), lambda z: (z - y).square().sum())
        >>> _ = operator.gradient()
        >>> operator.curvature(torch.tensor([1.0, 0.0]))
        tensor([2., 0.])
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[Any, ...],
        loss: Callable[[Any], Tensor],
        *,
        curvature_inputs: tuple[Any, ...] | None = None,
        curvature_loss: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.module, self.inputs, self._loss = module, inputs, loss
        self._curvature_inputs = inputs if curvature_inputs is None else curvature_inputs
        self._curvature_loss = loss if curvature_loss is None else curvature_loss
        self._linear: tuple[Callable[..., Any], Callable[..., Any], Callable[[Tensor], Tensor]] | None = None

    def _trained(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.module.named_parameters() if p.requires_grad}

    def loss(self) -> float:
        """The loss at the parameters as they are now."""
        with torch.no_grad():
            return float(self._loss(self.module(*self.inputs)))

    def gradient(self) -> Tensor:
        """The gradient, shape (P,); curvature products belong to these parameters from now on."""
        self._linear = None
        parameters = list(self._trained().values())
        with torch.enable_grad():
            value = self._loss(self.module(*self.inputs))
            return flatten(torch.autograd.grad(value, parameters, materialize_grads=True))

    def curvature(self, vector: Tensor, structural: float = 0.0) -> Tensor:
        """G v, shape (P,); there is no structural term for an unknown module."""
        if structural:
            raise ValueError("structural damping needs an operator that knows the hidden units")
        if self._linear is None:
            self._linear = self._linearize()
        forward, backward, hessian = self._linear
        trained = self._trained()
        tangents = dict(zip(trained, unflatten(vector, trained.values()), strict=True))
        (cotangents,) = backward(hessian(forward(tangents)))
        return flatten(cotangents[name] for name in trained)

    def _linearize(self) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[Tensor], Tensor]]:
        point = {name: p.detach().clone() for name, p in self._trained().items()}

        def outputs_of(parameters: dict[str, Tensor]) -> Any:
            return functional_call(self.module, parameters, self._curvature_inputs)

        outputs, backward, *_ = vjp(outputs_of, point)

        def forward(tangents: dict[str, Tensor]) -> Any:
            return jvp(outputs_of, (point,), (tangents,))[1]

        def hessian(tangent: Tensor) -> Tensor:
            product: Tensor = jvp(grad(self._curvature_loss), (outputs,), (tangent,))[1]
            return product

        return forward, backward, hessian
