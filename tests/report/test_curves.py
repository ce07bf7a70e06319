"""The picture of a learning curve says what it shows: axis, best epoch with an error, baselines."""

import re

import numpy as np
import pytest

from ostinato.report.curves import learning_curve
from ostinato.report.measures import kept_epoch, log_ticks, measure_of, window
from ostinato.report.numbers import MINUS
from ostinato.runs import finish

QUICK = ("--hidden-size", "6", "--epochs", "2", "--threads", "1", "--run", "run", "--quiet")
TEXT = ("--streams", "2", "--segment-length", "10")


def words_in(picture):
    """What is written in an SVG of matplotlib's, in its order."""
    return re.findall(r"<!-- (.*?) -->", picture.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "axis", "baseline"),
    [
        (("--data", "songs"), "log-likelihood (nats/frame)", "note-bigram"),
        (
            ("--data", "songs", "--output", "rbm", "--rbm-size", "21", "--ais-steps", "5"),
            "pseudo-log-likelihood, a stand-in (nats/frame)",
            None,
        ),
        (("words", "--data", "some.txt", *TEXT), "perplexity", "1-gram"),
        (("chars", "--data", "some.txt", *TEXT), "bits per character", "1-gram"),
        (
            ("task", "--data", "temporal-order", "--length", "10", "--epoch-sequences", "100"),
            "wrong sequences (%)",
            "guessing",
        ),
    ],
    ids=["music", "rbm", "words", "chars", "task"],
)
def test_the_axis_of_a_run_says_what_it_shows(
    ostinato, songs, tmp_path, monkeypatch, arguments, axis, baseline
):
    (tmp_path / "some.txt").write_text("the cat saw a bird\na dog saw the cat\n" * 60)
    # the same picture in letters that can be read
    monkeypatch.setattr(finish, "CURVE", "learning_curve.svg")
    code, _, err = ostinato("train", *arguments, *QUICK)
    assert code == 0, err
    words = words_in(tmp_path / "run" / "learning_curve.svg")
    assert axis in words
    assert not any("frame)" in text and text != axis for text in words)
    best = next(text for text in words if text.startswith("best validation: "))
    levels = [text for text in words if "baseline" in text]
    if baseline is None:
        assert "±" not in best
        assert levels == []
        # what stands in for the score has the score itself beside it, with its error
        assert any(re.search(rf"log-likelihood: ≥ {MINUS}\d+\.\d{{3}} ± ", text) for text in words)
    else:
        assert re.fullmatch(rf"best validation: {MINUS}?[\d.]+ ± [\d.]+", best)
        assert any(text.startswith(f"{baseline} baseline: ") for text in levels)
        # guessing is no measurement, and has no error
        assert all("±" in text for text in levels) or baseline == "guessing"


def test_words_are_drawn_by_perplexity(tmp_path):
    records = [
        {"epoch": n, "train_log_likelihood": -np.log(p + 20), "valid_log_likelihood": -np.log(p)}
        for n, p in enumerate((300.0, 200.0, 210.0))
    ]
    scores = {
        "model": {"valid": {"perplexity": {"value": 200.0, "unit": "perplexity", "standard_error": 4.0}}},
        "1-gram": {"valid": {"perplexity": {"value": 700.0, "unit": "perplexity", "standard_error": 9.0}}},
    }
    learning_curve(records, tmp_path / "curve.svg", title="PTB", domain="words", scores=scores)
    words = words_in(tmp_path / "curve.svg")
    assert "best validation: 200.00 ± 4.00" in words
    assert "1-gram baseline: 700.00 ± 9.00" in words
    assert [text for text in words if text in ("1", "2", "3", "1.5", "2.5")] == ["1", "2", "3"]
    assert {"200", "300", "500", "700"} <= set(words)


def test_the_window_has_the_baselines_the_error_and_no_wild_epoch():
    measure = measure_of("words")
    epochs = [{"valid_log_likelihood": -np.log(p)} for p in (1e6, *[150.0] * 18, 120.0)]
    low, high = window(measure, [epochs], [700.0, 118.0])
    assert low < 118 < 700 < high < 1000
    assert window(measure, [[{"valid_log_likelihood": None}]], []) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high"), [(0.7, 1.7), (120.0, 130.0), (1e-6, 1e3), (0.0644, 0.103), (3.0, 3.001)]
)
def test_logarithmic_axes_have_a_few_round_ticks(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 10
    assert all(low <= tick <= high for tick in ticks)
    assert all(len(f"{tick:g}".strip("0.").replace(".", "")) <= 5 for tick in ticks)


def test_what_pretraining_reaches_is_not_kept():
    epochs = [
        {"epoch": 0, "valid_pseudo_log_likelihood": -1.0, "stage": "frames"},
        {"epoch": 1, "valid_pseudo_log_likelihood": -2.0},
        {"epoch": 2, "valid_pseudo_log_likelihood": None},
    ]
    assert kept_epoch(epochs)["epoch"] == 1
