"""Mixtures of any number of language models, normalised over the union of their vocabularies.

    p(w | h) = sum_m lambda_m p_m(w | h)

Shapes: N tokens, M models.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ostinato.domains.text.evaluation.interpolation import fit_weights, mix
from ostinato.domains.text.reading.vocabulary import Unit
from ostinato.domains.text.reading.words import WhiteSpace
from ostinato.domains.text.score import Conversation, Scorer
from ostinato.domains.text.unknown import Union
from ostinato.errors import UserError, argument


@dataclass(frozen=True)
class Together:
    """Models that speak of the same words, token by token: what a mixture mixes.

    Arguments:
        models: the models, of one unit.

    Raises:
        UserError: their units differ.
    """

    models: Sequence[Scorer]

    def __post_init__(self) -> None:
        first, *others = self.models
        for other in others:
            if other.unit != first.unit:
                raise UserError(f"expected models of {first.unit} to mix, found one of {other.unit}")
            if first.unit == "subwords" and other.words != first.words:
                raise UserError("expected models with the same subwords to mix, found others")

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """Those that any model knows."""
        return frozenset().union(*(model.words for model in self.models))

    @functools.cached_property
    def union(self) -> Union:
        """How what is kept for unknown words is dealt out."""
        return Union(
            [len(model.words) for model in self.models],
            [model.unknown_types for model in self.models],
            len(self.words),
        )

    def split(self, text: str) -> list[str]:
        """The tokens of a text, about which all models agree.

        Raises:
            UserError: they do not.
        """
        first, *others = (model.split(text) for model in self.models)
        if any(other != first for other in others):
            raise UserError(
                "expected models that agree on what white space separates words, found others, and a text in "
                f"which it matters; train with {argument('white_space')} ascii"
            )
        return first

    def adjusted(self, log_probs: Sequence[np.ndarray], tokens: Sequence[str]) -> np.ndarray:
        """Log-probability of each token under each model, (M, N), over the words of the union.

        Args:
            log_probs: of each model by itself, (N,): of words that it does not know, that of all of them.
            tokens: (N,).
        """
        found = np.stack(log_probs)
        anywhere = np.fromiter((token in self.words for token in tokens), bool, len(tokens))
        for m, model in enumerate(self.models):
            own = np.fromiter((token in model.words for token in tokens), bool, len(tokens))
            elsewhere, nowhere = self.union.shifts(m)
            found[m, ~own & anywhere] += elsewhere
            found[m, ~anywhere] += nowhere
        return found

    def each(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """Log-probability of each token of a text under each model, (M, N)."""
        return self.adjusted([m.score(tokens, independent=independent) for m in self.models], tokens)

    def fitted(self, text: str, *, independent: bool = False) -> np.ndarray:
        """The weights (M,) under which a held-out text is most probable."""
        return fit_weights(self.each(self.split(text), independent=independent))


@dataclass(frozen=True)
class MixtureScorer:
    """A mixture as one model.

    Arguments:
        together: the models.
        weights: lambda (M,), at least 0 and of sum 1.
    """

    together: Together
    weights: np.ndarray

    @property
    def unit(self) -> Unit:
        """Of its models."""
        return self.together.models[0].unit

    @property
    def white_space(self) -> WhiteSpace:
        """Of its first model, with which the others agree about a text."""
        return self.together.models[0].white_space

    @property
    def words(self) -> frozenset[str]:
        """Those that any model knows."""
        return self.together.words

    @property
    def unknown_types(self) -> int:
        """How many types no model knows."""
        return self.together.union.unknown_types

    def known(self, token: str) -> bool:
        """Whether any model knows it."""
        return token in self.together.words

    def split(self, text: str) -> list[str]:
        """See `Scorer`."""
        return self.together.split(text)

    def joined(self, tokens: Sequence[str]) -> str:
        """See `Scorer`."""
        return self.together.models[0].joined(tokens)

    def score(self, tokens: Sequence[str], *, independent: bool = False) -> np.ndarray:
        """See `Scorer`."""
        return self.mixed(self.together.each(tokens, independent=independent))

    def conversation(self) -> Conversation:
        """See `Scorer`."""
        return _Conversation(self.together)

    def mixed(self, each: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        return mix(each, self.weights)


class _Conversation:
    """The same conversation with each model."""

    def __init__(self, together: Together) -> None:
        self.together = together
        self.parts = [model.conversation() for model in together.models]
        self.independent = all(part.independent for part in self.parts)

    def score(self, sentences: Sequence[Sequence[str]]) -> np.ndarray:
        each = [part.score(sentences)[0] for part in self.parts]
        return self.together.adjusted(each, [token for sentence in sentences for token in sentence])

    def accept(self, sentence: Sequence[str]) -> None:
        for part in self.parts:
            part.accept(sentence)

    def begin(self) -> None:
        for part in self.parts:
            part.begin()


def mixture_of(
    models: Sequence[Scorer],
    weights: Sequence[float] | None,
    text: str | None = None,
    *,
    independent: bool = False,
) -> tuple[Scorer, np.ndarray]:
    """A mixture with weights as given, or fitted on a held-out text; a single model is itself.

    Args:
        models: the models.
        weights: of all but the first, whose weight is what is left of 1; None to fit them.
        text: held out.
        independent: whether its sentences know nothing of each other.

    Returns:
        The mixture, and the weights of all models.

    Raises:
        UserError: there are too few weights, or they do not go together.
    """
    if len(models) == 1:
        return models[0], np.ones(1)
    together = Together(models)
    if weights is None:
        found = together.fitted(text or "", independent=independent)
    else:
        found = np.array([1 - sum(weights), *weights])
        if len(found) != len(models) or not ((found >= -1e-12) & (found <= 1)).all():
            raise UserError(
                f"expected {argument('mix_weight')} in [0, 1] for each model of {argument('mix_with')}, in "
                f"all at most 1, found {', '.join(map(str, weights))} for {len(models) - 1}"
            )
        found = np.maximum(found, 0.0)
    return MixtureScorer(together, found), found
