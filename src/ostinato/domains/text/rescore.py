"""N-best lists of a recognizer, scored again by language models: the best hypothesis of each utterance.

A list has one hypothesis a line, its fields separated by tabs:

    UTTERANCE <tab> WORDS
    UTTERANCE <tab> SCORE <tab> WORDS               one score: acoustic log-likelihood (natural logarithm)
    UTTERANCE <tab> SCORE ... SCORE <tab> WORDS     more scores, each with a weight

A hypothesis is ranked by

    sum_i w_i score_i + lm_weight * log p(words, end) + word_bonus * (number of words)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ostinato.domains.text.evaluation.interpolation import fit_weights
from ostinato.domains.text.score import Scorer, tokens_of
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted


@dataclass(frozen=True)
class Hypothesis:
    """One line of an n-best list.

    Arguments:
        utterance: whose hypothesis it is.
        scores: the scores that came with it.
        words: what was said.
    """

    utterance: str
    scores: tuple[float, ...]
    words: str


@dataclass(frozen=True)
class Ranked:
    """A hypothesis with its language-model log-probability in nats and its total."""

    hypothesis: Hypothesis
    log_prob: float
    total: float


def read_nbest(text: str, name: str) -> list[Hypothesis]:
    """The hypotheses of an n-best list; blank lines are passed over.

    Raises:
        UserError: a line lacks a field or has a score that is no number; says which.

    Example:
        >>> read_nbest("u1\\t-12.5\\tthe cat\\n", "list.txt")
        [Hypothesis(utterance='u1', scores=(-12.5,), words='the cat')]
    """
    found: list[Hypothesis] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        fields = line.rstrip("\r").split("\t")
        if len(fields) < 2 or not fields[0].strip():
            raise UserError(
                f"expected UTTERANCE <tab> [SCORES <tab>] WORDS in line {number} of {name}, "
                f"found {counted(len(fields), 'field')}: {line[:60]!r}"
            )
        utterance, *scores, words = fields
        try:
            values = tuple(float(score) for score in scores)
        except ValueError:
            raise UserError(
                f"expected numbers between utterance and words in line {number} of {name}, found {scores}"
            ) from None
        if found and len(values) != len(found[0].scores):
            raise UserError(
                f"expected {len(found[0].scores)} score(s) in line {number} of {name}, as in the first line, "
                f"found {len(values)}"
            )
        found.append(Hypothesis(utterance.strip(), values, words.strip()))
    if not found:
        raise UserError(f"expected hypotheses in {name}, found none")
    return found


def rescore(
    scorer: Scorer,
    hypotheses: Sequence[Hypothesis],
    *,
    weights: Sequence[float] | None = None,
    lm_weight: float = 1.0,
    word_bonus: float = 0.0,
) -> list[list[Ranked]]:
    """The hypotheses of each utterance, best first, utterances in the order of the list.

    Each hypothesis is scored as a sentence of its own, from a zero state.

    Args:
        scorer: the language model.
        hypotheses: the list.
        weights: of the scores that came with it; 1 each by default.
        lm_weight: of log p.
        word_bonus: for each word.
    """
    weights = [1.0] * len(hypotheses[0].scores) if weights is None else weights
    if len(weights) != len(hypotheses[0].scores):
        raise UserError(f"expected {len(hypotheses[0].scores)} weights of scores, found {len(weights)}")
    log_probs = sentence_log_probs(scorer, [h.words for h in hypotheses])
    ranked: dict[str, list[Ranked]] = {}
    for hypothesis, log_prob in zip(hypotheses, log_probs.tolist(), strict=True):
        given = sum(w * s for w, s in zip(weights, hypothesis.scores, strict=True))
        total = given + lm_weight * log_prob + word_bonus * len(hypothesis.words.split())
        ranked.setdefault(hypothesis.utterance, []).append(Ranked(hypothesis, log_prob, total))
    return [sorted(each, key=lambda r: -r.total) for each in ranked.values()]


def sentence_log_probs(scorer: Scorer, sentences: Sequence[str]) -> np.ndarray:
    """log p of each sentence and its end in nats, independent of each other, shape (S,)."""
    tokens, counts = [], []
    for sentence in sentences:
        # an empty hypothesis is the end of a sentence alone
        own = tokens_of(sentence + "\n", scorer.unit) or ["</s>"]
        tokens += own
        counts.append(len(own))
    log_probs = scorer.score(tokens, independent=True)
    owner = np.repeat(np.arange(len(counts)), counts)
    return np.bincount(owner, log_probs, minlength=len(counts))


def fit_mixture(first: Scorer, second: Scorer, text: str, *, independent: bool = False) -> float:
    """The weight of the second of two models under which a held-out text is most probable."""
    tokens = tokens_of(text, first.unit)
    each = [model.score(tokens, independent=independent) for model in (first, second)]
    return float(fit_weights(np.stack(each))[1])
