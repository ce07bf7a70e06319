"""Figures of a diagnosis in the records of epochs: there when asked for, and nothing else changes."""

import json
import math

import numpy as np
import pytest
import torch

from ostinato import UserError
from ostinato.cli.main import run as command
from ostinato.data.sequences import Sequence, Splits
from ostinato.diagnostics import diagnose_model
from ostinato.nn import CTRNN, RNN, SequenceModel
from ostinato.nn.outputs.bernoulli import Bernoulli
from ostinato.recipe.recipe import Recipe
from ostinato.report.charts import looks_of
from ostinato.report.diagnosis_charts import diagnosis_charts
from ostinato.report.records import read_records
from ostinato.runs.folder import Run
from ostinato.training.diagnosing import FIGURES, check_diagnosed, figures
from ostinato.training.flight import Frames
from ostinato.training.loop import Trainer
from ostinato.training.monitor import Interrupted


def data():
    draw = np.random.default_rng(0)
    songs = [Sequence(f"song{i}", (draw.random((40, 12)) < 0.3).astype(np.uint8)) for i in range(12)]
    return Splits("small", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:]))


def recipe(letters="SGD+CR", **settings):
    chosen = {"hidden_size": 9, "streams": 2, "segment_length": 20, "epochs": 3, "learning_rate": 0.05}
    return Recipe.parse(letters, **(chosen | settings))


def trained(folder, settings, **options):
    run = Run.create(folder, settings.to_dict())
    try:
        Trainer(settings, data(), run, **options).fit()
    finally:
        run.close()
    return Run.open(folder)


def without_figures(run):
    return [{k: v for k, v in r.items() if k not in (*FIGURES, "seconds")} for r in run.metrics()]


def test_epochs_have_figures_and_weights_are_the_same(tmp_path):
    settings = recipe("SGD+C", cell="lstm", num_layers=2, dropout=0.3)
    one = trained(tmp_path / "one", settings, diagnose_every=2)
    other = trained(tmp_path / "other", settings)
    have = ["short_terms" in record for record in one.metrics()]
    assert have == [False, True, False]
    assert without_figures(one) == without_figures(other)
    tensors = other.load_checkpoint("last")[0]
    assert all(torch.equal(x, tensors[name]) for name, x in one.load_checkpoint("last")[0].items())


def test_a_resumed_run_has_the_same_figures(tmp_path):
    settings = recipe()
    whole = trained(tmp_path / "whole", settings, diagnose_every=1)
    run = Run.create(tmp_path / "broken", settings.to_dict())
    calls = iter(range(1000))
    with pytest.raises(Interrupted):
        Trainer(
            settings, data(), run, diagnose_every=1, stop_requested=lambda: 15 * (next(calls) == 20)
        ).fit()
    Trainer(settings, data(), run, diagnose_every=1).fit()
    run.close()
    one, other = ([{**r, "seconds": 0} for r in x.metrics()] for x in (whole, Run.open(tmp_path / "broken")))
    assert one == other


def test_figures_are_those_of_a_diagnosis():
    torch.manual_seed(0)
    model = SequenceModel(RNN(3, 6, nonlinearity="relu"), Bernoulli(6, 3)).eval()
    segments = [Frames(torch.randn(20, 2, 3), (torch.rand(20, 2, 3) < 0.5).float()) for _ in range(3)]
    found = figures(model, segments, carries_state=True)
    record = diagnose_model(model, segments, carries_state=True).record
    assert found["silent_units"] == record["units"]["layer 1"]["silent"]
    assert found["norm_spread"] == record["gradient_norms"]["largest"] / record["gradient_norms"]["median"]
    assert found["gradient_left"] == record["gradient_over_lag"]["relative_norm"]["median"][-1]
    assert "saturated_slopes" not in found  # of a rectifier it is not known
    assert all(math.isfinite(value) for value in found.values())


def test_what_cannot_be_measured_is_refused_before_training():
    noisy = SequenceModel(CTRNN(3, 4, noise=0.1, noise_in_eval=True), Bernoulli(4, 3))
    with pytest.raises(UserError, match="diagnose_every"):
        check_diagnosed(noisy, 1)
    check_diagnosed(noisy, 0)
    with pytest.raises(UserError, match="at least 0"):
        check_diagnosed(noisy, -1)


def test_the_report_draws_them(tmp_path):
    trained(tmp_path / "run", recipe(), diagnose_every=1)
    trained(tmp_path / "plain", recipe())
    runs, _ = read_records([tmp_path / "run", tmp_path / "plain"])
    found = diagnosis_charts(runs, "key", looks_of(runs))
    names = [chart.key for chart in found]
    assert "key-units" in names
    assert "key-gradients" in names
    units = next(chart for chart in found if chart.key == "key-units")
    silent = next(trace for trace in units.figure["data"] if trace["name"].endswith("silent"))
    assert silent["x"] == [1, 2, 3]
    assert silent["y"] == pytest.approx([record["silent_units"] for record in runs[0].epochs])
    assert diagnosis_charts(runs[1:], "key", looks_of(runs)) == []


def test_the_command_and_tensorboard(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("tensorboard")
    options = ["--length", "12", "--hidden-size", "6", "--epochs", "1", "--epoch-sequences", "40", "--quiet"]
    train = ["train", "delays", "--data", "temporal-order", *options, "--recipe", "SGD", "--run", "run"]
    assert command([*train, "--diagnose-every", "1", "--tensorboard", "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert "gradient_symmetry" in Run.open("run").metrics()[0]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert "gradient_symmetry" in events.Tags()["scalars"]
