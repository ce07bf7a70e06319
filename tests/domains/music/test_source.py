"""What a user gives is written as it came: counted by symusic, a reader of MIDI that writes nothing here."""

import re
from collections import Counter

import numpy as np
import pytest
import symusic

from ostinato.domains.music.harmonize import Region, held_cells, region_of
from ostinato.domains.music.reading import musicxml as own_musicxml
from ostinato.domains.music.reading import smf
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.midi import strikes
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.source import read_source, source_of_frames
from ostinato.errors import UserError

TICKS = 480
ABC = "X:1\nT:Tune\nM:3/4\nL:1/8\nQ:1/4=90\nK:Bb\nV:1 name=Top\n(3FGA|B2 c3 d|(3efg f2 e2|d6|]\n"


def length(value: int) -> bytes:
    found = [value & 127]
    while value := value >> 7:
        found.append(128 | value & 127)
    return bytes(reversed(found))


def chunk(*events: tuple[int, list[int]]) -> bytes:
    """A track of (ticks since the last event, bytes)."""
    body = b"".join(length(wait) + bytes(event) for wait, event in events) + b"\0\xff\x2f\0"
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def rich(ticks: int = TICKS) -> bytes:
    """Two metres and tempi, a key, lyrics, controllers, bends, drums, notes too fast, too low, in unison."""
    quarter = ticks
    signs = chunk(
        (0, [0xFF, 0x51, 3, 7, 0xA1, 0x20]),
        (0, [0xFF, 0x58, 4, 4, 2, 24, 8]),
        (0, [0xFF, 0x59, 2, 0xFE, 0]),
        (4 * quarter, [0xFF, 0x51, 3, 9, 0x27, 0xC0]),
        (0, [0xFF, 0x58, 4, 3, 2, 24, 8]),
    )
    melody = [(0, [0xFF, 3, 5, *b"voice"]), (0, [0xC2, 52]), (0, [0xB2, 7, 99]), (0, [0xFF, 5, 2, *b"la"])]
    for k, pitch in enumerate([70, 72, 74, 74, 75, 74, 72, 70, 72, 70]):
        melody += [
            (7 if k == 3 else 0, [0x92, pitch, 60 + k]),
            (quarter - 7 if k == 3 else quarter, [0x82, pitch, 9]),
        ]
        melody += [(0, [0xE2, 0, 64 + k])]
    # a trill faster than any frame, and a note below the piano
    for k in range(8):
        melody += [(0, [0x92, 75 - k % 2, 90]), (quarter // 8, [0x82, 75 - k % 2, 0])]
    melody += [(0, [0x92, 12, 90]), (quarter, [0x82, 12, 0])]
    other = chunk((0, [0xFF, 3, 3, *b"alt"]), (0, [0x93, 70, 33]), (quarter, [0x83, 70, 0]))
    drums = chunk(*[(0 if k % 2 == 0 else quarter, [0x99, 36, 80 * (1 - k % 2)]) for k in range(8)])
    tracks = [signs, chunk(*melody), other, drums]
    head = b"MThd\0\0\0\6\0\1" + len(tracks).to_bytes(2, "big") + ticks.to_bytes(2, "big")
    return head + b"".join(tracks)


def heard(data: bytes) -> tuple[list[tuple[str, int, bool, Counter]], symusic.Score]:
    """What symusic reads: of each track name, program, drums, its notes in quarter notes."""
    score = symusic.Score.from_midi(data)
    found = []
    for track in score.tracks:
        notes = Counter(
            (n.time / score.ticks_per_quarter, n.duration / score.ticks_per_quarter, n.pitch, n.velocity)
            for n in track.notes
        )
        found.append((track.name, track.program, track.is_drum, notes))
    return found, score


def everything_else(data: bytes) -> list[object]:
    score = symusic.Score.from_midi(data)
    unit = score.ticks_per_quarter
    return [
        [(t.time / unit, t.mspq) for t in score.tempos],
        [(t.time / unit, t.numerator, t.denominator) for t in score.time_signatures],
        [(t.time / unit, t.key, t.tonality) for t in score.key_signatures],
        [
            [(c.time / unit, c.number, c.value) for c in t.controls]
            for t in score.tracks
            if t.name[:4] != "osti"
        ],
        [[(c.time / unit, c.value) for c in t.pitch_bends] for t in score.tracks if t.name[:4] != "osti"],
        [[(c.time / unit, c.text) for c in t.lyrics] for t in score.tracks if t.name[:4] != "osti"],
    ]


@pytest.fixture
def source(tmp_path):
    """A function: a source of bytes, at so many frames to a quarter note."""

    def read(data: bytes = b"", *, grid: int = 2, name: str = "a.mid", **more):
        (tmp_path / name).write_bytes(data or rich())
        return read_source(tmp_path / name, AsFrames(grid, **more))

    return read


def noise(source, steps: int = 0, seed: int = 0) -> np.ndarray:
    """What a model might give: the piece's frames and much more, some of it at the given pitches."""
    frames = source.piece.frames
    more = (np.random.default_rng(seed).random((len(frames) + steps, 88)) < 0.1).astype(np.uint8)
    more[: len(frames)] |= frames[:, :88]
    return more


@pytest.mark.parametrize("grid", [1, 2, 3, 7])
@pytest.mark.parametrize("ticks", [96, 480])
@pytest.mark.parametrize("quantize", ["nearest", "sample"])
def test_a_midi_file_comes_back_with_new_tracks(source, grid, ticks, quantize) -> None:
    piece = source(rich(ticks), grid=grid, quantize=quantize)
    score = piece.with_frames(noise(piece), np.ones(len(piece.notes), bool))
    before, read = heard(rich(ticks))
    after, written = heard(score.as_midi)
    assert after[: len(before)] == before
    assert written.ticks_per_quarter % read.ticks_per_quarter == 0
    assert everything_else(score.as_midi) == everything_else(rich(ticks))
    new = [track for track in after if track[0].startswith("ostinato ")]
    assert len(before) + len(new) == len(after)
    assert sum(track[3].total() for track in new) == score.added > 0
    given = sum(track[3].total() for track in before)
    assert score.counted() == (given, given)


def test_a_given_note_is_not_fused_with_a_new_one_of_its_pitch(source) -> None:
    piece = source(grid=2)
    frames = np.ones_like(piece.piece.frames)  # every pitch all the time
    score = piece.with_frames(frames, np.ones(len(piece.notes), bool))
    assert heard(score.as_midi)[0][: len(heard(rich())[0])] == heard(rich())[0]
    new = [n for voice in score.voices for n in voice.notes if n.pitch == 70]
    # the pitch is composed but where it is given: there are notes before and after
    assert len(new) > 1
    cells = piece.cells(np.ones(len(piece.notes), bool), len(frames))
    assert sum((n.end - n.begin) * 2 for n in new) == (~cells[:, 70 + piece.piece.semitones - 21]).sum()


def test_what_the_model_cannot_see_is_counted(source) -> None:
    piece = source(grid=1)
    # one note below the piano, four drums, and of the trill, which falls into two frames, all but one of each
    # pitch there
    assert piece.unseen == 1 + 4 + 4


def test_a_piece_is_continued_after_its_last_frame(source) -> None:
    piece = source(grid=2)
    frames = noise(piece, steps=6)
    score = piece.with_frames(frames, np.ones(len(piece.notes), bool))
    assert heard(score.as_midi)[0][:4] == heard(rich())[0]
    assert max(n.end for v in score.voices for n in v.notes) == piece.origin + len(frames) / 2


def test_only_the_beginning_of_a_piece_is_continued(source) -> None:
    piece = source(grid=2)
    score = piece.with_frames(noise(piece)[:12], piece.placed.first < 8, cut=8)
    before, after = heard(rich())[0], heard(score.as_midi)[0]
    for (_, _, _, old), (_, _, _, new) in zip(before, after, strict=False):
        assert new == Counter({n: count for n, count in old.items() if n[0] < 4})
    assert score.counted() == (4 + 1 + 4, 4 + 1 + 4)
    assert [t.time for t in heard(score.as_midi)[1].tempos] == [0]


def test_bars_are_composed_anew_and_nothing_else(source) -> None:
    piece = source(grid=2)
    # 4/4 and then 3/4: bar 2 is from quarter note 4 to 7
    given, constraint = piece.selection((), [region_of("bars 2", piece.piece)])
    frames = np.where(constraint.fixed, constraint.values, 1)
    score = piece.with_frames(frames, given)
    before, after = heard(rich())[0], heard(score.as_midi)[0]
    assert after[1][3] == Counter({n: c for n, c in before[1][3].items() if not 4 <= n[0] < 7})
    assert [track[3] for track in after[2:4]] == [track[3] for track in before[2:4]]
    assert everything_else(score.as_midi) == everything_else(rich())
    assert {(n.begin >= 4, n.end <= 7) for v in score.voices for n in v.notes} == {(True, True)}
    assert score.counted() == (len(piece.notes) + 4 - 3, len(piece.notes) + 4 - 3)


def test_bars_that_are_none_say_which_there_are(source) -> None:
    piece = source(grid=2).piece
    for text in ("bars 20-24", "bars 0-2", "bars 3-2", "bars", "bars 2-9"):
        with pytest.raises(ValueError, match=rf"expected bars within 1-4, those of a.mid, found '{text}'"):
            region_of(text, piece)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("bars 9-12", 'write "bars 1-4" or some of them'),
        ("bars 2-5", 'write "bars 1-4" or some of them'),
        ("bar 5", 'write "bars 1-4" or some of them'),
        ("bars x", 'write "bars 1-4" or some of them'),
        ("bars 0-2", "it has no pickup, which would be bar 0"),
        ("bars 3-1", 'write the smaller number first, "bars 1-3"'),
        ("bars 2-3@H4", 'expected pitches like "bars 1-4@C4-G5"'),
        ("20-24", "expected quarter notes within 0-16, those of a.mid"),
        ("8-17", "expected quarter notes within 0-16, those of a.mid"),
        ("16-", "expected quarter notes within 0-16, those of a.mid"),
        ("G8-C9", "expected pitches within A0-C8"),
        ("G0", "expected pitches within A0-C8"),
    ],
)
def test_a_region_that_the_piece_does_not_have_says_what_it_has(source, text, hint) -> None:
    # four bars of four quarters, whose last note is a quarter shorter
    tune = chunk(
        *[event for k in range(15) for event in ((0, [0x90, 60 + k, 9]), (TICKS, [0x80, 60 + k, 0]))]
    )
    head = b"MThd\0\0\0\6\0\1\0\1" + TICKS.to_bytes(2, "big")
    piece = source(head + tune, grid=2).piece
    with pytest.raises(UserError, match=re.escape(hint)):
        region_of(text, piece)
    assert region_of("12-16", piece).mask(len(piece)).any()
    assert region_of("bars 1-4", piece).mask(len(piece)).all()


