"""Small files that readers get wrong, and what each says: onset, end and pitch of every note, exactly."""

import json
from fractions import Fraction
from pathlib import Path

import pytest

from ostinato.domains.music.reading.notation import SUFFIXES, USUAL, Playing, read

CASES = Path(__file__).parent / "cases"
NOTES = json.loads((CASES / "notes.json").read_text())


def notes(path, playing=USUAL):
    """(onset, end, pitch) of each note of a file with one piece, in quarter notes."""
    (piece,) = read(path, playing)
    return sorted(
        (Fraction(start).limit_denominator(960), Fraction(end).limit_denominator(960), int(pitch))
        for start, end, pitch in zip(piece.start, piece.end, piece.pitch, strict=True)
    )


def test_every_file_is_a_case():
    files = {path.name for path in CASES.iterdir() if path.suffix in SUFFIXES}
    assert files == set(NOTES)
    assert len(files) == 32


@pytest.mark.parametrize("name", NOTES)
def test_a_case(name):
    expected = sorted((Fraction(start), Fraction(end), pitch) for start, end, pitch in NOTES[name])
    assert notes(CASES / name) == expected


def test_chord_symbols_sound_when_asked():
    chords = notes(CASES / "gchord.abc", Playing(chords=True))
    melody = notes(CASES / "gchord.abc")
    assert sorted(set(chords) - set(melody)) == [
        *((Fraction(0), Fraction(4), pitch) for pitch in (48, 52, 55)),
        *((Fraction(4), Fraction(8), pitch) for pitch in (55, 59, 62, 65)),
    ]
    assert set(melody) < set(chords)


def test_repeats_of_musicxml_are_played_when_asked():
    written = [pitch for _, _, pitch in notes(CASES / "endings.musicxml")]
    body, first, second = written[:4], written[4:8], written[8:]
    assert [pitch for _, _, pitch in notes(CASES / "endings.musicxml", Playing(repeats=True))] == [
        *body,
        *first,
        *body,
        *second,
    ]
    bars = [pitch for _, _, pitch in notes(CASES / "split_bar.musicxml", Playing(repeats=True))]
    once = [pitch for _, _, pitch in notes(CASES / "split_bar.musicxml")]
    assert bars == once[:5] + once[:5] + once[5:]


def test_repeats_of_abc_are_not_played_when_asked_not_to():
    written = notes(CASES / "abc_dc_mid.abc", Playing(repeats=False))
    assert [pitch for _, _, pitch in written] == [
        60,
        62,
        64,
        65,
        67,
        69,
        71,
        72,
        72,
        71,
        69,
        67,
        65,
        64,
        62,
        60,
    ]


def test_the_pedal():
    (piece,) = read(CASES / "pedal.mid")
    assert piece.pedalled().end.tolist() == [2.75, 2.75, 2.75, 3.75]


def test_metre_key_and_tempo_of_midi():
    assert read(CASES / "meter34.mid")[0].marks.metres == ((0.0, 3, 4),)
    assert read(CASES / "keysigG.mid")[0].marks.keys == ((0.0, 1, False),)
    tempi = read(CASES / "tempo_change.mid")[0].marks.tempi
    assert len(tempi) == 2
    assert tempi[0][1] != tempi[1][1]


def test_pickup_of_musicxml():
    (piece,) = read(CASES / "measure_rest_pickup.musicxml")
    assert piece.pickup == 1
    assert piece.marks.metres == ((0.0, 3, 4),)
    assert piece.track.tolist() == [0, *[1, 0] * 6]
