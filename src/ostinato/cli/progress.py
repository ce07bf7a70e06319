"""Training's progress on a terminal, or as plain lines where there is none."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ostinato.report.records import WATCHED, watched_score
from ostinato.training import Trainer


class ConsoleMonitor:
    """Shows epochs, speed and time left while a `Trainer` works. Use as a context manager.

    Args:
        console: where to show it.
        quiet: show notices only.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[scores]}"),
            TextColumn("{task.fields[solver]}"),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = self._frames = self._segments = self._seen = 0
        self._begin = self._printed = time.monotonic()
        self._patience = 0

    def __enter__(self) -> "ConsoleMonitor":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, trainer: Trainer) -> None:
        """Set up the bar over all epochs of the run."""
        self._epochs, self._patience = trainer.recipe.epochs, trainer.recipe.patience
        parameters = sum(p.numel() for p in trainer.model.parameters())
        if not self._quiet:
            self._console.print(
                f"training {trainer.recipe.recipe}: {parameters:,} parameters, "
                f"{trainer.data.frames('train'):,} frames an epoch, in {trainer.run.folder}",
                markup=False,
            )
        self._begin = time.monotonic()
        self._task = self._bar.add_task("", total=None, epoch=self._of(0), speed="", scores="", solver="")

    def notice(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False)

    def segment(self, epoch: int, done: int, total: int, frames: int) -> None:
        """Move the bar."""
        self._seen += 1
        if self._task is None or self._bar.disable:
            return
        elapsed = time.monotonic() - self._begin
        rate = self._seen / max(elapsed, 1e-9)
        remaining = ((self._epochs - epoch) * total - done) / max(rate, 1e-9)
        self._bar.update(
            self._task,
            total=self._epochs * total,
            completed=epoch * total + done,
            epoch=self._of(epoch),
            speed=f"{rate * frames / total:,.0f} frames/s, at most {_duration(remaining)} left",
        )

    def iteration(self, number: int, objective: float) -> None:
        """Show where conjugate gradients are."""
        if self._task is not None and not self._bar.disable:
            self._bar.update(self._task, solver=f"CG {number}: {objective:.4g}")

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the epoch's scores; without a terminal, as a line, but not more than one every two seconds."""
        name = watched_score(record)
        scores = (
            f"{'' if name == WATCHED[0] else f'{name}: '}"
            f"train {record[f'train_{name}']:.3f}  valid {record[f'valid_{name}']:.3f}"
            f"{_in_other_units(record)}{' *' if record['best'] else ''}"
        )
        if self._task is not None:
            self._bar.update(self._task, scores=scores)
        lined_up = self._bar.disable and not self._quiet
        if lined_up and (time.monotonic() - self._printed > 2 or record["epoch"] == 0):
            self._printed = time.monotonic()
            self._console.print(f"epoch {self._of(record['epoch'])}  {scores}", markup=False)

    def _of(self, epoch: int) -> str:
        return f"{epoch + 1}/{self._epochs}"


def _in_other_units(record: dict[str, Any]) -> str:
    """A text model's validation score as people quote it."""
    if "valid_perplexity" in record:
        return f" (perplexity {record['valid_perplexity']:.1f})"
    if "valid_error" in record:
        return f" ({record['valid_error']:.1f}% wrong)"
    if "valid_bits_per_character" in record:
        return f" ({record['valid_bits_per_character']:.3f} bits/character)"
    return ""


def _duration(seconds: float) -> str:
    """'1:05' or '2:03:04'.

    Example:
        >>> _duration(65), _duration(7384)
        ('1:05', '2:03:04')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
