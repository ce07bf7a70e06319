"""From a recipe to its model, optimizer and learning-rate rule; from a run's checkpoint back to its model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.language_model import build_language_model
from ostinato.nn import RNN, SequenceModel, sample_leak
from ostinato.nn.devices import find_device
from ostinato.nn.outputs import NADE, RBM, Annealing, Bernoulli, ClassSoftmax
from ostinato.optim import (
    ClassicalMomentum,
    ConstantRule,
    HalvingRule,
    HessianFree,
    Rule,
    SimplifiedNesterov,
    SutskeverMomentum,
)
from ostinato.optim.hessian_free import LevenbergMarquardt
from ostinato.recipe import Recipe
from ostinato.runs import Run
from ostinato.task_model import build_task_model

MODEL_PREFIX = "model."


def build_model(
    recipe: Recipe,
    visible_size: int,
    frequencies: np.ndarray | None = None,
    class_sizes: list[int] | None = None,
) -> SequenceModel:
    """The recipe's model, drawn from its seed.

    Args:
        recipe: the settings.
        visible_size: V, notes in a frame, or tokens.
        frequencies: of each note or token (V,); the output biases start there if given.
        class_sizes: of a class-softmax; by default what the frequencies say.

    Example:
        >>> model = build_model(Recipe.parse("SGD+L", hidden_size=8), visible_size=88)
        >>> int((model.rnn.leak > 0).sum()), model.output
        (4, Bernoulli(8, 88))
    """
    if recipe.task == "task":
        return build_task_model(recipe)
    if recipe.task != "music":
        return build_language_model(recipe, visible_size, frequencies, class_sizes)
    dtype: torch.dtype = getattr(torch, recipe.dtype)
    generator = torch.Generator().manual_seed(recipe.seed)
    rnn = RNN(
        visible_size,
        recipe.hidden_size,
        recipe.num_layers,
        recipe.nonlinearity,
        dropout=recipe.dropout,
        leak=_leak(recipe, generator),
        initialization=recipe.initialization,
        spectral_radius=recipe.spectral_radius,
        generator=generator,
        dtype=dtype,
    )
    output = _output(recipe, visible_size, generator, dtype)
    if frequencies is not None:
        output.initialize_bias_(torch.from_numpy(frequencies))
    return SequenceModel(rnn, output, recipe.l1, recipe.l2)


def _output(
    recipe: Recipe, visible_size: int, generator: torch.Generator, dtype: torch.dtype
) -> Bernoulli | NADE | RBM:
    sizes = (recipe.hidden_size, visible_size)
    if recipe.output == "nade":
        return NADE(
            *sizes,
            recipe.nade_size,
            order=recipe.nade_order,
            state_scale=recipe.state_scale,
            generator=generator,
            dtype=dtype,
        )
    if recipe.output == "rbm":
        return RBM(
            *sizes,
            recipe.rbm_size,
            cd_steps=recipe.cd_steps,
            persistent_chains=recipe.persistent_chains,
            annealing=Annealing(recipe.ais_steps, recipe.ais_chains),
            state_scale=recipe.state_scale,
            generator=generator,
            dtype=dtype,
        )
    return Bernoulli(*sizes, generator=generator, dtype=dtype)


def _leak(recipe: Recipe, generator: torch.Generator) -> Tensor | None:
    if recipe.leak_fraction == 0:
        return None
    return sample_leak(
        recipe.hidden_size, recipe.leak_fraction, recipe.leak_low, recipe.leak_high, generator=generator
    )


def build_optimizer(
    recipe: Recipe, model: SequenceModel
) -> SimplifiedNesterov | ClassicalMomentum | HessianFree:
    """The recipe's optimizer over all parameters of the model."""
    if recipe.hessian_free:
        return HessianFree(
            model.parameters(),
            recipe.damping,
            structural_damping=recipe.structural_damping,
            decay=recipe.cg_decay,
            max_iterations=recipe.cg_iterations,
            preconditioner=recipe.preconditioner,
            rule=LevenbergMarquardt(smallest=max(recipe.damping_floor, 1e-10)),
        )
    return build_gradient_descent(recipe, model)


def build_gradient_descent(recipe: Recipe, model: SequenceModel) -> SimplifiedNesterov | ClassicalMomentum:
    """Gradient descent with the recipe's momentum; plain gradient descent is momentum 0."""
    kind = SimplifiedNesterov if recipe.momentum_kind == "nesterov" else ClassicalMomentum
    momentum: Any = recipe.momentum
    if recipe.momentum_schedule == "sutskever" and recipe.momentum > 0:
        momentum = SutskeverMomentum(recipe.momentum)
    return kind(_rate_groups(recipe, model), recipe.learning_rate, momentum)


def _rate_groups(recipe: Recipe, model: SequenceModel) -> list[dict[str, Any]]:
    """Parameters by learning rate, the recipe's own rate first.

    The gradient is a mean over the tokens of a minibatch. A word's own weights have a part in few of these
    means: its embedding where it is read, its output weights where its class is asked for. At the rate that
    the rest of the model can bear they would hardly move, hence rates of their own.
    """
    factors = {"rnn.embedding": recipe.embedding_rate}
    if isinstance(model.output, ClassSoftmax):
        factors |= {f"output.{name}": recipe.within_class_rate for name in ("weight", "bias")}
    groups: dict[float, list[Tensor]] = {1.0: []}
    for name, parameter in model.named_parameters():
        groups.setdefault(factors.get(name, 1.0), []).append(parameter)
    return [{"params": params, "lr": recipe.learning_rate * factor} for factor, params in groups.items()]


def build_rule(recipe: Recipe) -> Rule:
    """The recipe's learning-rate rule."""
    return HalvingRule() if recipe.learning_rate_rule == "halving" else ConstantRule()


@dataclass(frozen=True)
class TrainedModel:
    """A model read from a run, with what it was trained on.

    Arguments:
        model: the model, in evaluation mode.
        recipe: the run's settings.
        data: name, version, visible_size and details of its data set.
        state: the rest of the checkpoint's state.
    """

    model: SequenceModel
    recipe: Recipe
    data: dict[str, Any]
    state: dict[str, Any]


def load_model(run: Run, checkpoint: str = "best", *, device: torch.device | str = "cpu") -> TrainedModel:
    """The model of a run's checkpoint, by default the one with the best validation score.

    Args:
        run: the run, whatever device it was trained on.
        checkpoint: "best" or "last".
        device: where the model is to compute; see `find_device`.
    """
    place = find_device(device)
    if not run.has_checkpoint(checkpoint):
        raise UserError(
            f"expected a trained model in {run.folder}, found no checkpoint {checkpoint!r} yet; "
            f"continue with: ostinato train --resume {run.folder}"
        )
    tensors, state = run.load_checkpoint(checkpoint)
    recipe = Recipe.from_dict(state["recipe"])
    weights = {k.removeprefix(MODEL_PREFIX): v for k, v in tensors.items() if k.startswith(MODEL_PREFIX)}
    sizes = weights.get("output.class_sizes")
    model = build_model(
        recipe, state["data"]["visible_size"], class_sizes=None if sizes is None else sizes.tolist()
    )
    model.load_state_dict(weights)
    return TrainedModel(model.eval().to(place), recipe, state["data"], state)
