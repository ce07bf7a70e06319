"""Scoring, mixing, rescoring and generating text."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cli.main import run as command
from ostinato.domains.text.evaluation.arpa import read_arpa
from ostinato.domains.text.evaluation.dynamic import score_dynamically
from ostinato.domains.text.evaluation.interpolation import fit_weights, mix
from ostinato.domains.text.evaluation.scores import score_tokens, sentence_totals, text_scores
from ostinato.domains.text.reading.data_sets import load
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.domains.text.score import load_scorer
from ostinato.errors import UserError
from text_models import LINES, language_model, saved_run

ARPA = """\\data\\
ngram 1=5
ngram 2=2

\\1-grams:
-99\t<s>\t-0.5
-0.7\t</s>
-0.4\tthe\t-0.2
-0.6\tcat
-1.0\t<unk>

\\2-grams:
-0.1\t<s> the
-0.3\tthe cat

\\end\\
"""


def test_scores_are_those_of_one_long_walk() -> None:
    model, vocabulary = language_model()
    tokens = np.tile(vocabulary.encode(LINES), 150)  # longer than one chunk
    inputs = torch.from_numpy(np.concatenate([[0], tokens[:-1]]).astype(np.int64))
    distribution, _ = model(inputs.unsqueeze(1))
    whole = distribution.log_prob(torch.from_numpy(tokens.astype(np.int64)).unsqueeze(1)).squeeze(1)
    np.testing.assert_allclose(score_tokens(model, tokens), whole.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("task", ["words", "chars"])
def test_independent_sentences_know_nothing_of_each_other(task: str) -> None:
    model, vocabulary = language_model(task)
    lines = [line + "\n" for line in LINES.split("\n")[:-1]]
    apart = np.concatenate([score_tokens(model, vocabulary.encode(line)) for line in lines])
    together = vocabulary.encode(LINES)
    np.testing.assert_allclose(score_tokens(model, together, independent=True), apart, atol=1e-5)
    assert np.abs(score_tokens(model, together) - apart).max() > 1e-3


def test_perplexity_counts_words_and_sentence_ends() -> None:
    vocabulary = Vocabulary.count("words", ["a a b b\n"])
    tokens = vocabulary.encode("a zebra\nb\n")
    scores = text_scores(vocabulary, np.log([0.5, 0.1, 0.5, 0.5, 0.5]), tokens)
    assert scores["perplexity"].value == pytest.approx((0.5**4 * 0.1) ** (-1 / 5))
    assert scores["perplexity_known"].value == pytest.approx(2)
    assert "5 tokens: 3 words and 2 sentence ends; 1 unknown words" in scores["perplexity"].convention
    totals, counts = sentence_totals(np.ones(5), tokens)
    assert (totals.tolist(), counts.tolist()) == ([3, 2], [3, 2])
    bits = text_scores(Vocabulary.count("chars", ["aab\n"]), np.log([0.25, 0.25]), np.array([1, 0]))
    assert bits["bits_per_character"].value == pytest.approx(2)


def test_dynamic_evaluation_learns_and_leaves_the_model_alone() -> None:
    model, vocabulary = language_model()
    tokens = np.tile(vocabulary.encode(LINES), 40)
    before = [p.clone() for p in model.parameters()]
    static, dynamic = score_tokens(model, tokens), score_dynamically(model, tokens, learning_rate=0.5)
    assert dynamic.sum() > static.sum() + 10
    np.testing.assert_allclose(dynamic[:20], static[:20], atol=1e-5)  # the first segment is not learned yet
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    still = score_dynamically(model, tokens, learning_rate=0.0)
    np.testing.assert_allclose(still, static, atol=1e-4)


@given(st.integers(0, 50), st.integers(2, 4))
def test_fitted_weights_are_the_best_mixture(seed: int, models: int) -> None:
    draw = np.random.default_rng(seed)
    log_probs = np.log(draw.uniform(0.01, 0.5, (models, 60)))
    fitted = fit_weights(log_probs)
    best = mix(log_probs, fitted).sum()
    assert fitted.sum() == pytest.approx(1)
    for other in draw.dirichlet(np.ones(models), 20):
        assert mix(log_probs, other / other.sum()).sum() <= best + 1e-6


def test_mixtures_at_the_edges() -> None:
    log_probs = np.log(np.array([[0.5, 0.2], [0.1, 0.4]]))
    np.testing.assert_allclose(mix(log_probs, np.array([1.0, 0.0])), log_probs[0])
    impossible = np.array([[-math.inf, -1.0], [-2.0, -1.0]])
    np.testing.assert_allclose(mix(impossible, np.array([0.5, 0.5])), [-2 - math.log(2), -1])
    with pytest.raises(UserError, match="impossible word"):
        fit_weights(np.full((2, 3), -math.inf))


def test_arpa_models_back_off(tmp_path: Path) -> None:
    path = tmp_path / "lm.arpa.gz"
    path.write_bytes(gzip.compress(ARPA.encode()))
    model = read_arpa(path)
    found = model.score(["the", "cat", "zebra", "</s>", "cat"]) / math.log(10)
    np.testing.assert_allclose(found, [-0.1, -0.3, -1.0, -0.7, -0.5 - 0.6])
    plain = tmp_path / "lm.arpa"
    plain.write_text(ARPA.replace("-0.3\tthe cat", "-0.3\tthe"))
    with pytest.raises(UserError, match="expected a log-probability of at most 0, 2 words"):
        read_arpa(plain)
    plain.write_text("hello\n")
    with pytest.raises(UserError, match="expected an ARPA file"):
        load_scorer(plain)


def test_the_commands_for_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved_run(tmp_path / "run")
    before = (run.folder / "checkpoints" / "best.safetensors").read_bytes()
    text, nbest = tmp_path / "a.txt", tmp_path / "nbest.txt"
    text.write_text(LINES)
    nbest.write_text("u1\t-1\tthe cat\nu1\t-900\ta dog\n")
    assert command(["score", str(run.folder), str(text), "--dynamic", "--per-token"]) == 0
    assert "perplexity" in capsys.readouterr().out
    assert command(["score", str(run.folder), str(text), "--independent", "--json"]) == 0
    assert '"sentences"' in capsys.readouterr().out
    assert command(["rescore", str(run.folder), str(nbest)]) == 0
    assert capsys.readouterr().out == "u1\tthe cat\n"
    assert command(["rescore", str(run.folder), str(nbest), "--mix-with", str(run.folder)]) == 2
    assert "either --mix-weight or --fit-on" in capsys.readouterr().err
    assert command(["generate", str(run.folder), "--tokens", "20", "--prime", "the", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("the")
    assert (run.folder / "checkpoints" / "best.safetensors").read_bytes() == before


def test_units_compare_by_word_and_by_character(tmp_path: Path) -> None:
    """Of one text, whatever spells it: nats by its words, bits by its characters."""
    text = "the cat saw\na dog\n" * 30
    path = tmp_path / "text.txt"
    path.write_text(text)
    words, characters = 30 * (4 + 3), 30 * (12 + 6)
    for unit in ("words", "subwords", "chars", "bytes"):
        data = load(str(path), unit, valid=str(path), test=str(path))  # type: ignore[arg-type]
        tokens = data.test
        log_probs = np.log(np.random.default_rng(0).uniform(0.1, 1, len(tokens)))
        scores = text_scores(data.vocabulary, log_probs, tokens, data.extents["test"])
        nats = -log_probs.sum()
        assert scores["perplexity"].value == pytest.approx(math.exp(nats / words)), unit
        assert scores["bits_per_character"].value == pytest.approx(nats / characters / math.log(2)), unit
        assert math.isfinite(scores["bits_per_character"].standard_error)
        # of a text that was cut, the sentences that are whole
        cut = text_scores(data.vocabulary, log_probs[:-1], tokens[:-1], data.extents["test"])
        name = "bits_per_character" if unit in ("words", "subwords") else "perplexity"
        assert "59 whole sentences" in cut[name].convention


def test_a_model_that_gives_nothing_a_chance_has_an_infinite_perplexity() -> None:
    vocabulary = Vocabulary.count("words", ["a b\n"] * 2)
    for log_p in (-800.0, -math.inf):
        scores = text_scores(vocabulary, np.full(3, log_p), np.array([1, 2, 0]))
        assert scores["perplexity"].value == math.inf
        assert math.isnan(scores["perplexity"].standard_error)
