"""From a recipe to its model, its optimizer and its learning-rate rule: the one place that builds them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.errors import UserError, argument
from ostinato.nn import SequenceModel, sample_leak
from ostinato.nn.cells import Recurrence
from ostinato.nn.cells.dropping import DROPOUTS, Dropping
from ostinato.nn.cells.registry import CELLS, LEAKS
from ostinato.nn.outputs.base import OutputSpec, make_output
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim import (
    ConstantRule,
    GradientDescent,
    HalvingRule,
    PlateauRule,
    Rule,
    SutskeverMomentum,
    learning_rate_schedule,
    make_optimizer,
)
from ostinato.optim.declared import OPTIMIZERS
from ostinato.optim.schedules import END_WITH_TRAINING, Within
from ostinato.optim.settings import further
from ostinato.recipe.recipe import Recipe
from ostinato.training.groups import parameter_groups

MODEL_PREFIX = "model."

# Those that may take an epoch back.
RULES: dict[str, type[HalvingRule | PlateauRule]] = {"halving": HalvingRule, "plateau": PlateauRule}

# Weights, gradients, and what the optimizer keeps.
_COPIES = 3


@dataclass(frozen=True)
class Sizes:
    """What a model reads and predicts at a step.

    Arguments:
        inputs: the size of an input, or the number of tokens.
        targets: the size of a target: notes, tokens, classes or values.
        tokens: whether inputs are token ids.
        embedding: the size of a token's embedding, where the first layer has weights of its own besides.
        offsets: whether the output reads, behind the hidden state, an offset for each target.
    """

    inputs: int
    targets: int
    tokens: bool = False
    embedding: int | None = None
    offsets: bool = False


def build_model(
    recipe: Recipe,
    sizes: Sizes,
    start: Mapping[str, np.ndarray] | None = None,
    stored: Mapping[str, Tensor] | None = None,
) -> SequenceModel:
    """The recipe's cell and output, drawn from its seed.

    Args:
        recipe: the settings.
        sizes: of inputs and targets.
        start: what the data alone say, such as the frequencies of notes; the output's biases start there.
        stored: the weights that the model will be given, if it was trained before.

    Example:
        >>> model = build_model(Recipe.parse("SGD+L", hidden_size=8), Sizes(88, 88))
        >>> int((model.rnn.leak > 0).sum()), model.output
        (4, Bernoulli(8, 88))
        >>> build_model(Recipe.parse("SGD", cell="gru", hidden_size=8), Sizes(88, 88)).rnn
        GRU(88, 8)
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    rnn = build_recurrence(recipe, sizes, generator, dtype)
    declared = OUTPUTS[recipe.output]
    spec = OutputSpec(
        hidden_size=recipe.hidden_size + (sizes.targets if sizes.offsets else 0),
        size=sizes.targets,
        generator=generator,
        dtype=dtype,
        settings=declared.arguments(recipe.values()),
        start={name: torch.from_numpy(value) for name, value in (start or {}).items()},
        stored={k.removeprefix("output."): v for k, v in (stored or {}).items() if k.startswith("output.")},
    )
    output = make_output(declared, spec)
    return SequenceModel(rnn, output, recipe.l1, recipe.l2)


def build_recurrence(
    recipe: Recipe, sizes: Sizes, generator: torch.Generator, dtype: torch.dtype
) -> Recurrence:
    """The recipe's cell: its own settings are arguments of its class, those of the leak make one, `leak`."""
    check_memory(recipe.hidden_size, recipe.num_layers)
    declared = CELLS[recipe.cell]
    leaks = {setting.name for setting in LEAKS}
    arguments = {k: v for k, v in declared.arguments(recipe.values()).items() if k not in leaks}
    arguments |= _dropouts(recipe, declared.load())
    if sizes.embedding is not None:
        arguments["embedding_size"] = sizes.embedding
    if leaks <= {setting.name for setting in declared.settings}:
        arguments["leak"] = _leak(recipe, generator)
    cell: Recurrence = declared.load()(
        sizes.inputs,
        recipe.hidden_size,
        recipe.num_layers,
        dropout=recipe.dropout,
        token_inputs=sizes.tokens,
        generator=generator,
        dtype=dtype,
        **arguments,
    )
    return cell


def _dropouts(recipe: Recipe, kind: type) -> dict[str, float]:
    """The probabilities of the dropouts besides the one between layers, where there are any."""
    found = {name: recipe.get(name) for name in DROPOUTS[1:] if recipe.get(name) > 0}
    if found and not issubclass(kind, Dropping):
        name = next(iter(found))
        raise UserError(
            f"{argument(name)} is for cells that drop more than what is between layers, found "
            f"{argument('cell')} {recipe.cell}; leave it out"
        )
    return found


def check_memory(hidden_size: int, num_layers: int, memory: int | None = None) -> None:
    """Refuse a network whose weights this machine has no room for, before it is half made.

    Args:
        hidden_size: units of a layer, with as many squared weights between them.
        num_layers: layers.
        memory: bytes of the machine; by default what the system says.

    Example:
        >>> check_memory(50_000, 1, memory=16 << 30)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a hidden_size that fits into memory, found 50,000: ...
    """
    if memory is None:
        try:
            memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, ValueError, OSError):  # a system that does not say
            return
    weights = 4 * num_layers * hidden_size**2
    if _COPIES * weights > memory:
        raise UserError(
            f"expected a {argument('hidden_size')} that fits into memory, found {hidden_size:,}: "
            f"{weights / 1e9:.0f} GB of weights at least, as much again of gradients and of what the "
            f"optimizer keeps, in {memory / 1e9:.0f} GB"
        )


def _leak(recipe: Recipe, generator: torch.Generator) -> Tensor | None:
    if recipe.leak_fraction == 0:
        return None
    return sample_leak(
        recipe.hidden_size, recipe.leak_fraction, recipe.leak_low, recipe.leak_high, generator=generator
    )


def build_curvature_optimizer(recipe: Recipe, model: SequenceModel) -> Any:
    """The recipe's optimizer whose steps take an operator with Gauss-Newton products."""
    declared = OPTIMIZERS[recipe.optimizer]
    return declared.load().from_settings(model.parameters(), declared.arguments(recipe.values()))


def build_gradient_descent(
    recipe: Recipe, model: SequenceModel, updates: int, used: Callable[[], float] | None = None
) -> GradientDescent:
    """The recipe's optimizer that steps along gradients, with the schedule of its rate.

    Args:
        recipe: the settings.
        model: the model, all of whose parameters it moves.
        updates: of the whole training, for schedules that know its end.
        used: the share of a budget of time that is used, for the same; None without one.
    """
    momentum: Any = recipe.get("momentum")
    if recipe.get("momentum_schedule") == "sutskever" and momentum:
        momentum = SutskeverMomentum(momentum)
    optimizer = make_optimizer(
        recipe.optimizer,
        parameter_groups(recipe, model),
        learning_rate=recipe.learning_rate,
        momentum=momentum,
        weight_decay=recipe.get("weight_decay"),
        **further(recipe.get("optimizer_settings")),
    )
    rule = recipe.learning_rate_rule
    if rule not in END_WITH_TRAINING:
        return GradientDescent(optimizer)
    if used is None:
        return GradientDescent(optimizer, learning_rate_schedule(rule, updates, recipe.warmup))
    shape = learning_rate_schedule(rule, Within.PARTS, recipe.warmup)
    return GradientDescent(optimizer, Within(shape, updates, used))


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning-rate rule."""
    return RULES.get(recipe.get("learning_rate_rule", ""), ConstantRule)()
