"""Hypotheses of utterances ranked again by language models: the best of each.

A hypothesis is ranked by

    sum_i w_i score_i + lm_weight * log p(words, end) + word_bonus * (number of words)

in which an unknown word has its share of what the model keeps for all of them; see `unknown`.

Shapes: N tokens, K hypotheses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ostinato.domains.text.nbest import Hypothesis
from ostinato.domains.text.reading.vocabulary import END
from ostinato.domains.text.reading.words import splitter
from ostinato.domains.text.score import Scorer
from ostinato.domains.text.unknown import SHARED, UnknownWords
from ostinato.errors import UserError, argument, check_weight


@dataclass(frozen=True)
class Weights:
    """What a hypothesis is ranked by.

    Arguments:
        scores: of the scores that came with it; None for 1 each.
        lm_weight: of log p.
        word_bonus: for each word.
    """

    scores: Sequence[float] | None = None
    lm_weight: float = 1.0
    word_bonus: float = 0.0

    def __post_init__(self) -> None:
        given = {"score_weights": self.scores or (), "lm_weight": (self.lm_weight,)}
        for name, values in (given | {"word_bonus": (self.word_bonus,)}).items():
            for value in values:
                check_weight(name, value)

    def of_scores(self, hypotheses: Sequence[Hypothesis]) -> np.ndarray:
        """What the scores of each hypothesis come to, (K,).

        Raises:
            UserError: there are more or fewer weights than scores.
        """
        count = len(hypotheses[0].scores)
        if any(len(one.scores) != count for one in hypotheses):
            raise UserError("expected as many scores of every hypothesis, found more of some")
        weights = [1.0] * count if self.scores is None else list(self.scores)
        if len(weights) != count:
            raise UserError(
                f"expected {count} weights of scores, one {argument('score_weights')} for each, found "
                f"{len(weights)}"
            )
        return np.array([one.scores for one in hypotheses]).reshape(len(hypotheses), count) @ np.array(
            weights
        )

    def totals(self, given: np.ndarray, log_probs: np.ndarray, words: np.ndarray) -> np.ndarray:
        """What hypotheses are ranked by, (K,)."""
        # without weight even what is impossible counts for nothing
        language = self.lm_weight * log_probs if self.lm_weight else np.zeros(len(log_probs))
        return given + language + self.word_bonus * words


@dataclass(frozen=True)
class Ranked:
    """A hypothesis with its language-model log-probability in nats and its total."""

    hypothesis: Hypothesis
    log_prob: float
    total: float


@dataclass(frozen=True)
class Rescored:
    """N-best lists, ranked.

    Arguments:
        utterances: the hypotheses of each, best first, in the order of the list.
        impossible: utterances of which the model gives every hypothesis the probability 0: their scores alone
            decide.
    """

    utterances: list[list[Ranked]]
    impossible: list[str]


def by_utterance(hypotheses: Sequence[Hypothesis]) -> dict[str, list[int]]:
    """The places of each utterance's hypotheses in the list."""
    found: dict[str, list[int]] = {}
    for place, one in enumerate(hypotheses):
        found.setdefault(one.utterance, []).append(place)
    return found


@dataclass(frozen=True)
class Tokens:
    """The tokens of all hypotheses, laid end to end, as models score them.

    Arguments:
        log_probs: under each model, (M, N): of unknown tokens, of all that are unknown together.
        unknown: which no model knows, (N,).
        owner: whose hypothesis each is of, (N,).
        types: how many types the unknown token stands for.
    """

    log_probs: np.ndarray
    unknown: np.ndarray
    owner: np.ndarray
    types: int

    @property
    def hypotheses(self) -> int:
        """K."""
        return int(self.owner[-1]) + 1

    def totals(self, mixed: np.ndarray, how: UnknownWords) -> np.ndarray:
        """log p of each hypothesis (K,), of what each token has under the mixture (N,)."""
        own = how.applied(mixed, self.unknown, self.types)
        return np.bincount(self.owner, own, minlength=self.hypotheses)


def tokens_of(scorer: Scorer, sentences: Sequence[Sequence[str]], log_probs: np.ndarray) -> Tokens:
    """The tokens of some sentences, with what a conversation said of them."""
    flat = [token for own in sentences for token in own]
    unknown = ~np.fromiter((scorer.known(token) for token in flat), bool, len(flat))
    owner = np.repeat(np.arange(len(sentences)), [len(own) for own in sentences])
    return Tokens(log_probs, unknown, owner, scorer.unknown_types)


