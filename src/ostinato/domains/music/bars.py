"""The bars of a piece: where each begins, what metre it has, and where in it a moment lies.

Times are in quarter notes from the piece's beginning, as in `Notes`. Shapes: N moments.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ostinato.domains.music.notes import Notes
from ostinato.errors import UserError

# Times such as thirds are floating point: what is nearer to a bar line than this is on it.
_ON_THE_LINE = 1e-6


class Metre(NamedTuple):
    """A time signature: so many beats, of which a whole note has `unit`.

    Example:
        >>> Metre(3, 4).bar, Metre(6, 8).bar, Metre(6, 8).pulse, Metre(3, 8).pulse
        (3.0, 3.0, 1.5, 0.5)
    """

    beats: int = 4
    unit: int = 4

    @property
    def bar(self) -> float:
        """Quarter notes of a bar."""
        return 4 * self.beats / self.unit

    @property
    def pulse(self) -> float:
        """Quarter notes of what is felt as a beat: three units in compound metres (6/8, 12/16), else one."""
        compound = self.unit >= 8 and self.beats > 3 and self.beats % 3 == 0
        return 4 * (3 if compound else 1) / self.unit

    def __str__(self) -> str:
        return f"{self.beats}/{self.unit}"


class Place(NamedTuple):
    """Where a moment lies: number of its bar, quarter notes since the bar line, the bar's metre.

    In bar 0, a pickup, `offset` is counted from where the whole bar would have begun.
    """

    bar: int
    offset: float
    metre: Metre


class Places(NamedTuple):
    """`Place` of N moments: bar (N,) int, offset (N,) and index of the metre in `Bars.stretches` (N,) int."""

    bar: np.ndarray
    offset: np.ndarray
    stretch: np.ndarray


class Stretch(NamedTuple):
    """Bars of one metre: where the first of them begins, its number, the metre."""

    begin: float
    number: int
    metre: Metre


@dataclass(frozen=True)
class Bars:
    """The bar structure of a piece, which all that counts bars or beats shares.

    A piece begins with bar 1, or, where `pickup` is not 0, with the incomplete bar 0. A time signature begins
    a bar, also in the middle of one. The first holds from the beginning; without any, bars have four
    quarters.

    Arguments:
        pickup: length of bar 0.
        metres: (time, beats, unit), as in `Marks`.

    Example:
        >>> bars = Bars(pickup=1.0, metres=((0.0, 3, 4), (7.0, 6, 8)))
        >>> [tuple(bars.place(time)[:2]) for time in (0.0, 1.0, 5.5, 7.0, 10.5)]
        [(0, 2.0), (1, 0.0), (2, 1.5), (3, 0.0), (4, 0.5)]
        >>> bars.begin(0), bars.begin(2), bars.begin(4), str(bars.place(8).metre)
        (0.0, 4.0, 10.0, '6/8')
    """

    pickup: float = 0.0
    metres: tuple[tuple[float, int, int], ...] = ()

    @classmethod
    def of(cls, notes: Notes) -> "Bars":
        """The bars of a piece.

        MIDI has no pickups, and programs write one as a bar of a shorter metre: a first metre that lasts one
        bar, and is shorter than the one after it, is bar 0.

        Example:
            >>> from ostinato.domains.music.notes import Marks
            >>> marks = Marks(metres=((0.0, 1, 4), (1.0, 4, 4)))
            >>> Bars.of(Notes(np.zeros(1), np.ones(1), np.array([60]), marks=marks)).pickup
            1.0
        """
        pickup, metres = notes.pickup, notes.marks.metres
        if not pickup and len(metres) > 1 and metres[0][0] == 0:
            first, second = (Metre(*metre[1:]) for metre in metres[:2])
            if abs(metres[1][0] - first.bar) <= _ON_THE_LINE and first.bar < second.bar:
                pickup = first.bar
        return cls(pickup, metres)

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """The bars by metre, from bar 1 on; the first metre holds for bar 0, too."""
        before = [Metre(*rest) for time, *rest in self.metres if time <= self.pickup + _ON_THE_LINE]
        after = [(time, Metre(*rest)) for time, *rest in self.metres if time > self.pickup + _ON_THE_LINE]
        first = before[-1] if before else after[0][1] if after else Metre()
        found = [Stretch(self.pickup, 1, first)]
        for time, metre in after:
            begin, number, last = found[-1]
            bars = math.ceil((time - begin) / last.bar - _ON_THE_LINE)
            found.append(Stretch(time, number + bars, metre))
        return tuple(found)

    def places(self, times: np.ndarray) -> Places:
        """Where moments lie, (N,)."""
        times = np.asarray(times, dtype=float)
        begins = np.array([stretch.begin for stretch in self.stretches])
        chosen = np.maximum(np.searchsorted(begins, times + _ON_THE_LINE, side="right") - 1, 0)
        lengths = np.array([stretch.metre.bar for stretch in self.stretches])[chosen]
        numbers = np.array([stretch.number for stretch in self.stretches])[chosen]
        since = times - begins[chosen]
        bars = np.floor((since + _ON_THE_LINE) / lengths)
        # neither a hair before the bar line, nor the whole of many bars' rounding
        offsets = np.maximum(np.round(since - bars * lengths, 6), 0.0)
        return Places(numbers + bars.astype(int), offsets, chosen)

    def place(self, time: float) -> Place:
        """Where a moment lies."""
        bar, offset, chosen = (column[0] for column in self.places(np.array([time])))
        return Place(int(bar), float(offset), self.stretches[chosen].metre)

    def begin(self, bar: int) -> float:
        """Where a bar begins; bar 0 where the piece does.

        Raises:
            UserError: there is no such bar, as 0 without a pickup.
        """
        if bar < (0 if self.pickup else 1):
            raise UserError(f"expected a bar from {0 if self.pickup else 1} on, found {bar}")
        if bar == 0:
            return 0.0
        stretch = next(one for one in reversed(self.stretches) if one.number <= bar)
        return stretch.begin + (bar - stretch.number) * stretch.metre.bar

    def last(self, end: float) -> int:
        """Number of the bar in which a piece that ends at `end` ends.

        Example:
            >>> Bars().last(8.0), Bars().last(8.5)
            (2, 3)
        """
        return max(self.place(end - 2 * _ON_THE_LINE).bar, 0 if self.pickup else 1)


COMMON_TIME = Bars()