def test_a_pickup_is_bar_0(source) -> None:
    piece = source(ABC.encode(), name="a.abc", grid=2).piece
    assert region_of("bars 0-1", piece).begin == 0
    with pytest.raises(UserError, match=r"expected bars within 0-3, .*found 'bars 0-4'"):
        region_of("bars 0-4", piece)


def test_what_is_off_the_keyboard_in_the_piece_s_key_is_never_free() -> None:
    held = held_cells(3, free=[Region()], semitones=5)
    assert (~held).all(axis=0).tolist() == [k >= 5 for k in range(88)]
    assert held_cells(3, fixed=[Region()], semitones=-5).all()


def test_a_tempo_that_is_asked_for_takes_the_place_of_the_piece_s(source) -> None:
    piece = source()
    score = piece.with_frames(noise(piece), np.ones(len(piece.notes), bool), tempo=60)
    after, written = heard(score.as_midi)
    assert [(t.time, t.qpm) for t in written.tempos] == [(0, 60)]
    assert after[:4] == heard(rich())[0]


def test_abc_has_its_exact_times_metre_key_and_pickup(source) -> None:
    piece = source(ABC.encode(), name="a.abc", grid=2)
    score = piece.with_frames(noise(piece), np.ones(len(piece.notes), bool))
    after, written = heard(score.as_midi)
    unit = written.ticks_per_quarter
    top = next(t for t in written.tracks if t.name == "Top")
    thirds = [(n.time * 3 / unit, n.duration * 3 / unit) for n in top.notes[:3]]
    assert thirds == [(0, 1), (1, 1), (2, 1)]
    assert [n.pitch for n in top.notes[:5]] == [65, 67, 69, 70, 72]
    assert [(t.time / unit, t.numerator, t.denominator) for t in written.time_signatures] == [
        (0, 1, 4),
        (1, 3, 4),
    ]
    assert [(k.key, k.tonality) for k in written.key_signatures] == [(-2, 0)]
    assert written.tempos[0].mspq == round(60_000_000 / 90)
    assert score.counted() == (12, 12)
    assert len(after) == 1 + len(score.voices)


