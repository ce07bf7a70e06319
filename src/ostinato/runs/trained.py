"""A run's trained model, opened from its folder."""

from collections.abc import Mapping
from typing import Any

import torch

from ostinato.domains.domain import Data, domain_named, load_data
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, call
from ostinato.nn.devices import find_device
from ostinato.recipe.owned import places_of_data
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import MODEL_PREFIX
from ostinato.training.progress import OPTIMIZER_PREFIX

# What a run that has ended without a model is to be told.
NO_MODEL = (
    "no epoch had a finite validation score, so that there is no model; a smaller learning rate, or "
    "clipping, may help"
)


def own_data(trained: TrainedModel) -> Data:
    """The data a model was trained on, loaded again.

    Raises:
        UserError: they have changed since; or they were in a program's memory.
    """
    loaded, before = load_data(trained.recipe, before=trained.data), trained.data["version"]
    if loaded.version != before:
        what, name = domain_named(trained.recipe.domain).what, trained.recipe.data
        raise UserError(
            f"expected the data the run was trained on (version {before[:12]}), found version "
            f"{loaded.version[:12]} of {name}: its files changed, and held-out {what} may have been trained "
            f"on; name the data with {argument('data')} {name} to score it all the same"
        )
    return loaded


def _places(run: Run) -> dict[str, Any]:
    """Where the run's data are: they may have been moved since a checkpoint was made."""
    settings = Recipe.from_dict(run.config()).to_dict()
    return {name: settings[name] for name in places_of_data() & settings.keys()}


def load_model(
    run: Run,
    checkpoint: str = "best",
    *,
    device: torch.device | str = "cpu",
    data: Data | None = None,
    changed: Mapping[str, Any] | None = None,
) -> TrainedModel:
    """The model of a run's checkpoint, by default the one with the best validation score.

    Args:
        run: the run, whatever device it was trained on.
        checkpoint: "best" or "last".
        device: where the model is to compute; see `find_device`.
        data: the run's, which a network of a program's own comes with; others need none.
        changed: other values for settings that decide how scores are estimated, and not what was learned: see
            `nn.outputs.registry.Output.evaluated_by`.
    """
    place = find_device(device)
    if not run.has_checkpoint(checkpoint):
        if run.has_checkpoint("last") and run.load_checkpoint("last")[1]["progress"]["stopped_because"]:
            raise UserError(
                f"expected a trained model in {run.folder}, found a run that has ended: {NO_MODEL}"
            )
        raise UserError(
            f"expected a trained model in {run.folder}, found no checkpoint {checkpoint!r} yet; "
            f"continue with: {call('train', resume=run.folder)}"
        )
    tensors, state = run.load_checkpoint(checkpoint)
    recipe = Recipe.from_dict(state["recipe"] | _places(run) | dict(changed or {}))
    own = {k.removeprefix(MODEL_PREFIX): v for k, v in tensors.items() if k.startswith(MODEL_PREFIX)}
    # the last checkpoint has the optimizer's tensors, too
    weights = {k: v for k, v in own.items() if not k.startswith(OPTIMIZER_PREFIX)}
    domain = domain_named(recipe.domain)
    whose = data if domain.declared.own_network else None
    model = domain.model(recipe, state["data"], whose, stored=weights)
    model.load_state_dict(weights)
    return TrainedModel(model.eval().to(place), recipe, state["data"], state, run.folder)
