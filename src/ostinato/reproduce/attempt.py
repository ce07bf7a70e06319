"""One training of a method on a problem with long delays, within a budget of gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.domains.domain import Data
from ostinato.errors import UserError
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.tuning import Clock
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.training.monitor import Diverged, Monitor, SilentMonitor, Start


def cost(run: Run, recipe: Recipe) -> float:
    """What a training has cost so far, in gradients of one sequence.

    Args:
        run: its run.
        recipe: its recipe.
    """
    records = run.metrics()
    if OPTIMIZERS[recipe.optimizer].curvature:
        share = recipe.curvature_share
        return sum(
            recipe.streams * (1 + r["losses"] / 3 + share * r["products"])
            for r in records
            if r.get("event") == "hessian-free update"
        )
    passes = 2 if recipe.get("vanishing_penalty") else 1
    return passes * recipe.epoch_sequences * sum("valid_log_likelihood" in r for r in records)


class _Spent(Exception):
    """The budget is."""


class _Budget(SilentMonitor):
    """Stops a training that has cost as much as it may; tells another monitor of all else."""

    def __init__(self, recipe: Recipe, limit: float, monitor: Monitor) -> None:
        self._recipe, self._limit, self._monitor = recipe, limit, monitor
        self._folder = Path()

    def started(self, start: Start) -> None:
        self._folder = start.folder
        self._monitor.started(start)

    def notice(self, text: str) -> None:
        self._monitor.notice(text)

    def segment(self, epoch: int, done: int, total: int, frames: int) -> None:
        self._monitor.segment(epoch, done, total, frames)

    def epoch(self, record: dict[str, Any]) -> None:
        self._monitor.epoch(record)
        if not record.get("solved") and cost(Run.open(self._folder), self._recipe) >= self._limit:
            raise _Spent


@dataclass(frozen=True)
class Attempt:
    """One training of a method: with a trial's settings and seed 0, or with those chosen and another seed.

    Arguments:
        recipe: its recipe.
        folder: of its run.
        limit: what it may cost.
    """

    recipe: Recipe
    folder: Path
    limit: float

    def run(self, data: Data, monitor: Monitor, stop: Callable[[], int]) -> dict[str, Any]:
        """Train until the problem is solved or the budget is spent; what has come of it.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
        """
        clock, reason = Clock(self.folder), None
        try:
            with clock:
                train_in(
                    self.folder,
                    self.recipe,
                    data,
                    _Budget(self.recipe, self.limit, monitor),
                    stop_requested=stop,
                )
        except _Spent:
            pass
        except (Diverged, UserError) as error:
            reason = str(error)
        found = Run.open(self.folder)
        epochs = [record for record in found.metrics() if "solved" in record]
        best = max(
            (r["valid_log_likelihood"] for r in epochs if r["valid_log_likelihood"] is not None), default=None
        )
        content = {
            "solved": any(record["solved"] for record in epochs),
            "cost": round(cost(found, self.recipe)),
            "cpu_seconds": round(clock.seconds, 1),
            "valid_log_likelihood": best,
            "valid_error": epochs[-1]["valid_error"] if epochs else None,
        }
        return content if reason is None else {**content, "reason": reason}
