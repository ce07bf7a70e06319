"""All named data sets, whatever their kind, and the kind that files of one's own are.

A domain's declaration names a module with its data sets (`data_sets`; words and characters share one), which
has these functions:

    names() -> names of its data sets, the default first
    listed(name) -> what one of them is and where it comes from, a `Listed`
    owns(path) -> whether a file or folder is of this kind
    load(name or path, **options) -> a data set; options as the domain declares them for `data show`
    describe(data) -> what is in it, as can be written as JSON
    described(found) -> the same for people, parts of an answer
    content(data) -> how much there is, in words
    draw(data, path) -> write a picture, where the domain declares an option `out`
"""

import importlib
from pathlib import Path
from typing import Any

from ostinato.data.listing import Listed
from ostinato.domains.declared import DomainDeclared
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, near_names, no_such_data


def kinds() -> list[DomainDeclared]:
    """The first domain of every family that has data sets, in the order of a listing.

    Example:
        >>> [kind.family for kind in kinds()]
        ['music', 'text', 'delays', 'series']
    """
    found: dict[str, DomainDeclared] = {}
    for declared in DOMAINS.entries():
        if declared.data_sets:
            found.setdefault(declared.family, declared)
    return list(found.values())


def module(kind: DomainDeclared) -> Any:
    """The module with a kind's data sets, imported when it is asked for: some need PyTorch."""
    return importlib.import_module(kind.data_sets)


def names() -> tuple[str, ...]:
    """The names of all data sets.

    Example:
        >>> names()[:2], names()[-2:]
        (('bach', 'jsb'), ('mackey-glass', 'lorenz'))
    """
    return tuple(name for kind in kinds() for name in module(kind).names())


def of_name(name: str) -> DomainDeclared | None:
    """The kind of a named data set; None where no data set has this name."""
    return next((kind for kind in kinds() if name in kind.names), None)


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
    kind = of_name(name)
    if kind is None:
        hint = near_names(name.lower(), names())
        raise UserError(f"expected the name of a data set, found {name!r}; {hint}")
    found: Listed = module(kind).listed(name)
    return found


def listing() -> list[Listed]:
    """Every named data set."""
    return [listed(name) for name in names()]


def kind_of(given: str) -> DomainDeclared:
    """The kind of a named data set, or of files; several files are separated by commas.

    The first kind that owns a path has it: a folder of scores may hold a text about them.

    Raises:
        UserError: no such name or path.

    Example:
        >>> kind_of("ptb").family, kind_of("memorization").family
        ('text', 'delays')
    """
    named = of_name(given)
    if named is not None:
        return named
    paths = _paths(given)
    if not paths:
        raise no_such_data("a data set or a path", given, names())
    owners = [kind for path in paths for kind in owned(path)]
    # What nobody owns goes to the first: its reader says what it found, and what it reads.
    return [*owners, *kinds()][0]


def found_again(data: str) -> str:
    """A data set's name as it is; files, several separated by commas, by their absolute paths.

    Example:
        >>> found_again("jsb"), found_again("no such file")
        ('jsb', 'no such file')
    """
    if any(data in declared.names for declared in DOMAINS.entries()):
        return data  # also where it is a file's name too
    paths = _paths(data)
    # a pipe has no name of its own
    names = (path.absolute() if path.is_fifo() else path.resolve() for path in paths)
    return ",".join(map(str, names)) or data


def owned(path: Path) -> list[DomainDeclared]:
    """The kinds that a file or folder is of, by the endings of names.

    Example:
        >>> [kind.family for kind in owned(Path("song.mid"))], owned(Path("README.md"))
        (['music'], [])
    """
    return [kind for kind in kinds() if module(kind).owns(path)]


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
