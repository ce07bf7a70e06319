"""Mixtures of language models over the union of their vocabularies."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ostinato.domains.text.evaluation.arpa import BackoffModel
from ostinato.domains.text.mixture import MixtureScorer, Together, mixture_of
from ostinato.domains.text.score import ArpaScorer, RunScorer, Scorer, load_scorer, score_text
from ostinato.domains.text.unknown import SHARED, WHOLE, Union, UnknownWords
from ostinato.errors import UserError
from text_models import LINES, language_model, saved_run


def unigrams(**probabilities: float) -> ArpaScorer:
    """An n-gram model of single words; `end` and `unk` are </s> and <unk>."""
    names = {"end": "</s>", "unk": "<unk>"}
    table = {(names.get(w, w),): (math.log10(p), 0.0) for w, p in probabilities.items()}
    return ArpaScorer(BackoffModel([table]))


RUN = RunScorer(*language_model())
MODELS: dict[str, list[Scorer]] = {
    "run and arpa": [RUN, unigrams(the=0.3, okapi=0.2, end=0.3, unk=0.2)],
    "arpa without unk": [RUN, unigrams(the=0.5, okapi=0.2, end=0.3)],
    "three": [RUN, unigrams(lion=0.6, end=0.3, unk=0.1), unigrams(okapi=0.25, the=0.25, end=0.25, unk=0.25)],
    "arpas": [unigrams(a=0.9, end=0.05, unk=0.05), unigrams(b=0.4, c=0.4, end=0.2)],
    "runs": [RUN, RunScorer(*language_model(seed=3))],
    "one": [RUN],
}


def total(scorer: Scorer, before: Sequence[str]) -> float:
    """The sum of probabilities after some tokens: of every known word, and of all others together."""
    words = [*sorted(scorer.words), "a word that nobody knows"]
    return math.fsum(np.exp(scorer.score([*before, word])[-1]) for word in words)


@pytest.mark.parametrize("models", MODELS.values(), ids=MODELS)
def test_probabilities_over_the_union_sum_to_one(models: list[Scorer]) -> None:
    draw = np.random.default_rng(0)
    for weights in ([1.0] + [0.0] * (len(models) - 1), *draw.dirichlet(np.ones(len(models)), 3)):
        scorer = MixtureScorer(Together(models), np.array(weights))
        for before in ([], ["the"], ["the", "okapi"], ["zzz", "</s>", "lion"]):
            assert total(scorer, before) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("models", MODELS.values(), ids=MODELS)
def test_what_nobody_knows_has_its_share_of_what_is_left(models: list[Scorer]) -> None:
    """Enumerated: N types, of which a model gives each that it does not know an equal share."""
    together = Together(models)
    weights = np.full(len(models), 1 / len(models))
    scorer, union = MixtureScorer(together, weights), together.union
    each = 0.0
    for weight, model in zip(weights, models, strict=True):
        rest = float(np.exp(model.score(["nobody"]))[0])
        each += weight * rest / (union.all_types - len(model.words))
    mixed = float(np.exp(scorer.score(["nobody"]))[0])
    assert mixed == pytest.approx(each * scorer.unknown_types, rel=1e-6)
    shared = SHARED.applied(np.log([mixed]), np.array([True]), scorer.unknown_types)
    assert math.exp(shared[0]) == pytest.approx(each, rel=1e-6)


def test_a_word_that_one_model_knows_has_a_share_of_what_the_other_keeps() -> None:
    first, second = unigrams(a=0.9, end=0.05, unk=0.05), unigrams(b=0.4, c=0.4, end=0.2)
    mixed = MixtureScorer(Together([first, second]), np.array([0.5, 0.5])).score(["a", "b", "</s>"])
    # N = 3 + 1 words and one more type; the first model knows 2 of these 5
    expected = [0.45, 0.5 * 0.05 / 3 + 0.2, 0.125]
    np.testing.assert_allclose(np.exp(mixed), expected, rtol=1e-9)


def test_with_one_vocabulary_the_unknown_token_is_as_before() -> None:
    """As it always was: the mean of the two models' probabilities, also of the unknown token."""
    models = MODELS["runs"]
    tokens = ["the", "zebra", "bird", "</s>"]
    mixed = MixtureScorer(Together(models), np.array([0.5, 0.5])).score(tokens)
    expected = sum(np.exp(model.score(tokens)) for model in models) / 2
    np.testing.assert_allclose(np.exp(mixed), expected, rtol=1e-12)


