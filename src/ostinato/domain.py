"""What training asks of its data, whether they are music or text."""

import math
from typing import Any, Protocol

import numpy as np

from ostinato.building import build_model
from ostinato.data.sequences import SPLITS, Splits
from ostinato.data.streams import Streams
from ostinato.data.tasks import TaskData, TaskStreams
from ostinato.data.text import TextData
from ostinato.data.token_streams import TokenStreams
from ostinato.data.vocabulary import END_ID
from ostinato.evaluation.baselines import note_frequencies
from ostinato.evaluation.frames import total_by_song
from ostinato.evaluation.text import score_tokens
from ostinato.nn import SequenceModel
from ostinato.recipe import Recipe
from ostinato.runs import Run
from ostinato.task_domain import TaskDomain


class Domain(Protocol):
    """A kind of data: how to lay it in streams, to build a model for it, and to validate that."""

    what: str
    carries_state: bool
    forgets_bursts: bool

    def identity(self) -> dict[str, Any]:
        """What a checkpoint says of the data: name, version, visible_size, details."""

    def summary(self) -> dict[str, Any]:
        """What a person wants to know of the data: "splits", with counts by name, and other facts."""

    def model(self, recipe: Recipe) -> SequenceModel:
        """A fresh model."""

    def streams(self, recipe: Recipe, epoch: int) -> Streams | TokenStreams | TaskStreams:
        """The training data as an epoch meets them."""

    def validate(self, model: SequenceModel) -> float:
        """Log-likelihood of the validation data in nats per frame or token."""

    def record(self, score: float) -> dict[str, Any]:
        """What an epoch's record says besides the log-likelihood."""

    def prepare(self, run: Run) -> None:
        """Put into the run's folder what its model needs besides weights."""


class MusicDomain:
    """Songs of binary frames."""

    what = "songs"
    carries_state = True
    forgets_bursts = False

    def __init__(self, data: Splits) -> None:
        self.data = data

    def identity(self) -> dict[str, Any]:
        """Name, version, V and details."""
        data = self.data
        visible = data.train[0].values.shape[1]
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": visible,
            "details": data.details,
        }

    def summary(self) -> dict[str, Any]:
        """Songs and frames of each split, notes in a frame."""
        data = self.data
        counts = {s: {"songs": len(data[s]), "frames": data.frames(s)} for s in SPLITS}
        return {"splits": counts, "notes": self.identity()["visible_size"]}

    def model(self, recipe: Recipe) -> SequenceModel:
        """A model whose output starts at the note frequencies."""
        songs = self.data.train
        return build_model(recipe, songs[0].values.shape[1], note_frequencies(songs))

    def streams(self, recipe: Recipe, epoch: int) -> Streams:
        """Songs dealt anew each epoch."""
        generator = np.random.default_rng([recipe.seed, epoch])
        return Streams(self.data.train, recipe.streams, recipe.segment_length, generator)

    def validate(self, model: SequenceModel) -> float:
        """Pooled over frames; of an RBM, whose likelihood is dear, the score that stands in for it."""
        return total_by_song(model, self.data.valid, cheap=True).log_likelihood().value

    def record(self, score: float) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def prepare(self, run: Run) -> None:
        """Nothing."""


class TextDomain:
    """One long text of token ids in each split."""

    what = "text"
    carries_state = True
    forgets_bursts = True

    def __init__(self, data: TextData) -> None:
        self.data = data

    def identity(self) -> dict[str, Any]:
        """Name, version, V and details."""
        data = self.data
        return {
            "name": data.name,
            "version": data.version,
            "visible_size": len(data.vocabulary),
            "details": data.details,
        }

    def summary(self) -> dict[str, Any]:
        """Sentences or lines and tokens of each split, size of the vocabulary."""
        counts = {
            s: {"sentences": int((np.asarray(self.data[s]) == END_ID).sum()), "tokens": self.data.frames(s)}
            for s in SPLITS
        }
        return {"splits": counts, "vocabulary": len(self.data.vocabulary)}

    def model(self, recipe: Recipe) -> SequenceModel:
        """A model whose output starts at the token frequencies."""
        vocabulary = self.data.vocabulary
        return build_model(recipe, len(vocabulary), vocabulary.frequencies())

    def streams(self, recipe: Recipe, epoch: int) -> TokenStreams:
        """The text as a ring, turned anew each epoch."""
        generator = np.random.default_rng([recipe.seed, epoch])
        return TokenStreams(self.data.train, recipe.streams, recipe.segment_length, generator)

    def validate(self, model: SequenceModel) -> float:
        """In one sequential pass."""
        return float(score_tokens(model, self.data.valid).mean())

    def record(self, score: float) -> dict[str, Any]:
        """Perplexity of words, bits per character of characters."""
        if self.data.vocabulary.unit == "words":
            return {"valid_perplexity": math.exp(min(-score, 700))}
        return {"valid_bits_per_character": -score / math.log(2)}

    def prepare(self, run: Run) -> None:
        """The vocabulary."""
        self.data.vocabulary.write(run.folder)


def domain_of(data: Splits | TextData | TaskData) -> Domain:
    """The domain of a data set."""
    if isinstance(data, TaskData):
        return TaskDomain(data)
    return TextDomain(data) if isinstance(data, TextData) else MusicDomain(data)
