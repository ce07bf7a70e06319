"""What everything else asks of a kind of data: the whole contract, written once.

Training, evaluation, comparison and the command line know a domain by what is here; none asks which it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ostinato.data.sequences import Skipped
from ostinato.domains.answer import Asked
from ostinato.domains.declared import DomainDeclared
from ostinato.domains.given import IN_MEMORY, Given
from ostinato.domains.registry import DOMAINS
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, call
from ostinato.evaluation.scores import Score
from ostinato.evaluation.sequences import SequenceScores
from ostinato.evaluation.tables import Table
from ostinato.nn import SequenceModel
from ostinato.nn.model import Segment
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run

# Scores by system ("model", then baselines), by split, by name.
Scores = dict[str, dict[str, dict[str, Score]]]


class Data(Protocol):
    """A data set of some domain."""

    @property
    def name(self) -> str:
        """As a user would ask for it."""

    @property
    def version(self) -> str:
        """Equal versions, equal data."""

    @property
    def details(self) -> dict[str, Any]:
        """How the data were made; can be written as JSON."""

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The files that could not be used."""

    def frames(self, split: str) -> int:
        """Steps of one split."""


class Segments(Protocol):
    """The training data as an epoch meets them, segment by segment."""

    @property
    def frames(self) -> int:
        """Steps that count, in all."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Segment: ...

    def __iter__(self) -> Iterator[Segment]: ...

    def describe(self, index: int) -> str:
        """What a segment covers, for messages."""


@dataclass(frozen=True)
class Validation:
    """How a model does on the validation data.

    Arguments:
        score: what early stopping watches, nats per step; larger is better.
        record: what an epoch's record says besides.
        solved: whether there is nothing left to learn.
    """

    score: float
    record: dict[str, Any] = field(default_factory=dict)
    solved: bool = False


@dataclass(frozen=True)
class Totals:
    """What a comparison resamples: log-probability in nats (S,) and steps (S,) of each of S sequences.

    Arguments:
        score: of all of them.
        log_prob: (S,).
        counts: (S,).
        of: what they are, in the plural.
        ordered: whether neighbours depend on each other, as the sentences of a text do: then blocks of
            neighbours are resampled.
    """

    score: Score
    log_prob: np.ndarray
    counts: np.ndarray
    of: str
    ordered: bool = False


@dataclass(frozen=True)
class Overlap:
    """What of each sequence of a split stands in the training data already.

    Arguments:
        shares: of its steps that do, (S,), in the order of `Totals`.
        seen: whether it counts as seen, (S,).
        how: what was looked for, and what counts as seen.
    """

    shares: np.ndarray
    seen: np.ndarray
    how: str


@dataclass(frozen=True)
class Each:
    """The sequences of a split, each by itself.

    Arguments:
        name: of the list in a record: "songs".
        records: what is known of each; can be written as JSON.
        table: the same for people.
    """

    name: str
    records: list[dict[str, Any]]
    table: Table


class Domain(Protocol):
    """A kind of data.

    Attributes:
        declared: what recipes and help pages know of it.
        what: what a split is made of, in the plural: "songs".
        carries_state: whether the state at a segment's end is where the next one begins.
        forgets_bursts: whether a carried state that has begun to grow is forgotten.
    """

    declared: DomainDeclared
    what: str
    carries_state: bool
    forgets_bursts: bool

    def load(self, recipe: Recipe, *, progress: bool = True) -> Data:
        """The data that a recipe names."""

    def knows(self, given: Given) -> bool:
        """Whether data that a program has in memory look like this kind; the first domain has them."""

    def wrap(self, recipe: Recipe, given: Given) -> Data:
        """Data that a program has in memory, dealt to train, valid and test unless the program has done so.

        Raises:
            UserError: they are of another kind, or too few.
        """

    def under_name(self, data: Any, name: str, version: str) -> Data:
        """The same data under the name that they had, where that alone makes them another version."""

    def identity(self, data: Any) -> dict[str, Any]:
        """What a checkpoint says of the data: name, version, visible_size, details."""

    def summary(self, data: Any) -> dict[str, Any]:
        """What a person wants to know of the data: "splits", with counts by name, and other facts."""

    def model(
        self,
        recipe: Recipe,
        identity: Mapping[str, Any],
        data: Any = None,
        stored: Mapping[str, Tensor] | None = None,
    ) -> SequenceModel:
        """A fresh model of data with this identity.

        Args:
            recipe: the settings.
            identity: of the data.
            data: whose statistics the output's biases start from; those that hold a program's own network
                come with a model that is loaded too, others are None then.
            stored: the weights that the model will be given.
        """

    def streams(self, recipe: Recipe, data: Any, epoch: int) -> Segments:
        """The training data as an epoch meets them."""

    def needed_lag(self, recipe: Recipe) -> int | None:
        """Over how many steps at least something has to be remembered for these data to be learned; None
        where nobody knows.
        """

    def lost_to_scaling(self, data: Any, segment: Segment) -> float:
        """What log p of a segment's targets loses in the data's own units, summed over the steps that count;
        0 where targets are in their own units.
        """

    def validate(self, model: SequenceModel, data: Any) -> Validation:
        """The score of the validation data."""

    def prepare(self, data: Any, run: Run) -> None:
        """Put into the run's folder what its model needs besides weights."""

    def score(
        self, recipe: Recipe, model: SequenceModel, data: Any, splits: tuple[str, ...], *, baselines: bool
    ) -> Scores:
        """A model and the baselines on those of the splits that have anything in them."""

    def baselines(self, data: Any, splits: tuple[str, ...]) -> Scores:
        """The baselines alone."""

    def table(self, scores: Scores, title: str, *, whole: bool = False) -> Table:
        """Scores for people.

        Args:
            scores: what `score` gave.
            title: over the table.
            whole: with the training split, where it can be left out.
        """

    def other_data(self, run: Run | None, data: str, given: Mapping[str, Any]) -> Data:
        """Data that a user names, as a run's model reads them.

        Args:
            run: the run; None where no model is asked about.
            data: a name, or files.
            given: what was said of the data, by setting: those of this domain that `ostinato evaluate` takes.

        Raises:
            UserError: the run's model cannot read other data, or not these.
        """

    def each(self, model: SequenceModel, data: Any, options: Any) -> Each | None:
        """Every sequence of a split by itself, where the options ask for that.

        Args:
            model: the model.
            data: the data.
            options: of `ostinato evaluate`, as the domain has declared them.
        """

    def overlap(self, data: Any, split: str) -> Overlap | None:
        """What of a split the training data have already; None where nothing of the kind is looked for."""

    def totals(self, model: SequenceModel, data: Any, split: str) -> Totals:
        """A model's log-probability of each sequence of a split.

        Raises:
            UserError: sequences of this domain, or of this split, cannot be resampled.
        """

    def generate(self, trained: TrainedModel, asked: Asked, options: Any) -> Any:
        """What a model makes, for a program: files are written only where the options ask for them.

        Args:
            trained: the model.
            asked: seed and beginning.
            options: of `ostinato generate`, as the domain has declared them.

        Raises:
            UserError: nothing is generated in this domain.
        """

    def score_each(self, trained: TrainedModel, sequences: Sequence[Any]) -> SequenceScores:
        """Sequences that a program has in memory, each by itself, many at once.

        Raises:
            UserError: they are of another kind, or other than what the model was trained on.
        """


