"""All named data sets, whatever their kind, and the kind that files of one's own are.

A kind is a module of `ostinato.data` with these functions:

    names() -> names of its data sets, the default first
    listed(name) -> what one of them is and where it comes from, a `Listed`
    owns(path) -> whether a file or folder is of this kind
    load(name or path, **options) -> a data set
    describe(data) -> what is in it, as can be written as JSON

and with `OPTIONS`, those that `ostinato data show` passes to `load`.
"""

import importlib
from pathlib import Path
from typing import Any

from ostinato.data.listing import Listed
from ostinato.errors import UserError, near_names

# In the order of a listing. Imported when they are asked for: a task needs torch, a score does not.
KINDS = {"music": "ostinato.data.music", "text": "ostinato.data.text", "task": "ostinato.data.tasks"}


def module(kind: str) -> Any:
    """The module of a kind."""
    return importlib.import_module(KINDS[kind])


def names() -> tuple[str, ...]:
    """The names of all data sets.

    Example:
        >>> names()[:2], names()[-2:]
        (('bach', 'jsb'), ('temporal-order', 'memorization'))
    """
    return tuple(name for kind in KINDS for name in module(kind).names())


def listed(name: str) -> Listed:
    """What a named data set is, and where it comes from.

    Raises:
        UserError: there is none of this name; OSTINATO_DATA is no folder, or holds a wrong file of it.

    Example:
        >>> listed("pydok")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected the name of a data set, found 'pydok'; did you mean pydoc?
    """
    for kind in KINDS:
        if name in module(kind).names():
            found: Listed = module(kind).listed(name)
            return found
    raise UserError(f"expected the name of a data set, found {name!r}; {near_names(name.lower(), names())}")


def listing() -> list[Listed]:
    """Every named data set."""
    return [listed(name) for name in names()]


def kind_of(given: str) -> str:
    """The kind of a named data set, or of files; several files are separated by commas.

    The first kind that owns a path has it: a folder of scores may hold a text about them.

    Raises:
        UserError: no such name or path.

    Example:
        >>> kind_of("ptb"), kind_of("memorization")
        ('text', 'task')
    """
    if given in names():
        return next(kind for kind in KINDS if given in module(kind).names())
    paths = _paths(given)
    if not paths:
        hint = near_names(given.lower(), names())
        raise UserError(f"expected a data set or a path, found {given!r}; {hint}")
    owners = [kind for path in paths for kind in owned(path)]
    # What nobody owns goes to the first: its reader says what it found, and what it reads.
    return [*owners, *KINDS][0]


def owned(path: Path) -> list[str]:
    """The kinds that a file or folder is of, by the endings of names.

    Example:
        >>> owned(Path("song.mid")), owned(Path("notes.txt")), owned(Path("README.md"))
        (['music'], ['text'], [])
    """
    return [kind for kind in KINDS if module(kind).owns(path)]


def _paths(given: str) -> list[Path]:
    """The files or the folder that are named; none where one is missing."""
    try:
        for parts in ([given], given.split(",")):
            paths = [Path(part.strip()).expanduser() for part in parts if part.strip()]
            if paths and all(path.exists() or path.is_symlink() for path in paths):
                return paths
    except (OSError, ValueError, RuntimeError):  # a name too long, with a null character, of no user
        pass
    return []