def test_a_union_has_room_for_the_types_of_every_model() -> None:
    assert Union([3, 4], [5, 1], 4).all_types == 8
    assert Union([3, 4], [0, 0], 6).unknown_types == 1
    assert Union([10], [7], 10).shifts(0) == (-math.log(7), 0.0)


def test_weights_are_fitted_by_what_is_most_probable() -> None:
    models = MODELS["three"]
    scorer, weights = mixture_of(models, None, LINES)
    assert weights.sum() == pytest.approx(1)
    best = score_text(scorer, LINES).log_prob
    draw = np.random.default_rng(1)
    for other in draw.dirichlet(np.ones(3), 30):
        assert score_text(MixtureScorer(Together(models), other), LINES).log_prob <= best + 1e-6


def test_weights_that_do_not_go_together_are_refused() -> None:
    models = MODELS["three"]
    for weights in ([0.5], [0.7, 0.7], [-0.1, 0.2], [0.1, 0.1, 0.1]):
        with pytest.raises(UserError, match="expected mix_weight in"):
            mixture_of(models, weights)
    _scorer, weights = mixture_of(models, [0.25, 0.25])
    assert weights.tolist() == [0.5, 0.25, 0.25]
    with pytest.raises(UserError, match="expected models of words to mix, found one of chars"):
        Together([RUN, RunScorer(*language_model("chars"))])
    with pytest.raises(UserError, match="agree on what white space"):
        Together([RUN, models[1]]).split("10\u00a0000\n")


def test_penalties_stand_in_for_shares() -> None:
    log_probs, unknown = np.log([0.5, 0.25]), np.array([False, True])
    np.testing.assert_allclose(WHOLE.applied(log_probs, unknown, 8), log_probs)
    np.testing.assert_allclose(np.exp(SHARED.applied(log_probs, unknown, 8)), [0.5, 1 / 32])
    penalised = UnknownWords(shared=True, penalty=2.0)
    np.testing.assert_allclose(penalised.applied(log_probs, unknown, 8), [math.log(0.5), math.log(0.25) - 2])
    with pytest.raises(UserError, match="expected a finite unknown_penalty"):
        UnknownWords(penalty=math.nan)
    with pytest.raises(UserError, match="expected a finite unknown_penalty of at most"):
        UnknownWords(penalty=1e308)


def test_mixing_from_the_command_line(tmp_path: Path, ostinato: Callable[..., tuple[int, str, str]]) -> None:
    runs = [saved_run(tmp_path / name, seed).folder for seed, name in enumerate("abc")]
    text = tmp_path / "text.txt"
    text.write_text(LINES)
    mixed = ["--mix-with", runs[1], "--mix-with", runs[2]]
    code, out, err = ostinato("score", runs[0], text, *mixed, "--fit-on", text, "--json")
    assert code == 0
    assert err.count(str(runs[2])) == 1
    code, _, err = ostinato("score", runs[0], text, *mixed, "--mix-weight", "0.5")
    assert code == 2
    assert "--mix-weight in [0, 1] for each model of --mix-with" in err
    given = ["--mix-weight", "0.25", "--mix-weight", "0.5", "--json"]
    code, out, _ = ostinato("score", runs[0], text, *mixed, *given)
    scorers = [load_scorer(run) for run in runs]
    expected = score_text(MixtureScorer(Together(scorers), np.array([0.25, 0.25, 0.5])), LINES).log_prob
    assert f'"log_prob": {expected!r}' in out
