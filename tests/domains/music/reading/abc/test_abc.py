import numpy as np
import pytest

from ostinato.domains.music.reading.abc import read_book
from ostinato.domains.music.reading.abc.book import tunes
from ostinato.errors import UserError

HEAD = "X:1\nM:4/4\nL:1/4\nK:C\n"
LETTERS = {60: "C", 62: "D", 64: "E", 65: "F", 67: "G", 69: "A", 71: "B", 72: "c", 74: "d", 76: "e"}


def one(text, **options):
    (tune,) = read_book(text, **options)
    assert not isinstance(tune, UserError), tune
    return tune


def played(body, head=HEAD, **options):
    """The letters of a tune's notes as they are played."""
    return "".join(LETTERS[pitch] for pitch in one(head + body, **options).pitch.tolist())


def fault(body, head=HEAD):
    (tune,) = read_book(head + body)
    assert isinstance(tune, UserError)
    assert "\n" not in str(tune)
    return str(tune)


# as abc2midi plays them
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("|:CD:|", "CDCD"),
        ("CD|:EF:|", "CDEFEF"),
        ("CD:|EF:|GA|", "CDCDEFEFGA"),
        ("CD::EF::GA:|", "CDCDEFEFGAGA"),
        ("CD:||:EF:|", "CDCDEFEF"),
        ("|:CD|1EF:|2GA:|", "CDEFCDGA"),
        ("|:CD[1EF:|[2GA|]", "CDEFCDGA"),
        ("|:CD|[1,3EF:|[2GA:|[4Bc|]", "CDEFCDGACDEFCDBc"),
        ("|:CD|[1,3EF:|[2GA|]B|", "CDEFCDGAB"),
        ("|:CD|1-2 EF:|3 GA|]", "CDEFCDEFCDGA"),
        ("|:CD|1EF:|2GA|:Bc|1de:|2cc|]", "CDEFCDGABcdeBccc"),
        ("CD||EF:|", "CDEFCDEF"),
        ("CD:|EF||GA:|", "CDCDEFGAGA"),
        ("|:CD|:EF:|", "CDCDEFEF"),
        ("|:CD|EF|", "CDEF"),
        ("|::CD::|", "CDCDCD"),
        ("CD::|EF|", "CDCDEF"),
        ("CD |\n1 EF:|\n2 GA|]", "CDEFCDGA"),
    ],
)
def test_repeats(body, expected):
    assert played(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("|:CDEF|GABc|\nA:|\ncBAG|FEDC|]", "CDEFGABcACDEFGABcAcBAGFEDC"),
        ("|:CDEF|GABc|\nc::\nAG|]", "CDEFGABccCDEFGABccAG"),
        ("|:CDEF|\nz:|\nc|]", "CDEFCDEFc"),
    ],
)
def test_a_line_that_begins_with_a_note_before_a_repeat_is_no_field(body, expected):
    assert played(body) == expected


def test_a_line_of_words_may_begin_with_a_bar_line():
    assert played("CD|EF|\nw:| la la\nGA|]") == "CDEFGA"


@pytest.mark.parametrize("directive", ["%%propagate-accidentals {}", "I:propagate-accidentals {}"])
@pytest.mark.parametrize(
    ("how", "pitches"),
    [
        ("not", [61, 72, 60, 60, 72, 72]),
        ("octave", [61, 72, 61, 60, 72, 72]),
        ("pitch", [61, 73, 61, 60, 72, 72]),
    ],
)
def test_accidentals_hold_as_the_tune_says(directive, how, pitches):
    head = HEAD.replace("K:", directive.format(how) + "\nK:")
    assert one(head + "^CcC|Ccc|]").pitch.tolist() == pitches


def test_accidentals_may_hold_otherwise_from_a_place_on_and_over_ties():
    body = "^CC|[I:propagate-accidentals not]^CC|^C-|CC|]"
    # the tied note is one, and keeps its accidental
    assert one(HEAD + body).pitch.tolist() == [61, 61, 61, 60, 61, 60]
    assert fault("[I:propagate-accidentals maybe]C|") == (
        "X:1, line 5: expected propagate-accidentals not, octave or pitch, found 'maybe'"
    )


@pytest.mark.parametrize(
    "head",
    [
        "K:D transpose=-2\n",
        "V:1 transpose=-2\nK:D\n",
        "%%MIDI transpose -2\nK:D\n",
        "K:D\nV:1 transpose=-2\n",
    ],
)
def test_the_key_of_a_transposed_tune_is_the_one_that_sounds(head):
    piece = one(f"X:1\nM:4/4\nL:1/4\n{head}DEFG|[K:A]A4|]")
    assert piece.pitch.tolist() == [60, 62, 64, 65, 67]
    assert piece.marks.keys == ((0.0, 0, False), (4.0, 1, False))


def test_repeats_as_written():
    assert played("|:CD|1EF:|2GA|]", repeats=False) == "CDEFGA"


def test_parts():
    head = HEAD.replace("K:C", "P:(AB)2A\nK:C")
    assert played("P:A\nCD|\nP:B\n|:E:|", head) == "CDEECDEECD"
    assert "part C" in fault("P:A\nC|", HEAD.replace("K:C", "P:AC\nK:C"))
    # words are no order of parts
    assert played("CD|", HEAD.replace("K:C", "P:Modern version\nK:C")) == "CD"


def test_voices_are_tracks():
    tune = one(HEAD + 'V:1 name="Violin"\nC2|\nV:2 octave=-1\nE|F|\nV:1\nD2|\n')
    assert tune.parts == ("Violin", "2")
    assert tune.track.tolist() == [1, 0, 1, 0]
    assert tune.pitch.tolist() == [52, 60, 53, 62]


