"""Causes are named in runs made to fail for one, and healthy runs are not alarmed; all small."""

import contextlib
import json

import numpy as np
import pytest
import torch

from ostinato import UserError
from ostinato.cli.main import run as command
from ostinato.data.sequences import Sequence, Splits
from ostinato.diagnostics import adapted, diagnose, diagnose_model
from ostinato.diagnostics.diagnosis import Diagnosis
from ostinato.diagnostics.findings import findings
from ostinato.diagnostics.of_run import diagnose_run
from ostinato.domains.domain import load_data
from ostinato.nn import LSTM, RNN, SequenceModel
from ostinato.nn.outputs.bernoulli import Bernoulli
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.flight import Frames
from ostinato.training.loop import Trainer
from ostinato.training.monitor import Diverged


def songs(seed=0, notes=12):
    """Chords that take turns, with noise."""
    draw = np.random.default_rng(seed)

    def song(name):
        frames = np.zeros((int(draw.integers(40, 80)), notes), np.uint8)
        frames[::2, [0, 4, 7]] = 1
        frames[1::2, [2, 5, 9]] = 1
        return Sequence(name, frames ^ (draw.random(frames.shape) < 0.05).astype(np.uint8))

    made = [song(f"song{i}") for i in range(16)]
    return Splits("small", tuple(made[:12]), tuple(made[12:14]), tuple(made[14:]))


def trained(folder, letters, taken=None, **settings):
    chosen = {"hidden_size": 16, "streams": 4, "segment_length": 30, "epochs": 3, "learning_rate": 0.1}
    recipe = Recipe.parse(letters, **(chosen | settings))
    run = Run.create(folder, recipe.to_dict())
    data = load_data(recipe) if taken is None else taken
    with contextlib.suppress(Diverged):
        Trainer(recipe, data, run).fit()
    run.close()
    return diagnose_run(folder, data=data).found


