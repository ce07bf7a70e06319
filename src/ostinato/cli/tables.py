"""Every table that a command prints: whole at any width, wide where it fits and in parts where not.

A table that is too wide is split by its columns, each part with the first column; where that does not help
either, every row becomes a block of lines "heading  value". Nothing is left out or cut short. Texts may
fold; a number never does, but between its parts, such as before "±".
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from rich.cells import cell_len
from rich.text import Text

from ostinato.cli.streams import Piped
from ostinato.cli.visible import encodable, visible
from ostinato.evaluation.tables import Column, Table

# Wide enough that a file's reader is not served folded tables.
PIPED_WIDTH = 110
# No terminal in use is narrower; what is printed for it is folded by the terminal.
LEAST_WIDTH = 20
# A text of sentences or paths is not folded to fewer columns than this beside numbers.
LEAST_TEXT = 16
# Notes are no wider than is pleasant to read.
NOTES_WIDTH = 80
_GAP = "  "


@dataclass(frozen=True)
class Line:
    """A line to print, and rich's style for it."""

    text: str
    style: str = ""


def render(table: Table, width: int, encoding: str = "utf-8") -> list[Line]:
    """The lines of a table, none of them wider than the terminal.

    Args:
        table: the table.
        width: columns of the terminal; fewer than 20 count as 20.
        encoding: of the terminal.

    Example:
        >>> from ostinato.evaluation.tables import table_of
        >>> table = table_of("piece", "frames", "nats", title="scores")
        >>> table.add("a long song [live].mid", "52", "-5.168 ± 0.079")
        >>> print(*(line.text for line in render(table, 60)), sep="\\n")
        scores
        piece                   frames            nats
        ──────────────────────────────────────────────
        a long song [live].mid      52  -5.168 ± 0.079
        >>> print(*(line.text for line in render(table, 32)), sep="\\n")
        scores
        piece                   frames
        ──────────────────────────────
        a long song [live].mid      52
        <BLANKLINE>
        piece                       nats
        ────────────────────────────────
        a long song       -5.168 ± 0.079
        [live].mid
        >>> print(*(line.text for line in render(table, 25)), sep="\\n")
        scores
        piece   a long song
                [live].mid
        frames  52
        nats    -5.168 ± 0.079
    """
    width = max(width, LEAST_WIDTH)
    table = _shown(table, width, encoding)
    found = [Line(text, "italic") for text in folded(table.title, width)] if table.title else []
    parts = _parts(table, width)
    body: list[Line] = []
    if parts is None:
        body += _blocks(table, width)
    else:
        for place, part in enumerate(parts):
            body += [Line("")] * (place > 0) + list(_grid(table, part, width))
    body = [Line(encodable(line.text, encoding), line.style) for line in body]
    widest = max((cell_len(line.text) for line in body), default=0)
    below = min(width, max(widest, NOTES_WIDTH))
    return found + body + [Line(text, "dim") for note in table.notes for text in folded(note, below)]


def folded(text: str, width: int) -> list[str]:
    """A text in lines of at most this width, broken at spaces; a longer word, such as a path, within it.

    Example:
        >>> folded("runs/table1/nade-SGD+CRM", 16)
        ['runs/table1/', 'nade-SGD+CRM']
        >>> folded("a song [live].mid", 12), folded("abcdefgh", 3), folded("", 5)
        (['a song', '[live].mid'], ['abc', 'def', 'gh'], [''])
    """
    lines, line, space = [], "", ""
    for word in re.findall(r"[^ ]+| +", text):
        if word[0] == " ":
            space = word
            continue
        if cell_len(line + space + word) <= width:
            line += space + word
            continue
        if line:
            lines.append(line)
        *full, line = _chopped(word, width)
        lines += full
    return [*lines, line] if line or not lines else lines


