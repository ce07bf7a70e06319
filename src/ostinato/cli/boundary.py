"""Whatever goes wrong in a command is a line on standard error and an exit code; --debug says where."""

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from cyclopts import CycloptsError

from ostinato.addresses import addresses_in, scrubbed
from ostinato.cli.mistakes import one_line
from ostinato.cli.streams import forget
from ostinato.cli.visible import visible
from ostinato.errors import UserError

DEBUG = "--debug"
# For every command that is started from here on.
DEBUG_VARIABLE = "OSTINATO_DEBUG"

MISTAKE, INTERRUPTED, NO_READER = 2, 130, 141


def guarded(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; return its exit code, or that of what went wrong.

    Args:
        command: takes the arguments.
        arguments: may contain --debug, which the command does not see.
    """
    debug = DEBUG in arguments or bool(os.environ.get(DEBUG_VARIABLE))
    arguments = [each for each in arguments if each != DEBUG]
    if sys.stdout is None:
        _say("expected an open standard output, found it closed; send it to /dev/null to do without", [])
        return MISTAKE
    try:
        code = command(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say("interrupted", [])
        return INTERRUPTED
    except BrokenPipeError:
        forget(sys.stdout, sys.stderr)  # the reader has gone; nothing is left to tell it
        return NO_READER
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(line_of(error), arguments)
        if _is_full(error):
            forget(sys.stdout)
        return MISTAKE


def line_of(error: Exception) -> str:
    """What is said of an error.

    Example:
        >>> line_of(PermissionError(13, "Permission denied", "runs/a"))
        'cannot use runs/a: Permission denied; check it and its permissions'
        >>> line_of(RecursionError())
        'expected data that can be read, found them nested too deeply; --debug says where'
        >>> line_of(KeyError("x"))
        "an error of ostinato's own, KeyError: 'x'; --debug says where, which is worth a report"
    """
    if isinstance(error, UserError | CycloptsError):
        return one_line(error)
    if _is_full(error):
        return "cannot write to standard output: no space left; send it elsewhere"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename}: {error.strerror}; check it and its permissions"
    if isinstance(error, RecursionError):
        return f"expected data that can be read, found them nested too deeply; {DEBUG} says where"
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or "allocate" in text.lower() or "out of memory" in text.lower():
        return f"not enough memory: {text or 'none is left'}; use a smaller model, or fewer data at once"
    name = type(error).__name__
    return f"an error of ostinato's own, {name}: {text}; {DEBUG} says where, which is worth a report"


def _is_full(error: Exception) -> bool:
    """Whether standard output takes no more."""
    return isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None


def _say(text: str, arguments: Sequence[str]) -> None:
    """One line, in which no password of a database stands that was typed."""
    for address in addresses_in(arguments):
        text = scrubbed(text, address)
    if sys.stderr is not None:
        try:
            print(f"ostinato: {visible(text)}", file=sys.stderr, flush=True)
        except OSError:  # full, or nobody reads it: the exit code alone says it
            forget(sys.stderr)
