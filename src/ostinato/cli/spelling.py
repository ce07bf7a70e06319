"""How the user of the command line calls the library's arguments: by the options, as typed."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar

from cyclopts import App, ArgumentCollection

from ostinato.cli.hints import in_words, is_whole
from ostinato.errors import UserError, named

_OPTIONS: ContextVar[dict[str, str]] = ContextVar("options", default={})  # noqa: B039, never changed in place

# Arguments that a command takes without naming them.
_POSITIONAL = {"domain", "run", "name", "bundle"}

# Options that bring settings from a file.
_FILES = {"config", "resume"}


def note_options(app: App, commands: Iterable[str], arguments: ArgumentCollection) -> None:
    """Keep how the options of the command that is about to run are written.

    An option is called as it was typed; one that was not, by its name. Where settings also come from a file,
    a setting that was not typed is called as there.

    Raises:
        UserError: a number with a point where a whole one belongs, which cyclopts would round.
    """
    options: dict[str, str] = {}
    typed: dict[str, str] = {}
    for argument in arguments:
        option = argument.name
        if not option.startswith("--"):
            continue
        name = option.removeprefix("--").replace("-", "_")
        switched = {f"{name}=True": option, f"{name}=False": next(iter(argument.negatives), f"no {option}")}
        options |= {name: option} | switched
        for token in argument.tokens:
            typed |= {name: token.keyword or option} | switched
            if is_whole(argument.hint) and not re.fullmatch(r"[^.]*(\.0*)?", token.value):
                raise UserError(
                    f"expected {typed[name]} to be {in_words(argument.hint)}, found {token.value}"
                )
    _OPTIONS.set(typed if typed.keys() & _FILES else options | typed)


def forget_options() -> None:
    """No command is known yet."""
    _OPTIONS.set({})


def spelled(message: str | UserError) -> str:
    """A message in which each argument it names (`errors.argument`) is written as the option that it is, and
    each call (`errors.call`) as the command that does the same.

    Example:
        >>> from ostinato.errors import argument
        >>> forget_options()
        >>> spelled(f"expected {argument('seed')} of at least 0")
        'expected seed of at least 0'
    """
    options = _OPTIONS.get()
    name: Callable[[str], str] = lambda argument: options.get(argument, argument)  # noqa: E731
    if isinstance(message, UserError):
        return message.naming(name, as_command)
    return named(message, name, as_command)


def as_command(function: str, arguments: Mapping[str, str]) -> str:
    """A call of the package's function as the command that does the same.

    Example:
        >>> as_command("train", {"resume": "my runs/a"}), as_command("train", {"domain": "words"})
        ("ostinato train --resume 'my runs/a'", 'ostinato train words')
    """
    words = ["ostinato", function]
    for name, value in arguments.items():
        option = [] if name in _POSITIONAL else [f"--{name.replace('_', '-')}"]
        words += [*option, shlex.quote(value)]
    return " ".join(words)
