"""Jobs in turn or side by side, up to a budget of time; all of them resumable."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

from ostinato.recipe.recipe import Recipe
from ostinato.training.monitor import Interrupted, Monitor, SilentMonitor

OUT_OF_TIME = -1


class JobWatch(Protocol):
    """Hears of jobs in whichever process they run; see `SilentWatch` for one that does nothing."""

    def training(self, label: str, recipe: Recipe, settings: dict[str, Any]) -> Monitor:
        """What a training reports to; `settings` are those that a person wants to see."""

    def ended(self, line: str) -> None:
        """A training has ended, with this to say."""


class SilentWatch:
    """Reports nothing."""

    def training(self, label: str, recipe: Recipe, settings: dict[str, Any]) -> Monitor:
        """Silence."""
        return SilentMonitor()

    def ended(self, line: str) -> None:
        """Nothing."""


class Job(Protocol):
    """Something to train, which goes on where it was."""

    @property
    def cell(self) -> Any:
        """What it is for; it has a name."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""

    @property
    def steps(self) -> tuple[int, int]:
        """Trainings done, and all of them."""

    def run(self, watch: JobWatch, stop_requested: Callable[[], int]) -> None:
        """Do what is left, on one thread, so that the sums are the same whatever else runs.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
        """


J = TypeVar("J", bound=Job)


def run_jobs(
    jobs: Sequence[J],
    *,
    watch: JobWatch | None = None,
    workers: int = 1,
    deadline: float = float("inf"),
    stop_requested: Callable[[], int] = lambda: 0,
    done: Callable[[J], None] = lambda job: None,
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
            job.run(watch or SilentWatch(), stop)
            done(job)
    elif waiting:
        _run_in_processes(waiting, workers, deadline, watch, stop, done)


def _run_in_processes(
    jobs: list[J],
    workers: int,
    deadline: float,
    watch: JobWatch | None,
    stop: Callable[[], int],
    done: Callable[[J], None],
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
    _worker.update(deadline=time.monotonic() + left, parent=os.getppid(), watch=watch or SilentWatch())
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
    job.run(_worker["watch"], stop)
