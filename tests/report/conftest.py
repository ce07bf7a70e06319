"""Records of runs and studies, made up: what a report does with them does not depend on training."""

import json

import pytest

from ostinato import seal
from ostinato.runs.folder import Run


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


@pytest.fixture
def trained(ostinato, songs, tmp_path):
    """The JSON that a short `ostinato train --json` into the folder `run` printed."""
    quick = ("--hidden-size", "8", "--epochs", "2", "--threads", "1", "--recipe", "SGD+C")
    code, out, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", "--json", *quick)
    assert code == 0, err
    return json.loads(out)


def score(value, unit="nats/frame", **more):
    fixed = {"convention": "pooled", "count": 9, "songs": 3, "standard_error": 0.05, "estimate": False}
    return {"value": value, "unit": unit, **fixed, **more}


@pytest.fixture
def make_run(tmp_path):
    """make_run(name, ...): the folder of a finished run that was never trained."""

    def make(name="run", scores=True, threshold=1.5, updates=(), shift=0.0, **config):
        folder = tmp_path / name
        settings = {"task": "music", "recipe": "SGD+C", "data": "jsb", "output": "bernoulli"} | config
        with Run.create(folder, settings) as run:
            for epoch in range(5):
                run.append_metrics(
                    {
                        "epoch": epoch,
                        "train_log_likelihood": -10 + epoch + shift,
                        "valid_log_likelihood": -10.5 + epoch - 0.4 * (epoch > 3) * 4 + shift,
                        "gradient_norm": 2.0 / (epoch + 1),
                        "clipped": 0.25,
                        "learning_rate": 0.1,
                        "seconds": 1.5,
                    }
                )
            for update in updates:
                run.append_metrics({"event": "hessian-free update", **update})
            if scores:
                model = {
                    split: {"log_likelihood": score(value)}
                    for split, value in (("train", -7.5), ("valid", -8.4), ("test", -8.5))
                }
                model["test"]["accuracy_per_frame"] = score(30.5, "%", estimate=True, interval=[30.1, 30.9])
                base = {split: {"log_likelihood": score(-11.0)} for split in ("train", "valid", "test")}
                results = {
                    "data": {
                        "name": settings["data"],
                        "version": "0123abc",
                        "details": {"split": "published"},
                    },
                    "recipe": settings,
                    "results": {"model": model, "1-gram": base},
                    "skipped": [{"path": "bad.mid", "reason": "damaged"}],
                    "training": {
                        "epochs": 5,
                        "stopped_because": "no better validation",
                        "clip_threshold": threshold,
                        "seconds": 7.5,
                        "threads": 1,
                        "environment": {"torch": "2.13.0"},
                    },
                }
                run.write_text("results.json", json.dumps(results))
        return folder

    return make


@pytest.fixture(autouse=True)
def silent():
    """Studies that are made here have no seal, as those of before there were any."""
    with seal.telling(lambda _: None):
        yield


@pytest.fixture
def make_study(tmp_path, make_run):
    """make_study(count): the folder of a search in which the learning rate alone matters."""

    def make(count=24, name="study", choice="fast"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "study.toml").write_text('[study]\ntrials = 24\n[recipe]\ndata = "jsb"\n')
        trials = [
            {
                "number": number,
                "state": "complete",
                "value": -9.0 - abs(number - count * 0.7) / 10,
                "params": {
                    "learning_rate": 10 ** (-4 + 3 * number / count),
                    "hidden_size": 100 + 37 * number % 300,
                    "leak": choice if number % 2 else 0.25,
                },
                "folder": f"trials/{number:04d}",
                "epochs": 5,
                "seconds": 7.5,
            }
            for number in range(count)
        ]
        trials.append({"number": count, "state": "failed", "value": None, "params": {}, "folder": None})
        best = max(trials[:-1], key=lambda trial: trial["value"])
        run = make_run(f"{name}/{best['folder']}", data="jsb")
        chosen = {"number": best["number"], "params": best["params"], "valid": best["value"]}
        (folder / "trials.json").write_text(json.dumps(trials))
        results = json.loads((run / "results.json").read_text())
        found = {"study": {"study": {"trials": 24}}, "chosen": chosen, "results": results}
        (folder / "results.json").write_text(json.dumps(found))
        return folder

    return make
