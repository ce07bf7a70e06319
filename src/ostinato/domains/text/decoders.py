"""A language model in the terms of two decoders of speech: pyctcdecode's, and torchaudio's CTC decoder.

Both ask for one word of one hypothesis at a time. What they call a state is here the sentence so far, whose
network's state `LanguageModel.score_ids` keeps.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ostinato.errors import UserError, argument

Prefix = tuple[int, ...]

# pyctcdecode takes two hypotheses for one where so many of their last words are the same; a recurrent
# network may remember more than any number of them.
_ORDER = 1 << 20


class Scores(Protocol):
    """What a decoder's scorer asks of a `LanguageModel`."""

    @property
    def end(self) -> int:
        """See `LanguageModel.end`."""

    def word_ids(self, word: str, *, first: bool) -> Prefix:
        """See `LanguageModel.word_ids`."""

    def score_ids(self, prefixes: Sequence[Prefix]) -> np.ndarray:
        """See `LanguageModel.score_ids`."""

    def ids(self, tokens: Sequence[str]) -> Any:
        """See `LanguageModel.ids`."""


class PyctcdecodeScorer:
    """A language model as `pyctcdecode.AbstractLanguageModel` describes one.

    A word adds alpha log p(word | before) + beta, the last one also alpha log p(end of the sentence).

    Args:
        language_model: the model.
        alpha: weight of the natural log-probability.
        beta: bonus for each word.
    """

    order = _ORDER

    def __init__(self, language_model: Scores, *, alpha: float = 0.5, beta: float = 1.5) -> None:
        self.language_model = language_model
        self.alpha = self.beta = 0.0
        self.reset_params(alpha=alpha, beta=beta)

    def get_start_state(self) -> Prefix:
        """Before the first word."""
        return ()

    def score_partial_token(self, partial_token: str) -> float:
        """Nothing: a part of a word is scored when the word is whole."""
        return 0.0

    def score(self, prev_state: Prefix, word: str, is_last_word: bool = False) -> tuple[float, Prefix]:
        """What the word adds, and the state after it.

        An empty word, by which the decoder asks for the end of a sentence after nothing, is no word.
        """
        state, bonus = prev_state, 0.0
        if word:
            state, bonus = (*prev_state, *self.language_model.word_ids(word, first=not prev_state)), self.beta
        whole = (*state, self.language_model.end) if is_last_word else state
        before, after = self.language_model.score_ids([prev_state, whole]).tolist()
        return self.alpha * (after - before) + bonus, state

    def reset_params(self, **params: Any) -> None:
        """Other values for `alpha` and `beta`; the decoder passes on what it was told, None for no change.

        Raises:
            UserError: a value is no finite number, or something else is set, which this model has not.
        """
        for name, value in params.items():
            if value is None:
                continue
            if name not in ("alpha", "beta"):
                raise UserError(f"expected alpha or beta, found {argument(name)}, which is of n-gram models")
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"expected a finite {argument(name)}, found {value!r}")
            setattr(self, name, float(value))


def torchaudio_scorer(language_model: Scores, words: Sequence[str], *, as_tokens: bool = False) -> Any:
    """A `torchaudio.models.decoder.CTCDecoderLM`, which `ctc_decoder(lm=...)` takes.

    A word's score is its natural log-probability, which the decoder multiplies by `lm_weight`; flashlight's
    n-gram models have log10, so that their weights are 2.3 times these.

    Args:
        language_model: the model.
        words: by the decoder's numbers: the lines of its `lm_dict`, or without a lexicon its `tokens`.
        as_tokens: whether they are tokens of the model, and not words.

    Raises:
        UserError: torchaudio's decoder is not installed; or a token is none of the model's.
    """
    try:
        decoder = importlib.import_module("torchaudio.models.decoder")
        base, new_state = decoder.CTCDecoderLM, decoder.CTCDecoderLMState
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"expected torchaudio with its CTC decoder, found none ({error}); pip install torchaudio "
            "flashlight-text"
        ) from error
    tokens = [tuple(language_model.ids([word]).tolist()) for word in words] if as_tokens else None

    class Scorer(base):  # type: ignore[misc, valid-type]  # known when torchaudio is
        """The model; states are keys of what they stand for, and kept as long as a decoding lasts."""

        def __init__(self) -> None:
            super().__init__()
            self.prefixes: dict[Any, Prefix] = {}

        def start(self, start_with_nothing: bool = False) -> Any:
            self.prefixes.clear()
            state = new_state()
            self.prefixes[state] = ()
            return state

        def score(self, state: Any, usr_token_idx: int) -> tuple[Any, float]:
            prefix = self.prefixes[state]
            if tokens is not None:
                added = tokens[usr_token_idx]
            else:
                added = language_model.word_ids(words[usr_token_idx], first=not prefix)
            return self._after(state, usr_token_idx, prefix, added)

        def finish(self, state: Any) -> tuple[Any, float]:
            return self._after(state, len(words), self.prefixes[state], (language_model.end,))

        def _after(self, state: Any, index: int, prefix: Prefix, added: Prefix) -> tuple[Any, float]:
            following = state.child(index)
            self.prefixes[following] = (*prefix, *added)
            before, after = language_model.score_ids([prefix, self.prefixes[following]]).tolist()
            return following, after - before

    return Scorer()
