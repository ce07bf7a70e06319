"""Training the cells of a table, in turn or side by side, up to a budget of time; all of it resumable."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import torch

from ostinato.domains.domain import load_data
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import Cell, check_overrides
from ostinato.runs.finish import RESULTS, conclude, train_in
from ostinato.runs.folder import CONFIG, Run
from ostinato.search import Study, StudySettings, Worker, builtin_space, create_study, finish, read_study
from ostinato.search.study import SETTINGS
from ostinato.search.worker import SilentStudyMonitor, StudyMonitor
from ostinato.training.monitor import Interrupted, Monitor, SilentMonitor

OUT_OF_TIME = -1


@dataclass(frozen=True)
class Job:
    """A cell with one seed, in its folder: one training, or a search of several.

    Arguments:
        cell: of a table.
        seed: of the training, or of the search.
        recipe: the settings; of a search, those that all its trials have in common.
        folder: a run's, or a study's.
        trials: of a search; None: train once.
        fixed: the settings that are not searched.
    """

    cell: Cell
    seed: int
    recipe: Recipe
    folder: Path
    trials: int | None = None
    fixed: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The cell, and the seed where it is not the first."""
        return f"{self.cell.name}, seed {self.seed}" if self.seed else self.cell.name

    @property
    def begun_trials(self) -> tuple[int, int]:
        """How many trials the search in the folder has, and how many have come to something."""
        if self.trials is None or not (self.folder / SETTINGS).is_file():
            return 0, 0
        there = read_study(self.folder)
        return there["settings"].trials, sum(trial["state"] != "running" for trial in there["trials"])

    @property
    def finished(self) -> bool:
        """Whether the folder holds the results of these settings."""
        if not (self.folder / RESULTS).is_file():
            return False
        if self.trials is not None:
            there = read_study(self.folder)
            trials = there["results"]["study"]["study"]["trials"]
            return there["settings"].recipe == self.recipe and trials >= self.trials
        return Recipe.from_dict(Recipe.read_settings(self.folder / CONFIG)) == self.recipe

    def summary(self) -> dict[str, Any]:
        """What the finished training, or the search's chosen one, has come to: its results.json."""
        found = json.loads((self.folder / RESULTS).read_text(encoding="utf-8"))
        return found if self.trials is None else found["results"]