def test_musicxml_has_the_same_notes_for_another_reader(source, tmp_path) -> None:
    piece = source(ABC.encode(), name="a.abc", grid=2)
    score = piece.with_frames(noise(piece), np.ones(len(piece.notes), bool))
    assert score.write(tmp_path / "a.musicxml") == []
    read = own_musicxml.notes_of((tmp_path / "a.musicxml").read_bytes())

    def rows(notes):
        return Counter(zip(notes.start.round(6), notes.end.round(6), notes.pitch, notes.track, strict=True))

    assert rows(read) == rows(score.notes)
    assert read.pickup == 1
    assert read.marks.metres == ((0.0, 3, 4),)
    assert read.marks.keys == ((0.0, -2, False),)
    assert read.marks.tempi == ((0.0, 90.0),)
    assert read.parts == score.notes.parts


def test_musicxml_of_times_without_notation_says_what_it_moved(source, tmp_path) -> None:
    piece = source(grid=2)
    score = piece.with_frames(noise(piece), np.ones(len(piece.notes), bool))
    drums, notice = score.write(tmp_path / "a.musicxml")
    assert "have times that are not written in MusicXML here" in notice
    assert drums == "without 4 drum notes; MIDI has them"
    assert score.write(tmp_path / "a.mid") == []
    assert len(own_musicxml.notes_of((tmp_path / "a.musicxml").read_bytes())) == len(score.notes)


