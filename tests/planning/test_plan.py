"""A run before it is begun: what is said of it is what it turns out to be, and nothing is left behind."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.delays.problems import TaskData
from ostinato.domains.delays.symbols import TemporalOrder
from ostinato.domains.domain import domain_named
from ostinato.planning import make_plan
from ostinato.planning.memory import PeakMemory
from ostinato.planning.plan import usual_settings
from ostinato.recipe.recipe import Recipe
from ostinato.training.loop import Trainer
from ostinato.training.progress import Progress


def songs() -> Splits:
    draw = np.random.default_rng(0)
    every = [Sequence(f"song{i}", (draw.random((30, 12)) < 0.2).astype(np.uint8)) for i in range(6)]
    return Splits("small", tuple(every[:4]), tuple(every[4:5]), tuple(every[5:]))


MUSIC = {"hidden_size": 9, "segment_length": 10, "streams": 2}
RECIPES = {
    "bernoulli": Recipe.parse("SGD+CLR", **MUSIC),
    "momentum": Recipe.parse("SGD+CM", averaging=0.9, **MUSIC),
    "nade": Recipe.parse("SGD+CM", output="nade", nade_size=5, **MUSIC),
    "rbm": Recipe.parse("SGD", output="rbm", rbm_size=5, cd_steps=1, pretrain_frames=2, **MUSIC),
    "HF": Recipe.parse("HF", cg_iterations=40, **MUSIC),
    "task": Recipe.parse(
        "HF", domain="delays", data="temporal-order", length=10, hidden_size=5, streams=10, cg_iterations=20
    ),
}


def data_of(recipe: Recipe) -> Any:
    return TaskData(TemporalOrder(10), epoch_sequences=30) if recipe.domain == "delays" else songs()


@pytest.fixture
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Temporary files go to a folder that must be empty in the end, as must the working one."""
    temporary, working = tmp_path / "temporary", tmp_path / "working"
    temporary.mkdir()
    working.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(working)
    yield
    left = {path.name for folder in (temporary, working) for path in folder.iterdir()}
    # PyTorch makes an empty folder of this name where it is imported whole, in training too
    assert {name for name in left if not name.startswith("torchinductor_")} == set()


@pytest.mark.parametrize("name", RECIPES)
def test_a_plan_says_what_the_run_would_be(nothing_left: None, name: str) -> None:
    recipe = RECIPES[name]
    data = data_of(recipe)
    plan = make_plan(recipe, data, Path("runs/x"))
    domain = domain_named(recipe.domain)
    model = domain.model(recipe, domain.identity(data))
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert {name: shape for name, shape, _ in plan.rehearsal.parameters} == shapes
    number = sum(p.numel() for p in model.parameters())
    assert plan.rehearsal.parameter_bytes == 4 * number
    # velocities, or Hessian-free's direction; and the average of the weights
    vectors = (recipe.get("momentum", 0) > 0 or recipe.base == "HF") + (recipe.averaging > 0)
    assert plan.rehearsal.optimizer_bytes == vectors * 4 * number
    # at least the gradients
    assert plan.rehearsal.update_bytes >= 4 * number
    assert plan.rehearsal.updates_per_epoch == len(domain.streams(recipe, data, 0))
    assert plan.epochs == recipe.epochs
    assert plan.finds_threshold == (recipe.get("clip") == "auto")
    each = plan.rehearsal
    first = each.updates_per_epoch * each.update_seconds if plan.finds_threshold else 0
    assert plan.seconds == pytest.approx(recipe.epochs * each.epoch_seconds + first)
    assert each.epoch_seconds > 0
    assert json.loads(json.dumps(plan.to_dict()))["parameters"]["total"] == number


def test_a_failure_leaves_nothing_either(nothing_left: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "update", fail)
    with pytest.raises(KeyboardInterrupt):
        make_plan(RECIPES["bernoulli"], songs(), Path("runs/x"))


def test_the_time_of_an_epoch_is_that_of_its_updates_and_its_validation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = RECIPES["bernoulli"]
    monkeypatch.setattr(Trainer, "update", lambda *_: time.sleep(0.02))
    monkeypatch.setattr("ostinato.domains.music.domain.Music.validate", lambda *_: time.sleep(0.1))
    plan = make_plan(recipe, songs(), Path("runs/x"), progress=Progress(epoch=195, clip_threshold=1.0))
    updates = plan.rehearsal.updates_per_epoch
    assert plan.rehearsal.updates == updates == 6
    assert 0.02 <= plan.rehearsal.update_seconds < 0.06
    assert 0.1 <= plan.rehearsal.validation_seconds < 0.2
    epoch = updates * plan.rehearsal.update_seconds + plan.rehearsal.validation_seconds
    assert plan.rehearsal.epoch_seconds == pytest.approx(epoch)
    assert not plan.finds_threshold
    assert plan.seconds == pytest.approx(5 * epoch)


