"""What a training run reports to, and how it is stopped from outside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ostinato.errors import UserError, without_marks
from ostinato.recipe.recipe import Recipe
from ostinato.training.progress import Progress


@dataclass(frozen=True)
class Start:
    """What a run is as it begins, or goes on.

    Arguments:
        recipe: its settings.
        folder: where it is.
        parameters: of the model, in number.
        frames: of the training data: steps of an epoch.
        step: what the kind of data calls one, such as "frame".
        score_name: what its epochs' records call the score that early stopping watches, after `valid_`.
        progress: where it stands.
    """

    recipe: Recipe
    folder: Path
    parameters: int
    frames: int
    step: str
    score_name: str
    progress: Progress


class Interrupted(Exception):
    """Training was asked to stop; the checkpoint is written. `signal` is what asked."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"interrupted by signal {signal}")
        self.signal = signal


class Diverged(UserError):
    """Training has come to where no update has a usable gradient: these settings are hopeless."""


class Monitor(Protocol):
    """What a training run reports to; see `SilentMonitor` for one that does nothing."""

    def started(self, start: Start) -> None:
        """The run is set up, or resumed, and about to train."""

    def notice(self, text: str) -> None:
        """Something a person should read; it may name arguments, as messages do (`errors.argument`)."""

    def segment(self, epoch: int, done: int, total: int, frames: int) -> None:
        """One more segment of this epoch is done."""

    def iteration(self, number: int, objective: float) -> None:
        """One more conjugate-gradient iteration of a Hessian-free update is done."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch ended with this record."""


class SilentMonitor:
    """Reports nothing."""

    def started(self, start: Start) -> None:
        """Nothing."""

    def notice(self, text: str) -> None:
        """Nothing."""

    def segment(self, epoch: int, done: int, total: int, frames: int) -> None:
        """Nothing."""

    def iteration(self, number: int, objective: float) -> None:
        """Nothing."""

    def epoch(self, record: dict[str, Any]) -> None:
        """Nothing."""


class PlainNotices:
    """A program's monitor, whose notices name arguments as Python does.

    Args:
        monitor: what is told everything else as it is.

    Example:
        >>> from ostinato.errors import argument
        >>> class Printing(SilentMonitor):
        ...     def notice(self, text):
        ...         print(text)
        >>> PlainNotices(Printing()).notice(f"a smaller {argument('learning_rate')} would do")
        a smaller learning_rate would do
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.started, self.segment = monitor.started, monitor.segment
        self.iteration, self.epoch = monitor.iteration, monitor.epoch

    def notice(self, text: str) -> None:
        """The text without marks."""
        self._monitor.notice(without_marks(text))
