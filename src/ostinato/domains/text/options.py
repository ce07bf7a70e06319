"""What commands can be told of text alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Of `ostinato generate`.

    Parameters
    ----------
    tokens
        Words and sentence ends, or characters, to generate.
    temperature
        Below 1 the model keeps to what is likely, above 1 it is bolder; 0 always takes the most probable
        token.
    top_k
        Choose among the k most probable tokens; by default among all.
    top_p
        Choose among the most probable tokens that together have this probability; by default among all.
    unknown
        Let the unknown token be generated too.
    prime_file
        A text to continue, from a file or, as -, from standard input; its line ends are ends of sentences.
    """

    tokens: int = 200
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    unknown: bool = False
    prime_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Of `ostinato score`.

    Parameters
    ----------
    independent
        Sentences know nothing of each other; by default the state is carried from one to the next.
    dynamic
        The model goes on learning from the text it has scored; the run stays as it is.
    dynamic_rate
        Learning rate for --dynamic.
    mix_with
        Another model: a run's folder or an ARPA file; give it again for more.
    mix_weight
        Weight of the other model, from 0 to 1; given again, of the next.
    fit_on
        Fit the weights on this text by expectation maximisation instead.
    unknown_penalty
        Take so many nats off for each unknown word; where the model has no unknown word, they are all that
        the word is worth.
    lines
        Print one log-probability for each line, in order, a line without words as an empty sentence.
    base
        Of the logarithm of --lines: e or 10.
    per_token
        Show the log-probability of each token too.
    """

    independent: bool = False
    dynamic: bool = False
    dynamic_rate: float = 0.1
    mix_with: tuple[Path, ...] = ()
    mix_weight: tuple[float, ...] = ()
    fit_on: Path | None = None
    unknown_penalty: float | None = None
    lines: bool = False
    base: Literal["e", "10"] = "e"
    per_token: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Of `ostinato evaluate`.

    Parameters
    ----------
    per_sentence
        List the log-probability of each sentence of a split.
    """

    per_sentence: Literal["train", "valid", "test"] | None = None


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Of `ostinato data show`.

    Parameters
    ----------
    unit
        What a token is; words where nothing is said. Files of any name are read as text with it.
    vocabulary_size
        The most tokens that are told apart; 10,000 where nothing is said.
    """

    unit: Literal["words", "chars", "subwords", "bytes"] = "words"
    vocabulary_size: int = 10_000
