"""Records -> tables, figures and importances."""

import dataclasses
import math

import pytest

from ostinato.domains.music.paper import PAPER_TABLE1
from ostinato.domains.text.paper import PAPER_TABLE2
from ostinato.report import charts, study_charts, tables
from ostinato.report.curves import learning_curve
from ostinato.report.numbers import MINUS
from ostinato.report.records import read_records, read_run, read_study


def luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("background", ["#ffffff", "#1c2125"])
def test_every_line_stands_out_on_both_themes(background):
    for color in charts.PALETTE:
        dark, light = sorted((luminance(color), luminance(background)))
        assert (light + 0.05) / (dark + 0.05) >= 3, color


def test_the_paper_has_all_its_rows():
    assert len(PAPER_TABLE1) == 11
    assert all(set(row) == {"piano-midi", "nottingham", "musedata", "jsb"} for row in PAPER_TABLE1.values())
    assert PAPER_TABLE1["RNN-NADE (HF)"]["musedata"].accuracy == 32.60
    assert PAPER_TABLE1["RNN-RBM"]["jsb"].train is None
    assert PAPER_TABLE2["RNN (SGD+CLR)"] == {"words": (75.45, 128.35), "chars": (1.45, 1.49)}


def test_scores_stand_beside_the_paper_and_the_baselines(make_run):
    table = tables.scores_table([read_run(make_run(), "run")])
    rows = {row.label: row.cells for row in table.rows}
    assert list(rows) == ["run", "paper: RNN (SGD+C)", "difference", "1-gram"]
    assert rows["run"][2] == f"{MINUS}8.500 ± 0.050"
    assert rows["run"][4] == "≈ 30.50 ± 0.05\n[30.10, 30.90]"
    assert rows["paper: RNN (SGD+C)"][2] == f"{MINUS}8.65"
    assert rows["difference"] == ["+0.310 ± 0.050", "", "+0.150 ± 0.050", "", "≈ +0.52 ± 0.05"]


@pytest.mark.parametrize(
    "config", [{"data": "bach"}, {"recipe": "SGD+M"}, {"output": "nade"}, {"task": "words", "data": "jsb"}]
)
def test_what_the_paper_does_not_have_is_not_compared(make_run, config):
    run = read_run(make_run(**config), "run")
    assert tables.paper_figures(run) is None
    assert "difference" not in [row.label for row in tables.scores_table([run]).rows]


def test_words_are_compared_by_perplexity(make_run):
    run = read_run(make_run(task="words", data="ptb", recipe="SGD+CL"), "run")
    assert tables.paper_figures(run) == (
        "RNN (SGD+CL)",
        {("perplexity", "train"): 76.70, ("perplexity", "test"): 129.83},
    )


def test_learning_curves_have_every_run_and_the_baselines(make_run):
    runs = [read_run(make_run(name, shift=shift), name) for name, shift in (("<b>a</b>", 0.0), ("b", 0.5))]
    chart = charts.learning_curves(runs, "key", charts.looks_of(runs))
    lines = {trace["name"]: trace for trace in chart.figure["data"]}
    assert lines["b"]["y"] == [-10.0, -9.0, -8.0, -7.0, -7.6]
    assert lines["b"]["x"] == [1, 2, 3, 4, 5]
    assert "&lt;b&gt;a&lt;/b&gt;" in lines
    assert chart.figure["layout"]["shapes"][0]["y0"] == -11.0
    # scoring has found an error, which is that of this score
    assert f"b: best validation {MINUS}7.000 ± 0.050 nats/frame in epoch 4 of 5" in chart.summary
    assert f"1-gram {MINUS}11.000 ± 0.050" in chart.summary
    points = [trace for trace in chart.figure["data"] if "error_y" in trace]
    assert [trace["error_y"]["array"] for trace in points] == [[0.05], [0.05]]


def test_words_are_drawn_by_perplexity_on_a_logarithmic_axis(make_run):
    run = read_run(make_run(task="words", data="ptb"), "run")
    perplexity = {"value": 900.0, "unit": "perplexity", "standard_error": 1500.0}
    level = perplexity | {"value": 400_000.0}
    scores = {"model": {"valid": {"perplexity": perplexity}}, "1-gram": {"valid": {"perplexity": level}}}
    run = dataclasses.replace(run, scores=scores)
    chart = charts.learning_curves([run], "key", charts.looks_of([run]))
    layout = chart.figure["layout"]
    assert layout["yaxis"]["title"]["text"] == "perplexity"
    assert layout["yaxis"]["type"] == "log"
    # the line across by its value, its name by the logarithm, as Plotly wants them
    assert layout["shapes"][0]["y0"] == 400_000.0
    assert layout["annotations"][0]["y"] == pytest.approx(math.log10(400_000))
    # the baseline and the whole bar of the error are within the picture
    low, high = (10**end for end in layout["yaxis"]["range"])
    best = next(trace for trace in chart.figure["data"] if "error_y" in trace)
    assert low < best["y"][0] - 1500.0
    assert high > 400_000
    assert "best validation perplexity 1808.04 ± 1500.00 in epoch 4" in chart.summary


