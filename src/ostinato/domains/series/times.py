"""Columns that say when a step was: they are recognised and left out, a series being its values in order."""

import datetime
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

# Names under which a column of increasing numbers is taken for the time; "" is an index without a name.
TIME_NAMES = ("time", "date", "datetime", "timestamp", "t", "")

# Steps are called equal if the longest is at most so much longer than the shortest, relatively.
_EQUAL = 1e-6


def is_iso(cell: str) -> bool:
    """Whether a cell is an ISO 8601 date, date and time, or time of day, and not a number.

    Example:
        >>> [is_iso(cell) for cell in ("2024-01-31", "2024-01-31T12:00", "12:30:00", "2024", "31.1.2024")]
        [True, True, True, False, False]
    """
    return not is_number(cell) and (_date(cell) is not None or _time_of_day(cell) is not None)


def is_number(cell: str) -> bool:
    """Whether a cell is a number (or "nan" or "inf") as everybody writes it: no 1_000.

    Example:
        >>> [is_number(cell) for cell in ("1.5e3", " -2 ", "1_000", "1,5", "")]
        [True, True, False, False, False]
    """
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _date(cell: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(cell.strip())
    except ValueError:
        return None


def _time_of_day(cell: str) -> datetime.time | None:
    try:
        return datetime.time.fromisoformat(cell.strip())
    except ValueError:
        return None


def iso_seconds(cell: str) -> float | None:
    """Seconds of a date since 1970 (where no zone is given: in UTC), NaN for a time of day, None for neither.

    Example:
        >>> iso_seconds("1970-01-02"), iso_seconds("12:30"), iso_seconds("noon")
        (86400.0, nan, None)
    """
    if (date := _date(cell)) is not None:
        return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()
    return None if _time_of_day(cell) is None else float("nan")


def first_decrease(times: Sequence[float] | np.ndarray) -> int | None:
    """The index of the first time that is before the one in front of it; None in order.

    Example:
        >>> first_decrease([1.0, 2.0, 2.0]), first_decrease([1.0, 3.0, 2.0])
        (None, 2)
    """
    return next((k for k, (a, b) in enumerate(pairwise(times), 1) if b < a), None)


def unequal_steps(times: np.ndarray) -> str:
    """A notice where the steps between times are not all equal; else nothing.

    Example:
        >>> unequal_steps(np.array([0.0, 1.0, 2.0])), unequal_steps(np.array([0.0, 1.0, 4.0]))
        ('', 'its steps are from 1 to 3 long and are taken as equal')
    """
    steps = np.diff(times)
    if len(steps) == 0 or np.isnan(steps).any() or steps.max() - steps.min() <= _EQUAL * abs(steps).max():
        return ""
    return f"its steps are from {steps.min():g} to {steps.max():g} long and are taken as equal"
