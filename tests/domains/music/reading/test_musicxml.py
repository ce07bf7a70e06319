from xml.etree.ElementTree import fromstring

import pytest

from ostinato.domains.music.reading import harmony as kinds
from ostinato.domains.music.reading import musicxml
from ostinato.errors import UserError


def note(step, octave=4, duration=1, inside="", attributes=""):
    pitch = f"<pitch><step>{step[0]}</step>{alter(step)}<octave>{octave}</octave></pitch>"
    order = inside if "<grace/>" in inside or "<chord/>" in inside or "<cue/>" in inside else ""
    lasts = "" if "<grace/>" in inside else f"<duration>{duration}</duration>"
    return f"<note {attributes}>{order}{pitch}{lasts}{'' if order else inside}</note>"


def alter(step):
    return f"<alter>{step[1:]}</alter>" if step[1:] else ""


REST = "<note><rest/><duration>1</duration></note>"
TIME = "<time><beats>4</beats><beat-type>4</beat-type></time>"


def score(*parts, divisions=1, attributes=TIME, names=()):
    """A file of parts; a part is a list of what is in its measures."""
    lists = "".join(
        f'<score-part id="P{k}"><part-name>{names[k] if names else k}</part-name></score-part>'
        for k in range(len(parts))
    )
    head = f"<attributes><divisions>{divisions}</divisions>{attributes}</attributes>"
    bodies = "".join(
        f'<part id="P{k}">'
        + "".join(
            f'<measure number="{n}">{head if n == 0 else ""}{body}</measure>' for n, body in enumerate(part)
        )
        + "</part>"
        for k, part in enumerate(parts)
    )
    return f"<score-partwise><part-list>{lists}</part-list>{bodies}</score-partwise>".encode()


def rows(data, **options):
    notes = musicxml.notes_of(data, **options)
    return list(zip(notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), strict=True))


def test_chords_voices_and_positions():
    body = (
        note("C")
        + note("E", inside="<chord/>")
        + note("G", duration=2)
        + "<backup><duration>3</duration></backup><forward><duration>1</duration></forward>"
        + note("C", octave=3, duration=2, inside="<voice>2</voice>")
    )
    assert rows(score([body])) == [(0, 1, 60), (0, 1, 64), (1, 3, 48), (1, 3, 67)]
    assert musicxml.notes_of(score([body])).voice.tolist() == [-1, -1, 2, -1]


def test_ties_are_one_note():
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    bars = [note("C", duration=4, inside=start), note("C", duration=1, inside=stop) + note("C")]
    assert rows(score(bars)) == [(0, 5, 60), (5, 6, 60)]
    notations = [note("C", inside='<notations><tied type="start"/></notations>')]
    assert rows(score([notations[0] + note("C", inside='<notations><tied type="stop"/></notations>')])) == [
        (0, 2, 60)
    ]


def test_a_tie_that_nothing_takes_up_joins_nothing():
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    tied = note("E", inside=start) + note("E", inside=stop)
    loose = note("C", inside=start)
    assert rows(score([loose + note("C") + tied])) == [(0, 1, 60), (1, 2, 60), (2, 4, 64)]
    assert rows(score([loose + note("D") + note("C")])) == [(0, 1, 60), (1, 2, 62), (2, 3, 60)]


def test_two_voices_in_unison_have_a_tie_each():
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    back = "<backup><duration>1</duration></backup>"

    def voice(number, tie):
        return note("C", inside=f"{tie}<voice>{number}</voice>")

    bars = [voice(1, start) + back + voice(3, start), voice(1, stop) + back + voice(3, stop)]
    assert rows(score(bars)) == [(0, 2, 60), (0, 2, 60)]
    # a tie that crosses to another voice is taken up too
    assert rows(score([voice(1, start), voice(2, stop)])) == [(0, 2, 60)]


def test_where_no_tie_of_a_file_has_an_end_the_next_note_takes_it_up():
    loose = note("C", inside='<tie type="start"/>')
    assert rows(score([loose + note("C") + note("C")])) == [(0, 2, 60), (2, 3, 60)]


def test_a_shorter_voice_does_not_shorten_its_bar():
    back = "<backup><duration>4</duration></backup>"
    assert rows(score([note("C", duration=4) + back + note("E"), note("D")]))[-1] == (4, 5, 62)


