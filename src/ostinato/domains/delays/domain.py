"""Problems with long delays as everything else sees them: sequences drawn from a seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from ostinato.data.sequences import SPLITS
from ostinato.domains.declared import DomainDeclared
from ostinato.domains.delays.evaluation import chance, is_solved, score_task
from ostinato.domains.delays.problems import TaskData, TaskStreams, find_task, load
from ostinato.domains.delays.shown import errors_table
from ostinato.domains.domain import Each, Scores, Segment, Totals, Validation
from ostinato.errors import UserError, argument
from ostinato.evaluation.tables import Table
from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import Sizes, build_model


class Delays:
    """Sequences drawn from a seed; an epoch is fresh ones."""

    what = "sequences"
    carries_state = False
    forgets_bursts = False

    def __init__(self, declared: DomainDeclared) -> None:
        self.declared = declared

    def load(self, recipe: Recipe, *, progress: bool = True) -> TaskData:
        """The problem of a name, at its length."""
        return TaskData(find_task(recipe.data, recipe.length), epoch_sequences=recipe.epoch_sequences)

    def identity(self, data: TaskData) -> dict[str, Any]:
        """Name, version, the number of symbols and details."""
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": data.task.symbols,
            "details": data.details,
        }

    def summary(self, data: TaskData) -> dict[str, Any]:
        """Sequences and steps of an epoch, of validation and of test; symbols and classes."""
        task = data.task
        length = len(task.generate(1, np.random.default_rng(0)).inputs)
        counts = {
            split: {"sequences": data.frames(split), "steps": length * data.frames(split)} for split in SPLITS
        }
        return {"splits": counts, "symbols": task.symbols, "classes": task.classes}

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: TaskData | None = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A fresh model."""
        problem = find_task(recipe.data, recipe.length)
        return build_model(recipe, Sizes(problem.symbols, problem.classes), stored=stored)

    def streams(self, recipe: Recipe, data: TaskData, epoch: int) -> TaskStreams:
        """Fresh sequences, `streams` of them in a minibatch."""
        return TaskStreams(data.task, recipe.streams, recipe.seed, epoch, sequences=data.frames("train"))

    def lost_to_scaling(self, data: TaskData, segment: Segment) -> float:
        """Nothing."""
        return 0.0

    def validate(self, model: SequenceModel, data: TaskData) -> Validation:
        """Log-likelihood of 10,000 other sequences in nats per step that counts, and how many go wrong."""
        found = score_task(model, data.sequences("valid"))
        solved = is_solved(found)
        record = {"valid_error": found["error"].value, "solved": solved}
        return Validation(found["log_likelihood"].value, record, solved)

    def prepare(self, data: TaskData, run: Run) -> None:
        """Nothing."""

    def score(
        self,
        recipe: Recipe,
        model: SequenceModel,
        data: TaskData,
        splits: tuple[str, ...] = SPLITS,
        *,
        baselines: bool = True,
    ) -> Scores:
        """The model on validation and test sequences, beside guessing."""
        some = [split for split in splits if split != "train"]
        scores: Scores = {"model": {split: score_task(model, data.sequences(split)) for split in some}}
        return scores | (self.baselines(data, splits) if baselines else {})

    def baselines(self, data: TaskData, splits: tuple[str, ...] = SPLITS) -> Scores:
        """Guessing."""
        return {"guessing": {split: chance(data.task) for split in splits if split != "train"}}

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Systems against splits: how many sequences go wrong."""
        return errors_table(scores, title)

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> TaskData:
        """A problem by name; for a run none: its sequences are fresh ones."""
        if run is not None:
            raise UserError(
                f"expected none of it for a run on {self.declared.called}, whose sequences are fresh ones, "
                f"found {argument('data')}; leave it out"
            )
        return load(data)

    def each(self, model: SequenceModel, data: TaskData, options: Any) -> Each | None:
        """None: nobody knows these sequences by name."""
        return None

    def overlap(self, data: Any, split: str) -> None:
        """Fresh sequences are made for every split."""

    def totals(self, model: SequenceModel, data: TaskData, split: str) -> Totals:
        """None: what counts is how many sequences go wrong."""
        raise UserError(
            "expected runs on data whose songs or sentences are resampled, found runs on the problem "
            f"{data.name}; ostinato evaluate gives their share of wrong sequences"
        )
