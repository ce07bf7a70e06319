"""One series from a CSV file: numbers, or a line that says which cell is none.

Python's `csv` and `float` read 100 MB in about 2 s: twice as long as `numpy.loadtxt`, which knows no missing
values.
"""

import csv
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from ostinato import foreign
from ostinato.domains.series.table import Table, check_finite, column_name
from ostinato.domains.series.times import (
    TIME_NAMES,
    first_decrease,
    is_iso,
    is_number,
    iso_seconds,
    unequal_steps,
)
from ostinato.errors import UserError
from ostinato.files import open_regular

MISSING = ("", "na", "n/a", "nan", "null")

# In this order: a comma may be part of a number, a tab is never.
DELIMITERS = ("\t", ";", ",")

_SAMPLE = 50  # rows that the delimiter is judged by
_LONGEST = 4 << 20  # a row of half a million columns


def read_csv(path: Path) -> Table:
    """The series in a CSV file, its steps the rows.

    The delimiter is a comma, a semicolon or a tab. The first row is a header if none of its cells is a number
    or a date. Cells that are empty, NA, N/A, NaN or null are missing. A column of ISO dates, or of increasing
    numbers under a name in `TIME_NAMES`, is the time, and left out with a notice.

    Raises:
        UserError: no numbers, text or an infinite value where a number is expected, rows of different
            lengths, dates out of order, not UTF-8, or more than a reader may take in memory.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("time,x,y\\n0,1,\\n1,2.5,3\\n")
        >>> table = read_csv(path)
        >>> table.names, table.series["a"].tolist(), table.notices
        (('x', 'y'), [[1.0, nan], [2.5, 3.0]], ("column 'time' is the time and left out",))
    """
    try:
        with open(open_regular(path.resolve()), newline="", encoding="utf-8-sig") as file:
            memory = foreign.Memory(str(path), share=0.4)  # columns are chosen by a copy
            delimiter = sniff(list(islice(_lines(file, path), _SAMPLE)))
            file.seek(0)
            rows = csv.reader(_lines(file, path), delimiter=delimiter, strict=True)
            return _Reader(path).read(memory.along(rows))
    except UnicodeDecodeError as error:
        raise UserError(
            f"expected a CSV file in UTF-8, found other bytes in {path}; save it as UTF-8"
        ) from error
    except csv.Error as error:
        raise UserError(f"expected a CSV file, found {path}, which cannot be read: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _lines(file: IO[str], path: Path) -> Iterator[str]:
    while line := file.readline(_LONGEST + 1):
        if len(line) > _LONGEST:
            raise UserError(
                f"expected rows of at most {_LONGEST >> 20} million signs in {path}, found a longer one; "
                "write a row for each step"
            )
        yield line


def sniff(lines: list[str]) -> str:
    """The delimiter of these lines: the first of tab, semicolon and comma that all have equally often.

    Where none is, the one that the first line has most of.

    Example:
        >>> sniff(["1,5;2", "2,5;3"]), sniff(['"a;b",c', "1,2"]), sniff(["1", "2"])
        (';', ',', ',')
    """
    rows = {d: [len(row) for row in csv.reader(lines, delimiter=d) if row] for d in DELIMITERS}
    for delimiter, counts in rows.items():
        if counts and counts[0] > 1 and len(set(counts)) == 1:
            return delimiter
    return max(reversed(DELIMITERS), key=lambda d: rows[d][0] if rows[d] else 0)


class _Reader:
    """What is known of a file while its rows go by; rows are counted from 1, the header with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: tuple[str, ...] | None = None
        self.numeric: list[int] = []
        self.dates: dict[int, array[float]] = {}
        self.row = self.first_row = 1

    def read(self, rows: Iterator[list[str]]) -> Table:
        first = next(rows, None)
        if not first:
            found = "file" if next(filter(None, rows), None) is None else "first row"
            raise UserError(f"expected rows of numbers in {self.path}, found an empty {found}")
        if is_header(first):
            names = [cell.strip() for cell in first]
            self.names = (names[0].lstrip("# "), *names[1:])
            self.row = self.first_row = 2
            first = next(rows, None)
            if not first:
                raise UserError(f"expected rows of numbers in {self.path}, found a header alone")
        self._set_columns(first)
        values = self._values(first, rows)
        chosen = None if self.names is None else tuple(self.names[k] for k in self.numeric)
        check_finite(values, self.path, chosen, self.first_row)
        return self._table(values)

    def _set_columns(self, first: list[str]) -> None:
        """Which columns are numbers, and which are dates, by the first row."""
        self.width = len(first) if self.names is None else len(self.names)
        dates = [k for k, cell in enumerate(first) if is_iso(cell)]
        self.dates = {k: array("d") for k in dates}
        self.numeric = [k for k in range(self.width) if k not in dates]

    def _values(self, first: list[str], rows: Iterator[list[str]]) -> np.ndarray:
        found, blank = array("d"), False
        self._take(first, found)
        for cells in rows:
            if not cells:
                blank = True
                continue
            self.row += 1
            if blank:
                raise UserError(
                    f"{self.path}, row {self.row}: expected {self.width} cells, found an empty row before "
                    "others; remove it, or write NA where a value is missing"
                )
            self._take(cells, found)
        return np.frombuffer(found).reshape(self.row - self.first_row + 1, -1)

    def _take(self, cells: list[str], found: "array[float]") -> None:
        """Append the numbers of one row."""
        if len(cells) != self.width:
            raise UserError(
                f"{self.path}, row {self.row}: expected {self.width} cells as in the first row, "
                f"found {len(cells)}"
            )
        chosen = [cells[k] for k in self.numeric] if self.dates else cells
        try:
            numbers = [float(cell) for cell in chosen]
        except ValueError:
            numbers = [self._number(k, cells[k]) for k in self.numeric]
        if "_" in "".join(chosen):  # a number to Python
            numbers = [self._number(k, cells[k]) for k in self.numeric]
        found.extend(numbers)
        for k, times in self.dates.items():
            times.append(self._seconds(k, cells[k]))

    def _number(self, column: int, cell: str) -> float:
        if cell.strip().lower() in MISSING:
            return float("nan")
        if not is_number(cell):
            raise self._wrong(column, "a number", cell, self._advice(column, cell))
        return float(cell)

    def _seconds(self, column: int, cell: str) -> float:
        seconds = iso_seconds(cell)
        if seconds is None:
            raise self._wrong(column, "an ISO date or time as in the first row", cell, "")
        return seconds

    def _advice(self, column: int, cell: str) -> str:
        if self.names is not None and self.names[column].lower() in TIME_NAMES:
            return "; write times as numbers or ISO dates (2024-01-31T12:00)"
        if is_number(cell.replace(",", ".")):
            return "; write numbers with a decimal point"
        if self.width == 1 and len(cell.split()) > 1:
            return "; separate columns by a comma, a semicolon or a tab"
        return "; leave the cell empty if the value is missing, or remove the column"

    def _wrong(self, column: int, expected: str, cell: str, advice: str) -> UserError:
        shown = cell if len(cell) <= 40 else f"{cell[:40]}..."
        name = column_name(self.names, column)
        return UserError(f"{self.path}, row {self.row}, {name}: expected {expected}, found {shown!r}{advice}")

    def _table(self, values: np.ndarray) -> Table:
        """The columns that are no times, with what to say of the others."""
        notices = [self._date_notice(k, np.frombuffer(times)) for k, times in self.dates.items()]
        kept = []
        for place, k in enumerate(self.numeric):
            column = values[:, place]
            if self._is_time(k, column):
                notices.append(_left_out(column_name(self.names, k), column))
            elif self._is_trailing_delimiter(k, column):
                notices.append("the last column is empty and left out")
            else:
                kept.append(place)
                if self._named_time(k):
                    notices.append(f"{column_name(self.names, k)} does not increase: it is kept as data")
        if not kept:
            raise UserError(f"expected columns of numbers in {self.path}, found none but the time")
        names = self._kept_names([self.numeric[place] for place in kept])
        return Table(names, {self.path.stem: np.ascontiguousarray(values[:, kept])}, tuple(notices))

    def _kept_names(self, kept: list[int]) -> tuple[str, ...] | None:
        if self.names is None:
            return None
        names = tuple(self.names[k] or str(k + 1) for k in kept)
        for name in names:
            if names.count(name) > 1:
                raise UserError(
                    f"expected columns of different names in {self.path}, found {name!r} twice; rename one"
                )
        return names

    def _named_time(self, column: int) -> bool:
        """Whether its name is one of a time; an index without a name comes first."""
        if self.names is None:
            return False
        return self.names[column].lower() in TIME_NAMES and (column == 0 or bool(self.names[column]))

    def _is_time(self, column: int, values: np.ndarray) -> bool:
        increasing = not np.isnan(values).any() and first_decrease(values) is None
        return self._named_time(column) and increasing

    def _is_trailing_delimiter(self, column: int, values: np.ndarray) -> bool:
        unnamed = self.names is None or not self.names[column]
        return 0 < column == self.width - 1 and unnamed and bool(np.isnan(values).all())

    def _date_notice(self, column: int, times: np.ndarray) -> str:
        name = column_name(self.names, column)
        if (late := first_decrease(times)) is not None:
            raise UserError(
                f"{self.path}, row {late + self.first_row}, {name}: expected dates in order, found one "
                "before that of the row above; sort the rows, and put every series in a file of its own"
            )
        return _left_out(name, times)


def _left_out(name: str, times: np.ndarray) -> str:
    unequal = unequal_steps(times)
    return f"{name} is the time and left out{'; ' * bool(unequal)}{unequal}"


def is_header(cells: list[str]) -> bool:
    """Whether a row names columns: it has text, and no number and no date.

    Example:
        >>> is_header(["time", "x"]), is_header(["2024-01-31", "NA"]), is_header(["x", "1"])
        (True, False, False)
    """
    stripped = [cell.strip() for cell in cells]
    text = [cell for cell in stripped if cell.lower() not in MISSING]
    return bool(text) and not any(is_number(cell) or is_iso(cell) for cell in text)
