"""What a terminal of so many columns shows of a text or a command, by an emulator, and its numbers."""

import os
import re
import select
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyte
import pytest

from ostinato.cli import tables

NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?")


def screen(text: str, width: int) -> list[str]:
    """The lines that a terminal shows, without the spaces at their ends."""
    height = sum(len(line) // width + 2 for line in text.split("\n")) + 1
    terminal = pyte.Screen(width, height)
    pyte.Stream(terminal).feed(text.replace("\n", "\r\n"))
    lines = [line.rstrip() for line in terminal.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def in_terminal(
    command: Sequence[str],
    width: int,
    height: int = 24,
    *,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
    seconds: float = 300,
) -> bytes:
    """All that a command writes to a terminal of this size; it must end well.

    Args:
        command: a program and its arguments.
        width: columns.
        height: lines.
        folder: to work in.
        variables: of the environment, besides those that are not about the terminal.
        seconds: that it may take.
    """
    fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))  # not on Windows
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    hidden = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TERM")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"TERM": "xterm-256color", **(variables or {})}
    process = subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    os.close(inside)
    written = b"".join(_read(terminal, time.monotonic() + seconds))
    os.close(terminal)  # a command that is still going gets a hangup
    code = process.wait(timeout=60)
    assert code == 0, written.decode(errors="replace")
    return written


def _read(terminal: int, end: float) -> Iterator[bytes]:
    """What is written to a terminal, until its other end is closed."""
    while (left := end - time.monotonic()) > 0 and select.select([terminal], [], [], left)[0]:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            return
        if not part:
            return
        yield part


def pictures(written: bytes, width: int, height: int = 24) -> list[list[str]]:
    """What a terminal of this size shows: before a live picture is wiped each time, and in the end.

    Every one is whole: what has scrolled off the top is on it too. So nothing depends on how much is read at
    a time.
    """
    terminal = pyte.HistoryScreen(width, height, history=100_000)
    stream = pyte.ByteStream(terminal)
    shown = []
    for part in re.split(rb"(?=\r\x1b\[2K)", written):  # rich wipes its picture from the last line upwards
        stream.feed(part)
        above = ["".join(line[x].data for x in range(width)) for line in terminal.history.top]
        shown.append([line.rstrip() for line in [*above, *terminal.display]])
    return shown


def numbers_of(lines: list[str]) -> Counter[str]:
    """Every number, as often as it is there; one that is split over two lines counts as two others."""
    return Counter(number for line in lines for number in NUMBER.findall(line))


def check_table(table: tables.Table, width: int) -> None:
    """A table's headings and numbers are whole on a terminal of this width, and nothing is cut short."""
    text = "\n".join(line.text for line in tables.render(table, width)).rstrip()
    shown = screen(text, width)
    assert shown == [line.rstrip() for line in text.split("\n")] or not text, "the terminal broke a line"
    words = Counter(word for line in shown for word in line.split())
    for place, column in enumerate(table.columns):
        assert not Counter(set(column.heading.split())) - words, column.heading
        if not column.text:
            cells = Counter(word for cells, _ in table.rows for word in cells[place].split())
            # labels are there again in every part of a table
            assert not cells - words, cells - words
    assert "…" not in "".join(shown) or "…" in repr(table)
