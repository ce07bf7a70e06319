"""A run's trained model, as domains are given it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe


@dataclass(frozen=True)
class TrainedModel:
    """A model read from a run, with what it was trained on.

    Arguments:
        model: the model, in evaluation mode.
        recipe: the run's settings.
        data: name, version, visible_size and details of its data set.
        state: the rest of the checkpoint's state.
        folder: the run's.
    """

    model: SequenceModel
    recipe: Recipe
    data: dict[str, Any]
    state: dict[str, Any]
    folder: Path
