"""Any recurrence at one point, ready for Gauss-Newton products, by differentiating it twice.

Shapes: T time, B streams, H hidden.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ostinato.nn.cells.dropping import acting
from ostinato.nn.cells.protocol import Tangents
from ostinato.nn.cells.state import State


class LinearizedByAutograd:
    """The outputs of a recurrence as a function of its parameters, their derivative and its transpose.

        J^T w  by reverse differentiation of the outputs, w at them
        J v    as the derivative of J^T w by w, in which it is linear, with v at it

    Both graphs are made once and kept, so a product is one walk through each; they take the memory of a
    training step of this minibatch several times over. A cell needs no more than derivatives of second order
    to have curvature this way.

    The structural term holds back the outputs: weight / 2 times their squared change. (Units of an `RNN` have
    a cost that depends on their nonlinearity; there is none for a product of gates.)

    Source of J v by reverse differentiation only: J. Townsend 2017, "A new trick for calculating Jacobian
    vector products".

    Args:
        module: a `Recurrence` that takes time first.
        input, hx, starts: as it takes them; the state before the first step is a constant.

    Example:
        >>> from ostinato.nn.cells import GRU
        >>> point = LinearizedByAutograd(GRU(2, 3), torch.ones(4, 1, 2))
        >>> point.tangent({"bias_ih_l0": torch.ones(9)})[0].shape
        torch.Size([4, 1, 3])
    """

    def __init__(
        self, module: nn.Module, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> None:
        if getattr(module, "batch_first", False):
            raise ValueError(
                f"expected a {type(module).__name__} that takes time first, found batch_first=True"
            )
        if acting(module):
            raise ValueError("a product needs the same network every time: no dropout in training mode")
        with torch.enable_grad():
            # Copies: an optimizer may move the parameters in place and back between two products. Views of
            # them, as no leaf's gradient is sparse where it goes on through a graph.
            self._parameters = {
                name: p.detach().clone().requires_grad_().view_as(p) for name, p in module.named_parameters()
            }
            self._outputs: list[Tensor]
            self._outputs, _ = functional_call(
                module, self._parameters, (input, hx, starts), {"all_layers": True}
            )
            self._upstream = [torch.zeros_like(out).requires_grad_() for out in self._outputs]
            backward = torch.autograd.grad(
                self._outputs,
                list(self._parameters.values()),
                self._upstream,
                create_graph=True,
                materialize_grads=True,
            )
            self._backward = dict(zip(self._parameters, backward, strict=True))

    @property
    def outputs(self) -> Tensor:
        """The outputs of the last layer, (T, B, H)."""
        return self._outputs[-1].detach()

    def tangent(self, tangents: Tangents) -> list[Tensor]:
        """How the outputs (T, B, H) of each layer change with the parameters."""
        moved = [name for name in tangents if self._backward[name].requires_grad]
        if not moved:
            return [torch.zeros_like(out) for out in self._upstream]
        changes = torch.autograd.grad(
            [self._backward[name] for name in moved],
            self._upstream,
            [tangents[name] for name in moved],
            retain_graph=True,
            materialize_grads=True,
        )
        return list(changes)

    def structural(
        self, changes: list[Tensor], tangents: Tangents, weight: float, mask: Tensor | None
    ) -> list[Tensor]:
        """`weight` times the change of every layer's outputs, in the frames that count."""
        terms = [weight * change for change in changes]
        return terms if mask is None else [term.masked_fill_(~mask.unsqueeze(-1), 0) for term in terms]

    def adjoint(
        self, grad_outputs: Tensor, structural: list[Tensor] | None, tangents: Tangents
    ) -> dict[str, Tensor]:
        """What G at the last layer's outputs, and the structural term at all layers', give parameters."""
        if structural is None:
            given, upstream = self._outputs[-1:], [grad_outputs]
        else:
            given, upstream = self._outputs, [*structural[:-1], structural[-1] + grad_outputs]
        if not tangents:
            return {}
        back = torch.autograd.grad(
            given,
            [self._parameters[name] for name in tangents],
            upstream,
            retain_graph=True,
            materialize_grads=True,
        )
        return dict(zip(tangents, back, strict=True))
