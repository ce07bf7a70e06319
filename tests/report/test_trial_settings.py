"""A search shows of its trials what they trained with: in its own table and lines, and in a report."""

import json
import tomllib

import pytest

from ostinato.evaluation.numbers import setting
from ostinato.report import study_charts, tables
from ostinato.report.numbers import NONE
from ostinato.report.records import read_study

SPACE = """
[search]
leak_fraction = {choices = [0.0, 0.5]}
leak_low = {low = 0.05, high = 0.9}
leak_high = {low = 0.05, high = 0.9}
"""
NAMES = ("leak_fraction", "leak_low", "leak_high")


@pytest.fixture
def searched(ostinato, songs, tmp_path):
    """The folder of a search with leaks, and what its command printed."""
    (tmp_path / "space.toml").write_text(SPACE)
    small = ("--hidden-size", "4", "--epochs", "1", "--trials", "6", "--seed", "3", "--study", "study")
    code, out, err = ostinato("search", "--data", songs, "--space", tmp_path / "space.toml", *small)
    assert code == 0, err
    return tmp_path / "study", out, err


def test_what_trials_trained_with_is_shown(searched):
    folder, out, err = searched
    trials = json.loads((folder / "trials.json").read_text())
    used = {
        trial["number"]: tomllib.loads((folder / trial["folder"] / "config.toml").read_text())
        for trial in trials
    }
    # the case is there: draws in the wrong order for units that leak, and leaks drawn for none
    leaking = [t for t in trials if t["params"]["leak_fraction"]]
    assert any(t["params"]["leak_low"] > t["params"]["leak_high"] for t in leaking)
    assert 0 < len(leaking) < len(trials)

    study = read_study(folder, "study")
    rows = {row.label: row.cells[2:] for row in tables.trials_table(study).rows}
    for number, config in used.items():
        leak = config["leak_fraction"]
        shown = [setting(config[name]) for name in NAMES]
        wanted = shown if leak else [shown[0], NONE, NONE]
        assert rows[str(number)] == wanted
        # the command's own table, with the ASCII dash of a terminal
        (row,) = [line for line in out.splitlines() if line.replace("│", " ").split()[:1] == [str(number)]]
        assert row.replace("│", " ").split()[-3:] == [cell.replace(NONE, "-") for cell in wanted]
    assert f"{NONE}: the trial had no use for the setting" in tables.trials_table(study).notes[-1]

    # the labels of the chart, and its lines: through the place for unused settings, below the axes
    chart = study_charts.parallel_coordinates(study, "key")
    for trace in chart.figure["data"]:
        heading, *told = trace["text"][0].split("<br>")
        config = used[int(heading.split(":")[0].removeprefix("trial "))]
        leak = config["leak_fraction"]
        assert told == [f"{name} {setting(config[name])}" for name in (NAMES if leak else NAMES[:1])]
        assert [height < 0 for height in trace["y"]] == [False, not leak, not leak, False]
    assert "Unused: the trial had no use for the setting." in chart.summary

    # the line at the begin of each trial
    for number, own in used.items():
        names = NAMES if own["leak_fraction"] else NAMES[:1]
        told = ", ".join(f"{name} {setting(own[name])}" for name in names)
        assert f"trial {number}: {told}\n" in err

    chosen = json.loads((folder / "results.json").read_text())["chosen"]
    config = used[chosen["number"]]
    leak = config["leak_fraction"]
    assert chosen["settings"] == {name: config[name] if leak or name == NAMES[0] else None for name in NAMES}


def test_the_chosen_trial_has_its_error_and_the_baselines(searched):
    folder, *_ = searched
    study = read_study(folder, "study")
    summary = tables.chosen_summary(study)
    final = study.run.score("valid", "log_likelihood")
    text = f"{final['value']:.3f} ± {final['standard_error']:.3f} nats/frame".replace("-", "\u2212")
    assert summary.startswith(
        f"Chosen: trial {study.chosen['number']}, validation log-likelihood {text}. Baselines:"
    )
    assert "note-bigram \u2212" in summary
    assert summary.count("±") == 4
    best = next(row for row in tables.trials_table(study).rows if row.kind == "model")
    assert best.cells[1] == text.removesuffix(" nats/frame")
    assert (
        study_charts.history(study, "key").figure["layout"]["yaxis"]["title"]["text"].replace("<br>", " ")
        == "validation log-likelihood (nats/frame)"
    )


def test_a_study_without_its_common_settings_is_an_error(ostinato, make_study):
    folder = make_study()
    for text, message in (
        ("[study]\ntrials = 3\n", "expected the table [recipe]"),
        ("[recipe]\nlearning_rat = 1\n", "unknown setting 'learning_rat'"),
    ):
        (folder / "study.toml").write_text(text)
        code, out, err = ostinato("report", folder)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("ostinato: ") == 1
