"""The exception that means "the user can fix this": the command line prints it in one line, exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Input that ostinato cannot use: the message says what was expected, what was found, and what to do.

    Example:
        >>> raise UserError("expected a run folder, found an empty one: runs/a; train a model first")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a run folder, found an empty one: runs/a; train a model first
    """


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