def test_hessian_free_counts_all_its_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(trainer: Trainer, *_: object) -> None:
        for number in range(1, 1000):
            time.sleep(0.005)
            trainer.monitor.iteration(number, 0.0)

    monkeypatch.setattr(Trainer, "update", update)
    plan = make_plan(RECIPES["HF"], songs(), Path("runs/x"))
    assert 40 * 0.005 <= plan.rehearsal.update_seconds < 3 * 40 * 0.005


def test_a_long_validation_is_estimated_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.planning.rehearsal._loss_seconds", lambda *_: 10.0)
    monkeypatch.setattr("ostinato.domains.music.domain.Music.validate", lambda *_: pytest.fail("validated"))
    plan = make_plan(RECIPES["bernoulli"], songs(), Path("runs/x"))
    assert not plan.rehearsal.validation_measured
    assert plan.rehearsal.validation_seconds == pytest.approx(6 * 10.0 * 30 / 120)


def test_a_run_that_has_ended_has_nothing_left() -> None:
    ended = Progress(epoch=7, stopped_because="the task is solved")
    plan = make_plan(RECIPES["bernoulli"], songs(), Path("runs/x"), progress=ended)
    assert (plan.epochs, plan.ended) == (0, "the task is solved")


@pytest.mark.parametrize(
    ("recipe", "changed"),
    [
        (Recipe.parse("SGD+CL"), {}),
        (
            Recipe.parse("SGD+CM", output="nade", learning_rate=0.5),
            {"output": ("nade", "bernoulli"), "learning_rate": (0.5, 0.3)},
        ),
        (Recipe.parse("SGD+C", cell="lstm"), {"cell": ("lstm", "rnn")}),
        (
            Recipe.parse("SGD+C", momentum=0.9, optimizer="classical"),
            {"optimizer": ("classical", "sgd"), "momentum": (0.9, 0.0)},
        ),
        (Recipe.parse(None, domain="series"), {}),
        (Recipe.parse("SGD+C", domain="series"), {}),
        (Recipe.parse("SGD+CL", optimizer="adam"), {}),  # whose name is adam+CL
        (Recipe.parse("SGD+CL", clip=2.0, seed=3), {"clip": (2.0, "quantile"), "seed": (3, 0)}),
        (Recipe.parse("SGD+CLR", domain="words"), {}),
        (Recipe.parse("HF", domain="delays", data="memorization"), {}),
    ],
)
def test_what_is_changed_is_what_the_letters_do_not_give(recipe: Recipe, changed: dict[str, Any]) -> None:
    usual = usual_settings(recipe)
    found = {k: (v, usual[k]) for k, v in recipe.to_dict().items() if usual.get(k) != v}
    assert found == changed


def test_peak_memory_is_what_lives_together() -> None:
    before = torch.zeros(1000)
    with PeakMemory() as memory:
        before.add_(1)
        view = before[1:]
        kept = view + 1  # 999 numbers
        for _ in range(5):
            _ = kept * 2
        del _
        kept.view(27, 37).T.contiguous()
    assert memory.peak == 4 * (999 + 999)


def test_peak_memory_sees_the_way_back() -> None:
    weight = torch.ones(50, 50, requires_grad=True)
    with PeakMemory() as memory:
        torch.tanh(weight @ torch.ones(50, 100)).sum().backward()
    # the constant, what tanh keeps, and the gradient at least
    assert memory.peak >= 4 * (50 * 100 * 2 + 50 * 50)
    assert memory.peak < 4 * 50 * 100 * 8


@pytest.mark.parametrize(
    ("recipe", "facts"),
    [
        (RECIPES["bernoulli"], {"notes": 12}),
        (RECIPES["task"], {"symbols": 6, "classes": 4}),
    ],
)
def test_summaries_of_data(recipe: Recipe, facts: dict[str, int]) -> None:
    summary = domain_named(recipe.domain).summary(data_of(recipe))
    counts = summary.pop("splits")
    assert summary == facts
    assert counts["train"] == (
        {"songs": 4, "frames": 120} if recipe.domain == "music" else {"sequences": 30, "steps": 300}
    )
