"""Runs of every format: those of before there were seals, and a sealed one.

Runs of version 0.1.0, stopped in their second epoch: they go on, and evaluate, generate and score.

`old/stopped` holds the runs, beside the tunes and the text that they were trained on, made for this;
`old/expected.json` holds the test scores that the same version came to without the stop.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import ostinato
from ostinato import seal
from ostinato.nn import GRU
from ostinato.nn.cells.leak import squashed
from ostinato.runs.folder import Run

OLD = Path(__file__).parent / "old"
KINDS = ("bernoulli", "chars", "hf", "nade", "rbm", "task", "words")
EXPECTED = json.loads((OLD / "expected.json").read_text())


@pytest.fixture(autouse=True)
def _place(own_place, tmp_path):
    # the runs' settings name their data from the working folder
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)


def test_a_run_of_the_first_format_with_a_seal(ostinato):
    """Two epochs of words; the scores are those that the version of the time came to, also with three."""
    run = Path("sealed/words")
    assert all(seal.examine(run).values())
    assert ostinato("check", run)[0] == 0
    code, out, err = ostinato("evaluate", run, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["results"]["model"]["test"]["log_likelihood"]["value"]
    assert found == pytest.approx(-2.666762915611267, rel=1e-5)
    code, out, err = ostinato(
        "train", "--resume", run, "--epochs", "3", "--threads", "1", "--quiet", "--json"
    )
    assert code == 0, err
    found = json.loads(out)["results"]["model"]["test"]["log_likelihood"]["value"]
    assert found == pytest.approx(-2.622834531784058, rel=1e-3)
    assert all(seal.examine(run).values())


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_run_goes_on(kind, ostinato):
    code, out, err = ostinato("train", "--resume", f"stopped/{kind}", "--quiet", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["training"]["epochs"] == 2
    found = summary["results"]["model"]["test"]
    assert found.keys() >= EXPECTED[kind].keys()
    # another processor rounds other sums
    assert found["log_likelihood"]["value"] == pytest.approx(EXPECTED[kind]["log_likelihood"], rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_run_is_evaluated(kind, ostinato):
    code, out, err = ostinato("evaluate", f"stopped/{kind}", "--json")
    assert code == 0, err
    assert json.loads(out)["results"]["model"]["test"].keys() >= EXPECTED[kind].keys()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "task"])
def test_an_old_run_generates_and_scores(kind, ostinato):
    run, file = f"stopped/{kind}", "text/test.txt"
    options = ("--steps", "6", "--out", "made.mid")
    if kind in ("words", "chars"):
        options = ("--tokens", "20")
    else:
        file = "made.mid"
    code, out, err = ostinato("generate", run, "--seed", "1", *options)
    assert (code, bool(out)) == (0, True), err
    code, out, err = ostinato("score", run, file)
    assert (code, bool(out)) == (0, True), err


class Leaky(nn.Module):
    """A network of a program's own whose leak is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = GRU(3, 4, leak=torch.full((4,), 0.5, requires_grad=True))
        self.out = nn.Linear(4, 2)

    def forward(self, inputs):
        return Independent(Normal(self.out(self.rnn(inputs)[0]), 1.0), 1), None


@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_a_learned_leak_that_was_stored_as_it_is_goes_on_with_a_notice(tmp_path, averaging) -> None:
    """Before it was made of a logit, a leak was a parameter itself; what was known of it has its unit."""
    draw = np.random.default_rng(0)
    data = [
        (draw.standard_normal((7, 3)).astype("f"), draw.standard_normal((7, 2)).astype("f"))
        for _ in range(12)
    ]
    settings = {"epochs": 3, "averaging": averaging, "clip": 1.0}
    out = tmp_path / "run"
    ostinato.train("SGD+CM", data, model=Leaky(), out=out, **settings | {"epochs": 2})
    run = Run.open(out)
    for name in ("best", "last"):
        tensors, state = run.load_checkpoint(name)
        for key in [key for key in tensors if key.endswith("rnn.leak_logit")]:
            tensors[key.replace("leak_logit", "leak")] = squashed(tensors.pop(key))
        run.save_checkpoint(name, tensors, state)
    run.close()
    before = ostinato.open_run(out, model=Leaky()).evaluate(data)
    assert before.scores["model"]["test"]["log_likelihood"].value < 0
    told: list[str] = []

    class Telling:
        def __getattr__(self, name):
            return lambda *a: told.append(a[0]) if name == "notice" else None

    run = ostinato.train(resume=out, data=data, model=Leaky(), epochs=3, monitor=Telling())
    assert any("trained module.rnn.leak_logit in another form" in text for text in told)
    assert run.history[-1]["epoch"] == 2
    assert 0 < run.model.rnn.leak.min() < run.model.rnn.leak.max() < 1
