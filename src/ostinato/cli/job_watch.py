"""Where the trainings of `reproduce` are, told from whichever process they run in."""

import multiprocessing
from typing import Any

from ostinato.cli.output import human
from ostinato.cli.spelling import spelled
from ostinato.cli.streams import Piped
from ostinato.cli.workboard import Board, Post, post_to
from ostinato.recipe.recipe import Recipe
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
        # of this process, once there is something to say
        self.console: Piped | None = None

    def training(self, label: str, recipe: Recipe, settings: dict[str, Any]) -> "TrainingReporter":
        """For one training."""
        return TrainingReporter(label, settings, self._post())

    def ended(self, line: str) -> None:
        """A training has ended."""
        self._post().done(line, {})

    def _post(self) -> Post:
        if self._own is None:
            slot = None
            if self._slots:
                with self._taken.get_lock():
                    slot = self._slots[self._taken.value]
                    self._taken.value += 1
            self.console = human(patient=True)
            self._own = post_to(slot, self.console, quiet=self._quiet)
        return self._own


class TrainingReporter(SilentMonitor):
    """Says where a training is."""

    def __init__(self, label: str, settings: dict[str, Any], post: Post) -> None:
        self._label, self._settings, self._post = label, settings, post

    def started(self, start: Start) -> None:
        """The settings that a search looks for."""
        self._post.at(self._label, self._settings, start.recipe.epochs)

    def notice(self, text: str) -> None:
        """The notice, and where it is from."""
        self._post.notice(f"{self._label}: {spelled(text)}")

    def epoch(self, record: dict[str, Any]) -> None:
        """The epochs done."""
        self._post.epoch(record["epoch"] + 1)
