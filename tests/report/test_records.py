"""Folders of runs and studies -> records."""

import json

import pytest
import torch

from ostinato.errors import UserError
from ostinato.report.records import read_records, read_run, short_names
from ostinato.runs.folder import Run
from ostinato.seal import SealError, telling


def test_a_run_is_read(make_run):
    record = read_run(make_run(updates=[{"damping": 0.1, "iterations": 9}]), "run")
    assert [epoch["epoch"] for epoch in record.epochs] == [0, 1, 2, 3, 4]
    assert record.best["epoch"] == 3
    assert record.training["clip_threshold"] == 1.5
    assert record.updates[0]["iterations"] == 9
    assert 'recipe = "SGD+C"' in record.config_text


def test_results_of_before_an_extension_are_not_those_of_the_run(make_run):
    folder = make_run("run")
    path = folder / "results.json"
    results = json.loads(path.read_text())
    here = len(read_run(folder, "run").epochs)
    for epochs, counts in ((here, True), (here - 1, False)):
        results["training"]["epochs"] = epochs
        with Run.open(folder) as run:
            run.write_text("results.json", json.dumps(results))
        assert bool(read_run(folder, "run").scores) is counts


def test_without_results_the_checkpoint_tells_about_the_training(make_run):
    folder = make_run(scores=False)
    state = {
        "progress": {"clip_threshold": 2.25, "seconds": 9.0, "stopped_because": None},
        "threads": 3,
        "environment": {"torch": "x"},
    }
    with Run.open(folder) as run:
        run.save_checkpoint("last", {"w": torch.ones(1)}, state)
    record = read_run(folder, "run")
    assert record.training == {
        "clip_threshold": 2.25, "seconds": 9.0, "threads": 3, "environment": {"torch": "x"}
    }  # fmt: skip
    assert record.scores == {}
    assert record.data_name == "jsb"


def test_a_study_brings_the_run_of_its_chosen_trial(make_study):
    runs, studies = read_records([make_study()])
    assert len(studies[0].complete) == 24
    assert studies[0].parameters == ["learning_rate", "hidden_size", "leak"]
    assert [run.name for run in runs] == [f"study, trial {studies[0].chosen['number']}"]


def test_a_chosen_trial_without_scores_of_its_own_has_those_of_the_study(make_study):
    folder = make_study()
    own = next((folder / "trials").glob("*/results.json"))
    study = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(study | {"results": json.loads(own.read_text())}))
    own.unlink()
    (own.parent / "seal.json").unlink()
    runs, _ = read_records([folder])
    assert runs[0].scores["model"]["test"]["log_likelihood"]["value"] == -8.5
    assert runs[0].training["clip_threshold"] == 1.5


def test_a_study_that_has_only_begun(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "study.toml").write_text("[study]\ntrials = 3\n[recipe]\n")
    runs, (study,) = read_records([folder])
    assert runs == []
    assert study.trials == []


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "nothing there"),
        (lambda folder: folder.write_text("x"), "found a file"),
        (lambda folder: folder.mkdir(), "neither config.toml nor study.toml"),
        (lambda folder: Run.create(folder, {"data": "jsb"}).close(), "at least one epoch"),
    ],
)
def test_what_is_no_finished_run_is_an_error(tmp_path, prepare, message):
    prepare(tmp_path / "x")
    with pytest.raises(UserError, match=message):
        read_records([tmp_path / "x"])


def test_damaged_results_are_an_error(make_run):
    folder = make_run()
    with Run.open(folder) as run:
        run.write_text("results.json", "[1]")
    with pytest.raises(UserError, match=r"results\.json: expected an object, found a list of 1; put it back"):
        read_run(folder, "run")
    with Run.open(folder) as run:
        run.write_text("results.json", "{")
    with pytest.raises(UserError, match="expected JSON"):
        read_run(folder, "run")
    (folder / "results.json").write_text("[1]")
    with pytest.raises(SealError, match=r"results\.json as it was written"):
        read_run(folder, "run")


def test_the_same_run_twice_is_an_error(make_run):
    folder = make_run()
    with pytest.raises(UserError, match="twice"):
        short_names([folder, folder / ".." / folder.name])


def test_a_study_without_a_seal_is_told_of(make_study):
    told = []
    with telling(told.append):
        read_records([make_study()])
    assert [text.partition(" has no seal.json")[0][-5:] for text in told] == ["study"]
