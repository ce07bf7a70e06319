"""Train, resume and evaluate language models from the command line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ostinato.cli.main import run as command
from ostinato.recipe.recipe import Recipe

SMALL = ["--hidden-size", "8", "--streams", "4", "--segment-length", "10", "--epochs", "2", "--quiet"]


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    words = ["the", "cat", "dog", "saw", "a", "bird"]
    lines = (" ".join(draw.choice(words, 6)) for _ in range(150))
    path = tmp_path / "some.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("domain", ["words", "chars"])
def test_train_evaluate_and_go_on(domain: str, text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["train", domain, "--data", "some.txt", "--run", "r", *SMALL, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    assert trained["recipe"]["domain"] == domain
    assert command(["evaluate", "r", "--per-sentence", "test", "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    name = "perplexity" if domain == "words" else "bits_per_character"
    score = evaluated["results"]["model"]["test"][name]
    assert score == trained["results"]["model"]["test"][name]
    total = sum(sentence["log_prob"] for sentence in evaluated["sentences"])
    mean = -total / sum(sentence["tokens"] for sentence in evaluated["sentences"])
    assert score["value"] == pytest.approx(math.exp(mean) if domain == "words" else mean / math.log(2))
    capsys.readouterr()
    # what the model does not know of a text to continue is read as unknown, as it would be scored
    assert command(["generate", "r", "--prime", "§ zebra"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("§ zebra")
    assert "unknown to the model" in err
    assert command(["train", "--resume", "r", "--quiet"]) == 0
    assert "model" in capsys.readouterr().out
    assert command(["evaluate", "r", "--data", "pydoc"]) == 0
    assert "unknown" in capsys.readouterr().out


def test_changed_text_is_noticed(text_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["train", "words", "--data", "some.txt", "--run", "r", *SMALL]) == 0
    text_file.write_text(text_file.read_text().replace("bird", "fish"))
    capsys.readouterr()
    for arguments in (["evaluate", "r"], ["train", "--resume", "r", "--quiet"]):
        assert command(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "words", "--data", "bach"], "bach is for music"),
        (["train", "--data", "ptb"], "ptb is for words"),
        (["train", "words", "--output", "bernoulli"], "does not fit words"),
        (["train", "words", "--direct", "10"], "a million is usual"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_tasks_have_defaults_of_their_own() -> None:
    words, chars = (Recipe.parse("SGD+CLR", domain=domain) for domain in ("words", "chars"))
    assert (words.output, words.hidden_size, words.segment_length, words.classes) == (
        "class-softmax",
        200,
        40,
        30,
    )
    assert (chars.output, chars.hidden_size, chars.segment_length) == ("softmax", 500, 150)
    assert words.learning_rate_rule == chars.learning_rate_rule == "halving"
    assert Recipe.parse("SGD").output == "bernoulli"


@pytest.mark.parametrize(("domain", "unit"), [("words", "subwords"), ("chars", "bytes")])
def test_parts_of_words_are_trained_scored_and_written(
    domain: str, unit: str, text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--unit", unit, "--vocabulary-size", "300", "--valid-data", "some.txt"]
    assert command(["train", domain, "--data", "some.txt", "--run", "r", *given, *SMALL, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["results"]["model"]
    assert set(found) == {"train", "valid"}  # no test text was given
    assert command(["score", "r", "some.txt", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    for name, value in (
        ("perplexity", scored["perplexity_per_word"]),
        ("bits_per_character", scored["bits_per_character"]),
    ):
        assert found["valid"][name]["value"] == pytest.approx(value)
    assert scored["unknown"] == 0
    assert command(["generate", "r", "--prime", "the cat", "--tokens", "20"]) == 0
    assert capsys.readouterr().out.startswith("the cat")
    assert command(["train", domain, "--unit", "words" if domain == "chars" else "chars"]) == 2
    assert "expected --unit" in capsys.readouterr().err
