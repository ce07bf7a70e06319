"""A book of tunes, line by line: where each tune begins and ends, and what its header says.

A tune begins with `X:` and ends with an empty line. What stands before the first tune is the file's header
and holds for all of them; other text between tunes is nobody's.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# a note or a rest before a repeat is none
FIELD = re.compile(r"(?![A-Ga-gzx]:[|:])([A-Za-z+]):(.*)", re.DOTALL)
_DIRECTIVE = re.compile(r"%%\s*(.*)")
# what a mail program leaves: at the end of a line "quoted-printable" for a blank, or for no end at all; and
# anywhere for an equals sign, which no digit can follow in ABC
_QUOTED, _EQUALS = re.compile(r"\s*=(?:20)?$"), "=3D"
_COMMENT = re.compile(r'(?:"[^"]*"|\\%|[^%"]|"(?![^"]*"))*')


@dataclass(frozen=True)
class Line:
    """A line of a tune.

    Arguments:
        number: of the line in its file, from 1.
        field: its letter if it is a field (`K`), `%` for a directive (`%%MIDI`), else empty: music.
        text: the rest of it.
    """

    number: int
    field: str
    text: str


@dataclass(frozen=True)
class Tune:
    """A tune's lines, with the file's header before its own; `number` is what `X:` says."""

    number: str
    lines: tuple[Line, ...]


def tunes(lines: Iterable[str]) -> Iterator[Tune]:
    """The tunes of a book, one after the other.

    Example:
        >>> book = ["M:3/4", "", "X:1", "K:C", "CDE|", "", "a song book", "", "X:7", "K:G", "GAB|"]
        >>> [(tune.number, len(tune.lines)) for tune in tunes(book)]
        [('1', 4), ('7', 4)]
    """
    head: list[Line] = []
    tune: list[Line] | None = None
    begun = False
    for line in _lines(lines):
        if line is None:
            if tune:
                yield _tune(head, tune)
            tune = None
        elif line.field == "X":
            if tune:  # the empty line between two tunes was forgotten
                yield _tune(head, tune)
            tune, begun = [line], True
        elif tune is not None:
            tune.append(line)
        elif not begun and line.field:
            head.append(line)
    if tune:
        yield _tune(head, tune)


def _tune(head: list[Line], own: list[Line]) -> Tune:
    return Tune(own[0].text.strip(), (*(line for line in head if line.field not in "XKVP"), *own))


def _lines(lines: Iterable[str]) -> Iterator[Line | None]:
    """Lines without comments; None for an empty one. Blocks of text for printing are left out."""
    block = ""
    for number, raw in enumerate(lines, start=1):
        text = _QUOTED.sub("", raw.rstrip()).replace(_EQUALS, "=")
        directive = _DIRECTIVE.match(text)
        words = directive[1].split(maxsplit=1) if directive else []
        if block:
            block = "" if words and words[0] == f"end{block}" else block
        elif words and words[0].startswith("begin"):
            block = words[0].removeprefix("begin")
        elif directive:
            yield Line(number, "%", directive[1])
        elif not text:
            yield None
        elif not text.lstrip().startswith("%"):
            yield _line(number, text)


def _line(number: int, text: str) -> Line:
    field = FIELD.match(text)
    if field is None:
        return Line(number, "", _uncommented(text))
    return Line(number, field[1], _uncommented(field[2]))


def _uncommented(text: str) -> str:
    if "%" not in text:
        return text
    found = _COMMENT.match(text)
    return text if found is None else found[0]
