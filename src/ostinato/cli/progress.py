"""Training's progress on a terminal, or as plain lines where there is none."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import Progress, TaskID
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ostinato.cli.spelling import spelled
from ostinato.cli.tables import folded
from ostinato.evaluation.numbers import clock, counted, number, unit_of
from ostinato.report.records import WATCHED, watched_score
from ostinato.training.monitor import Start


class _FoldedProgress(Progress):
    """A bar, and beside it what does fit the terminal; what does not is on lines below it, whole."""

    BAR = 24

    def get_renderables(self) -> Iterator[RenderableType]:
        """The lines."""
        for task in self.tasks:
            width = self.console.width
            wanted = [f"epoch {task.fields['epoch']}", clock(task.elapsed or 0)]
            wanted += [task.fields[name] for name in ("speed", "scores", "solver")]
            first, *below = filled(filter(None, wanted), width, width - self.BAR - 2)
            row = Table.grid(padding=(0, 2, 0, 0))
            bar = ProgressBar(
                total=task.total, completed=task.completed, width=self.BAR, pulse=task.total is None
            )
            row.add_row(bar, Text(first, no_wrap=True))
            yield row
            yield from (Text(line) for line in below)


def filled(parts: Iterable[str], width: int, first: int) -> list[str]:
    """Parts in lines: as many on a line as fit, each whole where it can be.

    Args:
        parts: texts.
        width: of a line.
        first: width of the first line; where no part fits there, it is empty.

    Example:
        >>> filled(["epoch 1/200", "0:05", "valid -9.03"], 20, 18)
        ['epoch 1/200  0:05', 'valid -9.03']
    """
    lines = [""]
    for part in parts:
        together = f"{lines[-1]}  {part}" if lines[-1] else part
        if cell_len(together) <= (first if len(lines) == 1 else width):
            lines[-1] = together
        else:
            lines += folded(part, max(width, 1))
    return lines


class ConsoleMonitor:
    """Shows epochs, speed and time left while a `Trainer` works. Use as a context manager.

    Args:
        console: where to show it.
        quiet: show notices only.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._bar = _FoldedProgress(console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task: TaskID | None = None
        self._epochs = self._frames = self._segments = self._seen = 0
        self._begin = self._printed = time.monotonic()
        self._patience = 0
        self._step = "step"

    def __enter__(self) -> "ConsoleMonitor":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def started(self, start: Start) -> None:
        """Set up the bar over all epochs of the run."""
        self._epochs, self._patience = start.recipe.epochs, start.recipe.patience
        self._step = start.step
        if not self._quiet:
            self._console.print(
                f"training {start.recipe.name}: {counted(start.parameters, 'parameter')}, "
                f"{counted(start.frames, start.step)} an epoch, in {start.folder}",
            )
        self._begin = time.monotonic()
        self._task = self._bar.add_task("", total=None, epoch=self._of(0), speed="", scores="", solver="")

    def notice(self, text: str) -> None:
        """Print a line above the bar, with settings as the options that they are."""
        self._console.print(spelled(text))

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
            speed=f"{rate * frames / total:,.0f} {self._step}s/s, at most {clock(remaining)} left",
        )

    def iteration(self, number: int, objective: float) -> None:
        """Show where conjugate gradients are."""
        if self._task is not None and not self._bar.disable:
            self._bar.update(self._task, solver=f"CG {number}: {objective:.4g}")

    def epoch(self, record: dict[str, Any]) -> None:
        """Show the epoch's scores; without a terminal, as a line, but not more than one every two seconds."""
        name = watched_score(record)
        unit = unit_of(name or "")
        scores = (
            f"{'' if name == WATCHED[0] else f'{name}: '}"
            f"train {number(record[f'train_{name}'], unit)}  valid {number(record[f'valid_{name}'], unit)}"
            f"{_in_other_units(record)}{' *' if record['best'] else ''}"
        )
        if self._task is not None:
            self._bar.update(self._task, scores=scores)
        lined_up = self._bar.disable and not self._quiet
        if lined_up and (time.monotonic() - self._printed > 2 or record["epoch"] == 0):
            self._printed = time.monotonic()
            self._console.print(f"epoch {self._of(record['epoch'])}  {scores}")

    def _of(self, epoch: int) -> str:
        return f"{epoch + 1}/{self._epochs}"


def _in_other_units(record: dict[str, Any]) -> str:
    """A text model's validation score as people quote it."""
    if "valid_perplexity" in record:
        return f" (perplexity {number(record['valid_perplexity'], 'perplexity')})"
    if "valid_error" in record:
        return f" ({number(record['valid_error'], '%')}% wrong)"
    if "valid_bits_per_character" in record:
        return f" ({number(record['valid_bits_per_character'], 'bits/character')} bits/character)"
    return ""
