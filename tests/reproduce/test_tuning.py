"""The search of a cell on a data set of songs that are made up."""

import json
import math

import numpy as np
import pytest

from ostinato.domains.domain import load_data
from ostinato.domains.music.writing import piano_roll
from ostinato.recipe.effective import with_draws
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import Protocol
from ostinato.reproduce.tuning import Exhausted, Pruned, Tuner, _Judge
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.training.monitor import Interrupted, SilentMonitor

CELL = Cell("table1", "RNN (SGD+CL)", "jsb")


@pytest.fixture
def songs(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "songs"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for number in range(10):
        piano_roll.to_midi((rng.random((32, 88)) < 0.05).astype(np.uint8), folder / f"{number}.mid")
    return folder


def a_protocol(songs, **rest):
    given = {
        "trials": 4,
        "warmup": 1,
        "tuning_epochs": {"jsb": 3},
        "overrides": {"data": str(songs), "hidden_size": 4},
        "space": {
            "SGD": {"learning_rate": {"low": 1e-3, "high": 1.0, "log": True}},
            "L": {n: {"low": 0.5, "high": 0.98} for n in ("leak_low", "leak_high")},
        },
    }
    return Protocol.from_dict(given | rest)


def tune(tuner, **rest):
    data = load_data(tuner.protocol.tuning_recipe(tuner.cell), progress=False)
    return tuner.tune(data, lambda label, recipe, params: SilentMonitor(), **rest)


def test_the_first_trial_has_the_letters_settings_and_the_best_is_chosen(songs, tmp_path) -> None:
    protocol = a_protocol(songs)
    tuner = Tuner(CELL, protocol, Evidence(tmp_path / "results"), tmp_path / "runs")
    chosen = tune(tuner)
    usual = protocol.tuning_recipe(CELL)
    assert tuner.trials[0]["params"] == {n: usual.get(n) for n in ("learning_rate", "leak_low", "leak_high")}
    complete = [trial for trial in tuner.trials if trial["state"] == "complete"]
    for condition, score in (("plain", lambda t: t["value"]), ("averaged", lambda t: t["averaged"]["value"])):
        assert chosen[condition] == max(complete, key=score)["params"]
    for trial in tuner.trials:
        assert trial["params"]["leak_low"] <= trial["params"]["leak_high"]
        assert trial["value"] != trial["averaged"]["value"]
        for one in (trial, trial["averaged"]):
            assert one["value"] == pytest.approx(one["curve"][-1], abs=1e-4)
            assert one["curve"] == sorted(one["curve"])
            assert len(one["curve"]) == trial["epochs"]


def test_a_trial_trains_as_it_would_without_the_average_beside_it(songs, tmp_path) -> None:
    tuner = Tuner(CELL, a_protocol(songs), Evidence(tmp_path / "results"), tmp_path / "runs")
    tune(tuner)
    recipe = with_draws(tuner.protocol.tuning_recipe(CELL), tuner.params(2))
    train_in(tmp_path / "alone", recipe, load_data(recipe, progress=False))
    names = ("epoch", "valid_log_likelihood", "train_log_likelihood", "gradient_norm")
    curves = [
        [[record[name] for name in names] for record in Run.open(folder).metrics()]
        for folder in (tmp_path / "runs" / "02", tmp_path / "alone")
    ]
    assert curves[0] == curves[1]


def test_a_search_that_is_stopped_goes_on_without_its_runs(songs, tmp_path) -> None:
    protocol = a_protocol(songs)
    whole = Tuner(CELL, protocol, Evidence(tmp_path / "whole"), tmp_path / "one")
    tune(whole)
    broken = Tuner(CELL, protocol, Evidence(tmp_path / "broken"), tmp_path / "two")
    with pytest.raises(Interrupted):
        tune(broken, stop_requested=lambda: 15 if len(broken.trials) == 2 else 0)
    assert (len(broken.trials), broken.chosen) == (2, None)
    elsewhere = Tuner(CELL, protocol, broken.evidence, tmp_path / "three")
    tune(elsewhere)
    kept = [[{**t, "cpu_seconds": 0} for t in one.trials] for one in (whole, elsewhere)]
    assert json.dumps(kept[0]) == json.dumps(kept[1])


def a_judge(curves=(), **settings):
    others = [{"curve": curve, "averaged": {"curve": curve}} for curve in curves]
    judge = _Judge(Protocol(**settings), others, SilentMonitor())
    judge._name = "valid_x"
    return judge


def judged(curves, scores, startup=2, warmup=1):
    judge = a_judge(curves, startup=startup, warmup=warmup)
    found = []
    for epoch, score in enumerate(scores):
        judge._append({"epoch": epoch, "valid_x": score, "valid_x_of_average": 0.0})
        found.append(judge.is_hopeless("plain"))
        assert not judge.is_hopeless("averaged")
    return found


def ended_by(judge, scores):
    """The epochs that a trial of these scores, plain and averaged, comes to, and what ends it."""
    for epoch, (plain, averaged) in enumerate(scores):
        try:
            judge.epoch({"epoch": epoch, "valid_x": plain, "valid_x_of_average": averaged})
        except (Pruned, Exhausted) as error:
            return epoch + 1, type(error).__name__
    return len(scores), ""


def test_a_trial_goes_on_while_either_way_it_becomes_better() -> None:
    patient = {"tuning_patience": 2, "warmup": 1, "startup": 1}
    falling = [(-1.0 - i, -2.0 - i) for i in range(6)]
    assert ended_by(a_judge(**patient), falling) == (3, "Exhausted")
    averaged_rises = [(-1.0 - i, -9.0 + i) for i in range(6)]
    assert ended_by(a_judge(**patient), averaged_rises) == (6, "")
    assert ended_by(a_judge([[-5.0]], **patient), [(-6.0, -4.0)] * 2) == (2, "")
    assert ended_by(a_judge([[-5.0]], **patient), [(-6.0, -6.0)] * 2) == (1, "Pruned")


def test_a_trial_worse_than_the_median_is_hopeless() -> None:
    curves = [[-5.0, -4.0], [-7.0, -6.0], [-6.0]]
    assert judged(curves, [-6.5, -6.5]) == [True, True]
    assert judged(curves, [-5.5, -5.5]) == [False, False]
    assert judged(curves, [-5.5, -9.0]) == [False, False]  # its best score counts
    assert judged(curves, [math.nan, -1.0]) == [True, False]
    assert judged(curves, [-9.0, -9.0], warmup=3) == [False, False]
    assert judged(curves[:1], [-9.0, -9.0]) == [False, False]
    assert judged([[None, -4.0], [-3.0]], [-5.0]) == [False]