def test_grace_notes_and_drums_are_silent():
    drum = "<note><unpitched/><duration>1</duration></note>"
    assert rows(score([note("D", inside="<grace/>") + note("C") + drum + note("E")])) == [
        (0, 1, 60),
        (2, 3, 64),
    ]


def test_a_bar_is_as_long_as_its_longest_part():
    assert rows(score([note("C"), note("D")], [note("E") + note("F", duration=2), note("G")])) == [
        (0, 1, 60),
        (0, 1, 64),
        (1, 3, 65),
        (3, 4, 62),
        (3, 4, 67),
    ]


def test_an_empty_bar_is_as_long_as_the_metre_says():
    assert rows(score([note("C", duration=4), "", note("D")])) == [(0, 4, 60), (8, 9, 62)]


def test_divisions_are_exact():
    bars = "".join(note("C", duration=2) for _ in range(7))
    starts = [start for start, _, _ in rows(score([bars], divisions=7))]
    assert starts == [2 * k / 7 for k in range(7)]


def test_transposing_instruments():
    low = "<transpose><chromatic>-2</chromatic><octave-change>-1</octave-change></transpose>"
    assert rows(score([note("C1")], attributes=low)) == [(0, 1, 47)]


@pytest.mark.parametrize(
    ("fifths", "chromatic", "sounding"), [(2, -2, 0), (3, -9, 0), (0, 12, 0), (1, 3, -2), (-7, -2, 3)]
)
def test_the_key_of_a_transposing_instrument_is_the_one_that_sounds(fifths, chromatic, sounding):
    more = (
        f"<key><fifths>{fifths}</fifths></key>{TIME}<transpose><chromatic>{chromatic}</chromatic></transpose>"
    )
    piece = musicxml.notes_of(score([note("D")], attributes=more))
    assert piece.marks.keys == ((0.0, sounding, False),)


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        ("<beat-unit>quarter</beat-unit><per-minute>66</per-minute>", 66),
        ("<beat-unit>quarter</beat-unit><beat-unit-dot/><per-minute>ca. 60</per-minute>", 90),
        ("<beat-unit>half</beat-unit><per-minute>50.5</per-minute>", 101),
        ("<beat-unit>quarter</beat-unit><beat-unit>eighth</beat-unit>", None),
        ("<beat-unit>quarter</beat-unit><per-minute>fast</per-minute>", None),
    ],
)
def test_a_metronome_s_mark_is_a_tempo_where_nothing_is_said_of_sound(words, rate):
    mark = f"<direction><direction-type><metronome>{words}</metronome></direction-type>{{}}</direction>"
    piece = musicxml.notes_of(score([mark.format("") + note("D")]))
    assert piece.marks.tempi == (() if rate is None else ((0.0, rate),))
    said = musicxml.notes_of(score([mark.format('<sound tempo="72"/>') + note("D")]))
    assert said.marks.tempi == ((0.0, 72.0),)


def repeat(direction, side="right", times=2):
    return f'<barline location="{side}"><repeat direction="{direction}" times="{times}"/></barline>'


def test_repeats_only_when_asked():
    bars = [note("C"), note("D") + repeat("backward"), note("E")]
    assert [pitch for _, _, pitch in rows(score(bars))] == [60, 62, 64]
    assert [pitch for _, _, pitch in rows(score(bars), repeats=True)] == [60, 62, 60, 62, 64]
    thrice = [note("C") + repeat("backward", times=3)]
    assert len(rows(score(thrice), repeats=True)) == 3


def test_a_tie_into_a_repeat_is_as_it_is_played():
    start, stop = '<tie type="start"/>', '<tie type="stop"/>'
    bars = [
        repeat("forward", side="left") + note("C", inside=start),
        note("C", inside=stop) + repeat("backward"),
    ]
    assert rows(score(bars), repeats=True) == [(0, 2, 60), (2, 4, 60)]


