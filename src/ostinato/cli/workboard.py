"""What several workers are at, each in a process of its own: on a terminal as a live picture, else as lines.

Every worker writes its state into a slot of shared memory, and the first process draws what the slots hold.
No queue is between them: a worker never waits for the one that draws, and may be killed at any moment.
"""

import ctypes
import json
import multiprocessing
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ostinato.evaluation.numbers import clock, setting

_SLOT_BYTES = 8192
_KEPT_LINES = 6
_REDRAW_SECONDS = 0.25
_HEAD_LINES = 4


class Post(Protocol):
    """Where a worker says what it is at."""

    def at(self, label: str, settings: dict[str, Any], epochs: int) -> None:
        """It begins with this, for at most so many epochs."""

    def epoch(self, done: int) -> None:
        """So many epochs are done."""

    def done(self, line: str, counts: dict[str, Any]) -> None:
        """What it was at has ended; and how far all are, as it knows: `done`, `total` and `best`."""

    def notice(self, line: str) -> None:
        """Something a person should read."""


class SilentPost:
    """Says nothing."""

    def at(self, label: str, settings: dict[str, Any], epochs: int) -> None:
        """Nothing."""

    def epoch(self, done: int) -> None:
        """Nothing."""

    def done(self, line: str, counts: dict[str, Any]) -> None:
        """Nothing."""

    def notice(self, line: str) -> None:
        """Nothing."""


@dataclass
class LinePost(SilentPost):
    """Prints a line at each beginning and each end."""

    console: Console

    def at(self, label: str, settings: dict[str, Any], epochs: int) -> None:
        """The settings."""
        self.notice(f"{label}: {in_words(settings)}" if settings else label)

    def done(self, line: str, counts: dict[str, Any]) -> None:
        """The result."""
        if line:
            self.notice(line)

    def notice(self, line: str) -> None:
        """The line."""
        tell(self.console, line)


class SlotPost:
    """Writes into a slot.

    Args:
        slot: shared memory, made by `Board`.
    """

    def __init__(self, slot: Any) -> None:
        self._slot = slot
        self._state: dict[str, Any] = {"lines": [], "written": 0, "ended": 0}

    def at(self, label: str, settings: dict[str, Any], epochs: int) -> None:
        """See `Post`."""
        shown = {name: setting(value) for name, value in settings.items()}
        self._write(label=label, settings=shown, epoch=0, epochs=epochs, first=None)

    def epoch(self, done: int) -> None:
        """See `Post`."""
        if self._state.get("first") is None:
            # from here on, as what comes before the first epoch's end is not like what comes after
            self._write(first=done, since=time.time())
        self._write(epoch=done)

    def done(self, line: str, counts: dict[str, Any]) -> None:
        """See `Post`."""
        self._write(label=None, ended=self._state["ended"] + 1, **counts)
        if line:
            self.notice(line)

    def notice(self, line: str) -> None:
        """See `Post`."""
        lines = [*self._state["lines"], line][-_KEPT_LINES:]
        self._write(lines=lines, written=self._state["written"] + 1)

    def _write(self, **changes: Any) -> None:
        self._state |= changes
        state = dict(self._state)
        while len(text := json.dumps(state).encode()) > _SLOT_BYTES - 8 and state["lines"]:
            state["lines"] = state["lines"][1:]
        head = len(text).to_bytes(4, "little") + zlib.crc32(text).to_bytes(4, "little")
        if len(text) <= _SLOT_BYTES - 8:
            ctypes.memmove(self._slot, head + text, 8 + len(text))


def read_slot(slot: Any) -> dict[str, Any] | None:
    """What a worker has written; None where there is nothing, or it is just being written."""
    raw = bytes(slot.raw)
    text = raw[8 : 8 + int.from_bytes(raw[:4], "little")]
    if not text or zlib.crc32(text) != int.from_bytes(raw[4:8], "little"):
        return None
    return json.loads(text)


class Board:
    """The slots of all workers, and their picture on a terminal. Use as a context manager.

    Args:
        console: where to draw; where it is no terminal, nothing is, and workers print lines.
        workers: how many.
        unit: what is counted, in the plural.
        done: how many are done at the beginning.
        total: of how many.
        quiet: say nothing at all.
    """

    def __init__(
        self, console: Console, workers: int, unit: str, done: int, total: int, *, quiet: bool = False
    ) -> None:
        self.live = not quiet and console.is_terminal and not console.is_dumb_terminal
        self._console, self._quiet = console, quiet
        context = multiprocessing.get_context("spawn")
        self.slots = [
            context.RawArray(ctypes.c_char, _SLOT_BYTES) for _ in range(workers if self.live else 0)
        ]
        self._picture = Picture(unit, done, total)
        self._states: list[dict[str, Any]] = [{} for _ in self.slots]
        self._printed = [0 for _ in self.slots]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._redraw, name="progress", daemon=True)
        self._drawing = Live(console=console, auto_refresh=False, transient=True)

    def slot(self, worker: int) -> Any:
        """A worker's slot; None where it is to print lines, or be silent."""
        return self.slots[worker] if self.live else None

    def post(self, worker: int) -> Post:
        """Where a worker of this process says what it is at."""
        return post_to(self.slot(worker), self._console, quiet=self._quiet)

    def say(self, line: str) -> None:
        """Print a line, above the picture if there is one."""
        if not self._quiet:
            tell(self._console, line)

    def __enter__(self) -> Self:
        if self.live:
            self._drawing.start()
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self._stop.set()
            self._thread.join()
            self._pump()
            self._drawing.stop()

    def _redraw(self) -> None:
        while not self._stop.wait(_REDRAW_SECONDS):
            self._pump()
            with self._lock:
                height = self._console.size.height
                picture = self._picture.draw([s for s in self._states if s.get("label")], height)
            self._drawing.update(picture, refresh=True)

    def _pump(self) -> None:
        """Take up what the workers have written, and print their lines."""
        for place, slot in enumerate(self.slots):
            state = read_slot(slot)
            if state is None:
                continue
            with self._lock:
                self._states[place] = state
                self._picture.count(state, sum(own.get("ended", 0) for own in self._states))
            new = min(state["written"] - self._printed[place], len(state["lines"]))
            for line in state["lines"][len(state["lines"]) - new :]:
                self.say(line)
            self._printed[place] = state["written"]


