"""A line of ABC music as tokens: the signs of the standard, one after the other."""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from ostinato.errors import UserError

_LENGTH = r"\d*/*\d*"
_SIGNS = {
    # what separates, what is for the eye, and what the standard reserves and lets programs ignore
    "space": r"[\s`*;?@#$\\]+",
    "note": rf"(?:\^{{1,2}}|_{{1,2}}|=)?(?:\d*/+\d*)?[A-Ga-g][,']*{_LENGTH}",
    "broken": r"[<>]+",
    # [| and |] are thick lines, and a line may have any number of dots
    "bar": r"\.?(?:\[\||\|\]?|:(?=[:|])|(?<=[:|\]]):)+",
    "ending": r"\[\s*\d+(?:\s*[,\-]\s*\d+)*\.?",
    "inline": r"\[[A-Za-z]:[^\]]*\]",
    "rest": rf"[zxZX]{_LENGTH}",
    "tuplet": r"\((?=\d)\d+(?::\d*){0,2}",
    "tie": r"\.?-",
    "open": r"\[",
    "close": rf"\]{_LENGTH}",
    "string": r'"[^"]*"',
    "grace": r"\{[^}]*\}",
    "overlay": r"\(?&+\)?",
    # decorations leave the written note as it is; y is a space for the eye
    "decoration": rf"![^!\s|]*!|\+[^+\s|]*\+|[~.H-WYh-w!]|y{_LENGTH}",
    "slur": r"\.?\(|&\)|\)",
    "dots": r":",
}
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _SIGNS.items()))
_OLD_CHORD = re.compile(r"\+[A-Ga-g^_=,'\d/]{2,}\+")
_AFTER_BAR = re.compile(r"\s*(\d+(?:\s*[,\-]\s*\d+)*)\.?")
_NOTE = re.compile(rf"(\^{{1,2}}|_{{1,2}}|=)?(\d*/+\d*)?([A-Ga-g])([,']*)({_LENGTH})")


class Token(NamedTuple):
    """A sign: its kind, as in `tokens`, and its text."""

    kind: str
    text: str


def tokens(text: str, *, after_bar: bool = False) -> Iterator[Token]:
    """The signs of a line. An ending is "1", "1-3" or "1,3" whether it was written `[1` or `|1`.

    Args:
        text: the line.
        after_bar: whether the line before it ended with a bar line, so that a number is an ending's.

    Raises:
        UserError: there is a sign that ABC has not.

    Example:
        >>> [token.kind for token in tokens("|: [CE]2 (3DEF G>A :|2 c4 |]")]
        ['bar', 'open', 'note', 'note', 'close', 'tuplet', 'note', 'note', 'note', 'note', 'broken', 'note', \
'bar', 'ending', 'note', 'bar']
    """
    position = 0
    if after_bar and (number := _AFTER_BAR.match(text)):
        position = number.end()
        yield Token("ending", number[1])
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise UserError(f"found {text[position : position + 10]!r}, which is not ABC")
        kind, sign, position = found.lastgroup or "", found[0], found.end()
        if _OLD_CHORD.fullmatch(sign):
            raise UserError(f"found {sign}, a chord as before version 2 of ABC; write [{sign[1:-1]}]")
        if kind in ("space", "grace", "decoration", "slur", "dots"):
            continue
        if kind == "ending":
            sign = sign.strip("[. \t")
        yield Token(kind, sign)
        if kind == "bar" and (after := _AFTER_BAR.match(text, position)):
            position = after.end()
            yield Token("ending", after[1])


class Written(NamedTuple):
    """A note as written: accidental ("" for none), letter, octaves above middle C's, length in units."""

    accidental: str
    letter: str
    octave: int
    length: Fraction


@lru_cache(maxsize=4096)
def note(sign: str) -> Written:
    """The note of a token.

    Raises:
        UserError: it is between two keys of the piano.

    Example:
        >>> note("^c'3/2")
        Written(accidental='^', letter='C', octave=2, length=Fraction(3, 2))
    """
    found = _NOTE.fullmatch(sign)
    assert found is not None
    accidental, fraction, letter, marks, times = found.groups()
    if fraction:
        raise UserError(f"found the quarter tone {sign}, which a piano has not")
    octave = letter.islower() + marks.count("'") - marks.count(",")
    return Written(accidental or "", letter.upper(), octave, length(times))


@lru_cache(maxsize=1024)
def length(text: str) -> Fraction:
    """A length as written, times the unit note length.

    Raises:
        UserError: it is divided by zero.

    Example:
        >>> length(""), length("3/"), length("//"), length("3/4")
        (Fraction(1, 1), Fraction(3, 2), Fraction(1, 4), Fraction(3, 4))
    """
    above, slashes, below = re.fullmatch(r"(\d*)(/*)(\d*)", text).groups()  # type: ignore[union-attr]
    divisor = int(below) if below else 2 ** len(slashes)
    if not divisor or (above and not int(above)):
        raise UserError(f"expected a length above 0, found {text!r}")
    return Fraction(int(above or 1), divisor)


def numbers(ending: str) -> tuple[int, ...]:
    """The passes that an ending is played in.

    Example:
        >>> numbers("1-3"), numbers("1,3")
        ((1, 2, 3), (1, 3))
    """
    found: list[int] = []
    for part in ending.split(","):
        first, _, last = part.strip().partition("-")
        found += range(int(first), int(last or first) + 1)
    if not found or max(found) > 99:
        raise UserError(f"expected endings like 1 or 1-3, found {ending}")
    return tuple(found)