_MADE: dict[str, Domain] = {}


def domain_named(name: str) -> Domain:
    """The domain of a name or an alias.

    Example:
        >>> domain_named("music").what
        'songs'
    """
    declared = DOMAINS[name]
    if declared.name not in _MADE or _MADE[declared.name].declared is not declared:
        _MADE[declared.name] = declared.load()(declared)
    return _MADE[declared.name]


def load_data(recipe: Recipe, *, progress: bool = True, before: Mapping[str, Any] | None = None) -> Data:
    """The data that a recipe names.

    Args:
        recipe: the settings.
        progress: show how far reading has come.
        before: name and version of the data as a run knows them: a file that has another name now, and holds
            the same, is read under that one.

    Raises:
        UserError: there are none, or they are of another kind.

    Example:
        >>> load_data(Recipe.parse("SGD", domain="words", data="jsb"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: jsb is for music, found words; use ...
    """
    if recipe.data == IN_MEMORY:
        raise UserError(
            "expected the data, which a program had in memory when the run was made, found none: give them "
            f"as {argument('data')} again"
        )
    if recipe.data not in DOMAINS[recipe.domain].names:
        for other in DOMAINS.entries():
            if recipe.data in other.names:
                raise UserError(
                    f"{recipe.data} is for {other.name}, found {recipe.domain}; "
                    f"use {call('train', domain=other.name, data=recipe.data)}"
                )
    data = domain_named(recipe.domain).load(recipe, progress=progress)
    if before is None:
        return data
    return domain_named(recipe.domain).under_name(data, before["name"], before["version"])
