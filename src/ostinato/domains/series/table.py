"""What is read from one file: columns of numbers, row by row, NaN where a value is missing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.errors import UserError


@dataclass(frozen=True)
class Table:
    """The series in a file, which share their columns.

    Arguments:
        names: of the columns; None where the file gives none.
        series: by name, each (T, D) float64.
        notices: what the user should know: a column left out, steps of unequal length.

    Example:
        >>> table = Table(("x", "y"), {"a": np.zeros((3, 2))})
        >>> table.width
        2
    """

    names: tuple[str, ...] | None
    series: dict[str, np.ndarray]
    notices: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """D."""
        return next(iter(self.series.values())).shape[1]


def check_finite(values: np.ndarray, path: Path, names: tuple[str, ...] | None, first_row: int = 1) -> None:
    """A UserError that names the place of the first infinite value, if there is one.

    Args:
        values: (T, D).
        path: of the file, for the message.
        names: of the columns.
        first_row: the number that the file's user gives the first of the rows.
    """
    places = np.argwhere(np.isinf(values))
    if len(places):
        row, column = places[0].tolist()
        raise UserError(
            f"{path}, row {row + first_row}, {column_name(names, column)}: expected a finite number, found "
            f"{values[row, column]}; leave the cell empty if the value is missing"
        )


def column_name(names: tuple[str, ...] | None, index: int) -> str:
    """How messages call a column.

    Example:
        >>> column_name(("x", "y"), 1), column_name(None, 1)
        ("column 'y'", 'column 2')
    """
    return f"column {index + 1}" if names is None else f"column {names[index]!r}"
