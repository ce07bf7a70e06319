"""A command's options as a program's keyword arguments."""

import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    return kind(**{own: _as_files(value, hints[own]) for own, value in given.items()})


def _as_files(value: Any, hint: Any) -> Any:
    parts = typing.get_args(hint) or (hint,)
    if list[Path] in parts:
        several = [value] if isinstance(value, str | Path) else value
        return None if several is None else [Path(one) for one in several]
    return Path(value) if Path in parts and isinstance(value, str) else value
