"""A run's trained model, opened from its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ostinato.domains.domain import domain_named
from ostinato.errors import UserError
from ostinato.nn import SequenceModel
from ostinato.nn.devices import find_device
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import MODEL_PREFIX


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


def load_model(
    run: Run,
    checkpoint: str = "best",
    *,
    device: torch.device | str = "cpu",
    changed: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """The model of a run's checkpoint, by default the one with the best validation score.

    Args:
        run: the run, whatever device it was trained on.
        checkpoint: "best" or "last".
        device: where the model is to compute; see `find_device`.
        changed: other values for settings that decide how scores are estimated, and not what was learned: see
            `nn.outputs.registry.Output.evaluated_by`.
    """
    place = find_device(device)
    if not run.has_checkpoint(checkpoint):
        raise UserError(
            f"expected a trained model in {run.folder}, found no checkpoint {checkpoint!r} yet; "
            f"continue with: ostinato train --resume {run.folder}"
        )
    tensors, state = run.load_checkpoint(checkpoint)
    recipe = Recipe.from_dict(state["recipe"] | dict(changed or {}))
    weights = {k.removeprefix(MODEL_PREFIX): v for k, v in tensors.items() if k.startswith(MODEL_PREFIX)}
    model = domain_named(recipe.domain).model(recipe, state["data"], stored=weights)
    model.load_state_dict(weights)
    return TrainedModel(model.eval().to(place), recipe, state["data"], state)