def post_to(slot: Any, console: Console, *, quiet: bool) -> Post:
    """Where a worker says what it is at: its slot; without one a line on the console, or nothing."""
    if slot is not None:
        return SlotPost(slot)
    return SilentPost() if quiet else LinePost(console)


class Picture:
    """How far the whole is, how fast it goes, and what each worker is at.

    Args:
        unit: what is counted, in the plural.
        done: how many are done at the beginning.
        total: of how many.
    """

    def __init__(self, unit: str, done: int, total: int) -> None:
        self._unit, self._first, self._done, self._total = unit, done, done, total
        self._best, self._known = "", 0
        self._begin = time.monotonic()

    def count(self, counts: dict[str, Any], ended: int = 0) -> None:
        """Take up how far all are, as one of them knows it, and how many have ended here."""
        self._done = max(self._done, counts.get("done", 0), self._first + ended)
        self._total = max(self._total, counts.get("total", 0))
        if counts.get("best") and counts.get("done", 0) >= self._known:
            self._best, self._known = counts["best"], counts["done"]

    def draw(self, states: Sequence[dict[str, Any]], height: int = 24) -> RenderableType:
        """The picture, for workers with these states."""
        bar = Table.grid(padding=(0, 1))
        bar.add_column(no_wrap=True)
        bar.add_column(ratio=1)
        bar.expand = True
        bar.add_row(f"{self._done}/{self._total} {self._unit}", ProgressBar(self._total, self._done))
        parts: list[RenderableType] = [bar, _wrapped(self._speed(states))]
        if self._best:
            parts.append(_wrapped(self._best))
        fit = max((height - _HEAD_LINES) // 3, 1)
        for state in states[:fit]:
            epoch = f"  epoch {state['epoch']}/{state['epochs']}" if state["epochs"] else ""
            parts.append(_wrapped(f"{state['label']}{epoch}"))
            if state["settings"]:
                words = "  ".join(f"{name}={value}" for name, value in state["settings"].items())
                parts.append(Padding(_wrapped(words), (0, 0, 0, 2)))
        if len(states) > fit:
            parts.append(_wrapped(f"and {len(states) - fit} more workers"))
        return Group(*parts)

    def _speed(self, states: Sequence[dict[str, Any]]) -> str:
        elapsed = max(time.monotonic() - self._begin, 1e-9)
        done = self._done - self._first
        if done:
            left = (self._total - self._done) * elapsed / done
            return f"{rate(done / elapsed, self._unit)}, about {clock(left)} left"
        # before the first end, by epochs: a trial may end before its last one
        now = time.time()
        going = [state for state in states if state["epochs"] and state.get("first") is not None]
        going = [state for state in going if state["epoch"] > state["first"]]
        if not going:
            return "the first epochs are not done yet"
        parts = sum(state["epoch"] / state["epochs"] for state in going)
        speed = sum((s["epoch"] - s["first"]) / s["epochs"] / max(now - s["since"], 1e-9) for s in going)
        return f"at most {clock((self._total - self._done - parts) / speed)} left"


def tell(console: Console, line: str) -> None:
    """A line; on a terminal it is broken between words, so that no number is cut."""
    console.print(_wrapped(line), soft_wrap=not console.is_terminal)


def _wrapped(text: str) -> Text:
    return Text(text, overflow="fold", no_wrap=False)


def rate(per_second: float, unit: str) -> str:
    """How many in a fitting span of time.

    Example:
        >>> rate(2.0, "trials"), rate(0.05, "trials"), rate(0.001, "trials")
        ('2.0 trials/s', '3.0 trials/min', '3.6 trials/h')
    """
    for seconds, name in ((1, "s"), (60, "min")):
        if per_second * seconds >= 1:
            return f"{per_second * seconds:.1f} {unit}/{name}"
    return f"{per_second * 3600:.1f} {unit}/h"


def in_words(settings: dict[str, Any]) -> str:
    """Settings in one line.

    Example:
        >>> in_words({"learning_rate": 0.0123456, "hidden_size": 200})
        'learning_rate 0.01235, hidden_size 200'
    """
    return ", ".join(f"{name} {setting(value)}" for name, value in settings.items())
