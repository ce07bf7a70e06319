"""Weights that are kept from growing: after every update the largest singular value is at most a bound."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe
from ostinato.training.groups import PREFIXES


class Bound:
    """The largest singular value of some matrices is at most `bound`.

        W <- W min(1, bound / sigma),  sigma = ||W||_2, the largest singular value

    With rectifiers and ||W_hh||_2 <= 1 two states never drift apart (||phi(W h) - phi(W h')|| <= ||h - h'||),
    and a state grows by no more than its input in a step, however long the sequence: one update at a high
    rate cannot make it grow by a factor a step.

    Source: projection after the step onto a norm ball, here of the spectral norm; Yoshida & Miyato 2017
    ("Spectral norm regularization") penalise the same norm.

    Args:
        weights: matrices (H, I).
        bound: above 0.

    Example:
        >>> weight = torch.nn.Parameter(torch.diag(torch.tensor([2.0, 1.0])))
        >>> Bound([weight], 1.0).apply()
        >>> weight.diagonal().tolist()
        [1.0, 0.5]
    """

    def __init__(self, weights: Iterable[Tensor], bound: float) -> None:
        self.weights, self.bound = list(weights), bound

    @torch.no_grad()
    def apply(self) -> None:
        """Scale those that are too large; one that is not finite stays as it is."""
        for weight in self.weights:
            gram = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
            if not torch.isfinite(gram).all():
                continue
            # of the symmetric product: a third of the time of the singular values themselves
            largest = float(torch.linalg.eigvalsh(gram)[-1].clamp(min=0).sqrt())
            if largest > self.bound:
                weight.mul_(self.bound / largest)


def bounds(recipe: Recipe, model: SequenceModel) -> list[Bound]:
    """What the recipe's declarations keep within bounds.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import Bernoulli
        >>> model = SequenceModel(RNN(3, 4), Bernoulli(4, 3))
        >>> [found] = bounds(Recipe.parse("SGD", recurrent_norm=1.0), model)
        >>> [tuple(weight.shape) for weight in found.weights], bounds(Recipe.parse("SGD"), model)
        ([(4, 4)], [])
    """
    found = []
    for declared, prefix in zip(recipe.declared(), PREFIXES, strict=True):
        for setting, patterns in declared.norms.items():
            bound = recipe.get(setting, "none")
            if bound != "none":
                fitting = [
                    parameter
                    for name, parameter in model.named_parameters()
                    if name.startswith(prefix)
                    and any(fnmatchcase(name.removeprefix(prefix), pattern) for pattern in patterns)
                ]
                found.append(Bound(fitting, bound))
    return found
