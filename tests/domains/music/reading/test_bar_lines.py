"""Bars are counted as a file's bar lines say, after incomplete and overlong ones too."""

from fractions import Fraction
from itertools import accumulate

import pytest

from ostinato.domains.music.bars import Bars
from ostinato.domains.music.reading import abc, musicxml
from ostinato.domains.music.reading.bar_lines import signatures

FOUR = [(Fraction(0), 4, 4)]


def counted(lengths, written=FOUR, pickup=0):
    ends = list(accumulate(map(Fraction, lengths)))
    bars = [(end - Fraction(length), Fraction(length)) for end, length in zip(ends, lengths, strict=True)]
    return Bars(float(pickup), signatures(written, bars, Fraction(pickup)))


@pytest.mark.parametrize(
    ("lengths", "pickup", "begins"),
    [
        ([4, 4, 4], 0, [0, 4, 8]),
        ([4, 2, 4, 4], 0, [0, 4, 6, 10]),
        ([1, 4, 3, 1, 4, 4], 1, [1, 5, 9, 13]),  # bars before and after a repeat are one
        ([1, 4, 4, 1, 4], 1, [1, 5, 9, 10]),  # a repeat's own pickup, which nothing before it makes whole
        ([4, 5, 4], 0, [0, 4, 9]),
        ([4, 8, 4], 0, [0, 4, 8, 12]),
        ([4, 2, 8, 4], 0, [0, 4, 6, 10, 14]),
        ([4, "25/6", 4], 0, [0, 4, 8, "49/6"]),  # a length that no signature has
        ([2, 4, 4], 0, [0, 2, 6]),
    ],
)
def test_whole_bars_begin_where_they_are_written(lengths, pickup, begins):
    bars = counted(lengths, pickup=pickup)
    assert [bars.begin(k) for k in range(1, len(begins) + 1)] == [float(Fraction(b)) for b in begins]


def test_nothing_is_added_where_bars_are_as_long_as_signatures_say():
    written = [(Fraction(0), 4, 4), (Fraction(8), 3, 4)]
    assert counted([4, 4, 3, 3], written).metres == ((0.0, 4, 4), (8.0, 3, 4))
    assert counted([2, 3, 3], []).metres == ()


def test_a_signature_within_a_bar_begins_one():
    written = [(Fraction(0), 4, 4), (Fraction(6), 3, 4)]
    assert counted([4, 4, 3], written).metres == ((0.0, 4, 4), (6.0, 3, 4), (8.0, 3, 4))


def test_bars_of_abc_after_an_incomplete_one():
    (tune,) = abc.read_book("X:1\nM:4/4\nL:1/4\nK:C\nCDEF|CD|GABc|cABc|]")
    bars = Bars.of(tune)
    assert [bars.place(float(t))[:2] for t in tune.start[[4, 5, 6, 10]]] == [(2, 0), (2, 1), (3, 0), (4, 0)]
    # the repeat is played: its pickup ends the bar before it
    (tune,) = abc.read_book("X:1\nM:4/4\nL:1/4\nK:C\nE|:CDEF|GFE:|CDEF|]")
    assert Bars.of(tune).metres == ((0.0, 4, 4), (8.0, 4, 4), (15.0, 4, 4))


def test_bars_of_musicxml_after_an_incomplete_one():
    def measure(count, inside=""):
        note = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration></note>"
        return f"<measure>{inside}{count * note}</measure>"

    time = "<time><beats>4</beats><beat-type>4</beat-type></time>"
    head = f"<attributes><divisions>1</divisions>{time}</attributes>"
    body = measure(4, head) + measure(2) + measure(4) + measure(5) + measure(4)
    text = f"<score-partwise><part-list/><part id='P1'>{body}</part></score-partwise>"
    notes = musicxml.notes_of(text.encode())
    bars = Bars.of(notes)
    assert [bars.begin(k) for k in range(1, 6)] == [0, 4, 6, 10, 15]
    assert [str(bars.place(t).metre) for t in (6, 10, 15)] == ["4/4", "5/4", "4/4"]