IDENTITY = {"initialization": "identity", "clip": "none"}
DELAYS = {"domain": "delays", "data": "temporal-order", "epoch_sequences": 100}
FAILING = {
    "exploding": ("SGD", {"learning_rate": 100.0, "l2": 1.0}, "exploding gradients"),
    "growing": ("SGD+R", {**IDENTITY, "learning_rate": 0.3}, "states grow"),
    "vanishing": ("SGD", {**DELAYS, "length": 50, "initialization": "uniform"}, "vanishing gradients"),
    "silent": ("SGD+CR", {"l1": 1.0, "epochs": 8}, "silent units"),
    "saturated": (
        "SGD+C",
        {"initialization": "echo-state", "spectral_radius": 10.0, "hidden_size": 100},
        "saturated units",
    ),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_first_sentence_names_the_cause(tmp_path, name, seed):
    letters, settings, cause = FAILING[name]
    taken = None if "domain" in settings else songs(seed)
    found = trained(tmp_path / "run", letters, taken, seed=seed, **settings)
    assert found.alarms, [each.sentence for each in found.findings]
    assert found.alarms[0].cause == cause, found.alarms


HEALTHY = {
    "plain": ("SGD", {}),
    "clipped": ("SGD+C", {}),
    "all letters": ("SGD+CLRM", {"learning_rate": 0.03}),
    "lstm": ("SGD+C", {"cell": "lstm"}),
    "gru, two layers": ("SGD+C", {"cell": "gru", "num_layers": 2}),
    "adam": ("SGD", {"optimizer": "adam", "learning_rate": 0.01}),
    "nade": ("SGD+C", {"output": "nade", "nade_size": 8}),
    "short delay": ("SGD+C", {**DELAYS, "length": 10, "cell": "lstm"}),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_run_is_not_alarmed(tmp_path, name):
    letters, settings = HEALTHY[name]
    taken = None if "domain" in settings else songs()
    found = trained(tmp_path / "run", letters, taken, **settings)
    assert found.alarms == []
    assert len(found.findings) >= 5


def test_a_carried_state_that_grows():
    """An integrator that is fed: no start sets it back, and each segment begins where the last ended."""
    cell = RNN(3, 4, nonlinearity="relu", bias=False)
    cell.weight_hh_l0.data = torch.eye(4)
    cell.weight_ih_l0.data.fill_(0.1)
    model = SequenceModel(cell, Bernoulli(4, 3))
    segments = [Frames(torch.ones(10, 2, 3), torch.ones(10, 2, 3)) for _ in range(8)]
    found = diagnose_model(model, segments, carries_state=True)
    assert found.alarms[0].cause == "carried state grows"
    # the state after each segment is 0.3 times the steps so far
    assert found.record["states"]["carried"] == pytest.approx([0.3 * 10 * k for k in range(1, 9)], rel=1e-5)
    # the same steps as sequences of their own: a growth over the segment
    starts = torch.zeros(10, 2, dtype=torch.bool)
    starts[0] = True
    apart = [Frames(s.inputs, s.targets, starts) for s in segments]
    assert diagnose_model(model, apart, carries_state=True).alarms[0].cause == "states grow"
    # bounded: the leaky integrator levels off
    cell.weight_hh_l0.data = 0.5 * torch.eye(4)
    assert diagnose_model(model, segments, carries_state=True).alarms == []


def test_measuring_changes_nothing():
    model = SequenceModel(
        LSTM(3, 4, 2, dropout=0.5, generator=torch.Generator().manual_seed(0)), Bernoulli(4, 3)
    )
    model.train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    state = model.generator.get_state()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    diagnose_model(model, [Frames(torch.randn(12, 2, 3), torch.ones(12, 2, 3))])
    assert model.training
    assert torch.equal(model.generator.get_state(), state)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert all(bool((p.grad == 1).all()) for p in model.parameters())


def test_the_threshold_is_the_average_norm():
    torch.manual_seed(0)
    model = SequenceModel(RNN(3, 4), Bernoulli(4, 3))
    segments = [Frames(torch.randn(6, 2, 3), (torch.rand(6, 2, 3) < 0.5).float()) for _ in range(5)]
    found = diagnose_model(model, segments, carries_state=False).record["gradient_norms"]
    norms = []
    for segment in segments:
        model.zero_grad()
        model.loss(segment.inputs, segment.targets).objective.backward()
        norms.append(torch.stack([p.grad.norm() for p in model.parameters()]).norm().item())
    assert found["norms"] == pytest.approx(norms, rel=1e-5)
    assert found["threshold"] == pytest.approx(sum(norms) / 5, rel=1e-5)


@pytest.mark.parametrize(
    "cell",
    [
        torch.nn.RNN(3, 8),
        torch.nn.LSTM(3, 8, 2),
        torch.nn.GRU(3, 8, batch_first=True),
        adapted(torch.nn.LSTMCell(3, 8), (torch.zeros(1, 8), torch.zeros(1, 8))),
    ],
    ids=["RNN", "LSTM", "GRU", "adapted"],
)
def test_networks_of_other_libraries(cell):
    inputs = torch.randn(2, 20, 3) if getattr(cell, "batch_first", False) else torch.randn(20, 2, 3)
    found = diagnose(cell, inputs, lambda outputs: outputs.square().sum(-1))
    assert found.alarms == []
    record = found.record
    assert {"gradient_over_lag", "spans", "products", "lyapunov", "units", "gradient_shape"} <= record.keys()
    assert sum(span["share"] for span in record["spans"]) == pytest.approx(1, abs=1e-4)
    json.dumps(found.to_dict())


def test_rules_of_records():
    assert findings({}) == []
    assert [
        f.alarm for f in findings({"units": {"a": {"silent": 0.4, "saturated": None, "active": 1.0}}})
    ] == [False]
    weak = {
        "units": {"a": {"silent": 0.9}},
        "training": {"l1": 1e-5},
        "l1_gradient": 1e-6,
        "loss_gradient": 1e-2,
    }
    assert "L1" not in findings(weak)[0].sentence
    assert "L1" in findings(weak | {"l1_gradient": 1e-2})[0].sentence
    norms = {"gradient_norms": {"median": 1.0, "largest": 50.0, "p90": 2.0, "threshold": 3.0, "beyond": 0.1}}
    assert findings(norms)[0].cause == "exploding gradients"
    assert "clip" in findings(norms)[0].advice
    assert not findings(norms | {"training": {"clipped": True}})[0].alarm
    solved = findings(norms | {"training": {"solved": True}})
    assert [f.alarm for f in solved] == [False] * len(solved)
    assert "exploding gradients" in [f.cause for f in solved]
    lag = {"gradient_over_lag": {"horizon": 8.0}}
    assert not findings(lag | {"training": {"needed_lag": 80, "solved": True}})[0].alarm
    assert findings(lag | {"training": {"needed_lag": 80}})[0].cause == "vanishing gradients"
    assert not findings(lag | {"training": {"needed_lag": 5}})[0].alarm


def test_where_nothing_is_alarming_a_sentence_says_so_first() -> None:
    gap = {"units": {"layer 1": {"silent": 0.9, "saturated": None}}}
    assert Diagnosis(gap, findings(gap)).opening is None
    assert str(Diagnosis(gap, findings(gap))).startswith(findings(gap)[0].sentence)
    assert "keeps the network from learning" in str(Diagnosis({}, []))
    solved = gap | {"training": {"solved": True}}
    assert str(Diagnosis(solved, findings(solved))).startswith("the problem is solved")


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--length", "20", "--hidden-size", "8", "--epochs", "1", "--epoch-sequences", "40", "--quiet"]
    train = ["train", "delays", "--data", "temporal-order", *options, "--initialization", "uniform"]
    assert command([*train, "--run", "run"]) == 0
    capsys.readouterr()
    assert command(["diagnose", "run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("gradients vanish: ")
    assert "(--leak-fraction 0.5, --leak-high 0.938)" in " ".join(out.split())
    assert (tmp_path / "diagnosis.png").read_bytes()[1:4] == b"PNG"
    for which in ("best", "fresh", "last"):
        assert command(["diagnose", "run", "--checkpoint", which, "--json", "--out", "a.svg"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["checkpoint"] == which
        assert found["findings"][0]["cause"] == "vanishing gradients"
    assert command(["diagnose", "nothing"]) == 2
    assert command(["diagnose", "run", "--out", "a.txt"]) == 2
    assert "expected --out as a .png" in capsys.readouterr().err
    assert command(["diagnose", "run", "--data", "memorization"]) == 2
    assert "fresh ones" in capsys.readouterr().err


def test_a_run_that_has_not_begun(tmp_path):
    recipe = Recipe.parse("SGD", hidden_size=8, streams=2, segment_length=20)
    Run.create(tmp_path / "run", recipe.to_dict()).close()
    with pytest.raises(UserError, match="has begun"):
        diagnose_run(tmp_path / "run", data=songs())
    assert diagnose_run(tmp_path / "run", data=songs(), checkpoint="fresh").found.alarms == []
    with pytest.raises(UserError, match="checkpoint"):
        diagnose_run(tmp_path / "run", data=songs(), checkpoint="first")
