"""Training the cells of a table, in turn or side by side, up to a budget of time; all of it resumable."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ostinato.conclusion import RESULTS, conclude, train_in
from ostinato.loading import load_data
from ostinato.monitoring import Interrupted, Monitor
from ostinato.recipe import Recipe
from ostinato.reproduce.cells import Cell
from ostinato.runs import CONFIG, Run
from ostinato.search import StudySettings, Worker, builtin_space, create_study, finish, read_study

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
    def finished(self) -> bool:
        """Whether the folder holds the results of these settings."""
        if not (self.folder / RESULTS).is_file():
            return False
        if self.trials is not None:
            there = read_study(self.folder)["settings"]
            return (there.recipe, there.trials) == (self.recipe, self.trials)
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
        overrides: settings that are other for all cells; a search leaves them as they are.
    """
    given, cells = dict(overrides or {}), list(cells)
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


def run_job(job: Job, monitor: Monitor | None = None, stop_requested: Callable[[], int] = lambda: 0) -> None:
    """Train and score, or search, or go on with what is there, or do nothing where it is done.

    On one thread, so that the sums are the same whatever else runs.

    Raises:
        Interrupted: a stop was requested; the same call goes on.
        UserError: see `train_in`.
    """
    if job.finished:
        return
    torch.set_num_threads(1)
    data = load_data(job.recipe, progress=False)
    if job.trials is not None:
        space = builtin_space(job.recipe, job.fixed)
        settings = StudySettings(recipe=job.recipe, space=space, data_version=data.version, trials=job.trials)
        study = create_study(job.folder, settings)
        Worker(study, data, stop_requested=stop_requested).work()
        finish(study, data)
        return
    train_in(job.folder, job.recipe, data, monitor, stop_requested=stop_requested)
    conclude(Run.open(job.folder), data)


def run_jobs(
    jobs: list[Job],
    *,
    monitor: Monitor | None = None,
    workers: int = 1,
    deadline: float = float("inf"),
    stop_requested: Callable[[], int] = lambda: 0,
    done: Callable[[Job], None] = lambda job: None,
) -> None:
    """Run jobs that are not finished yet; `done` hears of each one as it ends.

    Args:
        jobs: what to train.
        monitor: of trainings, where there is one worker.
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
            run_job(job, monitor, stop)
            done(job)
    elif waiting:
        _run_in_processes(waiting, workers, deadline, stop, done)


def _run_in_processes(
    jobs: list[Job], workers: int, deadline: float, stop: Callable[[], int], done: Callable[[Job], None]
) -> None:
    context = get_context("spawn")  # a forked child would share the parent's thread pools
    # monotonic clocks of two processes agree on one machine, but nothing says that they must
    left = deadline - time.monotonic()
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(left,)
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
_worker: dict[str, float] = {}


def _start_worker(left: float) -> None:
    _worker.update(deadline=time.monotonic() + left, parent=os.getppid())
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
    run_job(job, None, stop)
