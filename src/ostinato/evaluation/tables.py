"""Tables of scores as plain values: whoever has scores fills one, and the command line prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ostinato.evaluation.numbers import recorded

if TYPE_CHECKING:
    # not by its own name: domains have options called Score, and the pages would not know which is meant
    from ostinato.evaluation import scores


@dataclass(frozen=True)
class Column:
    """A column.

    Arguments:
        heading: what stands over it; a line break is one where there is room to choose.
        text: whether it holds texts, which may fold, or numbers, which may not.
    """

    heading: str = ""
    text: bool = False


@dataclass
class Table:
    """What is to be printed; `add` fills it.

    Arguments:
        columns: the first says what a row is.
        title: over it.
        notes: under it, each a paragraph.

    Example:
        >>> table = Table([Column("song", text=True), *number_columns("frames")])
        >>> table.add("a.mid", "52")
        >>> table.rows
        [(('a.mid', '52'), False)]
    """

    columns: Sequence[Column]
    title: str = ""
    notes: list[str] = field(default_factory=list)
    rows: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)

    def add(self, *cells: str, bold: bool = False) -> None:
        """Add a row: a cell for every column; a line break in a number is one, in a text it is shown."""
        if len(cells) != len(self.columns):
            raise ValueError(f"expected {len(self.columns)} cells, found {len(cells)}")
        self.rows.append((cells, bold))


def number_columns(*headings: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(heading) for heading in headings]


def table_of(first: str, *headings: str, title: str = "") -> Table:
    """A table without rows: a column of texts, and columns of numbers."""
    return Table([Column(first, text=True), *number_columns(*headings)], title)


def show(score: scores.Score | None) -> str:
    r"""A score with its standard error; an estimate is marked, and has its interval on a second line.

    Example:
        >>> from ostinato.evaluation.scores import Score
        >>> show(Score(-8.654321, "nats/frame", "pooled", 4725, 77, 0.0789))
        '-8.654 ± 0.079'
        >>> show(Score(-6.8, "nats/frame", "pooled", 9, 3, 0.08, True, 0.01, (-6.85, -6.78)))
        '≈ -6.800 ± 0.080\n[-6.850, -6.780]'
    """
    return recorded(None if score is None else score.to_dict())
