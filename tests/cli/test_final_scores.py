"""Beside every final score stand its standard error and the baselines'."""

import json
import math
import re

import pytest

from .conftest import QUICK

LINES = ["the cat [/quote] saw a dog", "a dog sat", "the old hats sat on the mat", "see [url]the cat[/url]"]


@pytest.fixture
def texts(tmp_path):
    for name, times in (("train", 40), ("valid", 2), ("test", 2)):
        lines = LINES * times if name == "train" else [*LINES[:3], "the zebra sat"] * times
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def trained_on(ostinato, texts, kind):
    files = [part for name in ("train", "valid", "test") for part in (_option(name), texts / f"{name}.txt")]
    code, out, err = ostinato("train", kind, *files, "--run", texts / "run", "--streams", 2, "--json", *QUICK)
    assert code == 0, err
    return json.loads(out)["results"]


def _option(name):
    return "--data" if name == "train" else f"--{name}-data"


@pytest.mark.parametrize(("kind", "score"), [("words", "perplexity"), ("chars", "bits_per_character")])
def test_a_scored_text_has_the_error_and_the_baseline_that_evaluate_gives_it(ostinato, texts, kind, score):
    results = trained_on(ostinato, texts, kind)
    code, out, err = ostinato("score", texts / "run", texts / "test.txt", "--json")
    assert code == 0, err
    found, expected = json.loads(out), results["model"]["test"][score]
    assert found["standard_error"]["value"] == pytest.approx(expected["standard_error"])
    unigram = results["1-gram"]["test"][score]
    assert found["baselines"]["1-gram"]["value"] == pytest.approx(unigram["value"])
    assert found["baselines"]["1-gram"]["standard_error"] == pytest.approx(unigram["standard_error"])
    code, out, _ = ostinato("score", texts / "run", texts / "test.txt")
    text = " ".join(out.split())
    assert "[/quote]" in text
    assert len(re.findall(r"\d+\.\d{2,3} ± \d", text)) == 2
    assert "1-gram of the training text" in text


def test_a_perplexity_without_unknown_words_has_an_error(ostinato, texts):
    scores = trained_on(ostinato, texts, "words")["model"]["test"]
    known = scores["perplexity_known"]
    assert 0 < known["standard_error"] < known["value"]
    code, out, _ = ostinato("evaluate", texts / "run")
    assert code == 0
    assert len(re.findall(r"without unknown words.*± \d.*± \d", out)) >= 1


def test_a_text_without_probability_is_infinitely_perplexing(ostinato, tmp_path):
    (tmp_path / "m.arpa").write_text(
        "\\data\\\nngram 1=3\n\n\\1-grams:\n-0.5 </s>\n-0.5 the\n-0.5 <s>\n\n\\end\\\n"
    )
    (tmp_path / "a.txt").write_text("zebra\nthe\n")
    code, out, err = ostinato("score", tmp_path / "m.arpa", tmp_path / "a.txt", "--json")
    assert code == 0, err
    assert json.loads(out)["perplexity"] == "infinite: 1 unknown word"
    code, out, _ = ostinato("score", tmp_path / "m.arpa", tmp_path / "a.txt")
    assert "perplexity infinite: 1 unknown word" in " ".join(out.split())


def test_a_search_ends_with_the_chosen_run_s_scores(ostinato, songs, tmp_path):
    study = tmp_path / "study"
    options = ("--data", songs, "--trials", 2, "--study", study, "--hidden-size", 4, "--epochs", 1)
    code, out, err = ostinato("search", *options, "--quiet")
    assert code == 0, err
    results = json.loads((study / "results.json").read_text())["results"]["results"]
    test = results["model"]["test"]["log_likelihood"]
    model = next(line for line in out.splitlines() if line.startswith("model "))
    assert f"{test['value']:.3f} ± {test['standard_error']:.3f}" in model
    assert {line.split()[0] for line in out.splitlines() if "±" in line} >= {"model", "iid", "1-gram"}
    assert "chosen by validation" in out
    assert math.isfinite(test["standard_error"])
