"""In which order bars are played: repeats, endings and parts. A bar is meant by its index.

A repeat without a beginning begins where the section before it ended, or at a double bar line since; the
first one begins with the tune. One without an end, before another begins, ends there. (So abc2midi plays
them.) A section with endings is played as often as its highest ending says, each pass with its own ending.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ostinato.errors import UserError

MOST_BARS = 100_000


class Bar(Protocol):
    """The signs of repetition at a bar's ends.

    Arguments:
        opens: dots of a repeat that begins here, 0 for none.
        closes: dots of a repeat that ends here.
        ending: the passes in which it is the first bar played of an ending; empty where it is of none.
        double: whether a double bar line, or the end of an ending, ends it.
        part: the label of the part it is in.
    """

    opens: int
    closes: int
    ending: tuple[int, ...]
    double: bool
    part: str


@dataclass
class _Ending:
    passes: tuple[int, ...]
    bars: list[int]
    closed: bool = False  # by :|


@dataclass
class _Section:
    """Bars that are repeated together: those of every pass, then endings with their passes."""

    bars: list[int] = field(default_factory=list)
    endings: list[_Ending] = field(default_factory=list)
    times: int = 1
    dots: int = 0
    opened: bool = False

    def played(self) -> list[int]:
        """The bars of all passes; there is another where :| ends an ending, or a later ending is for it."""
        if not self.endings:
            return self.bars * self.times
        order: list[int] = []
        last, closed = -1, True
        for one in range(1, max(max(ending.passes) for ending in self.endings) + 1):
            own = [k for k, ending in enumerate(self.endings) if one in ending.passes]
            if not closed and not any(k > last for k in own):
                break
            order += self.bars + [bar for k in own for bar in self.endings[k].bars]
            # a pass without an ending is one of the bars before them, which :| ended
            closed = all(self.endings[k].closed for k in own)
            last = max(own, default=last)
        return order


def order(bars: Sequence[Bar], parts: Sequence[str] = (), *, repeats: bool = True) -> list[int]:
    """The bars as they are played.

    Args:
        bars: of a voice.
        parts: labels in the order in which they are played; none: as they are written.
        repeats: whether repeats are played; else every bar is played once, all endings among them.

    Raises:
        UserError: a part is missing, or so much is repeated that it never ends.

    Example:
        >>> from types import SimpleNamespace
        >>> def bar(ending=(), closes=0):
        ...     return SimpleNamespace(opens=0, closes=closes, ending=ending, double=False, part="")
        >>> order([bar(), bar((1,), closes=1), bar((2,))])
        [0, 1, 0, 2]
    """
    if not repeats:
        return list(range(len(bars)))
    # where no part is marked, the words in the header are no order of parts
    if not any(bar.part in parts for bar in bars):
        return _played(bars, range(len(bars)))
    found: list[int] = _played(bars, [k for k, bar in enumerate(bars) if not bar.part])
    by_part = {label: [k for k, bar in enumerate(bars) if bar.part == label] for label in set(parts)}
    for label in parts:
        if not by_part[label]:
            raise UserError(f"expected a part {label}, as the order of the parts says; found none")
        found += _played(bars, by_part[label])
        _check_length(found)
    return found


def _played(bars: Sequence[Bar], indices: Sequence[int]) -> list[int]:
    found: list[int] = []
    for section in _sections(bars, indices):
        found += section.played()
        _check_length(found)
    return found


def _check_length(found: list[int]) -> None:
    if len(found) > MOST_BARS:
        raise UserError(f"is played in more than {MOST_BARS:,} bars, repeats included")


def _sections(bars: Sequence[Bar], indices: Sequence[int]) -> list[_Section]:
    """Cut at every repeat. A section is closed by its last ending's end, or by :| where it has no endings."""
    sections = [_Section()]
    closed = False  # by :|, so that only an ending may follow
    in_ending = False
    for k in indices:
        bar, current = bars[k], sections[-1]
        if bar.ending and (closed or in_ending or current.bars):
            current.endings.append(_Ending(bar.ending, [k]))
            in_ending = True
        elif closed or bar.opens:
            _leave_open(current, bar)
            sections.append(_Section([k], dots=bar.opens, opened=bool(bar.opens)))
            in_ending = False
        elif in_ending:
            current.endings[-1].bars.append(k)
        else:
            current.bars.append(k)
        closed = bool(bar.closes) or (bar.double and in_ending)
        if bar.closes and in_ending:
            sections[-1].endings[-1].closed = True
        elif bar.closes:
            sections[-1].times = max(2, min(bar.closes, sections[-1].dots or bar.closes) + 1)
        elif bar.double and not sections[-1].opened and not in_ending and len(sections) > 1:
            sections.append(_Section())
    return sections


def _leave_open(section: _Section, bar: Bar) -> None:
    """A repeat that was begun, but not ended before another begins, ends there."""
    if section.opened and bar.opens and section.times == 1 and not section.endings:
        section.times = 2


def part_order(text: str) -> tuple[str, ...]:
    """A P: field of a tune's header: the parts one after another.

    Raises:
        UserError: it is no order of parts.

    Example:
        >>> "".join(part_order("(AB)2C3"))
        'ABABCCC'
    """
    stack: list[list[str]] = [[]]
    last: list[str] = []
    sign = text.replace(" ", "").replace(".", "")
    position = 0
    while position < len(sign):
        one = sign[position]
        position += 1
        if one == "(":
            stack.append([])
        elif one == ")" and len(stack) > 1:
            last = stack.pop()
            stack[-1] += last
        elif one.isdecimal() and last:
            digits = one
            while position < len(sign) and sign[position].isdecimal():
                digits, position = digits + sign[position], position + 1
            if not 1 <= int(digits) * len(last) <= 10_000:
                raise UserError(f"expected an order of parts like AABB, found P:{text}")
            stack[-1] += last * (int(digits) - 1)
            last = []
        elif one.isalpha():
            last = [one]
            stack[-1] += last
        else:
            raise UserError(f"expected an order of parts like AABB, found P:{text}")
    if len(stack) > 1 or len(stack[0]) > 10_000:
        raise UserError(f"expected an order of parts like AABB, found P:{text}")
    return tuple(stack[0])
