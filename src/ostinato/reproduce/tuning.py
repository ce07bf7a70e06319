"""The search of a cell: random trials of few epochs, one after the other, the hopeless ones stopped early."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato.domains.domain import Data
from ostinato.recipe.effective import effective_settings, with_draws
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import Protocol
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.search.worker import choose
from ostinato.training.monitor import Diverged, Monitor, SilentMonitor, Start


class Pruned(Exception):
    """The trial does worse than most."""


@dataclass(frozen=True)
class Tuner:
    """Searches the settings of one cell.

    Trial 0 has what the letters stand for; the settings of the others are a function of their number alone.
    Every trial is written down as it ends, so a search goes on where it was, on another machine too.

    Args:
        cell: the cell.
        protocol: how.
        evidence: where trials are written down.
        folder: of the trials' runs.
    """

    cell: Cell
    protocol: Protocol
    evidence: Evidence
    folder: Path

    @property
    def trials(self) -> list[dict[str, Any]]:
        """Those that have ended."""
        found: list[dict[str, Any]] = (self.evidence.tuning(self.cell) or {"trials": []})["trials"]
        return found

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The settings that were chosen; None before the search is done."""
        there = self.evidence.tuning(self.cell)
        found: dict[str, Any] | None = None if there is None else there.get("chosen")
        return found

    def tune(
        self,
        data: Data,
        watch: Callable[[str, Recipe, dict[str, Any]], Monitor],
        stop_requested: Callable[[], int] = lambda: 0,
        ended: Callable[[str], None] = lambda line: None,
    ) -> dict[str, Any]:
        """Train the trials that are left, and choose by validation.

        Args:
            data: what is trained on.
            watch: what a trial with this name and recipe, and these settings, reports to.
            stop_requested: returns the number of a signal that asks to stop, or 0.
            ended: hears what a trial has come to.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
            UserError: no trial has come to a score.
        """
        while self.chosen is None:
            trials = self.trials
            if len(trials) >= self.protocol.trials:
                best = choose(trials)
                content = {
                    "trials": trials,
                    "chosen": best["params"],
                    "number": best["number"],
                    "valid": best["value"],
                }
                self.evidence.write_tuning(self.cell, content)
                break
            record = self._trial(len(trials), trials, data, watch, stop_requested)
            self.evidence.write_tuning(self.cell, {"trials": [*trials, record]})
            ended(f"{record['state']} {record['value']}")
        return self.chosen or {}

    def params(self, number: int) -> dict[str, Any]:
        """The settings of a trial."""
        base, space = self.protocol.tuning_recipe(self.cell), self.protocol.space_for(self.cell)
        if number == 0:
            return {name: base.get(name) for name in space.ranges}
        return effective(base, space.sample(base.seed, number))

    def _trial(
        self,
        number: int,
        others: Sequence[dict[str, Any]],
        data: Data,
        watch: Callable[[str, Recipe, dict[str, Any]], Monitor],
        stop: Callable[[], int],
    ) -> dict[str, Any]:
        base, params = self.protocol.tuning_recipe(self.cell), self.params(number)
        recipe = with_draws(base, params)
        judge = _Judge(self.protocol, others, watch(f"trial {number}", recipe, params))
        folder = self.folder / f"{number:02}"
        clock = Clock(folder)
        state, reason = "complete", None
        try:
            with clock:
                train_in(folder, recipe, data, judge, stop_requested=stop)
        except Pruned:
            state = "pruned"
        except Diverged as error:
            state, reason = "failed", str(error)
        value = judge.best if judge.best > -math.inf else None
        record: dict[str, Any] = {
            "number": number,
            "state": state if value is not None else "failed",
            "value": value,
            "params": params,
            "epochs": len(judge.curve),
            "curve": [round(x, 5) if math.isfinite(x) else None for x in judge.curve],
            "cpu_seconds": round(clock.seconds, 1),
        }
        return record if reason is None else record | {"reason": reason}


def effective(base: Recipe, draws: dict[str, Any]) -> dict[str, Any]:
    """Draws as the trial trains with them, without those that change nothing."""
    return {name: value for name, value in effective_settings(base, draws).items() if value is not None}


class Clock:
    """Processor seconds of this process while it is held, added up in a file over interruptions.

    Args:
        folder: a run's.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "cpu_seconds"
        self._begin = 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        try:
            return float(self._path.read_text())
        except (OSError, ValueError):
            return 0.0

    def __enter__(self) -> "Clock":
        self._begin = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        if self._path.parent.is_dir():
            self._path.write_text(str(self.seconds + time.process_time() - self._begin))


class _Judge(SilentMonitor):
    """Follows a trial's best validation score, tells the other monitor, and stops a hopeless trial."""

    def __init__(self, protocol: Protocol, others: Sequence[dict[str, Any]], monitor: Monitor) -> None:
        self._protocol, self._monitor = protocol, monitor
        self._curves = [other["curve"] for other in others if other["curve"]]
        self._name = ""
        self.curve: list[float] = []

    @property
    def best(self) -> float:
        """Of the epochs so far."""
        return self.curve[-1] if self.curve else -math.inf

    def started(self, start: Start) -> None:
        self._name = f"valid_{start.score_name}"
        for record in Run.open(start.folder).metrics():
            if "epoch" in record and record["epoch"] < start.progress.epoch:
                self._append(record)
        self._monitor.started(start)

    def notice(self, text: str) -> None:
        self._monitor.notice(text)

    def epoch(self, record: dict[str, Any]) -> None:
        self._monitor.epoch(record)
        self._append(record)
        if self.is_hopeless():
            raise Pruned

    def _append(self, record: dict[str, Any]) -> None:
        score = record.get(self._name)
        usable = isinstance(score, int | float) and score == score and "stage" not in record
        self.curve.append(max(self.best, float(score)) if usable and score is not None else self.best)

    def is_hopeless(self) -> bool:
        """Whether most others were better after as many epochs; one that ended earlier keeps its score."""
        done = len(self.curve)
        if done < self._protocol.warmup or len(self._curves) < self._protocol.startup:
            return False
        others = (curve[min(done, len(curve)) - 1] for curve in self._curves)
        return self.best < statistics.median(-math.inf if score is None else score for score in others)