def jobs_of(
    cells: Iterable[Cell],
    folder: Path,
    *,
    seeds: int = 1,
    trials: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[Job]:
    """Every cell with every seed, 0 and up. Seed after seed, so that early ends leave whole columns.

    Args:
        cells: what to train.
        folder: where to.
        seeds: how many.
        trials: of a search for each cell; None: train once, with the settings shipped.
        overrides: settings that are other for all cells that have them; a search leaves them as they are.

    Raises:
        UserError: a setting is none that any of the cells has.
    """
    given, cells = dict(overrides or {}), list(cells)
    check_overrides(cells, given)
    shipped = trials is None
    return [
        Job(
            cell,
            seed,
            cell.recipe(shipped=shipped, overrides=given | {"seed": seed}),
            folder_of(cell, folder, seed) if shipped else folder_of(cell, folder / "search", seed),
            trials,
            frozenset(given),
        )
        for seed in range(seeds)
        for cell in cells
    ]


def folder_of(cell: Cell, folder: Path, seed: int) -> Path:
    """FOLDER/COLUMN/MODEL, a run's folder; further seeds have their own beside it."""
    _, column, model = cell.name.split("/")
    return folder / column / (model if seed == 0 else f"{model}-seed{seed}")


class JobWatch(Protocol):
    """Hears of the jobs in whichever process they run; see `SilentWatch` for one that does nothing."""

    def training(self, job: Job) -> Monitor:
        """What the job's only training reports to."""

    def search(self, job: Job, study: Study) -> StudyMonitor:
        """What the trials of the job's search report to."""

    def notice(self, job: Job, text: str) -> None:
        """Something a person should read."""

    def done(self, job: Job) -> None:
        """The job has its results."""


class SilentWatch:
    """Reports nothing."""

    def training(self, job: Job) -> Monitor:
        """Silence."""
        return SilentMonitor()

    def search(self, job: Job, study: Study) -> StudyMonitor:
        """Silence."""
        return SilentStudyMonitor()

    def notice(self, job: Job, text: str) -> None:
        """Nothing."""

    def done(self, job: Job) -> None:
        """Nothing."""


def run_job(job: Job, watch: JobWatch | None = None, stop_requested: Callable[[], int] = lambda: 0) -> None:
    """Train and score, or search, or go on with what is there, or do nothing where it is done.

    On one thread, so that the sums are the same whatever else runs. A search with fewer trials is extended.

    Raises:
        Interrupted: a stop was requested; the same call goes on.
        UserError: see `train_in`.
    """
    if job.finished:
        return
    watch = watch or SilentWatch()
    notice = partial(watch.notice, job)
    torch.set_num_threads(1)
    data = load_data(job.recipe, progress=False)
    if job.trials is not None:
        space = builtin_space(job.recipe, job.fixed)
        settings = StudySettings(recipe=job.recipe, space=space, data_version=data.version, trials=job.trials)
        study = create_study(job.folder, settings)
        Worker(study, data, stop_requested=stop_requested, monitor=watch.search(job, study)).work()
        finish(study, data, notice=notice)
    else:
        train_in(job.folder, job.recipe, data, watch.training(job), stop_requested=stop_requested)
        conclude(Run.open(job.folder), data, notice=notice)
    watch.done(job)


def run_jobs(
    jobs: list[Job],
    *,
    watch: JobWatch | None = None,
    workers: int = 1,
    deadline: float = float("inf"),
    stop_requested: Callable[[], int] = lambda: 0,
    done: Callable[[Job], None] = lambda job: None,
) -> None:
    """Run jobs that are not finished yet; `done` hears of each one as it ends.

    Args:
        jobs: what to train.
        watch: hears of the jobs; goes to the workers' processes, so that it can be pickled.
        workers: processes.
        deadline: of `time.monotonic`; then everything stops at its next checkpoint.
        stop_requested: returns the number of a signal that asks to stop, or 0.
        done: called with each job.

    Raises:
        Interrupted: a stop was requested, with the signal's number, or the deadline came (OUT_OF_TIME).
    """

    def stop() -> int:
        return stop_requested() or (OUT_OF_TIME if time.monotonic() > deadline else 0)

    waiting = []
    for job in jobs:
        if job.finished:
            done(job)
        else:
            waiting.append(job)
    if workers == 1:
        for job in waiting:
            if reason := stop():
                raise Interrupted(reason)
            run_job(job, watch, stop)
            done(job)
    elif waiting:
        _run_in_processes(waiting, workers, deadline, watch, stop, done)


def _run_in_processes(
    jobs: list[Job],
    workers: int,
    deadline: float,
    watch: JobWatch | None,
    stop: Callable[[], int],
    done: Callable[[Job], None],
) -> None:
    context = get_context("spawn")  # a forked child would share the parent's thread pools
    # monotonic clocks of two processes agree on one machine, but nothing says that they must
    left = deadline - time.monotonic()
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(left, watch)
    ) as pool:
        waiting = {pool.submit(_run_in_worker, job): job for job in jobs}
        reason = 0
        for future in as_completed(waiting):
            try:
                future.result()
            except Interrupted as interruption:
                reason = reason or stop() or interruption.signal
                for other in waiting:
                    other.cancel()
                continue
            if not future.cancelled():
                done(waiting[future])
    if reason:
        raise Interrupted(reason)


_asked: list[int] = []
_worker: dict[str, Any] = {}


def _start_worker(left: float, watch: JobWatch | None) -> None:
    _worker.update(deadline=time.monotonic() + left, parent=os.getppid(), watch=watch)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: _asked.append(number))


def _run_in_worker(job: Job) -> None:
    def stop() -> int:
        if _asked:
            return _asked[0]
        orphaned = os.getppid() != _worker["parent"]  # the parent was killed: nobody waits for this
        return OUT_OF_TIME if orphaned or time.monotonic() > _worker["deadline"] else 0

    if reason := stop():
        raise Interrupted(reason)
    run_job(job, _worker["watch"], stop)
