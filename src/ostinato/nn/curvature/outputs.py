"""What Gauss-Newton products need of an output layer, kept for one point: products with its J^T H J.

J is the derivative of the layer's natural parameters (logits) by the hidden state and the layer's own
parameters, H the Hessian of -log p there: positive semi-definite, since -log p of an exponential family is
convex in its natural parameters. Shapes: N frames, H hidden, K natural parameters of a frame.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class LinearizedOutput(Protocol):
    """An output layer at one point."""

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """J^T H J applied to a change of the hidden states (N, H) and of the layer's parameters by name.

        Parameters that `tangents` leaves out do not change, and get nothing back.
        """


@dataclass(frozen=True)
class AffineCurvature:
    """The curvature of any output whose natural parameters are z = W h + b.

    Arguments:
        hidden: h, shape (N, H).
        weight: W, shape (K, H).
        hessian: changes of z (N, K) -> H times them (N, K), frame by frame; may write over its argument.

    Example:
        >>> curvature = AffineCurvature(torch.ones(1, 1), torch.full((1, 1), 2.0), lambda dz: 10 * dz)
        >>> curvature.product(torch.ones(1, 1), {"bias": torch.tensor([1.0])})
        (tensor([[60.]]), {'bias': tensor([30.])})
    """

    hidden: Tensor
    weight: Tensor
    hessian: Callable[[Tensor], Tensor]

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`."""
        if "bias" in tangents:
            change = torch.addmm(tangents["bias"], hidden_tangent, self.weight.T)
        else:
            change = hidden_tangent @ self.weight.T
        if "weight" in tangents:
            change.addmm_(self.hidden, tangents["weight"].T)
        curved = self.hessian(change)
        back = {}
        if "weight" in tangents:
            back["weight"] = curved.T @ self.hidden
        if "bias" in tangents:
            back["bias"] = curved.sum(0)
        return curved @ self.weight, back


def softmax_hessian(probabilities: Tensor) -> Callable[[Tensor], Tensor]:
    """dz -> (diag(p) - p p^T) dz for probabilities (N, K): the Hessian of -log softmax, frame by frame.

    Example:
        >>> softmax_hessian(torch.tensor([[0.5, 0.5]]))(torch.tensor([[1.0, 0.0]]))
        tensor([[ 0.2500, -0.2500]])
    """

    def product(change: Tensor) -> Tensor:
        curved = change.mul_(probabilities)
        return curved.sub_(probabilities * curved.sum(1, keepdim=True))

    return product


@dataclass(frozen=True)
class ClassPart:
    """The tokens of one class: which rows they are, which ids the class has, and its curvature there."""

    rows: Tensor
    ids: slice
    curvature: AffineCurvature


@dataclass(frozen=True)
class ClassCurvature:
    """The curvature of a class-factored softmax: that of the class, and of the token within the true class.

    Arguments:
        classes: of the softmax over classes, on all rows.
        parts: of the softmax within each class that occurs, on the rows of its tokens.
        vocabulary_size: V.
    """

    classes: AffineCurvature
    parts: tuple[ClassPart, ...]
    vocabulary_size: int

    def product(
        self, hidden_tangent: Tensor, tangents: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `LinearizedOutput`."""
        of_class = {k.removeprefix("class_"): v for k, v in tangents.items() if k.startswith("class_")}
        hidden, back_class = self.classes.product(hidden_tangent, of_class)
        back = {f"class_{name}": x for name, x in back_class.items()}
        words = {name: tangents[name] for name in ("weight", "bias") if name in tangents}
        back |= {name: torch.zeros_like(x) for name, x in words.items()}
        for part in self.parts:
            own = {name: x[part.ids] for name, x in words.items()}
            passed, given = part.curvature.product(hidden_tangent.index_select(0, part.rows), own)
            hidden.index_add_(0, part.rows, passed)
            for name, x in given.items():
                back[name][part.ids] = x
        return hidden, back
