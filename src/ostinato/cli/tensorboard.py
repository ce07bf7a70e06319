"""A monitor that also writes TensorBoard events; needs the `tensorboard` extra."""

from pathlib import Path
from typing import Any

from ostinato.errors import needs
from ostinato.training.monitor import Monitor, Start


class TensorBoardMonitor:
    """Passes everything on to another monitor, and every epoch's numbers to TensorBoard."""

    def __init__(self, inner: Monitor, folder: Path) -> None:
        with needs("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter
        self._inner, self._writer = inner, SummaryWriter(str(folder / "tensorboard"))

    def started(self, start: Start) -> None:
        """Pass on."""
        self._inner.started(start)

    def notice(self, text: str) -> None:
        """Pass on."""
        self._inner.notice(text)

    def segment(self, epoch: int, done: int, total: int, frames: int) -> None:
        """Pass on."""
        self._inner.segment(epoch, done, total, frames)

    def iteration(self, number: int, objective: float) -> None:
        """Pass on."""
        self._inner.iteration(number, objective)

    def epoch(self, record: dict[str, Any]) -> None:
        """Write each number of the record, and pass on."""
        for name, value in record.items():
            if isinstance(value, int | float) and name != "epoch":
                self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()
        self._inner.epoch(record)
