"""The search of a cell on a data set of songs that are made up."""

import json
import math

import numpy as np
import pytest

from ostinato.domains.domain import load_data
from ostinato.domains.music.writing import piano_roll
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import Protocol
from ostinato.reproduce.tuning import Tuner, _Judge
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
    values = [trial["value"] for trial in tuner.trials if trial["state"] == "complete"]
    best = max((t for t in tuner.trials if t["state"] == "complete"), key=lambda t: t["value"])
    assert (chosen, best["value"]) == (best["params"], max(values))
    for trial in tuner.trials:
        assert trial["params"]["leak_low"] <= trial["params"]["leak_high"]
        assert trial["value"] == pytest.approx(trial["curve"][-1], abs=1e-4)
        assert trial["curve"] == sorted(trial["curve"])


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


def judged(curves, scores, startup=2, warmup=1):
    judge = _Judge(
        Protocol(startup=startup, warmup=warmup), [{"curve": curve} for curve in curves], SilentMonitor()
    )
    judge._name = "valid_x"
    found = []
    for epoch, score in enumerate(scores):
        judge._append({"epoch": epoch, "valid_x": score})
        found.append(judge.is_hopeless())
    return found


def test_a_trial_worse_than_the_median_is_hopeless() -> None:
    curves = [[-5.0, -4.0], [-7.0, -6.0], [-6.0]]
    assert judged(curves, [-6.5, -6.5]) == [True, True]
    assert judged(curves, [-5.5, -5.5]) == [False, False]
    assert judged(curves, [-5.5, -9.0]) == [False, False]  # its best score counts
    assert judged(curves, [math.nan, -1.0]) == [True, False]
    assert judged(curves, [-9.0, -9.0], warmup=3) == [False, False]
    assert judged(curves[:1], [-9.0, -9.0]) == [False, False]
    assert judged([[None, -4.0], [-3.0]], [-5.0]) == [False]
