"""Language models of different kinds behind one call: log-probabilities of the words of sentences.

A run of ostinato, and an ARPA n-gram model; scores of files. Mixtures of them are in `mixture`.

Shapes: N tokens, S sentences.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from ostinato import foreign
from ostinato.domains.text.conversation import Conversation, Independent, RunConversation, RunSentences
from ostinato.domains.text.evaluation.arpa import BackoffModel, read_arpa
from ostinato.domains.text.evaluation.dynamic import score_dynamically
from ostinato.domains.text.evaluation.scores import score_tokens
from ostinato.domains.text.reading.extents import OF_WORDS, Extents, extents
from ostinato.domains.text.reading.source import is_there, whole_file
from ostinato.domains.text.reading.vocabulary import END, UNKNOWN, Unit, Vocabulary
from ostinato.domains.text.reading.words import WhiteSpace, is_blank, split_words, without_marks
from ostinato.domains.text.unknown import WHOLE, UnknownWords
from ostinato.errors import UserError, argument
from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.scores import pooled_score
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

# Of the rate of dynamic evaluation: beyond it weights are none after a step.
_MOST_RATE = 1000


class Scorer(Protocol):
    """A language model as scoring sees it."""

    @property
    def unit(self) -> Unit:
        """Words, characters, sub-words or bytes."""

    @property
    def white_space(self) -> WhiteSpace:
        """What separates words."""

    @property
    def words(self) -> frozenset[str]:
        """The tokens that it knows, the end of a sentence among them, the unknown token not."""

    @property
    def unknown_types(self) -> int:
        """How many types its unknown token stands for; 0 where it has none."""

    def split(self, text: str) -> list[str]:
        """The tokens of a text whose lines end."""

    def joined(self, tokens: Sequence[str]) -> str:
        """The text of tokens, without the end of its last sentence."""

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """log p of each token of a text in nats, shape (N,); the text's sentences end with END[unit].

        A token that is not among the model's has the probability of all of them together.
        """

    def known(self, token: str) -> bool:
        """Whether the token is in the model's vocabulary."""

    def conversation(self) -> Conversation:
        """What scores sentences after each other, as the scorer is told to remember."""

    def mixed(self, each: np.ndarray) -> np.ndarray:
        """log p of tokens (N,), of what a conversation says of them under each model, (M, N)."""


