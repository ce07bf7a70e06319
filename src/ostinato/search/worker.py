"""A worker: takes trials, trains them, records what they come to; and the end of a study."""

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ostinato.domains.domain import Data
from ostinato.errors import UserError
from ostinato.recipe.effective import effective_settings
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import conclude, train_in
from ostinato.runs.folder import CONFIG, LOCK, Run
from ostinato.search.opening import read_file
from ostinato.search.sampling import is_hopeless
from ostinato.search.storage import insist, try_lock
from ostinato.search.study import RESULTS, Attempt, Study
from ostinato.training.monitor import Diverged, Interrupted, SilentMonitor, Start

# How often a worker without a trial looks whether there is one again, because another worker died; of a
# database, which cannot know of a death sooner than its heartbeats tell, no more often than that takes.
_POLL_SECONDS = 0.5
_POLLS_PER_HEARTBEAT = 5

# What a trial's training is told when the trial has become another worker's; no signal has this number.
_LOST = -1


class StudyMonitor(Protocol):
    """What a worker reports to; see `SilentStudyMonitor` for one that does nothing."""

    def began(self, number: int, params: dict[str, Any], epochs: int) -> None:
        """The worker is at this trial, with these settings, for at most so many epochs."""

    def epoch(self, number: int, record: dict[str, Any]) -> None:
        """An epoch of the trial ended, with this record."""

    def ended(self, number: int, records: list[dict[str, Any]]) -> None:
        """The trial has come to something; these are the study's records."""


