"""Weights of rescoring that make the fewest word errors, found on half of the utterances, tried on the other.

Errors are a step function of the weights: no gradient leads anywhere. Each weight in turn is tried over a
grid, finer from round to round, and what is best together with its neighbours is taken, not a lucky point.

Shapes: K hypotheses, U utterances, M models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ostinato.domains.text.evaluation.interpolation import mix
from ostinato.domains.text.mixture import MixtureScorer
from ostinato.domains.text.nbest import Hypothesis
from ostinato.domains.text.reading.words import WhiteSpace, splitter
from ostinato.domains.text.rescore import Ranking, Tokens, Weights, by_utterance, groups_of
from ostinato.domains.text.score import Scorer
from ostinato.domains.text.unknown import UnknownWords
from ostinato.domains.text.word_errors import word_errors
from ostinato.errors import UserError, argument
from ostinato.evaluation.bootstrap import Difference, paired_bootstrap

FEWEST_UTTERANCES = 4
_ROUNDS = 3
_POINTS = 17


@dataclass(frozen=True)
class Setting:
    """All that is tuned.

    Arguments:
        lm_weight, word_bonus: see `rescore.Weights`.
        mixture: weights of the models (M,).
        unknown_penalty: see `UnknownWords`; None for shares.
    """

    lm_weight: float
    word_bonus: float
    mixture: tuple[float, ...] = (1.0,)
    unknown_penalty: float | None = None


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Arguments:
        before, after: the weights.
        tuned_on, tried_on: utterances of each half.
        errors: word errors of each utterance of the other half, (U,), by system: "first" (the first
            hypothesis of the list), "before", "after" and "oracle" (the best hypothesis that there is).
        words: of the references of that half, (U,).
        difference: of the word error rate, after less before, in per cent points.
    """

    before: Setting
    after: Setting
    tuned_on: int
    tried_on: int
    errors: Mapping[str, np.ndarray]
    words: np.ndarray
    difference: Difference

    def rate(self, system: str) -> float:
        """A system's word error rate in per cent."""
        return 100 * float(self.errors[system].sum()) / max(float(self.words.sum()), 1.0)


class Bench:
    """Hypotheses with their errors, in rows of an utterance each.

    Args:
        hypotheses: of utterances that have references.
        references: by utterance.
        given: what the scores of each hypothesis come to, (K,).
        tokens: of all hypotheses in their order.
        white_space: what separates words.
    """

    def __init__(
        self,
        hypotheses: Sequence[Hypothesis],
        references: Mapping[str, str],
        given: np.ndarray,
        tokens: Tokens,
        white_space: WhiteSpace = "unicode",
    ) -> None:
        grouped = by_utterance(hypotheses)
        widest = max(map(len, grouped.values()))
        self.place = np.full((len(grouped), widest), -1)
        for row, places in enumerate(grouped.values()):
            self.place[row, : len(places)] = places
        self.there = np.greater_equal(self.place, 0)
        self.tokens, self.given = tokens, self._rows(given)
        split = splitter(white_space)
        said = [split(one.words) for one in hypotheses]
        self.words = self._rows(np.array([len(words) for words in said], dtype=np.float64))
        expected = {utterance: split(references[utterance]) for utterance in grouped}
        errors = [word_errors(expected[h.utterance], w) for h, w in zip(hypotheses, said, strict=True)]
        self.errors = self._rows(np.array(errors))
        self.reference_words = np.array([len(words) for words in expected.values()])
        self._mixed: tuple[tuple[float, ...], np.ndarray] | None = None

    def _rows(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.there, values[self.place], 0)

    def language(self, mixture: tuple[float, ...], penalty: float | None) -> np.ndarray:
        """log p of each hypothesis in its row; 0 in rows where nothing has a chance."""
        if self._mixed is None or self._mixed[0] != mixture:
            self._mixed = mixture, mix(self.tokens.log_probs, np.array(mixture))
        own = self.tokens.totals(self._mixed[1], UnknownWords(shared=True, penalty=penalty))
        rows = self._rows(own)
        hopeless = (np.isneginf(rows) | ~self.there).all(1)
        return np.where(hopeless[:, np.newaxis], 0.0, rows)

    def chosen(self, setting: Setting) -> np.ndarray:
        """Errors of the hypothesis that is best in each row, (U,)."""
        language = self.language(setting.mixture, setting.unknown_penalty)
        return self.chosen_by(language, setting.lm_weight, setting.word_bonus)

    def chosen_by(self, language: np.ndarray, lm_weight: float, word_bonus: float) -> np.ndarray:
        """The same, of log p in rows."""
        weighted = lm_weight * language if lm_weight else 0.0
        totals = np.where(self.there, self.given + weighted + word_bonus * self.words, -np.inf)
        return np.take_along_axis(self.errors, totals.argmax(1)[:, np.newaxis], 1)[:, 0]

    def first(self) -> np.ndarray:
        """Errors of the first hypothesis of each row, (U,)."""
        return self.errors[:, 0]

    def oracle(self) -> np.ndarray:
        """The fewest errors in each row, (U,)."""
        return np.where(self.there, self.errors, np.iinfo(np.int64).max).min(1)


