"""A budget of minutes: training ends with it, the schedule knows it, and a resumed run goes on in it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from test_loop import small_data

from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training import budget as budgets
from ostinato.training.loop import Trainer
from ostinato.training.monitor import Interrupted, SilentMonitor


class Clock:
    """Every update takes a second, and a validation two; whoever looks at the time changes nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        self.now = 1000.0
        name = {"wall": "monotonic", "cpu": "process_time"}[kind]
        other = {"wall": "process_time", "cpu": "monotonic"}[kind]
        clock = type("time", (), {name: lambda: self.now, other: lambda: 0.0})
        monkeypatch.setattr(budgets, "time", clock)


class Ticking(SilentMonitor):
    def __init__(self, clock: Clock) -> None:
        self.clock, self.epochs = clock, []

    def segment(self, *_: Any) -> None:
        self.clock.now += 1


def recipe_of(**settings: Any) -> Recipe:
    usual: dict[str, Any] = {"hidden_size": 4, "streams": 2, "segment_length": 10, "epochs": 1000}
    usual |= {"patience": 1000, "optimizer": "adam", "learning_rate_rule": "cosine", "learning_rate": 0.01}
    return Recipe(**usual | settings)


def trainer_of(folder: Path, recipe: Recipe, clock: Clock, stop: Any = lambda: 0) -> Trainer:
    run = Run.open(folder) if folder.exists() else Run.create(folder, recipe.to_dict())
    trainer = Trainer(recipe, small_data(), run, Ticking(clock), stop_requested=stop)
    validate = trainer.domain.validate

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(trainer_domain, name)

        def validate(self, *arguments: Any) -> Any:
            clock.now += 2
            return validate(*arguments)

    trainer_domain = trainer.domain
    trainer.domain = Slow()  # type: ignore[assignment]
    return trainer


@pytest.mark.parametrize("kind", ["wall", "cpu"])
def test_training_ends_with_the_minutes_and_the_rate_with_training(tmp_path, monkeypatch, kind) -> None:
    clock = Clock(monkeypatch, kind)
    recipe = recipe_of(minutes=1.0, minutes_of=kind)
    trainer = trainer_of(tmp_path / "run", recipe, clock)
    rates: list[float] = []
    update = trainer.update

    def watched(*arguments: Any) -> None:
        rates.append(trainer.optimizer.learning_rates()[0])
        update(*arguments)

    trainer.update = watched  # type: ignore[method-assign]
    progress = trainer.fit()
    what = {"wall": "wall-clock", "cpu": "processor"}[kind]
    assert progress.stopped_because == f"its 1 minutes of {what} time are over"
    assert 58 <= clock.now - 1000 <= 62
    records = [r for r in trainer.run.metrics() if "best" in r]
    assert len(records) == progress.epoch > 2
    assert rates[0] == pytest.approx(0.01)
    assert all(b <= a for a, b in itertools.pairwise(rates))
    assert rates[-1] < 1e-3
    assert rates[len(rates) // 2] == pytest.approx(0.005, rel=0.25)


def test_a_budget_within_the_first_epoch_ends_it_early_and_keeps_a_model(tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch, "wall")
    trainer = trainer_of(tmp_path / "run", recipe_of(minutes=3 / 60, segment_length=1), clock)
    progress = trainer.fit()
    assert progress.epoch == 1
    assert trainer.run.has_checkpoint("best")
    (record,) = trainer.run.metrics()
    assert 0 < record["frames"] < small_data().frames("train")


@pytest.mark.parametrize("stop_after", [1, 7, 20])
def test_a_resumed_run_has_what_is_left(tmp_path, monkeypatch, stop_after) -> None:
    clock = Clock(monkeypatch, "cpu")
    recipe = recipe_of(minutes=0.5, minutes_of="cpu")
    whole = trainer_of(tmp_path / "whole", recipe, clock)
    whole.fit()
    asked = itertools.count()
    stopped = trainer_of(tmp_path / "parts", recipe, clock, lambda: 15 if next(asked) >= stop_after else 0)
    with pytest.raises(Interrupted):
        stopped.fit()
    stopped.run.close()
    clock.now += 10_000  # nobody trains meanwhile
    resumed = trainer_of(tmp_path / "parts", recipe, clock)
    resumed.fit()
    one, other = (t.run.load_checkpoint("last")[0] for t in (whole, resumed))
    assert all((one[name] == other[name]).all() for name in one)
    resumed.run.close()
    with pytest.raises(UserError, match=r"minutes = 2.0 \(the run has 0.5\)"):
        trainer_of(tmp_path / "parts", recipe.replace(minutes=2.0), clock).fit()


def test_more_epochs_than_there_is_time_for_end_with_the_epochs_where_these_come_first(
    tmp_path, monkeypatch
) -> None:
    clock = Clock(monkeypatch, "wall")
    trainer = trainer_of(tmp_path / "run", recipe_of(minutes=1000.0, epochs=3), clock)
    progress = trainer.fit()
    assert progress.epoch == 3
    assert progress.stopped_because == "all epochs done"
    assert trainer.optimizer.pace()["learning_rate"] < 1e-6
