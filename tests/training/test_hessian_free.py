"""Runs trained by Hessian-free optimisation: they learn, resume bit for bit, and say what they did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.delays.problems import TaskData
from ostinato.domains.delays.symbols import TemporalOrder
from ostinato.domains.music.evaluation.frames import total_by_song
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.errors import UserError
from ostinato.nn import SequenceModel
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.loop import Interrupted, SilentMonitor, Trainer
from ostinato.training.updates import curvature_streams


def chords(seed: int = 0) -> Splits:
    """Two chords that take turns, with noise."""
    draw = np.random.default_rng(seed)

    def song(name: str) -> Sequence:
        frames = np.zeros((int(draw.integers(20, 50)), 12), np.uint8)
        frames[::2, [0, 4, 7]] = 1
        frames[1::2, [2, 5, 9]] = 1
        return Sequence(name, frames ^ (draw.random(frames.shape) < 0.02).astype(np.uint8))

    songs = [song(f"song{i}") for i in range(12)]
    return Splits("chords", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:]))


def recipe(**settings: Any) -> Recipe:
    chosen = {"hidden_size": 6, "streams": 4, "segment_length": 40, "epochs": 3}
    chosen |= {"nade_size": 5} if settings.get("output") == "nade" else {}
    return Recipe.parse("HF", **(chosen | settings))


def trained(folder: Path, settings: Recipe, data: Any = None, **options: Any) -> Run:
    run = Run.create(folder, settings.to_dict())
    Trainer(settings, data or chords(), run, **options).fit()
    run.close()
    return run


def weights(run: Run, checkpoint: str = "last") -> dict[str, bytes]:
    tensors, _ = run.load_checkpoint(checkpoint)
    return {name: x.reshape(-1).view(torch.uint8).numpy().tobytes() for name, x in tensors.items()}


def score(model: SequenceModel) -> float:
    return total_by_song(model, chords().valid).log_likelihood().value


def records(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.metrics()]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"output": "nade"},
        {"num_layers": 2, "leak_fraction": 0.5, "preconditioner": True},
        {"nonlinearity": "relu", "initialization": "identity", "l1": 1e-3},
    ],
    ids=["plain", "nade", "layers", "rectifiers"],
)
def test_it_learns(tmp_path: Path, settings: dict[str, Any]) -> None:
    run = trained(tmp_path / "run", recipe(epochs=8, **settings))
    untrained = Trainer(recipe(**settings), chords(), run).model
    # of the epochs the best is kept: an update may be good for its minibatch and bad for validation
    best = max(r["valid_log_likelihood"] for r in run.metrics() if "valid_log_likelihood" in r)
    assert best > score(untrained) + 1.5
    assert load_model(run).recipe.name == "HF"


@pytest.mark.parametrize("settings", [{}, {"output": "nade", "cg_decay": 0.5}], ids=["bernoulli", "nade"])
def test_interrupted_anywhere_it_ends_bit_for_bit_the_same(tmp_path: Path, settings: dict[str, Any]) -> None:
    chosen = recipe(**settings)
    unbroken = trained(tmp_path / "unbroken", chosen)
    run = Run.create(tmp_path / "broken", chosen.to_dict())
    stops = 0
    for attempt in range(1, 400):
        calls = iter(range(10**6))
        # an update asks once for every conjugate-gradient iteration: stop in its midst, and between two
        budget = (3, 12, 30)[attempt % 3]
        trainer = Trainer(
            chosen, chords(), run, stop_requested=lambda calls=calls, n=budget: 15 * (next(calls) >= n)
        )
        try:
            trainer.fit()
            break
        except Interrupted:
            stops += 1
    assert stops > 3
    assert weights(run) == weights(unbroken)
    assert weights(run, "best") == weights(unbroken, "best")
    assert records(run) == records(unbroken)


@pytest.mark.parametrize("task", ["words", "chars"])
def test_text_is_trained_and_resumed_too(tmp_path: Path, task: str) -> None:
    draw = np.random.default_rng(0)
    lines = [f"the {draw.choice(['cat', 'dog'])} saw a {draw.choice(['bird', 'fish'])}\n" for _ in range(90)]
    texts = ["".join(lines[begin : begin + 30]) for begin in (0, 30, 60)]
    vocabulary = Vocabulary.count(task, texts[:1])
    data = TextData("small", vocabulary, *(vocabulary.encode(text) for text in texts), version=task)
    chosen = recipe(domain=task, epochs=2, **{"classes": 3} if task == "words" else {})
    unbroken = trained(tmp_path / "unbroken", chosen, data)
    first, *_, last = [r for r in unbroken.metrics() if "valid_log_likelihood" in r]
    assert last["valid_log_likelihood"] > first["valid_log_likelihood"]
    run = Run.create(tmp_path / "broken", chosen.to_dict())
    calls = iter(range(10**6))
    with pytest.raises(Interrupted):
        Trainer(chosen, data, run, stop_requested=lambda: 15 * (next(calls) >= 30)).fit()
    Trainer(chosen, data, run).fit()
    assert weights(run) == weights(unbroken)


def test_every_update_leaves_its_diagnostics(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", recipe())
    updates = [r for r in run.metrics() if r.get("event") == "hessian-free update"]
    epochs = [r for r in run.metrics() if "valid_log_likelihood" in r]
    assert [u["update"] for u in updates] == list(range(1, len(updates) + 1))
    assert len(updates) == epochs[-1]["updates"]
    for update in updates:
        assert {"damping", "rho", "iterations", "products", "losses", "status", "accepted"} <= update.keys()
        assert update["loss"] <= update["loss_before"]
    assert epochs[-1]["damping"] > 0


def test_progress_is_reported_for_every_iteration(tmp_path: Path) -> None:
    class Watching(SilentMonitor):
        def __init__(self) -> None:
            self.numbers: list[int] = []

        def iteration(self, number: int, objective: float) -> None:
            self.numbers.append(number)

    monitor = Watching()
    run = trained(tmp_path / "run", recipe(epochs=1), monitor=monitor)
    updates = [r for r in run.metrics() if r.get("event") == "hessian-free update"]
    assert monitor.numbers == [n for u in updates for n in range(1, u["iterations"] + 1)]


def test_the_curvature_streams_are_fixed_by_seed_epoch_and_segment() -> None:
    chosen = recipe(curvature_share=0.3, seed=5)
    first = curvature_streams(chosen, 2, 7, 20)
    assert first.equal(curvature_streams(chosen, 2, 7, 20))
    assert len(first.unique()) == 6
    assert not first.equal(curvature_streams(chosen, 2, 8, 20))
    assert curvature_streams(recipe(curvature_share=0.0), 0, 0, 20).numel() == 1
    assert curvature_streams(recipe(curvature_share=1.0), 0, 0, 20).tolist() == list(range(20))


def test_a_task_is_solved_and_stops(tmp_path: Path) -> None:
    settings = Recipe.parse(
        "HF", domain="delays", data="temporal-order", length=10, hidden_size=20, streams=500, epochs=5
    )
    run = trained(tmp_path / "run", settings, TaskData(TemporalOrder(10)))
    last = run.metrics()[-1]
    assert (last["solved"], last["valid_error"] < 1) == (True, True)
    assert last["epoch"] < 4


def test_tasks_train_by_gradient_descent_too(tmp_path: Path) -> None:
    settings = Recipe.parse(
        "SGD+C", domain="delays", data="temporal-order", length=10, hidden_size=8, streams=300, epochs=1
    )
    run = trained(tmp_path / "run", settings, TaskData(TemporalOrder(10)))
    assert run.metrics()[-1]["valid_log_likelihood"] > -2


def test_letters() -> None:
    assert Recipe.parse("hf").name == "HF"
    assert Recipe.parse("HF+RL").name == "HF+LR"
    assert Recipe.parse("HF+R").nonlinearity == "relu"
    assert Recipe.parse("HF").optimizer == "hessian-free"
    assert Recipe.parse("SGD+C").optimizer == "sgd"
    assert "learning_rate_rule" not in Recipe.parse("HF", domain="words")
    assert Recipe.parse("HF", domain="delays", data="temporal-order").streams == 1000
    assert Recipe.parse("HF", domain="delays", data="memorization").streams == 32
    assert Recipe.parse("SGD", domain="delays", data="memorization").streams == 20
    assert Recipe.parse("HF", data="memorization").streams == Recipe.parse("HF").streams  # a folder
    assert Recipe.parse("HF", streams=3).streams == 3


@pytest.mark.parametrize("letters", ["HF+C", "HF+M", "HF+", "HFL", "SGD+HF"])
def test_wrong_letters(letters: str) -> None:
    with pytest.raises(UserError, match="expected a recipe like"):
        Recipe.parse(letters)


DESCENT = "is for optimizer sgd or nesterov or .*, found optimizer hessian-free"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 3.0}, f"clip {DESCENT}; leave it out"),
        ({"momentum": 0.9}, "momentum is for optimizer nesterov or .*, found optimizer hessian-free"),
        ({"learning_rate_rule": "halving"}, f"learning_rate_rule {DESCENT}; leave it out"),
        ({"weight_decay": 0.1}, f"weight_decay {DESCENT}; leave it out"),
        ({"output": "rbm"}, "output rbm does not go with HF; leave it out"),
        ({"dropout": 0.1, "num_layers": 2}, "dropout 0.1 does not go with HF; leave it out"),
        ({"optimizer": "adam"}, "expected optimizer hessian-free and recipe HF together, found adam and HF"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.parse("HF", **settings)
