"""Parameters by how they learn: at which rate, and whether weight decay acts on them."""

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe

# What names of parameters stand behind: of a domain, an output, a cell and an optimizer, as
# `Recipe.declared` gives them.
PREFIXES = ("", "output.", "rnn.", "")


def parameter_groups(recipe: Recipe, model: SequenceModel) -> list[dict[str, Any]]:
    """Groups for an optimizer as the recipe's declarations ask for them, the recipe's own rate first.

    The gradient is a mean over the steps of a minibatch. A weight that has a part in few of these means, such
    as a word's embedding, would hardly move at the rate that the rest of the model can bear.

    Raises:
        ValueError: a declaration names parameters that the model does not have.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs import ClassSoftmax
        >>> recipe = Recipe.parse(None, domain="words", learning_rate=0.5, embedding_rate=10.0)
        >>> model = SequenceModel(RNN(9, 4, token_inputs=True), ClassSoftmax(4, [4, 5]))
        >>> [(len(group["params"]), group["lr"]) for group in parameter_groups(recipe, model)]
        [(5, 0.5), (3, 5.0)]
    """
    # a parameter that two modules share goes by both names, and learns at the product of both rates
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    factors, exempt = dict.fromkeys(names, 1.0), set()
    for declared, prefix in zip(recipe.declared(), PREFIXES, strict=True):
        for setting, patterns in declared.rates.items():
            for name in _matching(names, prefix, patterns, declared.name):
                factors[name] *= recipe.get(setting)
        exempt |= _matching(names, prefix, declared.no_decay, declared.name)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, False): []}
    named: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        named.setdefault(parameter, []).append(name)
    for parameter, own in named.items():
        factor = math.prod(factors[name] for name in own)
        groups.setdefault((factor, not exempt.isdisjoint(own)), []).append(parameter)
    return [
        {"params": params, "lr": recipe.learning_rate * factor} | ({"weight_decay": 0.0} if free else {})
        for (factor, free), params in groups.items()
    ]


def _matching(names: Iterable[str], prefix: str, patterns: Iterable[str], owner: str) -> set[str]:
    """The names that fit any pattern behind a prefix."""
    found: set[str] = set()
    for pattern in patterns:
        fitting = {x for x in names if x.startswith(prefix) and fnmatchcase(x.removeprefix(prefix), pattern)}
        if not fitting:
            raise ValueError(
                f"expected parameters {prefix}{pattern}, which {owner} declares, found none among "
                f"{', '.join(names)}"
            )
        found |= fitting
    return found
