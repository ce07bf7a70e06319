"""The flight recorder: what it sees, what it writes, that a step is repeated to the bit, and its blame."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ostinato import UserError
from ostinato.cli.main import run as command
from ostinato.data.sequences import Sequence, Splits
from ostinato.errors import without_marks
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training import flight
from ostinato.training.loop import Trainer
from ostinato.training.monitor import Diverged, Interrupted, SilentMonitor
from ostinato.training.recorder import Recorder, Seen, Trouble, advice
from ostinato.training.replay import replay


class Notices(SilentMonitor):
    def __init__(self):
        self.texts = []

    def notice(self, text):
        self.texts.append(without_marks(text))


def data(seed=0):
    draw = np.random.default_rng(seed)
    songs = [Sequence(f"song{i}", (draw.random((40, 12)) < 0.3).astype(np.uint8)) for i in range(12)]
    return Splits("small", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:]))


def recipe(letters="SGD", **settings):
    chosen = {"hidden_size": 9, "streams": 2, "segment_length": 10, "epochs": 2, "learning_rate": 0.05}
    return Recipe.parse(letters, **(chosen | settings))


class Injecting:
    """Segments of which one has a bad frame at a known place."""

    def __init__(self, segments, index, frame, stream, value):
        self.segments, self.bad = segments, (index, frame, stream, value)

    def __getattr__(self, name):
        return getattr(self.segments, name)

    def __len__(self):
        return len(self.segments)

    def __getitem__(self, index):
        segment = self.segments[index]
        at, frame, stream, value = self.bad
        if index != at:
            return segment
        inputs = segment.inputs.to(torch.float32).clone()
        inputs[frame, stream, 3] = value
        return flight.Frames(inputs, segment.targets, segment.starts, segment.mask)


def trained(folder, settings, *, bad=None, on_failure="go-on", monitor=None):
    run = Run.create(folder, settings.to_dict())
    trainer = Trainer(settings, data(), run, monitor, on_failure=on_failure)
    if bad is not None:
        plain = trainer.streams
        trainer.streams = lambda epoch: Injecting(plain(epoch), *bad) if epoch == 0 else plain(epoch)
    try:
        trainer.fit()
    finally:
        run.close()
    return trainer


@pytest.mark.parametrize(
    ("letters", "settings"),
    [
        ("SGD", {}),
        ("SGD+CLM", {"clip_by": "minibatch"}),
        ("SGD+C", {"clip_by": "sequence", "clip": 1.0}),
        ("SGD", {"optimizer": "adam", "cell": "lstm", "num_layers": 2, "dropout": 0.3}),
        ("SGD+R", {"l1": 1e-3}),
        ("SGD", {"output": "nade", "nade_size": 5}),
    ],
)
def test_an_injected_frame_is_named_and_the_step_repeats_to_the_bit(tmp_path, letters, settings):
    trained(tmp_path / "run", recipe(letters, **settings), bad=(3, 6, 1, math.nan))
    (path,) = flight.bundles(tmp_path / "run")
    found = replay(path)
    assert found.same, found.different
    assert (found.blame.what, found.blame.frame, found.blame.stream) == ("input", 6, 1)
    assert found.about["segment"] == 3
    event = next(r for r in Run.open(tmp_path / "run").metrics() if r.get("event") == "recorded")
    assert (event["cause"], event["bundle"]) == ("input", path.stem)


def test_a_finite_jump_repeats_to_the_bit_after_its_step(tmp_path):
    """The weights that are compared are those after the step, which this one does take."""
    heard = Notices()
    trained(tmp_path / "run", recipe("SGD", nonlinearity="relu"), bad=(12, 4, 0, 1e4), monitor=heard)
    (said,) = (text for text in heard.texts if text.startswith("the loss jumped"))
    assert "; unless the loss falls again, train with " in said
    paths = flight.bundles(tmp_path / "run")
    assert paths
    found = replay(paths[0])
    assert found.same
    assert found.about["made"]["usable"]
    # a bit of the weights, and the step is another one
    bundle = flight.read(paths[0])
    name = next(n for n in bundle.tensors if n.endswith("weight_hh_l0"))
    bundle.tensors[name][0, 0] += 1e-7
    flight.write(tmp_path / "run", "other", bundle.tensors, bundle.about)
    other = replay(tmp_path / "run" / "flight" / "other")
    assert not other.same
    assert "digest" in other.different


def test_hessian_free_is_recorded_too(tmp_path):
    settings = Recipe.parse("HF", hidden_size=5, streams=2, segment_length=10, epochs=1, cg_iterations=3)
    trained(tmp_path / "run", settings, bad=(1, 2, 0, math.nan))
    (path,) = flight.bundles(tmp_path / "run")
    found = replay(path)
    assert found.same, found.different
    assert (found.blame.what, found.blame.frame) == ("input", 2)


def test_the_unit_that_overflows_first_is_named(tmp_path):
    settings = recipe("SGD", nonlinearity="relu", initialization="identity", hidden_size=6)
    run = Run.create(tmp_path / "run", settings.to_dict())
    trainer = Trainer(settings, data(), run)
    with torch.no_grad():  # unit 4 multiplies itself by 1e8 a step, from a bias of 1, and no other does
        trainer.model.rnn.weight_hh_l0.zero_()
        trainer.model.rnn.weight_hh_l0[4, 4] = 1e8
        trainer.model.rnn.weight_ih_l0.zero_()
        trainer.model.rnn.bias_ih_l0.zero_()
        trainer.model.rnn.bias_ih_l0[4] = 1.0
        trainer.model.rnn.bias_hh_l0.zero_()
    trainer.fit()
    run.close()
    found = replay(flight.bundles(tmp_path / "run")[0])
    # 1e8 ** k is above the largest float32, 3.4e38, for k = 5 first
    assert (found.blame.what, found.blame.unit, found.blame.layer) == ("state", 4, "layer 1")
    starts = flight.read(flight.bundles(tmp_path / "run")[0]).segment_on("cpu").starts
    last = max(t for t in range(found.blame.frame + 1) if starts[t, found.blame.stream])
    assert found.blame.frame - last == 5


def test_stopping_going_on_and_ignoring(tmp_path):
    bad = (3, 6, 1, math.nan)
    told = Notices()
    trained(tmp_path / "a", recipe(), bad=bad, monitor=told)
    (text,) = [text for text in told.texts if "replay" in text]
    assert "frame 6 of stream 1" in text
    assert "mend the data there" in text
    assert Run.open(tmp_path / "a").load_checkpoint("last")[1]["progress"]["epoch"] == 2
    with pytest.raises(Diverged, match="training stopped: the loss is nan"):
        trained(tmp_path / "b", recipe(), bad=bad, on_failure="stop")
    assert len(flight.bundles(tmp_path / "b")) == 1
    trained(tmp_path / "c", recipe(), bad=bad, on_failure="ignore")
    assert flight.bundles(tmp_path / "c") == []
    with pytest.raises(UserError, match="on_failure"):
        trained(tmp_path / "d", recipe(), on_failure="never")


def test_recording_changes_nothing(tmp_path):
    for name, how in (("a", "go-on"), ("b", "ignore")):
        trained(
            tmp_path / name,
            recipe("SGD", cell="lstm", num_layers=2, dropout=0.3),
            bad=(3, 6, 1, math.nan),
            on_failure=how,
        )
    one, other = (Run.open(tmp_path / name).load_checkpoint("last")[0] for name in "ab")
    assert all(torch.equal(x, other[name]) for name, x in one.items())


def test_a_resumed_run_records_as_an_unbroken_one(tmp_path):
    settings = recipe("SGD+C", epochs=1)
    run = Run.create(tmp_path / "run", settings.to_dict())
    calls = iter(range(1000))
    with pytest.raises(Interrupted):
        Trainer(settings, data(), run, stop_requested=lambda: 15 * (next(calls) == 9)).fit()
    Trainer(settings, data(), run).fit()
    run.close()
    trained(tmp_path / "unbroken", settings)
    one, other = (Run.open(tmp_path / n).load_checkpoint("last")[1]["recorder"] for n in ("run", "unbroken"))
    assert one == other
    assert len(one["losses"]) > 9


def test_a_run_that_diverges_and_its_advice(tmp_path):
    """Rate times 100 and no clipping: a bundle, and settings under which the same model trains."""
    settings = recipe("SGD", learning_rate=20.0, nonlinearity="relu", epochs=2)
    trained(tmp_path / "bad", settings)
    paths = flight.bundles(tmp_path / "bad")
    assert paths
    assert replay(paths[0]).same
    told = flight.read(paths[0]).about["advice"]
    for attempt in range(4):  # the advice of each failure, until there is none
        settings = settings.replace(**told)
        trained(tmp_path / f"good{attempt}", settings)
        paths = flight.bundles(tmp_path / f"good{attempt}")
        if not paths:
            break
        told = flight.read(paths[0]).about["advice"]
    scores = [
        r["valid_log_likelihood"] for r in Run.open(tmp_path / f"good{attempt}").metrics() if "best" in r
    ]
    bad = [r.get("valid_log_likelihood") for r in Run.open(tmp_path / "bad").metrics() if "best" in r]
    assert not paths
    assert attempt < 3
    assert scores[-1] > -8.5  # 12 notes by chance: 12 log 2 = 8.3 nats
    assert bad[-1] is None or scores[-1] > bad[-1]


def test_a_healthy_run_writes_nothing(tmp_path):
    for letters in ("SGD", "SGD+CLM", "SGD+CR"):
        trained(tmp_path / letters, recipe(letters, epochs=3))
        assert flight.bundles(tmp_path / letters) == []


def test_what_is_unusual():
    recorder = Recorder()
    draw = np.random.default_rng(0)
    for _ in range(300):
        assert recorder.look(Seen(float(draw.normal(5, 0.5)), float(draw.lognormal(0, 0.5)), None)) is None
    assert recorder.look(Seen(9.0, 1.0, None)) is None
    assert recorder.look(Seen(30.0, 1.0, None)).why == "loss jumped"
    assert recorder.look(Seen(5.0, 200.0, None)).why == "gradient jumped"
    assert recorder.look(Seen(5.0, 200.0, 1.0)) is None  # clipped
    assert recorder.look(Seen(5.0, math.nan, 1.0)).why == "gradient not finite"
    again = Recorder()
    again.load_state_dict(json.loads(json.dumps(recorder.state_dict())))
    assert json.dumps(again.state_dict()) == json.dumps(recorder.state_dict())
    reasons = {getattr(recorder.look(Seen(7 + 0.1 * k, 1.0, 1.0)), "why", None) for k in range(200)}
    assert "loss diverged" in reasons


def test_the_end_of_a_sequence_is_too_short_to_jump():
    recorder = Recorder()
    for _ in range(50):
        recorder.look(Seen(5.0, 1.0, 1.0, frames=30))
    assert recorder.look(Seen(30.0, 1.0, 1.0, frames=2)) is None
    assert recorder.look(Seen(math.inf, 1.0, 1.0, frames=2)).why == "loss not finite"
    assert recorder.look(Seen(30.0, 1.0, 1.0, frames=15)).why == "loss jumped"


def test_another_stage_is_nothing_to_compare_with():
    recorder = Recorder()
    recorder.enter("frames")
    for _ in range(50):
        recorder.look(Seen(5.0, 1.0, 1.0))
    recorder.enter("joint")
    assert recorder.look(Seen(30.0, 1.0, 1.0)) is None
    assert len(recorder.losses) == 1


def test_losses_below_zero_jump_as_well():
    recorder = Recorder()
    draw = np.random.default_rng(0)
    for _ in range(100):
        recorder.look(Seen(float(draw.normal(-3, 0.1)), 1.0, 1.0))
    assert recorder.look(Seen(-2.5, 1.0, 1.0)) is None
    assert recorder.look(Seen(1.0, 1.0, 1.0)).why == "loss jumped"


def test_advice_where_it_was_clipped_already():
    settings = {"learning_rate": 0.1, "clip": 1.0, "nonlinearity": "relu"}
    assert advice(Trouble("loss jumped", ""), settings, 2.0) == {
        "learning_rate": 0.01,
        "nonlinearity": "tanh",
    }


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "run", recipe(), bad=(3, 6, 1, math.nan))
    path = flight.bundles(tmp_path / "run")[0].with_suffix("")
    assert command(["replay", str(path)]) == 0
    out = capsys.readouterr().out
    assert "the input of frame 6 of stream 1 is nan" in out
    assert "the same to the bit" in out
    assert "mend the data there" in out
    assert Path("replay.png").read_bytes()[1:4] == b"PNG"
    assert command(["replay", str(path), "--json", "--out", "a.svg"]) == 0
    assert json.loads(capsys.readouterr().out)["blame"]["frame"] == 6
    assert command(["replay", str(tmp_path / "none")]) == 2
    assert "expected a bundle at" in capsys.readouterr().err
    data_file = path.with_suffix(".safetensors")
    data_file.write_bytes(data_file.read_bytes()[:-7])
    assert command(["replay", str(path)]) == 2
    assert "found it damaged" in capsys.readouterr().err
    assert command(["replay", str(path), "--out", "a.txt"]) == 2
    assert "--out" in capsys.readouterr().err


def test_check_leaves_bundles_alone(tmp_path, capsys):
    trained(tmp_path / "run", recipe(), bad=(3, 6, 1, math.nan))
    assert command(["check", str(tmp_path / "run")]) == 0
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert command(["check", str(tmp_path / "copy")]) == 0
    assert len(flight.bundles(tmp_path / "copy")) == 1
