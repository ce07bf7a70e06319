"""Problems with long delays as everything else sees them: sequences drawn from a seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import batches, padded
from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Asked
from ostinato.domains.base import BaseDomain
from ostinato.domains.delays.evaluation import chance, is_solved, score_task
from ostinato.domains.delays.problems import TaskData, TaskStreams, find_task, load
from ostinato.domains.delays.shown import errors_table
from ostinato.domains.domain import Scores, Totals, Validation
from ostinato.domains.given import Given
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, call
from ostinato.evaluation.sequences import SequenceScore, SequenceScores, scores_of
from ostinato.evaluation.tables import Table
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import Sizes, build_model


class Delays(BaseDomain):
    """Sequences drawn from a seed; an epoch is fresh ones."""

    carries_state = False

    def load(self, recipe: Recipe, *, progress: bool = True) -> TaskData:
        """The problem of a name, at its length."""
        return TaskData(find_task(recipe.data, recipe.length), epoch_sequences=recipe.epoch_sequences)

    def wrap(self, recipe: Recipe, given: Given) -> TaskData:
        """None: a `UserError`."""
        *others, last = self.declared.names
        known = f"{', '.join(others)} or {last}"
        raise UserError(
            f"expected {argument('data')} {known} for {self.declared.called}, found sequences in memory"
        )

    def generate(self, trained: TrainedModel, asked: Asked, options: Any) -> Any:
        """Nothing: a `UserError`."""
        raise UserError(
            f"expected a run whose model generates, found one on {self.declared.called}, which classifies"
        )

    def score_each(self, trained: TrainedModel, sequences: Sequence[Any]) -> SequenceScores:
        """Sequences of inputs with targets, a pair each: symbols (T,) and classes (T,), of which -1 does not
        count; or numbers with their marks (T, 2) and answers (T,), of which NaN does not.
        """
        problem, place = find_task(trained.recipe.data, trained.recipe.length), device_of(trained.model)
        dtype = next(trained.model.parameters()).dtype
        pairs = [problem.checked(*_pair(one)) for one in sequences]
        found: dict[int, np.ndarray] = {}
        for group in batches([len(inputs) for inputs, _, _ in pairs]):
            inputs, targets, counts = (
                torch.from_numpy(padded([pairs[k][n] for k in group])) for n in range(3)
            )
            if inputs.is_floating_point():
                inputs, targets = inputs.to(dtype), targets.to(dtype)
            with torch.no_grad():
                distribution, _ = trained.model(inputs.to(place))
                log_probs = distribution.log_prob(targets.to(place)).double().cpu()
            log_probs = log_probs.masked_fill(~counts, torch.nan).numpy()
            found |= {k: log_probs[: len(pairs[k][0]), b] for b, k in enumerate(group)}
        each = [SequenceScore(f"sequence {k + 1}", found[k]) for k in range(len(pairs))]
        return scores_of(each, "nats/step", "mean over the steps that count")

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
        dtype = getattr(torch, recipe.dtype)
        return TaskStreams(data.task, recipe.streams, recipe.seed, epoch, data.frames("train"), dtype)

    def needed_lag(self, recipe: Recipe) -> int | None:
        """The problem's delay."""
        return find_task(recipe.data, recipe.length).delay

    def validate(self, model: SequenceModel, data: TaskData) -> Validation:
        """Log-likelihood of 10,000 other sequences in nats per step that counts, and how many go wrong."""
        found = score_task(model, data.sequences("valid"), data.task)
        solved = is_solved(found)
        record = {"valid_error": found["error"].value, "solved": solved}
        return Validation(found["log_likelihood"].value, record, solved)

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
        scores: Scores = {
            "model": {split: score_task(model, data.sequences(split), data.task) for split in some}
        }
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

    def totals(self, model: SequenceModel, data: TaskData, split: str) -> Totals:
        """None: what counts is how many sequences go wrong."""
        raise UserError(
            "expected runs on data whose songs or sentences are resampled, found runs on the problem "
            f"{data.name}; {call('evaluate')} gives their share of wrong sequences"
        )


def _pair(given: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of one sequence."""
    if not isinstance(given, tuple) or len(given) != 2:
        raise UserError("expected a sequence as a pair, (inputs, targets), found something else")
    inputs, targets = (np.asarray(part) for part in given)
    if not inputs.ndim or len(inputs) != len(targets):
        raise UserError("expected as many inputs as targets, found others")
    return inputs, targets
