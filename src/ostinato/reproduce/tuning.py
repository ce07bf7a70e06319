"""The search of a cell: random trials of few epochs, one after the other, the hopeless ones stopped early."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostinato.domains.domain import Data, domain_named
from ostinato.recipe.effective import effective_settings, with_draws
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import AVERAGED, CONDITIONS, PLAIN, Protocol
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.search.worker import choose
from ostinato.training.loop import OF_AVERAGE
from ostinato.training.monitor import Diverged, Monitor, SilentMonitor, Start


class Pruned(Exception):
    """The trial does worse than most."""


class Exhausted(Exception):
    """The trial has stopped getting better."""


@dataclass(frozen=True)
class Tuner:
    """Searches the settings of one cell.

    Trial 0 has what the letters stand for; the settings of the others are a function of their number alone.
    Every trial is validated after each epoch with its weights, and with an average of them that changes
    nothing in training: for each condition the trial is chosen that does best in its way. Every trial is
    written down as it ends, so a search goes on where it was, on another machine too.

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
    def chosen(self) -> dict[str, dict[str, Any]] | None:
        """The settings that were chosen, by condition; None before the search is done."""
        there = self.evidence.tuning(self.cell)
        found: dict[str, dict[str, Any]] | None = None if there is None else there.get("chosen")
        return found

    def tune(
        self,
        data: Data,
        watch: Callable[[str, Recipe, dict[str, Any]], Monitor],
        stop_requested: Callable[[], int] = lambda: 0,
        ended: Callable[[str], None] = lambda line: None,
    ) -> dict[str, dict[str, Any]]:
        """Train the trials that are left, and choose by validation: for each condition its settings.

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
                best = {c: choose([_seen_as(c, trial) for trial in trials]) for c in CONDITIONS}
                content = {
                    "trials": trials,
                    "chosen": {c: trial["params"] for c, trial in best.items()},
                    "number": {c: trial["number"] for c, trial in best.items()},
                    "valid": {c: trial["value"] for c, trial in best.items()},
                }
                self.evidence.write_tuning(self.cell, content)
                break
            record = self._trial(len(trials), trials, data, watch, stop_requested)
            self.evidence.write_tuning(self.cell, {"trials": [*trials, record]})
            ended(f"{record['state']} {record['value']}, averaged {record['averaged']['value']}")
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
        decay = averaging_of(recipe, data)
        try:
            with clock:
                train_in(folder, recipe, data, judge, stop_requested=stop, track_average=decay)
        except Exhausted:
            pass
        except Pruned:
            state = "pruned"
        except Diverged as error:
            state, reason = "failed", str(error)
        plain = judge.curves[PLAIN].to_dict()
        record: dict[str, Any] = {
            "number": number,
            "state": state if plain["value"] is not None else "failed",
            **plain,
            "averaged": judge.curves[AVERAGED].to_dict(),
            "params": params,
            "epochs": len(judge.curves[PLAIN].best),
            "cpu_seconds": round(clock.seconds, 1),
        }
        return record if reason is None else record | {"reason": reason}


def averaging_of(recipe: Recipe, data: Data) -> float:
    """The decay of an average over about an epoch of updates, of which there may be few."""
    updates = len(domain_named(recipe.domain).streams(recipe, data, 0))
    return round(1 - 1 / max(updates, 2), 5)


def _seen_as(condition: str, trial: Mapping[str, Any]) -> dict[str, Any]:
    """A trial with the score that it has under a condition."""
    value = trial["value"] if condition == PLAIN else trial["averaged"]["value"]
    state = trial["state"] if value is not None else "failed"
    return {**trial, "value": value, "state": state}


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


@dataclass
class Curve:
    """A validation score over the epochs of a trial.

    Args:
        best: after each epoch, the best up to there.
        since: epochs since it was reached.
    """

    best: list[float] = field(default_factory=list)
    since: int = 0

    @property
    def value(self) -> float:
        """The best of all."""
        return self.best[-1] if self.best else -math.inf

    def append(self, score: Any) -> None:
        """Take an epoch's score, whatever it is."""
        usable = isinstance(score, int | float) and score == score
        better = usable and float(score) > self.value
        self.since = 0 if better else self.since + 1
        self.best.append(float(score) if better else self.value)

    def to_dict(self) -> dict[str, Any]:
        """As it is written down."""
        return {
            "value": self.value if self.value > -math.inf else None,
            "curve": [round(x, 5) if math.isfinite(x) else None for x in self.best],
        }


class _Judge(SilentMonitor):
    """Follows a trial's best validation scores, plain and averaged, tells the other monitor, and stops a
    trial that is hopeless both ways, or has stopped getting better both ways.
    """

    def __init__(self, protocol: Protocol, others: Sequence[dict[str, Any]], monitor: Monitor) -> None:
        self._protocol, self._monitor = protocol, monitor
        self._others = {
            PLAIN: [other["curve"] for other in others if other["curve"]],
            AVERAGED: [other["averaged"]["curve"] for other in others if other["averaged"]["curve"]],
        }
        self._name = ""
        self.curves = {condition: Curve() for condition in CONDITIONS}

    def started(self, start: Start) -> None:
        self._name = f"valid_{start.score_name}"
        for record in Run.open(start.folder).metrics():
            # lines about updates and events name their epoch too
            if "event" not in record and record.get("epoch", math.inf) < start.progress.epoch:
                self._append(record)
        self._monitor.started(start)

    def notice(self, text: str) -> None:
        self._monitor.notice(text)

    def epoch(self, record: dict[str, Any]) -> None:
        self._monitor.epoch(record)
        self._append(record)
        if all(self.is_hopeless(condition) for condition in CONDITIONS):
            raise Pruned
        if all(curve.since >= self._protocol.tuning_patience for curve in self.curves.values()):
            raise Exhausted

    def _append(self, record: dict[str, Any]) -> None:
        joint = "stage" not in record  # what pre-training reaches is no score
        for condition, ending in ((PLAIN, ""), (AVERAGED, OF_AVERAGE)):
            self.curves[condition].append(record.get(self._name + ending) if joint else None)

    def is_hopeless(self, condition: str) -> bool:
        """Whether most others were better after as many epochs; one that ended earlier keeps its score."""
        curve, curves = self.curves[condition], self._others[condition]
        done = len(curve.best)
        if done < self._protocol.warmup or len(curves) < self._protocol.startup:
            return False
        others = (other[min(done, len(other)) - 1] for other in curves)
        return curve.value < statistics.median(-math.inf if score is None else score for score in others)
