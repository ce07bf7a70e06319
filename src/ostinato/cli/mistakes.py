"""Every mistake on the command line as one clear line."""

from __future__ import annotations

from cyclopts import CycloptsError
from cyclopts.exceptions import (
    CoercionError,
    ConsumeMultipleError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from ostinato.cli.hints import choices_of, in_words
from ostinato.cli.spelling import spelled
from ostinato.errors import UserError, near_names


def one_line(error: UserError | CycloptsError) -> str:
    """What was expected, what was found, and what to do."""
    text = spelled(error) if isinstance(error, UserError) else _of_cyclopts(error)
    return " ".join(text.split())


def _of_cyclopts(error: CycloptsError) -> str:
    command = " ".join(["ostinato", *(error.command_chain or ())])
    see = f"see {command} --help"
    match error:
        case UnknownCommandError():
            known = [name for name in error.app or () if not name.startswith("-")]
            found = (error.unused_tokens or [""])[0]
            return f"unknown command {found}: {near_names(found, known)}"
        case UnknownOptionError():
            return _unknown_option(error, see)
        case RepeatArgumentError():
            return f"expected {error.token.keyword} once, found it twice; leave one out"
        case UnusedCliTokensError():
            found = " ".join(error.unused_tokens or ())
            return f"expected no further argument, found {found}; {see}"
        case ConsumeMultipleError() | MissingArgumentError():
            return _missing(error, command, see)
        case CoercionError():
            return _unusable(error, see)
    return str(error)


def _unknown_option(error: UnknownOptionError, see: str) -> str:
    option = error.token.keyword or error.token.value
    known = [
        name for argument in error.argument_collection for name in argument.names if name.startswith("--")
    ]
    near = near_names(option, known)
    return f"unknown option {option}" + (f": {near}" if near.startswith("did you") else f"; {see}")


def _missing(error: MissingArgumentError, command: str, see: str) -> str:
    argument = error.argument
    if argument is None:
        return f"expected more arguments; {see}"
    typed = error.keyword or next((t.keyword for t in argument.tokens if t.keyword), None)
    if typed:
        return f"expected a value after {typed}, found none; {see}"
    name = argument.name
    if argument.index is not None:
        return f"expected {name.lstrip('-').upper()} after {command}, found none; {see}"
    return f"expected {name}, found none; {see}"


def _unusable(error: CoercionError, see: str) -> str:
    token, argument = error.token, error.argument
    if token is None:
        return f"{error}; {see}"
    name = token.keyword or (argument.name.lstrip("-").upper() if argument else "a value")
    wanted = in_words(argument.hint if argument else error.target_type)
    if isinstance(error.__cause__, UserError):  # of a converter of ours
        return error.__cause__.naming(lambda _: name)
    choices = [c for c in choices_of(argument.hint if argument else error.target_type) if isinstance(c, str)]
    near = near_names(token.value, choices) if choices else ""
    hint = f"; {near}" if near.startswith("did you") else ""
    return f"expected {name} to be {wanted}, found {token.value!r}{hint}"
