"""Language models of different kinds behind one call: log-probabilities of the words of sentences.

A run of ostinato, an ARPA n-gram model, and mixtures of them; scores of files and of n-best lists.

Shapes: N tokens, S sentences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ostinato.domains.text.evaluation.arpa import BackoffModel, read_arpa
from ostinato.domains.text.evaluation.dynamic import score_dynamically
from ostinato.domains.text.evaluation.interpolation import mix
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading.source import whole_file
from ostinato.domains.text.reading.vocabulary import END, Unit, Vocabulary, split_words
from ostinato.errors import UserError
from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.scores import pooled_score
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


class Scorer(Protocol):
    """A language model as scoring sees it."""

    @property
    def unit(self) -> Unit:
        """Words or characters."""

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """log p of each token of a text in nats, shape (N,); the text's sentences end with END[unit]."""

    def known(self, token: str) -> bool:
        """Whether the token is in the model's vocabulary."""


@dataclass(frozen=True)
class RunScorer:
    """The model of a run.

    Arguments:
        model: the model.
        vocabulary: its tokens.
        dynamic: learning rate of dynamic evaluation; None leaves the model as it is.
    """

    model: SequenceModel
    vocabulary: Vocabulary
    dynamic: float | None = None

    @property
    def unit(self) -> Unit:
        """Words or characters."""
        return self.vocabulary.unit

    def known(self, token: str) -> bool:
        """Whether the token is in the vocabulary."""
        return token in self.vocabulary.ids

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        numbers = self.vocabulary.numbers(tokens)
        if self.dynamic is not None:
            return score_dynamically(self.model, numbers, learning_rate=self.dynamic)
        return score_tokens(self.model, numbers, independent=independent)


@dataclass(frozen=True)
class ArpaScorer:
    """An n-gram model; its sentences are always independent."""

    model: BackoffModel
    unit: Unit = "words"

    def known(self, token: str) -> bool:
        """Whether the token is a 1-gram."""
        return (token,) in self.model.tables[0]

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        return self.model.score(tokens)


@dataclass(frozen=True)
class MixtureScorer:
    """p = (1 - lambda) p_first + lambda p_second, token by token."""

    first: Scorer
    second: Scorer
    weight: float

    @property
    def unit(self) -> Unit:
        """Words or characters."""
        return self.first.unit

    def known(self, token: str) -> bool:
        """Whether the first model knows it: the scores are those of its vocabulary."""
        return self.first.known(token)

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        each = [model.score(tokens, independent=independent) for model in (self.first, self.second)]
        return mix(np.stack(each), np.array([1 - self.weight, self.weight]))


def load_scorer(path: Path, *, dynamic: float | None = None) -> RunScorer | ArpaScorer:
    """The model in a run's folder, or in an ARPA file.

    Raises:
        UserError: neither is there.
    """
    if path.is_dir():
        run = Run.open(path)
        vocabulary = Vocabulary.read(run.folder)
        return RunScorer(load_model(run).model, vocabulary, dynamic)
    if not path.exists():
        raise UserError(f"expected a run folder or an ARPA file, found nothing at {path}")
    return ArpaScorer(read_arpa(path))


@dataclass(frozen=True)
class ScoredText:
    """Tokens and their log-probabilities in nats.

    Arguments:
        unit: words or characters.
        tokens: of all sentences, each with its end.
        log_probs: of each (N,).
        known: whether each is in the model's vocabulary (N,).
    """

    unit: Unit
    tokens: tuple[str, ...]
    log_probs: np.ndarray
    known: np.ndarray

    @property
    def log_prob(self) -> float:
        """Of the whole text, in nats."""
        return float(self.log_probs.sum())

    @property
    def perplexity(self) -> float:
        """exp of the mean -log p over tokens and sentence ends; infinite where a token has no probability."""
        nats = -self.log_prob / max(len(self.tokens), 1)
        return math.inf if nats > 700 else math.exp(nats)

    @property
    def bits_per_token(self) -> float:
        """The mean of -log2 p."""
        return -self.log_prob / max(len(self.tokens), 1) / math.log(2)

    @property
    def scores(self) -> tuple[float, float, str]:
        """Perplexity of words, or bits per character: the value, its standard error over blocks of
        neighbouring sentences, its unit.

        The error is NaN for a single sentence, and where a token has no probability.
        """
        places = self.sentences()
        sums = np.array([self.log_probs[place].sum() for place in places])
        counts = np.array([place.stop - place.start for place in places])
        finite = np.isfinite(sums).all()
        error = math.nan
        if finite:
            length = block_length(residuals(sums, counts))
            score = pooled_score(in_blocks(sums, length), in_blocks(counts, length), "nats/token", "")
            error = score.standard_error
        if self.unit == "words":
            return self.perplexity, self.perplexity * error, "perplexity"
        return self.bits_per_token, error / math.log(2), "bits/character"

    def sentences(self) -> list[slice]:
        """The range of tokens of each sentence, with its end."""
        ends = [n + 1 for n, token in enumerate(self.tokens) if token == END[self.unit]]
        if not ends or ends[-1] < len(self.tokens):
            ends.append(len(self.tokens))
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False) if b > a]


def tokens_of(text: str, unit: Unit) -> list[str]:
    """A text whose lines end, as tokens.

    Example:
        >>> tokens_of("a b\\n", "words"), tokens_of("a\\n", "chars")
        (['a', 'b', '</s>'], ['a', '\\n'])
    """
    return split_words(text) if unit == "words" else list(text)


def score_text(scorer: Scorer, text: str, *, independent: bool = False) -> ScoredText:
    """Every token of a text under a model.

    Args:
        scorer: the model.
        text: lines that end.
        independent: whether sentences know nothing of each other.
    """
    tokens = tokens_of(text, scorer.unit)
    log_probs = scorer.score(tokens, independent=independent)
    known = np.array([scorer.known(token) for token in tokens], dtype=bool)
    return ScoredText(scorer.unit, tuple(tokens), log_probs, known)


def unigram_scores(scorer: Scorer, tokens: Sequence[str]) -> ScoredText | None:
    """The tokens under the frequencies of a run's training text, the baseline; None for other models."""
    if isinstance(scorer, MixtureScorer):
        return unigram_scores(scorer.first, tokens)
    if not isinstance(scorer, RunScorer):
        return None
    log_p, ids = np.log(scorer.vocabulary.frequencies()), scorer.vocabulary.ids
    log_probs = log_p[[ids.get(token, scorer.vocabulary.unknown_id) for token in tokens]]
    known = np.array([token in ids for token in tokens], dtype=bool)
    return ScoredText(scorer.unit, tuple(tokens), log_probs, known)


def read_text(path: Path) -> str:
    """A UTF-8 file, its last line ended.

    Raises:
        UserError: it cannot be read, is not UTF-8 (says at which byte), or is empty.
    """
    return "".join(whole_file(path).blocks())
