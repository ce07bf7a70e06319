"""The exception that means "the user can fix this": the command line prints it in one line, exit code 2."""

import difflib
import importlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

# Unicode keeps these for the inner use of programs: no file name, value or text of a user holds them.
_BEGIN, _END, _CALL, _NEXT, _IS = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4"
_MARKED = re.compile(f"{_BEGIN}([^{_END}]*){_END}")
_CALLED = re.compile(f"{_CALL}([^{_END}]*){_END}")


def as_python(function: str, arguments: Mapping[str, str]) -> str:
    """A call of the package's function, as a program writes it.

    Example:
        >>> as_python("train", {"resume": "runs/a"})
        "ostinato.train(resume='runs/a')"
    """
    return f"ostinato.{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


class UserError(ValueError):
    """Input that ostinato cannot use: the message says what was expected, what was found, and what to do.

    Where the message names an argument with `argument`, the command line writes the option in its place, and
    where it tells what to call with `call`, the command.

    Example:
        >>> raise UserError("expected a run folder, found an empty one: runs/a; train a model first")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a run folder, found an empty one: runs/a; train a model first
    """

    def __init__(self, message: str) -> None:
        super().__init__(without_marks(message))
        self._message = message

    def naming(
        self,
        name: Callable[[str], str],
        written: Callable[[str, Mapping[str, str]], str] = as_python,
    ) -> str:
        """The message, with each argument that it names as `name` calls it, and calls as `written` has them.

        Example:
            >>> error = UserError(f"expected {argument('leak_low')} below 1, found 'leak_low'")
            >>> error.naming(lambda name: "--" + name.replace("_", "-"))
            "expected --leak-low below 1, found 'leak_low'"
        """
        return named(self._message, name, written)


class MissingExtra(UserError, ImportError):
    """A library of an extra that is not installed; the message says what to install. See `needs`."""


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Stands around every import of a library that only an extra of the package brings.

    Args:
        extra: its name, as in `pip install 'ostinato[report]'`.

    Raises:
        MissingExtra: what is imported is not there, or cannot be used as it is.

    Example:
        >>> with needs("report"):
        ...     import no_lib
        Traceback (most recent call last):
        ...
        ostinato.errors.MissingExtra: the extra [report] is missing (no_lib); pip install 'ostinato[report]'
    """
    try:
        yield
    except ImportError as error:
        there = "is missing" if isinstance(error, ModuleNotFoundError) else "cannot be used"
        why = error.name if isinstance(error, ModuleNotFoundError) else str(error)
        raise MissingExtra(f"the extra [{extra}] {there} ({why}); pip install 'ostinato[{extra}]'") from error


def check_installed(extra: str, *modules: str) -> None:
    """A MissingExtra unless these modules of an extra can be imported: better before long work than after.

    Example:
        >>> check_installed("report", "json", "no_lib.charts")
        Traceback (most recent call last):
        ...
        ostinato.errors.MissingExtra: the extra [report] is missing (no_lib); pip install 'ostinato[report]'
    """
    for module in modules:
        with needs(extra):
            importlib.import_module(module)


def argument(name: str) -> str:
    """An argument's name for a UserError's message, told apart from the same word in a value or a file name.

    Example:
        >>> str(UserError(f"expected {argument('seed')} of at least 0, found -1"))
        'expected seed of at least 0, found -1'
    """
    return f"{_BEGIN}{name}{_END}"


def check_not_negative(name: str, value: object) -> None:
    """See that an argument is a finite number of at least 0.

    Raises:
        UserError: it is not.

    Example:
        >>> check_not_negative("checkpoint_seconds", float("nan"))
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected checkpoint_seconds as a finite number of at least 0, found nan
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:  # type: ignore[operator]
        raise UserError(f"expected {argument(name)} as a finite number of at least 0, found {value!r}")


# Of weights that logarithms of probabilities are multiplied by: their sums stay far from infinity.
MOST_WEIGHT = 1e9


def check_weight(name: str, value: float) -> None:
    """See that a weight in a sum of logarithms is finite, and that no such sum can be otherwise.

    Raises:
        UserError: it is not.

    Example:
        >>> check_weight("lm_weight", 1e308)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a finite lm_weight of at most 1e+09 in size, found 1e+308
    """
    if not abs(value) <= MOST_WEIGHT:
        raise UserError(
            f"expected a finite {argument(name)} of at most {MOST_WEIGHT:g} in size, found {value!r}"
        )


def flag(name: str, on: bool) -> str:
    """An argument that is true or false, with its value, for a UserError's message: on the command line
    --name or --no-name.

    Example:
        >>> str(UserError(f"there is nothing to repeat with {flag('metre', False)}"))
        'there is nothing to repeat with metre=False'
    """
    return argument(f"{name}={on}")


def call(function: str, **arguments: object) -> str:
    """A call that helps, for a UserError's message: Python's here, on the command line a command.

    Example:
        >>> str(UserError(f"found no model; go on with {call('train', resume='runs/a')}"))
        "found no model; go on with ostinato.train(resume='runs/a')"
    """
    parts = (f"{name}{_IS}{value}" for name, value in arguments.items())
    return f"{_CALL}{_NEXT.join((function, *parts))}{_END}"


def named(
    message: str,
    name: Callable[[str], str],
    written: Callable[[str, Mapping[str, str]], str] = as_python,
) -> str:
    """A message with each argument that it names, by `argument`, as `name` calls it, and calls, by `call`, as
    `written` has them.
    """

    def as_written(found: re.Match[str]) -> str:
        function, *parts = found[1].split(_NEXT)
        pairs = [part.split(_IS, 1) for part in parts]
        return written(function, dict(pairs))

    return _MARKED.sub(lambda found: name(found[1]), _CALLED.sub(as_written, message))


def without_marks(message: str) -> str:
    """A message as the library says it: what `argument` named, by its name.

    Example:
        >>> without_marks(f"{argument('seed')} has no effect")
        'seed has no effect'
    """
    return named(message, lambda name: name)


def near_names(name: str, known: Iterable[str]) -> str:
    """A hint naming the known names that look like `name`, or all of them when none does.

    Example:
        >>> near_names("notingham", ["jsb", "nottingham"])
        'did you mean nottingham?'
        >>> near_names("xyz", ["jsb", "bach"])
        'known: bach, jsb'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"


def no_such_data(expected: str, given: str, known: Iterable[str]) -> UserError:
    """The message for what is neither a data set's name nor a file that is there.

    Args:
        expected: what it should be.
        given: what was given.
        known: names of data sets.

    Example:
        >>> print(no_such_data("a data set or a text file", "notes.txt", ["ptb", "pydoc"]))
        expected a data set or a text file, found 'notes.txt': no such file; known: ptb, pydoc
        >>> print(no_such_data("a data set or a path", "notingham", ["jsb", "nottingham"]))
        expected a data set or a path, found 'notingham'; did you mean nottingham?
    """
    of_a_file = re.search(r"[./\\~]", given) is not None
    if of_a_file:
        return UserError(
            f"expected {expected}, found {given!r}: no such file; known: {', '.join(sorted(known))}"
        )
    return UserError(f"expected {expected}, found {given!r}; {near_names(given.lower(), known)}")
