"""A task with long delays, as training and scoring see it."""

from typing import Any

import numpy as np
import torch

from ostinato.building import build_model, load_model
from ostinato.data.sequences import SPLITS
from ostinato.data.tasks import TaskData, TaskStreams
from ostinato.evaluation.scores import Score
from ostinato.evaluation.tasks import chance, is_solved, score_task
from ostinato.nn import SequenceModel
from ostinato.recipe import Recipe
from ostinato.runs import Run


class TaskDomain:
    """Sequences drawn from a seed; an epoch is fresh ones."""

    what = "sequences"
    carries_state = False
    forgets_bursts = False

    def __init__(self, data: TaskData) -> None:
        self.data = data
        self._validation: dict[str, Score] = {}

    def identity(self) -> dict[str, Any]:
        """Name, version, the number of symbols and details."""
        data = self.data
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": data.task.symbols,
            "details": data.details,
        }

    def summary(self) -> dict[str, Any]:
        """Sequences and steps of an epoch, of validation and of test; symbols and classes."""
        task = self.data.task
        length = len(task.generate(1, np.random.default_rng(0)).inputs)
        counts = {
            split: {"sequences": self.data.frames(split), "steps": length * self.data.frames(split)}
            for split in SPLITS
        }
        return {"splits": counts, "symbols": task.symbols, "classes": task.classes}

    def model(self, recipe: Recipe) -> SequenceModel:
        """A fresh model."""
        return build_model(recipe, self.data.task.symbols)

    def streams(self, recipe: Recipe, epoch: int) -> TaskStreams:
        """Fresh sequences, `streams` of them in a minibatch."""
        return TaskStreams(
            self.data.task, recipe.streams, recipe.seed, epoch, sequences=self.data.frames("train")
        )

    def validate(self, model: SequenceModel) -> float:
        """Log-likelihood of 10,000 other sequences in nats per step that counts."""
        self._validation = score_task(model, self.data.sequences("valid"))
        return self._validation["log_likelihood"].value

    def record(self, score: float) -> dict[str, Any]:
        """The share of validation sequences that are wrong, and whether that solves the task."""
        solved = is_solved(self._validation)
        return {"valid_error": self._validation["error"].value, "solved": solved}

    def prepare(self, run: Run) -> None:
        """Nothing."""


def score_task_run(
    run: Run, data: TaskData, *, device: torch.device | str = "cpu"
) -> dict[str, dict[str, dict[str, Score]]]:
    """The run's best model on validation and test sequences, beside guessing."""
    model = load_model(run, device=device).model
    splits = ("valid", "test")
    scores = {"model": {split: score_task(model, data.sequences(split)) for split in splits}}
    return scores | {"guessing": {split: chance(data.task) for split in splits}}