class SilentStudyMonitor:
    """Reports nothing."""

    def began(self, number: int, params: dict[str, Any], epochs: int) -> None:
        """Nothing."""

    def epoch(self, number: int, record: dict[str, Any]) -> None:
        """Nothing."""

    def ended(self, number: int, records: list[dict[str, Any]]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Worker:
    """Takes trials from a study until all have come to something.

    Args:
        study: the study.
        data: what it trains on.
        checkpoint_seconds: time between checkpoints; the work that a worker's death can cost.
        stop_requested: returns the number of a signal that asks to stop, or 0.
        monitor: hears of this worker's trials.

    Raises:
        UserError: the data are not those of the study.
    """

    study: Study
    data: Data
    checkpoint_seconds: float = 15.0
    stop_requested: Callable[[], int] = lambda: 0
    monitor: StudyMonitor = field(default_factory=SilentStudyMonitor)

    def __post_init__(self) -> None:
        wanted = self.study.settings.data_version
        if self.data.version != wanted:
            raise UserError(
                f"expected the data of the study (version {wanted[:12]}), found version "
                f"{self.data.version[:12]} of {self.data.name}; put the files back, or start a new study"
            )

    def work(self) -> None:
        """Take trials until every one has come to something.

        Raises:
            Interrupted: a stop was requested; the trial under way is in its checkpoint, for whoever goes on.
            UserError: a run cannot be written, or the database has gone.
        """
        while True:
            self._heed_stop()
            attempt = insist(self.study.claim)
            if attempt is None:
                if insist(self.study.finished):
                    break
                self._wait()
                continue
            try:
                ended = self._attempt(attempt)
            except BaseException:
                attempt.give_back()
                self.study.write_snapshot()
                raise
            records = self.study.write_snapshot()
            if ended:
                self.monitor.ended(attempt.number, records)
        self.study.write_snapshot()

    def _wait(self) -> None:
        """Until it is time to look for a trial again."""
        shared = self.study.url is not None
        beat = self.study.settings.heartbeat / _POLLS_PER_HEARTBEAT if shared else 0.0
        end = time.monotonic() + max(_POLL_SECONDS, beat)
        while time.monotonic() < end:
            self._heed_stop()
            time.sleep(_POLL_SECONDS / 5)

    def _attempt(self, attempt: Attempt) -> bool:
        """Train, and record what came of it; False where the trial has become another worker's."""
        from optuna.exceptions import TrialPruned
        from optuna.trial import TrialState

        settings = self.study.settings
        params = insist(lambda: settings.space.suggest(attempt.trial))
        monitor = _Reporter(attempt, self.monitor)
        try:
            recipe = settings.space.recipe(settings.recipe, params)
        except UserError as error:
            return attempt.settle(TrialState.FAIL, None, {"reason": str(error)})
        self.monitor.began(attempt.number, params, recipe.epochs)
        try:
            score = self._train(attempt, recipe, monitor)
        except TrialPruned:
            return attempt.settle(TrialState.PRUNED, monitor.best, monitor.facts())
        except Diverged as error:
            return attempt.settle(TrialState.FAIL, None, monitor.facts() | {"reason": str(error)})
        except Interrupted as interruption:
            if interruption.signal != _LOST:
                raise
            attempt.hold.release()
            return False
        if not math.isfinite(score):
            facts = monitor.facts() | {"reason": "no epoch had a finite validation score"}
            return attempt.settle(TrialState.FAIL, None, facts)
        return attempt.settle(TrialState.COMPLETE, score, monitor.facts())

    def _train(self, attempt: Attempt, recipe: Recipe, monitor: "_Reporter") -> float:
        """The best validation score, from wherever an earlier attempt has left the run."""

        def stop() -> int:
            return self.stop_requested() or (_LOST if attempt.hold.lost() else 0)

        self._await_folder(attempt, stop)
        progress = train_in(
            attempt.folder,
            recipe,
            self.data,
            monitor,
            checkpoint_seconds=self.checkpoint_seconds,
            stop_requested=stop,
        )
        return progress.best_score

    def _await_folder(self, attempt: Attempt, stop: Callable[[], int]) -> None:
        """Wait until a worker that was taken for dead, and lives, has noticed and left the run's folder."""
        attempt.folder.mkdir(parents=True, exist_ok=True)
        while (lock := try_lock(attempt.folder / LOCK)) is None:
            if stop():
                raise Interrupted(stop())
            time.sleep(_POLL_SECONDS)
        lock.release()

    def _heed_stop(self) -> None:
        if signal := self.stop_requested():
            raise Interrupted(signal)


class _Reporter(SilentMonitor):
    """Tells the study every epoch's validation score, and stops a trial that is hopeless."""

    def __init__(self, attempt: Attempt, monitor: StudyMonitor) -> None:
        self._attempt, self._monitor = attempt, monitor
        self._score_name = ""
        self.epochs, self.seconds, self.best = 0, 0.0, -math.inf

    def started(self, start: Start) -> None:
        self._score_name = f"valid_{start.score_name}"
        self.epochs, self.seconds = start.progress.epoch, start.progress.seconds
        self.best = start.progress.best_score

    def epoch(self, record: dict[str, Any]) -> None:
        from optuna.exceptions import TrialPruned, UpdateFinishedTrialError

        self.epochs, self.seconds = record["epoch"] + 1, record["seconds"]
        self._monitor.epoch(self._attempt.number, record)
        study = self._attempt.study
        if "stage" in record or not study.settings.pruning:
            return
        score = record[self._score_name]
        self.best = max(self.best, score)
        try:
            self._attempt.report(score, record["epoch"])
        except UpdateFinishedTrialError:
            return  # another worker's by now: training stops at its next step
        if insist(lambda: is_hopeless(self._attempt.reported, study.ledger)):
            raise TrialPruned

    def facts(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "seconds": self.seconds}


def finish(
    study: Study, data: Data, *, notice: Callable[[str], None] = warnings.warn, again: bool = False
) -> dict[str, Any] | None:
    """Choose the best trial by validation, score it on the test songs, and write results.json.

    Scores once: where results.json is there, of as many trials or more, it is read; of fewer, as the study
    has been extended since, it is written anew. None where the chosen trial's run is in the folder of another
    machine, which has to do it. For `notice` see `runs.finish.write_results`; `again` does not look for what
    is there, which may be damaged.

    Raises:
        UserError: no trial was trained to its end.
    """
    with study.mutex("results"):
        summary: dict[str, Any] | None = None if again else read_file(study.folder, RESULTS)
        if summary is not None and summary["study"]["study"]["trials"] >= study.settings.trials:
            return summary
        records = study.write_snapshot()
        chosen = choose(records)
        folder = study.trial_folder(chosen["number"])
        if not _is_whole(folder, chosen["value"]):
            return None
        with Run.open(folder) as run:
            results = conclude(run, data, notice=notice)
        summary = _summary(study, records, chosen, results)
        study.write(RESULTS, json.dumps(summary, indent=1) + "\n")
        return summary


def _summary(
    study: Study, records: list[dict[str, Any]], chosen: dict[str, Any], results: dict[str, Any]
) -> dict[str, Any]:
    return {
        "study": study.settings.to_dict(),
        "chosen": {
            "number": chosen["number"],
            "params": chosen["params"],
            "settings": effective_settings(study.settings.recipe, chosen["params"]),
            "valid": chosen["value"],
            "folder": chosen["folder"],
        },
        "results": results,
        "trials": {
            state: sum(record["state"] == state for record in records)
            for state in ("complete", "pruned", "failed")
        },
        "intervals": study.settings.space.to_toml(),
    }


def _is_whole(folder: Path, value: float) -> bool:
    """Whether the run here is the one that came to this value, and not what a worker left that died at it."""
    if not (folder / CONFIG).is_file():
        return False
    run = Run.open(folder)
    if not run.has_checkpoint("best") or not run.has_checkpoint("last"):
        return False
    progress = run.load_checkpoint("last")[1]["progress"]
    return bool(progress["stopped_because"]) and progress["best_score"] == value


def choose(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The trial with the best validation score among those that were trained to their end.

    Of equal ones the first, so that the choice does not depend on who was quicker.

    Raises:
        UserError: there is none.

    Example:
        >>> choose([{"number": n, "state": "complete", "value": v} for n, v in enumerate((-9.1, -8.7))])
        {'number': 1, 'state': 'complete', 'value': -8.7}
    """
    complete = [record for record in records if record["state"] == "complete"]
    if not complete:
        reason = next((record["reason"] for record in records if "reason" in record), "none was complete")
        raise UserError(
            f"no trial was trained to its end, the first because: {reason}; change what is searched"
        )
    return max(complete, key=lambda record: (record["value"], -record["number"]))
