"""What JSON that ostinato wrote must look like: for files that may have been changed by hand since.

A shape is a function of a value and of where it stands, which raises what it misses. Digests (`seal`) say
that something is another; shapes say it of what has none, and before somebody computes with it.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ostinato import foreign
from ostinato.errors import UserError

# Raises a UserError where a value is something else.
Shape = Callable[[Any, str], None]

_LONGEST = 60
# More than these digits of an integer nobody computes with.
_LARGEST = 2**63


def _refused(expected: str, where: str, value: Any) -> UserError:
    if isinstance(value, dict | list):
        shown = "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    elif isinstance(value, int) and abs(value) > _LARGEST:
        shown = "one of more than 19 digits"
    else:
        shown = repr(value)
    shown = f"{shown[:_LONGEST]}..." if len(shown) > _LONGEST else shown
    return UserError(f"expected {expected}{f' at {where}' if where else ''}, found {shown}")


def number(value: Any, where: str) -> None:
    """A finite number.

    Example:
        >>> number(float("nan"), "results.test")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a number at results.test, found nan
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not -math.inf < value < math.inf or (isinstance(value, int) and abs(value) > _LARGEST):
        raise _refused("a number", where, value)


def real(value: Any, where: str) -> None:
    """A number that may be infinite, as a likelihood of what cannot be is."""
    if not isinstance(value, float) or math.isnan(value):
        number(value, where)


def whole(value: Any, where: str) -> None:
    """A whole number."""
    number(value, where)
    if not isinstance(value, int):
        raise _refused("a whole number", where, value)


def text(value: Any, where: str) -> None:
    """A text."""
    if not isinstance(value, str):
        raise _refused("a text", where, value)


def truth(value: Any, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise _refused("true or false", where, value)


def anything(value: Any, where: str) -> None:
    """Whatever there is."""


def optional(shape: Shape) -> Shape:
    """Null, or what a shape allows."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            shape(value, where)

    return check


def both(first: Shape, second: Shape) -> Shape:
    """What two shapes allow."""

    def check(value: Any, where: str) -> None:
        first(value, where)
        second(value, where)

    return check


def mapping(shape: Shape = anything) -> Shape:
    """An object whose every value has a shape.

    Example:
        >>> mapping(whole)({"a": 1, "b": 0.5}, "trials")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a whole number at trials.b, found 0.5
    """

    def check(value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise _refused("an object", where, value)
        for name, each in value.items():
            shape(each, f"{where}.{name}" if where else name)

    return check


def sequence(shape: Shape = anything, length: int | None = None) -> Shape:
    """A list whose every value has a shape; `length`: so many of them."""
    expected = "a list" if length is None else f"a list of {length}"

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise _refused(expected, where, value)
        for place, each in enumerate(value):
            shape(each, f"{where}[{place}]")

    return check


def record(needed: Mapping[str, Shape], known: Mapping[str, Shape] | None = None) -> Shape:
    """An object with these fields, others that may be missing, and more that nobody looks at.

    Example:
        >>> record({"epoch": whole})({}, "training")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected training.epoch, found none
    """

    def check(value: Any, where: str) -> None:
        mapping()(value, where)
        for name, shape in {**needed, **(known or {})}.items():
            place = f"{where}.{name}" if where else name
            if name in value:
                shape(value[name], place)
            elif name in needed:
                raise UserError(f"expected {place}, found none")

    return check


def of_json(data: bytes | str, shape: Shape, path: Path, advice: str) -> Any:
    """What a file of JSON holds.

    Args:
        data: its content.
        shape: what it must look like.
        path: where it is.
        advice: what to do where it does not.

    Raises:
        UserError: it is no JSON, or has another shape.

    Example:
        >>> of_json("[1, 2]", mapping(), Path("a.json"), "put it back from a copy")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: in a.json: expected an object, found a list of 2; put it back from a copy
    """
    try:
        found = foreign.of_json(data)
    except UserError as error:
        raise UserError(f"expected JSON in {path}, found an error: {error}; {advice}") from error
    try:
        shape(found, "")
    except UserError as error:
        raise UserError(f"in {path}: {error}; {advice}") from error
    return found
