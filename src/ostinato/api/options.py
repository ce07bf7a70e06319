"""A command's options as a program's keyword arguments."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.domains.declared import DomainDeclared
from ostinato.errors import UserError, argument, near_names


def options_of(declared: DomainDeclared, command: str, given: Mapping[str, Any]) -> Any:
    """The options of a domain's command, as it has declared them; None where it has none.

    Args:
        declared: the domain.
        command: such as "generate".
        given: by name; where files are asked for, one file, or text for a file, will do.

    Raises:
        UserError: it has no such option.

    Example:
        >>> from ostinato.domains.registry import DOMAINS
        >>> options_of(DOMAINS["music"], "generate", {"steps": 8, "out": "a.mid"}).out
        [PosixPath('a.mid')]
    """
    if command not in declared.commands:
        if given:
            first, value = next(iter(given.items()))
            raise UserError(f"expected no {argument(first)} for {declared.name}, found {value!r}")
        return None
    kind = declared.commands[command].options
    hints = typing.get_type_hints(kind)
    for name in given:
        if name not in hints:
            raise UserError(
                f"expected an option of {command} on {declared.name}, found {name}: {near_names(name, hints)}"
            )
        check_type(name, given[name], hints[name])
    return kind(**{own: _as_files(given[own], hints[own]) for own in given})


def check_type(name: str, value: Any, hint: Any) -> None:
    """Refuse a value that is none of the types, or of the choices, that an option is declared with.

    Raises:
        UserError: it is not.

    Example:
        >>> check_type("steps", 8, int)
        >>> check_type("steps", "8", int)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected steps to be a whole number, found '8'
    """
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if any(_fits(value, part) for part in parts):
        return
    wanted = " or ".join(_called(part) for part in parts)
    raise UserError(f"expected {argument(name)} to be {wanted}, found {value!r}")


def _fits(value: Any, part: Any) -> bool:
    if typing.get_origin(part) is typing.Literal:
        return value in typing.get_args(part)
    if part is types.NoneType:
        return value is None
    if part in (int, float):
        numbers = (int, np.integer) if part is int else (int, float, np.integer, np.floating)
        return isinstance(value, numbers) and not isinstance(value, bool)
    if part is bool:
        return isinstance(value, bool)
    if part is str:
        return isinstance(value, str)
    return True  # files: whoever opens them says what is wrong


def _called(part: Any) -> str:
    if typing.get_origin(part) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(part)))
    names = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}
    return names.get(part, "None" if part is types.NoneType else "a file")


def _as_files(value: Any, hint: Any) -> Any:
    parts = typing.get_args(hint) or (hint,)
    if list[Path] in parts:
        several = [value] if isinstance(value, str | Path) else value
        return None if several is None else [Path(one) for one in several]
    return Path(value) if Path in parts and isinstance(value, str) else value
