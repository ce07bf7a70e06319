"""Where the trainings and searches of `reproduce` are, told from whichever process they run in."""

import multiprocessing
from typing import Any

from ostinato.cli.search_workers import TrialReporter
from ostinato.cli.workboard import Board, Post, post_to
from ostinato.errors import UserError
from ostinato.recipe.effective import effective_settings
from ostinato.reproduce.training import Job
from ostinato.search import Study, builtin_space
from ostinato.search.worker import StudyMonitor
from ostinato.training.monitor import SilentMonitor, Start


class Watch:
    """Says what each process of `reproduce` is at; goes to new processes as an argument.

    Args:
        board: with a slot for each process.
        quiet: say nothing.
    """

    def __init__(self, board: Board, *, quiet: bool) -> None:
        self._slots, self._quiet = board.slots, quiet
        self._taken = multiprocessing.get_context("spawn").Value("i", 0)
        self._own: Post | None = None

    def training(self, job: Job) -> "TrainingReporter":
        """For the job's only training."""
        return TrainingReporter(job, self._post())

    def search(self, job: Job, study: Study) -> StudyMonitor:
        """For the trials of the job's search."""
        return TrialReporter(study, self._post(), job.name)

    def notice(self, job: Job, text: str) -> None:
        """The notice, and where it is from."""
        self._post().notice(f"{job.name}: {text}")

    def done(self, job: Job) -> None:
        """A training has ended; a search has counted its trials."""
        if job.trials is None:
            self._post().done("", {})

    def _post(self) -> Post:
        if self._own is None:
            slot = None
            if self._slots:
                with self._taken.get_lock():
                    slot = self._slots[self._taken.value]
                    self._taken.value += 1
            self._own = post_to(slot, quiet=self._quiet)
        return self._own


class TrainingReporter(SilentMonitor):
    """Says where a training is."""

    def __init__(self, job: Job, post: Post) -> None:
        self._job, self._post = job, post

    def started(self, start: Start) -> None:
        """The settings that a search would look for."""
        self._post.at(self._job.name, searched_settings(self._job), start.recipe.epochs)

    def notice(self, text: str) -> None:
        """The notice, and where it is from."""
        self._post.notice(f"{self._job.name}: {text}")

    def epoch(self, record: dict[str, Any]) -> None:
        """The epochs done."""
        self._post.epoch(record["epoch"] + 1)


def searched_settings(job: Job) -> dict[str, Any]:
    """Those of the job's settings that the paper's intervals are for."""
    try:
        names = builtin_space(job.recipe).ranges
    except UserError:
        return {}
    return effective_settings(job.recipe, {name: getattr(job.recipe, name) for name in names})
