from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.domains.music.bars import Bars, Metre
from ostinato.domains.music.notes import Marks, Notes
from ostinato.errors import UserError

METRES = st.sampled_from([(4, 4), (3, 4), (2, 2), (6, 8), (5, 8), (9, 16), (1, 4)])


@given(
    st.sampled_from([Fraction(0), Fraction(1, 2), Fraction(1, 3), Fraction(1)]),
    METRES,
    st.lists(st.tuples(st.fractions(Fraction(1, 4), 9, max_denominator=4), METRES), max_size=4),
    st.fractions(0, 40, max_denominator=12),
)
def test_every_moment_lies_where_counting_bar_lines_puts_it(pickup, first, changes, time) -> None:
    marks, now = [(Fraction(0), first)], pickup
    for after, metre in changes:
        now += after
        marks.append((now, metre))
    # one bar line after the other, in exact numbers
    metre, begin, bar = first, pickup, 1
    following = iter(marks[1:])
    change = next(following, None)
    while True:
        end = begin + Fraction(4 * metre[0], metre[1])
        if change is not None and change[0] <= end:
            end = change[0]
        if time < end:
            break
        if change is not None and change[0] == end:
            metre, change = change[1], next(following, None)
        begin, bar = end, bar + 1
    bars = Bars(float(pickup), tuple((float(at), *own) for at, own in marks))
    found = bars.place(float(time))
    if time < pickup:
        assert found.bar == 1 - -(-(pickup - time) // Fraction(4 * first[0], first[1]))
    else:
        assert found.bar == bar
        assert found.offset == pytest.approx(float(time - begin), abs=1e-6)
        assert found.metre == metre
        assert bars.begin(bar) == pytest.approx(float(begin))


def test_places_of_many_moments_are_those_of_each() -> None:
    bars = Bars(0.5, ((0.0, 6, 8), (6.5, 2, 4)))
    times = np.arange(0, 20, 1 / 12)
    places = bars.places(times)
    for time, bar, offset, k in zip(times, *places, strict=True):
        assert bars.place(time) == (bar, offset, bars.stretches[k].metre)


def test_a_third_of_a_beat_a_hair_before_the_bar_line_is_on_it() -> None:
    assert Bars().place(0.1 + 0.2 + 3.7 - 1e-15)[:2] == (2, 0.0)
    assert Bars().last(8.000000001) == 2


def test_without_a_metre_bars_have_four_quarters() -> None:
    assert Bars().place(5.0) == (2, 1.0, Metre(4, 4))


def test_the_first_metre_holds_before_it_is_said() -> None:
    assert Bars(metres=((6.0, 3, 4),)).place(3.5)[:2] == (2, 0.5)


@pytest.mark.parametrize(
    ("metres", "pickup"),
    [
        (((0.0, 1, 4), (1.0, 4, 4)), 1.0),
        (((0.0, 1, 8), (0.5, 6, 8)), 0.5),
        # two bars, a longer bar, and one that is not at the beginning
        (((0.0, 1, 4), (2.0, 4, 4)), 0.0),
        (((0.0, 4, 4), (4.0, 3, 4)), 0.0),
        (((4.0, 1, 4), (5.0, 4, 4)), 0.0),
    ],
)
def test_a_short_first_bar_of_midi_is_a_pickup(metres, pickup) -> None:
    piece = Notes(np.zeros(1), np.ones(1), np.array([60]), marks=Marks(metres=metres))
    assert Bars.of(piece).pickup == pickup


def test_a_bar_that_is_none() -> None:
    assert Bars(1.0).begin(0) == 0
    with pytest.raises(UserError, match="bar from 1 on, found 0"):
        Bars().begin(0)
    with pytest.raises(UserError, match="bar from 0 on, found -1"):
        Bars(1.0).begin(-1)


def test_bars_after_a_pickup_of_midi_have_the_metre_that_follows() -> None:
    bars = Bars(1.0, ((0.0, 1, 4), (1.0, 3, 4)))
    assert [bars.place(time)[:2] for time in (0, 1, 4)] == [(0, 2.0), (1, 0.0), (2, 0.0)]


def test_a_hair_before_a_change_of_metre_is_in_the_new_one() -> None:
    assert Bars(metres=((0.0, 4, 4), (2.0, 3, 4))).place(2 - 1e-9) == (2, 0.0, Metre(3, 4))