@dataclass(frozen=True)
class RunScorer:
    """The model of a run.

    Arguments:
        model: the model.
        vocabulary: its tokens.
        dynamic: learning rate of dynamic evaluation; None leaves the model as it is.
        carry: whether a conversation carries its state from sentence to sentence.
        independent: whether it was trained on sentences by themselves, and scores them so.
    """

    model: SequenceModel
    vocabulary: Vocabulary
    dynamic: float | None = None
    carry: bool = False
    independent: bool = False

    @property
    def unit(self) -> Unit:
        """Of the vocabulary."""
        return self.vocabulary.unit

    @property
    def white_space(self) -> WhiteSpace:
        """Of the vocabulary."""
        return self.vocabulary.white_space

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """All tokens but the unknown one."""
        unknown = self.vocabulary.unknown_id
        return frozenset(t for k, t in enumerate(self.vocabulary.tokens) if k != unknown)

    @property
    def unknown_types(self) -> int:
        """As the vocabulary says."""
        return self.vocabulary.unknown_types

    def known(self, token: str) -> bool:
        """Whether the token is in the vocabulary, and is not the unknown one."""
        return token in self.words

    def split(self, text: str) -> list[str]:
        """See `Scorer`."""
        return self.vocabulary.split(text)

    def joined(self, tokens: Sequence[str]) -> str:
        """See `Scorer`."""
        return self.vocabulary.joined(tokens).removesuffix("\n")

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        numbers = self.vocabulary.numbers(tokens)
        if self.dynamic is not None:
            return score_dynamically(self.model, numbers, learning_rate=self.dynamic)
        return score_tokens(self.model, numbers, independent=independent or self.independent)

    def conversation(self) -> Conversation:
        """See `Scorer`."""
        if self.dynamic is None and not self.carry:
            return RunSentences(self.model, self.vocabulary)
        return RunConversation(self.model, self.vocabulary, self.dynamic)

    def mixed(self, each: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return np.asarray(each[0])


@dataclass(frozen=True)
class ArpaScorer:
    """An n-gram model; its sentences are always independent."""

    model: BackoffModel
    unit: Unit = "words"
    white_space: WhiteSpace = "ascii"

    @property
    def words(self) -> frozenset[str]:
        """Its 1-grams."""
        return self.model.words

    @property
    def unknown_types(self) -> int:
        """One, as n-gram programs score an unknown word; none where the model has no unknown word."""
        return 0 if self.model.unknown is None else 1

    def known(self, token: str) -> bool:
        """Whether the token is a 1-gram, and is not the unknown one."""
        return token in self.words

    def split(self, text: str) -> list[str]:
        """Words, separated by the white space of ASCII, as the fields of the file are."""
        return split_words(text, self.white_space)

    def joined(self, tokens: Sequence[str]) -> str:
        """See `Scorer`."""
        return " ".join(token for token in tokens if token != END["words"])

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        return self.model.score(tokens)

    def conversation(self) -> Conversation:
        """See `Scorer`."""
        return Independent(self)

    def mixed(self, each: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return np.asarray(each[0])


def load_scorer(
    path: Path, *, dynamic: float | None = None, carry: bool = False, unknown_types: int | None = None
) -> RunScorer | ArpaScorer:
    """The model in a run's folder, or in an ARPA file.

    Args:
        path: of the folder or the file.
        dynamic, carry: of a run; see `RunScorer`.
        unknown_types: how many types its unknown token stands for, instead of what a run says of it.

    Raises:
        UserError: neither is there; or `dynamic` is no rate to learn at.
    """
    if dynamic is not None and not 0 <= dynamic <= _MOST_RATE:
        raise UserError(f"expected {argument('dynamic_rate')} of 0 to {_MOST_RATE}, found {dynamic:g}")
    if path.is_dir():
        run = Run.open(path)
        vocabulary = Vocabulary.read(run.folder)
        if unknown_types is not None and vocabulary.unit in UNKNOWN:
            vocabulary = replace(vocabulary, stated_types=unknown_types)
        trained = load_model(run)
        return RunScorer(trained.model, vocabulary, dynamic, carry, trained.recipe.independent)
    if not is_there(path):
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
        extents: words and characters of each sentence of the text.
        joined: makes a text of the tokens of a sentence, without its end.
        is_blank: whether a line of the text was left out.
    """

    unit: Unit
    tokens: tuple[str, ...]
    log_probs: np.ndarray
    known: np.ndarray
    extents: Extents
    joined: Callable[[Sequence[str]], str]
    is_blank: Callable[[str], bool]

    @property
    def log_prob(self) -> float:
        """Of the whole text, in nats."""
        return float(self.log_probs.sum())

    @property
    def perplexity(self) -> float:
        """exp of the mean -log p over tokens and sentence ends; infinite where a token has no probability."""
        return _perplexity(self.log_probs)

    @property
    def perplexity_known(self) -> float:
        """The same without unknown words; NaN where nothing else is left."""
        return _perplexity(self.log_probs[self.known])

    @property
    def per_word(self) -> float:
        """exp of -log p by words and sentence ends, whatever the tokens are."""
        return _exp(-self.log_prob / max(int(self.extents.words.sum()), 1))

    @property
    def bits_per_character(self) -> float:
        """-log2 p by characters, spaces between words and line ends, whatever the tokens are."""
        return -self.log_prob / max(int(self.extents.characters.sum()), 1) / math.log(2)

    @property
    def bits_per_token(self) -> float:
        """The mean of -log2 p."""
        return -self.log_prob / max(len(self.tokens), 1) / math.log(2)

    @property
    def scores(self) -> tuple[float, float, str]:
        """Perplexity of words and sub-words, by word, or bits per character of characters and bytes: the
        value, its standard error over blocks of neighbouring sentences, its unit.

        The error is NaN for a single sentence, and where a token has no probability.
        """
        sums = np.array([self.log_probs[place].sum() for place in self.sentences()])
        of_words = self.unit in OF_WORDS
        counts = self.extents.words if of_words else self.extents.characters
        error = math.nan
        if np.isfinite(sums).all():
            length = block_length(residuals(sums, counts))
            score = pooled_score(in_blocks(sums, length), in_blocks(counts, length), "nats/token", "")
            error = score.standard_error
        if of_words:
            return self.per_word, self.per_word * error, "perplexity"
        return self.bits_per_character, error / math.log(2), "bits/character"

    def sentences(self) -> list[slice]:
        """The range of tokens of each sentence, with its end."""
        ends = [n + 1 for n, token in enumerate(self.tokens) if token == END[self.unit]]
        if not ends or ends[-1] < len(self.tokens):
            ends.append(len(self.tokens))
        return [slice(a, b) for a, b in zip([0, *ends], ends, strict=False) if b > a]


def _perplexity(log_probs: np.ndarray) -> float:
    return _exp(-float(log_probs.mean())) if len(log_probs) else math.nan


def _exp(nats: float) -> float:
    return math.inf if nats > 700 else math.exp(nats)


def score_text(
    scorer: Scorer, text: str, *, independent: bool = False, unknown: UnknownWords = WHOLE
) -> ScoredText:
    """Every token of a text under a model.

    Args:
        scorer: the model.
        text: lines that end.
        independent: whether sentences know nothing of each other.
        unknown: how unknown words are scored; by default each with all that they have together.
    """
    tokens = scorer.split(text)
    known = np.array([scorer.known(token) for token in tokens], dtype=bool)
    log_probs = scorer.score(tokens, independent=independent)
    log_probs = unknown.applied(log_probs, ~known, scorer.unknown_types)
    return scored_text(scorer, text, tokens, log_probs, known)


def scored_text(
    scorer: Scorer, text: str, tokens: Sequence[str], log_probs: np.ndarray, known: np.ndarray
) -> ScoredText:
    """A text whose tokens were scored."""
    unit, white_space = scorer.unit, scorer.white_space
    return ScoredText(
        unit,
        tuple(tokens),
        log_probs,
        known,
        extents([text], unit, white_space),
        scorer.joined,
        functools.partial(is_blank, white_space=white_space) if unit in OF_WORDS else lambda line: False,
    )


def line_scores(
    scorer: Scorer, text: str, *, independent: bool = False, unknown: UnknownWords = WHOLE
) -> np.ndarray:
    """log p of every line of a text with its end in nats, shape (S,); one without words is an end alone."""
    tokens, counts = [], []
    for line in text.removesuffix("\n").split("\n"):
        own = scorer.split(line + "\n") or [END[scorer.unit]]
        tokens += own
        counts.append(len(own))
    log_probs = scorer.score(tokens, independent=independent)
    known = np.array([scorer.known(token) for token in tokens], dtype=bool)
    log_probs = unknown.applied(log_probs, ~known, scorer.unknown_types)
    return np.bincount(np.repeat(np.arange(len(counts)), counts), log_probs, minlength=len(counts))


def unigram_scores(scorer: Scorer, scored: ScoredText) -> ScoredText | None:
    """The same tokens under the frequencies of a run's training text, the baseline; None for other models."""
    if not isinstance(scorer, RunScorer):
        return None
    log_p, vocabulary = np.log(scorer.vocabulary.frequencies()), scorer.vocabulary
    known = np.array([scorer.known(token) for token in scored.tokens], dtype=bool)
    return replace(scored, log_probs=log_p[vocabulary.numbers(scored.tokens)], known=known)


def read_text(path: Path) -> str:
    """A UTF-8 file, also packed by gzip, or standard input for -, its last line ended.

    Raises:
        UserError: it cannot be read, is not UTF-8 (says at which byte), is empty, or too large to be held in
            memory as a whole.
    """
    memory = foreign.Memory(str(path), share=0.4)  # joined, it takes as much again for a moment
    return "".join(memory.along(whole_file(path).blocks(), every=1))


def read_sentences(path: Path, unit: Unit) -> tuple[str, int]:
    """A text as `read_text`, of words without marks of sentences, and how many lines had any."""
    text = read_text(path)
    return without_marks(text) if unit in OF_WORDS else (text, 0)