def same_in_musicxml(source, path, capfd) -> list[str]:
    """What is said of writing all of a piece; whatever is not said is equal when it is read."""
    score = source.with_frames(source.piece.frames, np.ones(len(source.notes), bool))
    said = score.write(path)
    assert capfd.readouterr() == ("", "")
    read, given = own_musicxml.notes_of(path.read_bytes()), source.notes
    # the two readers do not order notes of one time alike
    before, after = (
        sorted(zip(n.pitch, n.start.round(6), n.end.round(6), strict=True)) for n in (given, read)
    )
    moved = sum(a != b for a, b in zip(before, after, strict=True))
    assert moved == (int(said[0].split()[0]) if said else 0)
    assert [metre[0] for metre in read.marks.metres if metre[0]] == [m[0] for m in given.marks.metres if m[0]]
    return said


def test_a_bar_that_a_time_signature_cuts_is_written_as_long_as_it_is(source, tmp_path, capfd) -> None:
    # four quarters, and after six of them three
    signs = chunk((0, [0xFF, 0x58, 4, 4, 2, 24, 8]), (6 * TICKS, [0xFF, 0x58, 4, 3, 2, 24, 8]))
    tune = chunk(
        *[event for k in range(12) for event in ((0, [0x90, 60 + k, 9]), (TICKS, [0x80, 60 + k, 0]))]
    )
    head = b"MThd\0\0\0\6\0\1\0\2" + TICKS.to_bytes(2, "big")
    assert same_in_musicxml(source(head + signs + tune), tmp_path / "out.musicxml", capfd) == []