def _chopped(word: str, width: int) -> list[str]:
    """A word longer than a line in parts; those of a path or a name end where its own parts do."""
    parts = [""]
    for character in word:
        if cell_len(parts[-1] + character) > width:
            whole = re.match(r".*[/_-]", parts[-1])
            if whole and len(whole[0]) > width // 2 and whole[0] != parts[-1]:
                parts[-1:] = [whole[0], parts[-1][len(whole[0]) :]]
            else:
                parts.append("")
        parts[-1] += character
    return parts


def terminal_width(piped: int = PIPED_WIDTH) -> int:
    """Columns of standard output: what COLUMNS says, or the terminal's; `piped` where there is none."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if not sys.stdout.isatty():
        return piped
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def print_table(table: Table, *, piped: int = PIPED_WIDTH) -> None:
    """A table on standard output; `piped` is its width where there is no terminal."""
    _print(render(table, terminal_width(piped), _encoding(sys.stdout)))


def say(text: str) -> None:
    """A result in words on standard output: on a terminal broken between words, elsewhere as it is."""
    text = encodable(visible(text, keep="\n"), _encoding(sys.stdout))
    width = max(terminal_width(sys.maxsize), LEAST_WIDTH)
    _print([Line(part) for line in text.split("\n") for part in folded(line, width)])


def _encoding(stream: IO[str]) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def _print(lines: Sequence[Line]) -> None:
    # the lines have their width: rich only knows what the terminal can do about their style
    console = Piped(highlight=False, width=max((cell_len(line.text) for line in lines), default=0) + 1)
    for line in lines:
        console.print(Text(line.text, style=line.style), soft_wrap=True)


def _shown(table: Table, width: int, encoding: str) -> Table:
    """The same table with texts that a terminal of this encoding can show, and no score wider than it."""

    def line(text: str, keep: str = "") -> str:
        return encodable(visible(text, keep), encoding)

    columns = [Column(line(column.heading, "\n"), column.text) for column in table.columns]
    rows = [
        (
            tuple(
                line(cell) if c.text else _in_lines(line(cell, "\n"), width)
                for c, cell in zip(columns, cells, strict=True)
            ),
            bold,
        )
        for cells, bold in table.rows
    ]
    notes = [part for note in table.notes for part in line(note, "\n").split("\n")]
    return Table(columns, line(table.title), notes, rows)


def _in_lines(cell: str, width: int) -> str:
    """A cell of numbers; a line that is too wide, such as a score with its error, is broken at its spaces."""
    lines: list[str] = []
    for line in cell.split("\n"):
        if cell_len(line) <= width:
            lines.append(line)
            continue
        start = len(lines)
        for word in line.split():
            if len(lines) > start and cell_len(f"{lines[-1]} {word}") <= width:
                lines[-1] += f" {word}"
            else:
                lines.append(word)
    return "\n".join(lines)


def _parts(table: Table, width: int) -> list[list[int]] | None:
    """Columns that stand side by side, each part with the first; None where a row must be a block."""
    least = [_least(table, place) for place in range(len(table.columns))]
    everything = list(range(len(least)))
    if sum(least) + len(_GAP) * (len(least) - 1) <= width:
        return [everything]
    if any(c.text and _natural(table, p) > LEAST_TEXT for p, c in enumerate(table.columns) if p):
        return None  # beside a folded text the parts would be long
    parts, room = [[0]], width - least[0]
    for place in everything[1:]:
        needed = len(_GAP) + least[place]
        if needed > room and parts[-1] != [0]:
            parts.append([0])
            room = width - least[0]
        if needed > room:
            return None
        parts[-1].append(place)
        room -= needed
    return parts


def _least(table: Table, place: int) -> int:
    """The narrowest that a column can be: its numbers and the words of its heading whole, texts folded."""
    column = table.columns[place]
    words = max(map(cell_len, column.heading.split()), default=0)
    natural = _natural(table, place)
    return max(words, min(natural, LEAST_TEXT) if column.text else natural)


def _natural(table: Table, place: int) -> int:
    """What a column's cells take without folding."""
    cells = (cells[place] for cells, _ in table.rows)
    return max((cell_len(line) for cell in cells for line in cell.split("\n")), default=0)


