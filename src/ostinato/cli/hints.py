"""Types of options, taken apart and put into words."""

import types
from typing import Any, Literal, Union, get_args, get_origin

_WORDS = {int: "a whole number", float: "a number", bool: "yes or no", str: "text"}


def parts_of(hint: Any) -> list[Any]:
    """What a union, or a list, is of, without None."""
    if get_origin(hint) in (Union, types.UnionType, list, tuple):
        return [part for own in get_args(hint) for part in parts_of(own)]
    return [] if hint in (type(None), Ellipsis) else [hint]


def choices_of(hint: Any) -> list[Any]:
    """The words that may be chosen."""
    return [c for part in parts_of(hint) if get_origin(part) is Literal for c in get_args(part)]


def in_words(hint: Any) -> str:
    """A type in words.

    Example:
        >>> in_words(float | Literal["auto", "none"] | None)
        'a number, auto or none'
    """
    words: list[str] = []
    for part in parts_of(hint):
        if get_origin(part) is Literal:
            words += map(str, get_args(part))
        else:
            words.append(_WORDS.get(part, getattr(part, "__name__", str(part))))
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1] if words else ""]))


def is_whole(hint: Any) -> bool:
    """Whether a number of a type is whole: of int, of int or a word, of a list of int.

    Example:
        >>> is_whole(int | Literal["auto"] | None), is_whole(list[int]), is_whole(int | float)
        (True, True, False)
    """
    return {part for part in parts_of(hint) if get_origin(part) is not Literal} == {int}