@pytest.mark.parametrize("late", [-7, 7, 1])
def test_a_time_signature_beside_the_line_begins_a_bar_at_the_nearest_48th(source, tmp_path, late) -> None:
    signs = chunk((0, [0xFF, 0x58, 4, 4, 2, 24, 8]), (6 * TICKS + late, [0xFF, 0x58, 4, 3, 2, 24, 8]))
    tune = chunk(
        *[event for k in range(12) for event in ((0, [0x90, 60 + k, 9]), (TICKS, [0x80, 60 + k, 0]))]
    )
    piece = source(b"MThd\0\0\0\6\0\1\0\2" + TICKS.to_bytes(2, "big") + signs + tune)
    score = piece.with_frames(piece.piece.frames, np.ones(12, bool))
    (said,) = score.write(tmp_path / "out.musicxml")
    assert said == "1 of 2 metres begin at the nearest 48th of a quarter note"
    read = own_musicxml.notes_of((tmp_path / "out.musicxml").read_bytes())
    assert (read.start.tolist(), read.end.tolist()) == (list(range(12)), list(range(1, 13)))
    (first, second) = read.marks.metres
    assert (first, second[1:]) == ((0.0, 4, 4), (3, 4))
    assert abs(second[0] - 6 - late / TICKS) <= 1 / 96


@pytest.mark.parametrize(
    "bar",
    [
        "(7:4:7CDEFGAB",
        "(5:4:5C/D/E/F/G/ (5:4:4C/D/EF/",
        "(5:2:5CDEFG (3CDE",
        "(5:4:2C2D/ (7:4:7C/D/E/F/G/A/B/",
        "(5:4:5C/z/E/z/G/ (3zCD",
        "(5:4:3C3/2D/E/ (7:4:5z/C/D/E/F3/2",
    ],
)
def test_quintuplets_and_septuplets_are_written_beside_triplets(source, tmp_path, capfd, bar) -> None:
    text = f"X:1\nM:4/4\nL:1/4\nK:C\n(3CDE F2|{bar}|(3CDE (3FGA|]\n"
    assert same_in_musicxml(source(text.encode(), name="a.abc"), tmp_path / "out.musicxml", capfd) == []