def test_what_is_beside_the_notes():
    key = "<key><fifths>-3</fifths><mode>minor</mode></key>" + TIME
    sound = '<direction><sound tempo="90" dynamics="100"/></direction>'
    notes = musicxml.notes_of(
        score([sound + note("C"), note("D", attributes='dynamics="50"')], attributes=key, names=["Oboe"])
    )
    assert notes.marks.keys == ((0.0, -3, True),)
    assert notes.marks.metres == ((0.0, 4, 4),)
    assert notes.marks.tempi == ((0.0, 90.0),)
    assert notes.velocity.tolist() == [90, 45]
    assert (notes.parts, notes.pickup) == (("Oboe",), 1.0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (note("C.5"), "altered by 0.5"),
        ("<note><pitch><step>C</step><octave>4</octave></pitch></note>", "without duration"),
        (note("C", octave=99), "of MIDI pitch"),
        (note("H"), "damaged"),
        (note("C", duration="x"), "damaged"),
        (note("C", duration="9999999"), "quarter notes"),
    ],
)
def test_damage(body, expected):
    with pytest.raises(UserError, match=expected):
        musicxml.notes_of(score([body]))
    with pytest.raises(UserError, match="damaged"):
        musicxml.notes_of(score([note("C")], divisions=0))


def harmony(root, kind, more=""):
    return f"<harmony><root><root-step>{root}</root-step></root><kind>{kind}</kind>{more}</harmony>"


def test_chord_symbols_sound_when_asked_each_until_the_next():
    c, g = harmony("C", "major"), harmony("G", "dominant", "<offset>1</offset>")
    data = score([c + note("E", 5, 2) + g + note("D", 5, 2), harmony("C", "none") + note("C", 5, 4)])
    melody = [(0, 2, 76), (2, 4, 74), (4, 8, 72)]
    assert rows(data) == melody
    piece = musicxml.notes_of(data, chords=True)
    found = list(zip(piece.start.tolist(), piece.end.tolist(), piece.pitch.tolist(), strict=True))
    chords = [(0, 3, p) for p in (48, 52, 55)] + [(3, 4, p) for p in (55, 59, 62, 65)]
    assert sorted(found) == sorted(melody + chords)
    assert piece.parts[-1] == "chords"
    assert sorted(set(piece.track[piece.pitch < 70].tolist())) == [1]


def test_chord_symbols_of_a_transposing_instrument_and_in_repeats():
    clarinet = TIME + "<transpose><chromatic>-2</chromatic></transpose>"
    body = harmony("D", "minor") + note("A", 4, 4) + repeat("backward")
    piece = musicxml.notes_of(score([body], attributes=clarinet), repeats=True, chords=True)
    found = sorted(zip(piece.start.tolist(), piece.pitch.tolist(), strict=True))
    assert found == [(t, p) for t in (0, 4) for p in (48, 51, 55, 67)]


@pytest.mark.parametrize("kind", [kind for kind in kinds._KINDS if kind not in ("none", "pedal")])
@pytest.mark.parametrize("root", ["C", "A"])
def test_chords_are_those_of_music21(kind, root):
    from music21.harmony import ChordSymbol

    other = {pitch.midi % 12 for pitch in ChordSymbol(root=root, kind=kind).pitches}
    assert {pitch % 12 for pitch in kinds.pitches(fromstring(harmony(root, kind)))} == other


@pytest.mark.parametrize(
    ("degree", "expected"),
    [((9, 0, "add"), {0, 4, 7, 10, 2}), ((5, -1, "alter"), {0, 4, 6, 10}), ((3, 0, "subtract"), {0, 7, 10})],
)
def test_degrees_of_a_chord(degree, expected):
    value, by, how = degree
    more = (
        f"<degree><degree-value>{value}</degree-value><degree-alter>{by}</degree-alter>"
        f"<degree-type>{how}</degree-type></degree><bass><bass-step>B</bass-step></bass>"
    )
    bass, *chord = kinds.pitches(fromstring(harmony("C", "dominant", more)))
    assert bass == 47
    assert {pitch % 12 for pitch in chord} == expected


def test_a_chord_of_no_kind_is_an_error_only_where_chords_are_asked_for():
    data = score([harmony("C", "Tristan") + note("E", 5, 4)])
    assert len(rows(data)) == 1
    with pytest.raises(UserError, match="found kind 'Tristan'; read it without chords"):
        musicxml.notes_of(data, chords=True)
