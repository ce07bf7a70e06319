"""Bar lines of a notated piece -> time signatures by which `Bars` counts its bars as they are written.

`Bars` knows lengths of bars by time signatures alone, and a signature begins a bar. Where bar lines do not
agree with that, signatures are added. Times are in quarter notes, exact.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

#: Time, beats, unit.
Signature = tuple[Fraction, int, int]

_MOST_BEATS = 99


def signatures(
    written: Sequence[Signature], bars: Iterable[tuple[Fraction, Fraction]], pickup: Fraction
) -> tuple[tuple[float, int, int], ...]:
    """The time signatures of a piece, as in `Marks`, and one more wherever bar lines have left their count.

    A whole bar that begins where none would, after an incomplete one, begins anew with the same signature.
    Incomplete bars that are a whole one together, as those before and after a repeat, are one. A bar that is
    too long has a signature of its own, as far as there is one; twice as long as it should be, it is two.

    Args:
        written: in the order of time, of one time the last one counts.
        bars: (begin, length) of the bars in the order in which they are played.
        pickup: the length of the incomplete first bar, or 0.

    Example:
        >>> lengths = [1, 4, 2, 4, 5, 4]
        >>> bars = [(Fraction(sum(lengths[:k])), Fraction(length)) for k, length in enumerate(lengths)]
        >>> [(int(time), beats) for time, beats, _ in signatures([(Fraction(0), 4, 4)], bars, Fraction(1))]
        [(0, 4), (7, 4), (11, 5), (16, 4)]
    """
    waiting: list[Signature] = []
    for one in sorted({one[0]: one for one in written}.values()):
        if not waiting or waiting[-1][1:] != one[1:]:
            waiting.append(one)
    if not waiting:
        return ()
    found: list[Signature] = []
    own, begin = waiting[0][1:], pickup
    count = own  # the signature by which bars are counted from `begin` on
    for time, length in bars:
        while waiting and waiting[0][0] < time + length:
            found.append(waiting.pop(0))
            own = count = found[-1][1:]
            # one within the bar begins a bar there
            begin = max(found[-1][0], pickup)
        if time < max(begin, pickup):
            continue
        right = _signature(length, own)
        if right is not None and (right != count or (time - begin) % _length(count)):
            if found and found[-1][0] == time:
                found.pop()
            found.append((time, *right))
            begin, count = time, right
    return tuple((float(time), beats, unit) for time, beats, unit in found + waiting)


def _length(signature: tuple[int, int]) -> Fraction:
    return Fraction(4 * signature[0], signature[1])


def _signature(length: Fraction, own: tuple[int, int]) -> tuple[int, int] | None:
    """What a bar of a length should be counted by; None for whatever holds."""
    if length < _length(own):
        return None
    beats = length * own[1] / 4
    is_one = beats.denominator == 1 and beats <= _MOST_BEATS and beats % own[0]
    return (int(beats), own[1]) if is_one else own