def test_what_is_beside_the_notes():
    head = "X:7\nT:Tune\nT:second\nM:3/4\nL:1/8\nQ:3/8=80\nK:Am\n"
    tune = one(head + "A2|A6|[K:D][M:6/8]A6|[Q:1/4=60]A6|")
    assert (tune.title, tune.number, tune.pickup) == ("Tune", 7, 1.0)
    assert tune.marks.keys == ((0.0, 0, True), (4.0, 2, False))
    assert tune.marks.metres == ((0.0, 3, 4), (4.0, 6, 8))
    assert tune.marks.tempi == ((0.0, 120.0), (7.0, 60.0))


@pytest.mark.parametrize(
    "said",
    [
        "{gab}C",
        "!trill!C",
        ".C",
        "~C",
        "uvTC",
        '"^word"C',
        "(C)",
        "`C",
        "C y",
        "[r:word]C",
        "C *",
        "+fermata+C",
        "!C",
    ],
)
def test_what_does_not_sound(said):
    tune = one(HEAD + said + " E|")
    assert tune.pitch.tolist() == [60, 64]
    assert tune.start.tolist() == [0, 1]


def test_lines_that_are_no_music():
    body = "CD|\nw: do re\nW: words\n%%scale 1\nN:note\n%%begintext\nEEE\n%%endtext\n% EE\ns: !p!\nEF|"
    assert played(body) == "CDEF"


def test_accidentals_hold_in_their_bar_and_over_ties():
    assert one(HEAD + "^CcC,C|C").pitch.tolist() == [61, 73, 49, 61, 60]
    assert one(HEAD + "^C-|C C|").pitch.tolist() == [61, 60]
    assert one(HEAD + "[^C-E]|C2|").end.tolist() == [1, 3]


def test_lengths():
    ends = one(HEAD + "C2D/E//F///G3/2A/4B3|").end.tolist()
    assert np.diff([0, *ends]).tolist() == [2, 0.5, 0.25, 0.125, 1.5, 0.25, 3]


@pytest.mark.parametrize(("metre", "lasts"), [("4/4", 2), ("6/8", 3), ("9/8", 3), ("2/4", 2), ("none", 2)])
def test_five_in_the_time_of_two_or_three(metre, lasts):
    assert one(HEAD.replace("4/4", metre) + "(5CDEFG A|").start[-1] == pytest.approx(lasts)


def test_a_tie_does_not_reach_over_a_rest():
    assert one(HEAD + "C- z C|").end.tolist() == [1, 3]


def test_overlays_in_unison_have_a_tie_each():
    piece = one(HEAD + "C4-&C4-|C2D2&C4|\n")
    assert sorted(zip(piece.start, piece.end, piece.pitch, strict=True)) == [
        (0, 6, 60),
        (0, 8, 60),
        (6, 8, 62),
    ]


def test_overlays_of_several_bars():
    tune = one(HEAD + "C4|D4&&E4|F4|G4|")
    assert sorted(zip(tune.start.tolist(), tune.pitch.tolist(), strict=True)) == [
        (0, 60),
        (0, 64),
        (4, 62),
        (4, 65),
        (8, 67),
    ]


def test_chord_symbols():
    tune = one(HEAD + '"Am"C2"F"E2|"Fine"G4|', chords=True)
    assert tune.parts[-1] == "chords"
    own = tune.track == 1
    assert tune.pitch[own].tolist() == [57, 60, 64, 53, 57, 60]
    assert sorted(set(tune.end[own].tolist())) == [2, 8]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("C ^/D|", "quarter tone"),
        ("[CE|", "end of a chord"),
        ("C § D|", "which is not ABC"),
        ("C0|", "length above 0"),
        (">C|", "between two notes"),
        ("[K:Q]C|", "expected a key"),
        ("[M:x]C|", "expected a metre"),
        ("[L:0]C|", "expected a note length"),
        ("+CEG+|", "write [CEG]"),
        ("m:~C=DEF\n~C|", "macro"),
        ("C,,,,,,,,|", "which MIDI has not"),
        ("(9999C|", "tuplet"),
        ("[V:1 octave=x]C|", "whole number"),
    ],
)
def test_what_is_not_abc_is_one_line_that_names_its_own(body, expected):
    assert expected in fault(body)
    assert "X:1, line 5" in fault(body)


def test_a_tune_that_cannot_be_read_costs_itself():
    book = "X:1\nK:C\nC|\n\nX:2\nK:Q\nC|\n\nX:3\nK:C\nD|\n"
    first, second, third = read_book(book)
    assert str(second) == "X:2, line 6: expected a key like G, Am or D dorian, found K:Q"
    assert (first.number, third.number) == (1, 3)


def test_the_header_of_a_book_holds_for_its_tunes():
    book = "M:3/4\nL:1/4\n\nX:1\nK:C\nC|\n\nWords between tunes.\n\nX:2\nL:1/8\nK:C\nC|\n"
    lengths = [tune.end[0] for tune in read_book(book)]
    assert lengths == [1.0, 0.5]


def test_tunes_are_found_one_by_one():
    def book():
        yield from ("X:1", "K:C", "C|", "", "X:2")
        raise AssertionError("read on")

    assert next(tunes(book())).number == "1"


def test_lines_as_mail_left_them():
    assert played("CD =\nEF |=20\n") == "CDEF"
    assert played("E=3DF|\n", HEAD.replace("K:C", "K:G")) == "EF"  # the sign of a natural