def test_notes_from_a_fifth_to_a_third_are_moved_with_a_line(source, tmp_path, capfd) -> None:
    five, three = (0, [0x90, 60, 9]), (TICKS // 5, [0x80, 60, 0])
    then = [(TICKS // 3 - TICKS // 5, [0x90, 62, 9]), (TICKS - TICKS // 3, [0x80, 62, 0])]
    tune = chunk(five, three, *then, (0, [0x90, 64, 9]), (TICKS, [0x80, 64, 0]))
    piece = source(b"MThd\0\0\0\6\0\1\0\1" + TICKS.to_bytes(2, "big") + tune)
    (said,) = same_in_musicxml(piece, tmp_path / "out.musicxml", capfd)
    assert said.startswith("1 of 3 notes have times that are not written")


def test_an_incomplete_bar_within_a_piece_is_written_as_long_as_it_is(source, tmp_path, capfd) -> None:
    piece = source(b"X:1\nM:4/4\nL:1/4\nK:C\nCDEF|CD|GABc|CDEFG|cABc|]\n", name="a.abc", grid=1)
    assert same_in_musicxml(piece, tmp_path / "out.musicxml", capfd) == []
    xml = (tmp_path / "out.musicxml").read_text()
    assert re.findall(r"<beats>(\d)", xml) == ["4", "5", "4"]
    again = read_source(tmp_path / "out.musicxml", AsFrames(frames_per_beat=1, frames="onsets"))
    score = piece.with_frames(piece.piece.frames, np.ones(len(piece.notes), bool))
    score.write(tmp_path / "out.mid")
    midi = read_source(tmp_path / "out.mid", AsFrames(frames_per_beat=1, frames="onsets"))
    for one in (piece, again, midi):
        assert [one.piece.bars.begin(k) for k in range(1, 6)] == [0, 4, 6, 10, 15]


def test_more_parts_than_there_are_channels_are_written_in_silence(source, tmp_path, capfd) -> None:
    parts = [chunk((0, [0x90, 40 + k, 9]), (TICKS, [0x80, 40 + k, 0])) for k in range(18)]
    piece = source(b"MThd\0\0\0\6\0\1\0\x12" + TICKS.to_bytes(2, "big") + b"".join(parts))
    assert same_in_musicxml(piece, tmp_path / "out.musicxml", capfd) == []


def test_what_is_down_where_a_piece_is_cut_is_lifted_there(source) -> None:
    pedal = [(0, [0xB0, 64, 127]), (0, [0xB0, 67, 90]), (0, [0xE1, 0, 80]), (0, [0xB0, 7, 99])]
    early = [(0, [0xB2, 64, 127]), (TICKS, [0xB2, 64, 0])]
    tune = [e for k in range(8) for e in ((0, [0x90, 60 + k, 9]), (TICKS, [0x80, 60 + k, 0]))]
    late = [(0, [0xB0, 64, 0]), (0, [0xE1, 0, 64])]
    head = b"MThd\0\0\0\6\0\1\0\1" + TICKS.to_bytes(2, "big")
    piece = source(head + chunk(*pedal, *early, *tune, *late), grid=1)
    score = piece.with_frames(piece.piece.frames[:5], piece.placed.first < 5, cut=5)
    (track, *_) = smf.parse(score.as_midi).tracks
    found = [
        (event.time / TICKS, event.status, *track[event.begin : event.end])
        for event in smf.events(track, 0)
        if event.status & 0xF0 in (0xB0, 0xE0)
    ]
    # the notes begin in the second quarter note; what was lifted before is left alone, and a volume stays
    assert found[-3:] == [(6, 0xB0, 64, 0), (6, 0xB0, 67, 0), (6, 0xE1, 0, 64)]
    assert len(found) == 3 + len(pedal) + len(early)
    assert score.counted() == (5, 5)


def test_new_voices_are_on_channels_that_the_file_does_not_use(source) -> None:
    piece = source()
    frames = piece.piece.frames.copy()
    frames[:, [5, 10, 15, 20]] = 1  # four voices
    score = piece.with_frames(frames, np.ones(len(piece.notes), bool))
    used = {(one.track >= 4, one.channel) for group in strikes(score.as_midi) for one in group}
    assert {channel for new, channel in used if not new} == {2, 3, 9}
    assert not {channel for new, channel in used if new} & {2, 3, 9}


def test_velocities_of_musicxml_are_written(source) -> None:
    note = "<note dynamics='{}'><pitch><step>{}</step><octave>4</octave></pitch><duration>1</duration></note>"
    bar = "<attributes><divisions>1</divisions></attributes>" + note.format(50, "C") + note.format(100, "D")
    text = (
        "<score-partwise><part-list><score-part id='P1'><part-name>Viola</part-name></score-part></part-list>"
        f"<part id='P1'><measure number='1'>{bar}</measure></part></score-partwise>"
    )
    piece = source(text.encode(), name="a.musicxml", grid=1)
    score = piece.with_frames(piece.piece.frames, np.ones(2, bool))
    ((name, _, _, notes), *_) = heard(score.as_midi)[0]
    assert (name, sorted(notes)) == ("Viola", [(0, 1, 60, 45), (1, 1, 62, 90)])


def test_frames_of_another_keyboard_cannot_be_written() -> None:
    piece = source_of_frames(Piece("small", np.zeros((0, 12), np.uint8), 1))
    with pytest.raises(ValueError, match=r"expected frames of shape \(T, 88\)"):
        piece.with_frames(np.eye(12, dtype=np.uint8), np.zeros(0, bool))
