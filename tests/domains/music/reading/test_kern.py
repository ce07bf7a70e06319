import pytest

from ostinato.domains.music.reading import kern
from ostinato.errors import UserError


def file(*lines):
    return "\n".join(["**kern\t**kern", "*M2/4\t*M2/4", *(f"{line}\t{line}" for line in lines), "*-\t*-", ""])


def pitches(text, **options):
    (piece,) = kern.notes_of(text, **options)
    assert (piece.end > piece.start).all()
    first = piece.track == 0
    return piece.start[first].tolist(), piece.pitch[first].tolist()


PLAIN = ["=1", "4c", "4d", "=2:|!", "4e", "4f", "=3!|:", "4g", "4a", "=4:|!", "4b", "4cc", "=="]


def test_repeats_are_played_when_asked():
    text = file(*PLAIN)
    written = [60, 62, 64, 65, 67, 69, 71, 72]
    assert pitches(text) == ([*range(8)], written)
    start, found = pitches(text, repeats=True)
    assert found == [60, 62, 60, 62, 64, 65, 67, 69, 67, 69, 71, 72]
    assert start == [*range(12)]


def test_every_part_is_repeated_together():
    (piece,) = kern.notes_of(file(*PLAIN), repeats=True)
    assert piece.start[piece.track == 0].tolist() == piece.start[piece.track == 1].tolist()
    assert len(piece) == 24


def test_a_tie_within_a_repeat():
    text = file("=1", "4c", "[4d", "=2", "4d]", "4f", "=3:|!", "4g", "4a", "==")
    start, found = pitches(text, repeats=True)
    assert found == [60, 62, 65, 60, 62, 65, 67, 69]
    assert start == [0, 1, 3, 4, 5, 7, 8, 9]


def test_a_list_of_sections_is_refused_where_it_would_be_played():
    text = file(*PLAIN).replace("*M2/4\t*M2/4", "*>[A,A,B]\t*>[A,A,B]\n*M2/4\t*M2/4")
    assert len(pitches(text)[1]) == 8
    with pytest.raises(UserError, match="found a list of sections"):
        kern.notes_of(text, repeats=True)


def metres(text, **options):
    (piece,) = kern.notes_of(text, **options)
    return piece.marks.metres


def test_metres_are_played_again_with_their_bars():
    lines = ["=1", "4c", "4d", "*M3/4", "=2", "4e", "4f", "4g", "=3:|!", "4a", "4b", "4cc", "=="]
    text = file(*lines)
    assert metres(text) == ((0.0, 2, 4), (2.0, 3, 4))
    assert metres(text, repeats=True) == ((0.0, 2, 4), (2.0, 3, 4), (5.0, 2, 4), (7.0, 3, 4))


def test_whole_bars_after_an_incomplete_one_begin_where_they_are_written():
    text = file("=1", "4c", "4d", "=2", "4e", "=3", "4g", "4a", "=4", "4b", "4cc", "==")
    assert metres(text) == ((0.0, 2, 4), (3.0, 2, 4))
