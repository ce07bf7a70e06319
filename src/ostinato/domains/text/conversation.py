"""Sentences scored one after the other, where what was said before may count: hypotheses of utterances.

Shapes: N tokens.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ostinato.data.batches import batches
from ostinato.domains.text.evaluation.dynamic import SEGMENT, Adapting
from ostinato.domains.text.evaluation.scores import score_together
from ostinato.domains.text.reading.streams import TokenStreams
from ostinato.domains.text.reading.vocabulary import END_ID, Vocabulary
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of

# Sentences of a batch: they are short, and what a step costs beside its products is shared by all.
_TOGETHER = 256


class Conversation(Protocol):
    """What has been said so far.

    Attributes:
        independent: whether it does not matter.
    """

    independent: bool

    def score(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """log p of each token of several sentences, each in the same place, laid end to end, under each model
        of a mixture, (M, N), or under the one model, (1, N); in nats; see `Scorer.score`.
        """

    def accept(self, sentence: Sequence[str]) -> None:
        """Take one of them for what was said."""

    def begin(self) -> None:
        """Begin another conversation: forget what was said."""


class _Scores(Protocol):
    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray: ...


class Independent:
    """Sentences that know nothing of each other.

    Args:
        scorer: the model.
    """

    independent = True

    def __init__(self, scorer: _Scores) -> None:
        self.scorer = scorer

    def score(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """See `Conversation`; the same sentence is scored once."""
        distinct = list(dict.fromkeys(map(tuple, sentences)))
        log_probs = self.scorer.score(list(itertools.chain.from_iterable(distinct)), independent=True)
        ends = np.cumsum([len(sentence) for sentence in distinct])
        found = dict(zip(distinct, np.split(log_probs, ends[:-1]), strict=True))
        return np.concatenate([found[tuple(sentence)] for sentence in sentences])[np.newaxis]

    def accept(self, sentence: Sequence[str]) -> None:
        """Nothing to remember."""

    def begin(self) -> None:
        """Nothing to forget."""


class RunSentences:
    """Sentences that know nothing of each other, under the model of a run, many at once.

    Args:
        model: the model.
        vocabulary: its tokens.
    """

    independent = True

    def __init__(self, model: SequenceModel, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model, vocabulary

    def score(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """See `Conversation`; the same sentence is scored once."""
        distinct = list(dict.fromkeys(map(tuple, sentences)))
        numbers = [self.vocabulary.numbers(sentence) for sentence in distinct]
        found: dict[tuple[str, ...], np.ndarray] = {}
        for group in batches([len(own) for own in numbers], most=_TOGETHER):
            together = score_together(self.model, [numbers[k] for k in group])
            found |= {distinct[k]: own for k, own in zip(group, together, strict=True)}
        return np.concatenate([found[tuple(sentence)] for sentence in sentences])[np.newaxis]

    def accept(self, sentence: Sequence[str]) -> None:
        """Nothing to remember."""

    def begin(self) -> None:
        """Nothing to forget."""


class RunConversation:
    """A model whose state goes on from sentence to sentence, and which may learn from them.

    Args:
        model: stays as it is.
        vocabulary: its tokens.
        learning_rate: at which a copy of the model learns from what was said; None to learn nothing.
    """

    independent = False

    def __init__(
        self, model: SequenceModel, vocabulary: Vocabulary, learning_rate: float | None = None
    ) -> None:
        self._run, self.vocabulary, self.learning_rate = model, vocabulary, learning_rate
        self.begin()

    def begin(self) -> None:
        """See `Conversation`; a model that has learned is again what it was."""
        self.states: Any = None
        self._adapting = None if self.learning_rate is None else Adapting(self._run, self.learning_rate)

    @property
    def _model(self) -> SequenceModel:
        return self._run if self._adapting is None else self._adapting.model

    def score(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        """See `Conversation`; all at once."""
        numbers = [self.vocabulary.numbers(sentence) for sentence in sentences]
        return np.concatenate(score_together(self._model, numbers, states=self.states))[np.newaxis]

    def accept(self, sentence: Sequence[str]) -> None:
        """See `Conversation`."""
        numbers = self.vocabulary.numbers(sentence)
        if self._adapting is not None:
            for segment in TokenStreams(numbers, 1, SEGMENT):
                self._adapting.learn(segment)
            self.states = self._adapting.states
            return
        inputs = np.concatenate([[END_ID], numbers[:-1]])
        column = torch.from_numpy(inputs).unsqueeze(1).to(device_of(self._model))
        with torch.no_grad():
            _, self.states = self._model(column, self.states)
