"""What a terminal of so many columns shows of a text, by an emulator, and which numbers are on it."""

import re
from collections import Counter

import pyte

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