@pytest.mark.parametrize("last", [-8.0, None])
def test_an_epoch_whose_score_is_infinite_is_left_out(make_run, tmp_path, last):
    scores = [None, -9.0, last] if last else [None, None, None]
    records = [
        {"epoch": n, "train_log_likelihood": -1e5, "valid_log_likelihood": score, "best": False}
        for n, score in enumerate(scores)
    ]
    picture = tmp_path / "curve.svg"
    levels = {"1-gram": {"valid": {"log_likelihood": {"value": -11.0, "unit": "nats/frame"}}}}
    learning_curve(records, picture, title="wild", scores=levels)
    assert ("best validation" in picture.read_text()) == (last is not None)
    run = read_run(make_run(), "run")
    run = dataclasses.replace(run, epochs=records)
    chart = charts.learning_curves([run], "key", charts.looks_of([run]))
    expected = (
        f"best validation {MINUS}8.000 ± 0.050 nats/frame in epoch 3 of 3"
        if last
        else "no finite validation score in the epochs up to 3"
    )
    assert expected in chart.summary


def test_gradient_norms_have_the_clip_threshold(make_run):
    runs = [read_run(make_run("a"), "a"), read_run(make_run("b", threshold=None), "b")]
    chart = charts.gradient_norms(runs, "key", charts.looks_of(runs))
    assert [trace["y"] for trace in chart.figure["data"] if "threshold" in trace["name"]] == [[1.5, 1.5]]
    assert "clip threshold 1.5, 25% of updates clipped" in chart.summary
    assert "nan" not in str(chart.figure["layout"]["yaxis"])


def test_a_threshold_that_changes_is_drawn_epoch_by_epoch(make_run):
    run = read_run(make_run(), "run")
    epochs = [record | {"clip_threshold": 1.0 + record["epoch"]} for record in run.epochs]
    chart = charts.gradient_norms([dataclasses.replace(run, epochs=epochs)], "key", charts.looks_of([run]))
    drawn = [trace for trace in chart.figure["data"] if "threshold" in trace["name"]]
    assert [(trace["x"], trace["y"]) for trace in drawn] == [([1, 2, 3, 4, 5], [1.0, 2.0, 3.0, 4.0, 5.0])]
    assert "clip threshold 1 to 5, 25% of updates clipped" in chart.summary


def test_hessian_free_updates_are_drawn(make_run):
    updates = [{"damping": 0.3 / k, "iterations": 10 * k, "accepted": k != 2} for k in (1, 2, 3)]
    runs = [read_run(make_run(updates=updates), "a")]
    chart = charts.hessian_free(runs, "key", charts.looks_of(runs))
    damping, iterations = chart.figure["data"]
    assert damping["y"] == pytest.approx([0.3, 0.15, 0.1])
    assert (iterations["y"], iterations["yaxis"]) == ([10, 20, 30], "y2")
    assert "3 updates, 1 rejected, 60 conjugate-gradient iterations" in chart.summary
    assert charts.hessian_free([read_run(make_run("none"), "b")], "key", {}) is None


def test_parallel_coordinates_place_every_trial(make_study):
    study = read_study(make_study(choice="<i>x</i>"), "study")
    chart = study_charts.parallel_coordinates(study, "key")
    assert len(chart.figure["data"]) == len(study.complete)
    best = chart.figure["data"][-1]
    assert best["line"]["width"] > chart.figure["data"][0]["line"]["width"]
    heights = [trace["y"] for trace in chart.figure["data"]]
    # the learning rate was laid out evenly by its logarithm; the last axis is the score
    assert sorted(row[0] for row in heights) == pytest.approx([k / 23 for k in range(24)], abs=1e-3)
    assert [row[-1] for row in heights] == sorted(row[-1] for row in heights)
    assert {row[2] for row in heights} == {0.25, 0.75}
    assert "<i>" not in str(chart.figure)


def test_long_histories_are_thinned(make_run):
    (run,), _ = read_records([make_run()])
    assert len(charts.thinned(run.epochs * 1000)) <= charts.MOST_POINTS + 1
    assert charts.thinned(range(1001))[-1] == 1000
