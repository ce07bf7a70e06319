import numpy as np
import pytest

from ostinato.domains.music.reading import midi
from ostinato.domains.music.reading.content import out_of_riff
from ostinato.errors import UserError

OFF, ON, CONTROL, PROGRAM = 0x80, 0x90, 0xB0, 0xC0


def length(value):
    found = [value & 127]
    while value := value >> 7:
        found.append(128 | value & 127)
    return bytes(reversed(found))


def file(*tracks, ticks=480):
    """A MIDI file; a track is a list of (ticks since the last event, bytes)."""
    chunks = [
        b"".join(length(wait) + bytes(event) for wait, event in track) + b"\0\xff\x2f\0" for track in tracks
    ]
    head = b"MThd\0\0\0\6\0\1" + len(tracks).to_bytes(2, "big") + ticks.to_bytes(2, "big")
    return head + b"".join(b"MTrk" + len(chunk).to_bytes(4, "big") + chunk for chunk in chunks)


def note(pitch, lasts=480, channel=0, wait=0):
    return [(wait, [ON | channel, pitch, 80]), (lasts, [OFF | channel, pitch, 0])]


def rows(notes):
    return sorted(zip(notes.start.tolist(), notes.end.tolist(), notes.pitch.tolist(), strict=True))


@pytest.mark.parametrize(
    "event",
    [[CONTROL, 7, 200], [CONTROL, 200, 7], [PROGRAM, 200], [0xFF, 0x51, 3, 0, 0, 0], [0xFF, 0x59, 2, 99, 3]],
)
def test_a_value_out_of_range_costs_itself(event):
    assert rows(midi.notes_of(file([(0, event), *note(60)]))) == [(0, 1, 60)]


def test_running_status_goes_on_behind_a_meta_event():
    text = (0, [0xFF, 1, 2, *b"la"])
    track = [(0, [ON, 60, 80]), text, (480, [60, 0]), text, (0, [64, 80]), (480, [64, 0])]
    assert rows(midi.notes_of(file(track))) == [(0, 1, 60), (1, 2, 64)]
    # and ends with a system exclusive one, as the standard says
    broken = [(0, [ON, 60, 80]), (0, [0xF0, 2, 9, 0xF7]), (480, [60, 0])]
    with pytest.raises(UserError, match="track 1 has data where an event begins"):
        midi.notes_of(file(broken))


def test_patterns_of_format_2_are_no_piece_and_one_alone_is():
    one, two = (data[:9] + b"\2" + data[10:] for data in (file(note(60)), file(note(60), note(64))))
    assert rows(midi.notes_of(one)) == [(0, 1, 60)]
    with pytest.raises(UserError, match="format 0 or 1, found 2: 2 patterns that are not one piece"):
        midi.notes_of(two)


def test_names_of_tracks_in_latin_1():
    data = file([(0, [0xFF, 3, 5, *"Fl\u00f6te".encode("latin-1")]), *note(60)])
    assert midi.notes_of(data).parts == ("Fl\u00f6te",)


def test_a_velocity_out_of_range_and_a_pitch():
    notes = midi.notes_of(file([(0, [ON, 60, 200]), (480, [OFF, 60, 0]), (0, [ON, 200, 80]), *note(61)]))
    assert rows(notes) == [(0, 1, 60), (1, 2, 61)]
    assert notes.velocity.tolist() == [127, 80]
    assert notes.lost == 1


def test_a_note_that_nothing_ends_is_counted_as_lost():
    notes = midi.notes_of(file([(0, [ON, 60, 80]), *note(62)]))
    assert rows(notes) == [(0, 1, 62)]
    assert notes.lost == 1


def test_tracks_channels_programs_and_names():
    name = [(0, [0xFF, 0x03, 4, *b"lute"])]
    notes = midi.notes_of(
        file([*name, (0, [PROGRAM | 3, 24]), *note(60, channel=3), *note(62, channel=9)], note(40))
    )
    assert notes.parts == ("lute", "")
    assert notes.marks.programs == (24, -1)
    assert notes.track.tolist() == [1, 0]
    assert notes.voice.tolist() == [0, 3]


def test_the_pedal_holds_its_channel_in_all_tracks_until_the_key_is_struck_again():
    pedal = [(0, [CONTROL, 64, 127]), (1920, [CONTROL, 64, 0])]
    other = note(50, channel=1)
    played = [*note(60, 240), *note(64, 240), *note(60, 240), *note(67, 960, wait=480)]
    notes = midi.notes_of(file(pedal, played, other))
    ends = dict(
        zip(
            zip(notes.start.tolist(), notes.pitch.tolist(), strict=True),
            notes.sustained.tolist(),
            strict=True,
        )
    )
    assert ends == {(0, 60): 1, (0.5, 64): 4, (1, 60): 4, (2.5, 67): 4.5, (0, 50): 1}
    assert notes.pedalled().end.max() == 4.5


def test_a_pedal_that_is_never_lifted_holds_to_the_end():
    notes = midi.notes_of(file([(0, [CONTROL, 64, 64]), *note(60), *note(62)]))
    assert notes.sustained.tolist() == [2, 2]


def test_running_status_and_sysex():
    track = [(0, [ON, 60, 80]), (480, [60, 0]), (0, [0xF0, 2, 1, 0xF7]), (0, [ON, 62, 80]), (480, [62, 0])]
    assert rows(midi.notes_of(file(track))) == [(0, 1, 60), (1, 2, 62)]


@pytest.mark.parametrize(
    ("track", "expected"),
    [
        ([(0, [60, 80])], "data where an event begins"),
        ([(0, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])], "more than four bytes"),
    ],
)
def test_damage(track, expected):
    with pytest.raises(UserError, match=expected):
        midi.notes_of(file(track))


def test_riff_of_another_kind():
    with pytest.raises(UserError, match="expected a RIFF box of kind RMID"):
        out_of_riff(b"RIFF\0\0\0\0WAVEfmt ")
    with pytest.raises(UserError, match="holds no data"):
        out_of_riff(b"RIFF\0\0\0\0RMID")


def test_as_symusic_reads_it():
    """Note by note against a reader by others, on files of random notes, overlaps of one pitch among them."""
    symusic = pytest.importorskip("symusic")
    for seed in range(20):
        rng = np.random.default_rng(seed)
        score = symusic.Score(480)
        for _ in range(3):
            track = symusic.Track(name="", program=int(rng.integers(128)), is_drum=False)
            for _ in range(80):
                time, lasts, pitch = rng.integers(0, 4000), rng.integers(1, 900), rng.integers(30, 45)
                track.notes.append(symusic.Note(int(time), int(lasts), int(pitch), int(rng.integers(1, 128))))
            score.tracks.append(track)
        data = score.dumps_midi()
        theirs = [
            (n.time / 480, n.end / 480, n.pitch, n.velocity)
            for t in symusic.Score.from_midi(data).tracks
            for n in t.notes
        ]
        ours = midi.notes_of(data)
        columns = ours.start, ours.end, ours.pitch, ours.velocity
        assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == sorted(theirs)