def _widths(table: Table, part: Sequence[int], width: int) -> list[int]:
    """The widths of the columns of a part: what is free goes to texts, then to the lines of headings."""
    widths = [_least(table, place) for place in part]
    free = width - sum(widths) - len(_GAP) * (len(part) - 1)
    texts = [_natural(table, p) if table.columns[p].text else 0 for p in part]
    headings = [max(map(cell_len, table.columns[p].heading.split("\n"))) for p in part]
    for wanted in (texts, headings):
        # the smallest wish first, so that one long text does not take it all
        for index in sorted(range(len(part)), key=lambda i: wanted[i]):
            more = max(0, min(wanted[index] - widths[index], free))
            widths[index] += more
            free -= more
    return widths


def _grid(table: Table, part: Sequence[int], width: int) -> Iterator[Line]:
    widths = _widths(table, part, width)
    # labels and texts stand left, numbers right
    left = [place == 0 or table.columns[place].text for place in part]
    left[0] = part[0] == 0 and not _is_numeric(table)
    headings = [
        [line for text in table.columns[p].heading.split("\n") for line in folded(text, w)]
        for p, w in zip(part, widths, strict=True)
    ]
    if any(any(lines) for lines in headings):
        height = max(map(len, headings))
        headings = [[""] * (height - len(lines)) + lines for lines in headings]
        for text in _side_by_side(headings, widths, left):
            yield Line(text, "bold")
        yield Line("─" * (sum(widths) + len(_GAP) * (len(widths) - 1)))
    for cells, bold in table.rows:
        shown = [
            folded(cells[p], w) if table.columns[p].text else cells[p].split("\n")
            for p, w in zip(part, widths, strict=True)
        ]
        for text in _side_by_side(shown, widths, left):
            yield Line(text, "bold" if bold else "")


def _is_numeric(table: Table) -> bool:
    """Whether the first column holds numbers, such as those of trials, and not labels."""
    column = table.columns[0]
    return bool(column.heading) and not column.text


def _side_by_side(
    columns: Sequence[Sequence[str]], widths: Sequence[int], left: Sequence[bool]
) -> Iterator[str]:
    for index in range(max(map(len, columns))):
        cells = []
        for lines, width, is_left in zip(columns, widths, left, strict=True):
            cell = lines[index] if index < len(lines) else ""
            space = " " * (width - cell_len(cell))
            cells.append(cell + space if is_left else space + cell)
        yield _GAP.join(cells).rstrip()


def _blocks(table: Table, width: int) -> Iterator[Line]:
    """Every row as lines "heading  value"; where a value does not fit beside, under its heading."""
    headings = [" ".join(column.heading.split()) for column in table.columns]
    across = max(map(cell_len, headings)) + len(_GAP)
    if not table.rows:
        yield from (Line(line) for heading in headings for line in folded(heading, width))
    for place, (cells, bold) in enumerate(table.rows):
        if place:
            yield Line("")
        for column, heading, cell in zip(table.columns, headings, cells, strict=True):
            parts = [cell] if column.text else cell.split("\n")
            longest = max((cell_len(word) for part in parts for word in part.split(" ")), default=0)
            beside = width - across >= (min(longest, LEAST_TEXT) if column.text else longest)
            indent = across if beside else min(len(_GAP), width - longest) if longest < width else 0
            lines = [line for part in parts for line in folded(part, width - indent)]
            if beside and heading:
                lines[0] = heading + " " * (across - cell_len(heading)) + lines[0]
                lines[1:] = [" " * indent + line for line in lines[1:]]
            elif heading:
                lines = folded(heading, width) + [" " * indent + line for line in lines]
            for line in lines:
                yield Line(line.rstrip(), "bold" if bold else "")