def tune(
    scorer: Scorer,
    hypotheses: Sequence[Hypothesis],
    references: Mapping[str, str],
    *,
    weights: Weights,
    unknown: UnknownWords,
    conversations: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Tuned:
    """Tune on a random half of the utterances, and compare with the weights as given on the other half.

    Where the scorer carries its state, it follows the best hypotheses under the weights as given.

    Args:
        scorer: the language model, or a mixture, whose weights are tuned too.
        hypotheses: the list; utterances without a reference are left out.
        references: what was said, by utterance.
        weights: to begin with; those of the scores stay as they are.
        unknown: how unknown words are scored to begin with; the penalty is tuned where any word is unknown.
        conversations: which conversation an utterance is of, resampled as a whole; None for a single one.
        seed: of the halves.

    Raises:
        UserError: there are too few utterances with references, or no words in these.
    """
    ranking = Ranking(scorer, hypotheses, weights, unknown)
    found = _all_tokens(scorer, hypotheses, conversations, ranking)
    used = [k for k, one in enumerate(hypotheses) if one.utterance in references]
    bench = Bench(
        [hypotheses[k] for k in used],
        references,
        ranking.given[used],
        _of_hypotheses(found, used),
        scorer.white_space,
    )
    utterances = len(bench.reference_words)
    if utterances < FEWEST_UTTERANCES:
        raise UserError(
            f"expected references of {FEWEST_UTTERANCES} or more utterances in {argument('tune')}, found "
            f"those of {utterances}"
        )
    order = np.random.default_rng(seed).permutation(utterances)
    tuned_on, tried_on = np.sort(order[: utterances // 2]), np.sort(order[utterances // 2 :])
    mixture = tuple(scorer.weights.tolist()) if isinstance(scorer, MixtureScorer) else (1.0,)
    before = Setting(weights.lm_weight, weights.word_bonus, mixture, unknown.penalty)
    after = _search(bench, before, tuned_on)
    words = bench.reference_words[tried_on]
    if words.sum() == 0:
        raise UserError(f"expected words in the references of {argument('tune')}, found none")
    errors = {
        "first": bench.first()[tried_on],
        "before": bench.chosen(before)[tried_on],
        "after": bench.chosen(after)[tried_on],
        "oracle": bench.oracle()[tried_on],
    }
    names = list(by_utterance([hypotheses[k] for k in used]))
    clusters = _clusters([names[k] for k in tried_on], conversations)
    of_clusters = {name: np.bincount(clusters, 100.0 * own) for name, own in errors.items()}
    difference = paired_bootstrap(of_clusters["after"], of_clusters["before"], np.bincount(clusters, words))
    return Tuned(before, after, len(tuned_on), len(tried_on), errors, words, difference)


def _all_tokens(
    scorer: Scorer,
    hypotheses: Sequence[Hypothesis],
    conversations: Mapping[str, str] | None,
    ranking: Ranking,
) -> Tokens:
    """Of all hypotheses, in the order of the list."""
    groups, places = [], []
    for own, tokens in groups_of(scorer, hypotheses, conversations, ranking.best):
        groups.append(tokens)
        places += own
    offsets = np.cumsum([0, *(tokens.hypotheses for tokens in groups)])
    owner = np.concatenate([tokens.owner + k for tokens, k in zip(groups, offsets[:-1], strict=True)])
    owner = np.array(places)[owner]
    order = np.argsort(owner, kind="stable")
    log_probs = np.concatenate([tokens.log_probs for tokens in groups], 1)[:, order]
    unknown = np.concatenate([tokens.unknown for tokens in groups])[order]
    return Tokens(log_probs, unknown, owner[order], groups[0].types)


def _of_hypotheses(tokens: Tokens, used: Sequence[int]) -> Tokens:
    """Those of some hypotheses, numbered anew."""
    number = np.full(tokens.hypotheses, -1)
    number[list(used)] = np.arange(len(used))
    kept = number[tokens.owner] >= 0
    return Tokens(tokens.log_probs[:, kept], tokens.unknown[kept], number[tokens.owner[kept]], tokens.types)


def _clusters(utterances: Sequence[str], conversations: Mapping[str, str] | None) -> np.ndarray:
    """What is resampled as a whole: each utterance, or each conversation where there are several."""
    if conversations is None or len({conversations[name] for name in utterances}) < 2:
        return np.arange(len(utterances))
    return np.unique([conversations[name] for name in utterances], return_inverse=True)[1]


def _search(bench: Bench, start: Setting, rows: np.ndarray) -> Setting:
    """The weights with the fewest errors in some rows that were found, never more than at the start."""

    def errors(setting: Setting) -> int:
        return int(bench.chosen(setting)[rows].sum())

    best, fewest = start, errors(start)
    for round_ in range(_ROUNDS):
        for improve in (_scales, _mixture, _penalty):
            found = improve(bench, best, rows, round_)
            count = errors(found)
            if count < fewest:
                best, fewest = found, count
    return best


def _scales(bench: Bench, now: Setting, rows: np.ndarray, round_: int) -> Setting:
    """Weight of the model, and bonus of a word as a multiple of it, over a grid."""
    language = bench.language(now.mixture, now.unknown_penalty)
    weight = now.lm_weight if now.lm_weight > 0 else 1.0
    # from a thousandth to a thousand times what it is, then closer around it
    scales = weight * np.geomspace(1e-3, 1e3, 2 * _POINTS) ** (1 / (1 + 5 * round_))
    middle = now.word_bonus / weight
    bonuses = middle + np.linspace(-8.0, 8.0, _POINTS) / 4**round_
    grid = np.array(
        [[bench.chosen_by(language, a, a * b)[rows].sum() for b in bonuses] for a in scales], dtype=np.float64
    )
    row, column = np.unravel_index(_smooth(grid).argmin(), grid.shape)
    return replace(now, lm_weight=float(scales[row]), word_bonus=float(scales[row] * bonuses[column]))


def _mixture(bench: Bench, now: Setting, rows: np.ndarray, round_: int) -> Setting:
    """The weight of each model in turn, the others in proportion."""
    for model in range(len(now.mixture)) if len(now.mixture) > 1 else ():
        own = np.array(now.mixture)
        shares = np.clip(own[model] + np.linspace(-1.0, 1.0, _POINTS) / 4**round_, 0.0, 1.0)
        rest = np.delete(own, model)
        rest = rest / rest.sum() if rest.sum() > 0 else np.full(len(rest), 1 / len(rest))
        tried = []
        for share in np.unique(shares):
            weights = np.insert((1 - share) * rest, model, share)
            tried.append(replace(now, mixture=tuple((weights / weights.sum()).tolist())))
        now = _line(bench, tried, rows, round_)
    return now


def _penalty(bench: Bench, now: Setting, rows: np.ndarray, round_: int) -> Setting:
    """The penalty of unknown words, where there are any."""
    if not bench.tokens.unknown.any():
        return now
    middle = 8.0 if now.unknown_penalty is None else now.unknown_penalty
    values = np.maximum(middle + np.linspace(-8.0, 8.0, _POINTS) / 2**round_, 0.0)
    tried = [replace(now, unknown_penalty=float(value)) for value in np.unique(values)]
    return _line(bench, tried, rows, round_)


def _line(bench: Bench, settings: Sequence[Setting], rows: np.ndarray, round_: int) -> Setting:
    """The best of some settings, each at the scale that suits it: a better model deserves more weight."""
    scales = np.geomspace(1 / 64, 64, 13) ** (1 / (1 + 5 * round_))
    errors = np.empty((len(settings), len(scales)))
    for place, one in enumerate(settings):
        language = bench.language(one.mixture, one.unknown_penalty)
        for k, by in enumerate(scales):
            chosen = bench.chosen_by(language, by * one.lm_weight, by * one.word_bonus)
            errors[place, k] = chosen[rows].sum()
    row, column = divmod(int(_smooth(errors).argmin()), len(scales))
    best, scale = settings[row], float(scales[column])
    return replace(best, lm_weight=scale * best.lm_weight, word_bonus=scale * best.word_bonus)


def _smooth(errors: np.ndarray) -> np.ndarray:
    """Each point with its neighbours, those of the edge counted again; the point itself breaks ties."""
    padded = np.pad(errors, 1, mode="edge")
    rows, columns = errors.shape
    around = sum(padded[a : a + rows, b : b + columns] for a in range(3) for b in range(3))
    return np.asarray(around / 9 + 1e-6 * errors)