def groups_of(
    scorer: Scorer,
    hypotheses: Sequence[Hypothesis],
    conversations: Mapping[str, str] | None,
    best: Callable[[list[int], Tokens], Sequence[int]],
) -> Iterator[tuple[list[int], Tokens]]:
    """The hypotheses in groups that are scored at once: their places in the list, and their tokens.

    All at once where sentences know nothing of each other; else an utterance after the other, each after
    what `best` says of the one before in its conversation, wherever that stands in the list.

    Args:
        scorer: the language model.
        hypotheses: the list.
        conversations: which conversation an utterance is of; None for a single one.
        best: told what is yielded, says which hypothesis of each utterance is the best, by its place in the
            group.
    """
    tokens = [scorer.split(one.words + "\n") or [END[scorer.unit]] for one in hypotheses]
    conversation, before = scorer.conversation(), None
    grouped = by_utterance(hypotheses)
    if conversation.independent:
        every = [place for own in grouped.values() for place in own]
        sentences = [tokens[place] for place in every]
        yield every, tokens_of(scorer, sentences, conversation.score(sentences))
        return
    every_conversation: dict[str, list[list[int]]] = {}
    for utterance, places in grouped.items():
        every_conversation.setdefault(_conversation_of(utterance, conversations), []).append(places)
    for now, places in ((now, places) for now, own in every_conversation.items() for places in own):
        if before is not None and now != before:
            conversation.begin()
        before, sentences = now, [tokens[place] for place in places]
        found = tokens_of(scorer, sentences, conversation.score(sentences))
        yield places, found
        (chosen,) = best(places, found)
        conversation.accept(sentences[chosen])


def rescore(
    scorer: Scorer,
    hypotheses: Sequence[Hypothesis],
    *,
    weights: Weights | None = None,
    unknown: UnknownWords = SHARED,
    conversations: Mapping[str, str] | None = None,
) -> Rescored:
    """The hypotheses of each utterance, best first, utterances in the order of the list.

    Each hypothesis is scored as a sentence of its own, unless the scorer is told to carry its state or to
    learn: then as what follows the best hypotheses of the utterances before, in the same conversation.

    Args:
        scorer: the language model.
        hypotheses: the list.
        weights: what they are ranked by.
        unknown: how unknown words are scored.
        conversations: which conversation an utterance is of; None for a single one.

    Raises:
        UserError: an utterance is of no conversation.
    """
    ranking = Ranking(scorer, hypotheses, weights or Weights(), unknown)
    log_probs = np.empty(len(hypotheses))
    for places, tokens in groups_of(scorer, hypotheses, conversations, ranking.best):
        log_probs[places] = ranking.log_probs(tokens)
    utterances, impossible = [], []
    for utterance, places in by_utterance(hypotheses).items():
        own = log_probs[places]
        if np.isneginf(own).all() and ranking.weights.lm_weight:
            impossible.append(utterance)
        totals = ranking.totals(places, own)
        order = np.argsort(-totals, kind="stable")
        utterances.append([Ranked(hypotheses[places[k]], float(own[k]), float(totals[k])) for k in order])
    return Rescored(utterances, impossible)


class Ranking:
    """Ranks the hypotheses of an utterance.

    Args:
        scorer: the language model.
        hypotheses: the list.
        weights: what they are ranked by.
        unknown: how unknown words are scored.
    """

    def __init__(
        self, scorer: Scorer, hypotheses: Sequence[Hypothesis], weights: Weights, unknown: UnknownWords
    ) -> None:
        self.scorer, self.weights, self.unknown = scorer, weights, unknown
        self.given = weights.of_scores(hypotheses)
        split = splitter(scorer.white_space)  # as the model counts words
        self.words = np.array([len(split(one.words)) for one in hypotheses])

    def log_probs(self, tokens: Tokens) -> np.ndarray:
        """log p of each hypothesis of a group (K,)."""
        return tokens.totals(self.scorer.mixed(tokens.log_probs), self.unknown)

    def totals(self, places: Sequence[int], log_probs: np.ndarray) -> np.ndarray:
        """What the hypotheses in some places of the list are ranked by, (K,)."""
        # where the model gives nothing a chance, the other scores decide
        own = np.zeros(len(log_probs)) if np.isneginf(log_probs).all() else log_probs
        return self.weights.totals(self.given[places], own, self.words[places])

    def best(self, places: list[int], tokens: Tokens) -> list[int]:
        """The place of the best hypothesis of one utterance, among its own."""
        return [int(np.argmax(self.totals(places, self.log_probs(tokens))))]


def _conversation_of(utterance: str, conversations: Mapping[str, str] | None) -> str:
    if conversations is None:
        return ""
    if utterance not in conversations:
        raise UserError(f"expected a conversation of {utterance} in {argument('conversations')}, found none")
    return conversations[utterance]
