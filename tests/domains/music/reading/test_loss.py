"""What reading loses of five kinds of files, made here: nothing where the grid can hold it."""

import numpy as np
import pytest

from ostinato.domains.music.layout import invalid, spans
from ostinato.domains.music.reading import data_sets
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import read_piece
from ostinato.errors import UserError

BEATS = 64


def write(path, notes, pedal=()):
    """A MIDI file of (start, length, pitch) and of (down, up) of the pedal, in quarter notes."""
    import symusic

    score, track = symusic.Score(480), symusic.Track(name="", program=0, is_drum=False)
    for start, length, pitch in notes:
        track.notes.append(symusic.Note(round(start * 480), max(1, round(length * 480)), int(pitch), 80))
    for down, up in pedal:
        track.controls.append(symusic.ControlChange(round(down * 480), 64, 127))
        track.controls.append(symusic.ControlChange(round(up * 480), 64, 0))
    score.tracks.append(track)
    path.write_bytes(score.dumps_midi())
    return path


def performance(rng):
    """Melody in eighths, every onset later or earlier by up to a sixth of a beat, lengths of 60 to 95 %."""
    pitch = 60 + np.cumsum(rng.choice([-3, -2, -1, 1, 2, 3], 2 * BEATS)) % 24
    return [
        (max(0, k / 2 + rng.uniform(-1 / 6, 1 / 6)), rng.uniform(0.6, 0.95) / 2, p)
        for k, p in enumerate(pitch)
    ]


def pop(rng):
    """Repeated chords, half of all attacks struck again at once."""
    notes = []
    for beat in range(BEATS):
        chord = 48 + rng.integers(12) + np.array([0, 4, 7])
        notes += [(beat + half, 0.5, p) for p in chord for half in (0, 0.5)]
    return notes


def folk(rng):
    """Two-bar phrases that recur, in 6/8."""
    phrase = [(k / 2, 0.5, 62 + p) for k, p in enumerate(rng.choice([0, 2, 4, 5, 7, 9], 12))]
    return [(start + 6 * k, length, p) for k in range(8) for start, length, p in phrase]


def chorale(rng):
    """Four voices that hold their common tones."""
    return [
        (beat, lasts, low + rng.integers(5))
        for low in (43, 52, 60, 67)
        for beat, lasts in zip(range(0, BEATS, 2), rng.choice([1, 2], BEATS // 2), strict=True)
    ]


def piano(rng):
    """Short notes under a pedal that is down for each bar."""
    return [(k / 4, 0.2, 48 + p) for k, p in enumerate(rng.integers(0, 36, 4 * BEATS))]


KINDS = {"performance": performance, "pop": pop, "folk": folk, "chorale": chorale, "piano": piano}


@pytest.fixture
def folder(tmp_path, request):
    rng = np.random.default_rng(1)
    bars = [(bar, bar + 3.9) for bar in range(0, BEATS, 4)] if request.param == "piano" else []
    for k in range(4):
        write(tmp_path / f"{k}.mid", KINDS[request.param](rng), bars)
    return tmp_path


# performances can strike a pitch twice in a frame only by chance, which these do not
@pytest.mark.parametrize(("folder", "grid"), [(kind, None) for kind in KINDS], indirect=["folder"])
def test_nothing_is_lost(folder, grid):
    report = data_sets.load(folder, progress=False, transpose=False).details["reading"]
    assert report["lost"] == 0
    assert report["notes"] > 300


@pytest.mark.parametrize("folder", KINDS, indirect=True)
def test_no_repeated_note_is_fused_with_the_one_before(folder, request):
    data = data_sets.load(folder, progress=False, transpose=False, frames="onsets")
    report = data.details["reading"]
    songs = [song for split in ("train", "valid", "test") for song in data[split]]
    assert not any(invalid(song.values) for song in songs)
    held = [sum(1 for _ in spans(song.values)) for song in songs]
    assert (report["lost"], sum(held)) == (0, report["notes"])


@pytest.mark.parametrize(
    ("folder", "kind"), [(kind, kind) for kind in ("pop", "chorale")], indirect=["folder"]
)
def test_a_piano_roll_fuses_what_is_struck_again(folder, kind):
    data = data_sets.load(folder, progress=False, transpose=False, frames="piano-roll")
    held = sum(1 for split in ("train", "valid", "test") for song in data[split] for _ in spans(song.values))
    notes = data.details["reading"]["notes"]
    assert 0 < held <= notes // 2 if kind == "pop" else 0 < held < notes


@pytest.mark.parametrize("folder", ["performance"], indirect=True)
def test_a_performance_is_on_its_own_grid(folder):
    data = data_sets.load(folder, progress=False, frames_per_beat=2)
    report = data.details["reading"]
    assert report["moved"] / report["notes"] > 0.9
    assert report["largest_move"] <= 1 / 6 + 1e-3
    assert 0.04 < report["mean_move"] < 0.12
    sampled = data_sets.load(folder, progress=False, frames_per_beat=2, quantize="sample").details["reading"]
    assert sampled["lost"] > report["lost"] == 0
    assert "notes read;" in data.details["notices"][0]


@pytest.mark.parametrize("folder", ["piano"], indirect=True)
def test_the_pedal_by_option(folder):
    plain, held = (
        data_sets.load(folder, progress=False, pedal=pedal).details["reading"] for pedal in (False, True)
    )
    assert plain["polyphony_played"] == pytest.approx(1, abs=0.01)
    assert held["polyphony_played"] > 5
    assert held["polyphony_frames"] > 5


@pytest.mark.parametrize("folder", ["folk"], indirect=True)
def test_the_grid_of_a_folder(folder):
    assert data_sets.load(folder, progress=False).details["frames_per_beat"] == 2
    assert data_sets.load(folder, progress=False, quantize="sample").details["frames_per_beat"] == 2
    assert data_sets.load(folder, progress=False, frames_per_beat="auto").details["frames_per_beat"] == 2
    data = data_sets.load(folder, progress=False, frames_per_beat=3)
    assert data.details["reading"]["moved"] > 0


def test_what_cannot_be_had_of_data_that_are_as_they_are():
    with pytest.raises(UserError, match="quantize is for files of your own, found jsb"):
        data_sets.load("jsb", quantize="nearest")
    with pytest.raises(UserError, match="pedal is for files of your own, found bach"):
        data_sets.load("bach", pedal=True)


@pytest.fixture
def book(tmp_path):
    path = tmp_path / "book.abc"
    path.write_text(
        "X:3\nL:1/4\nK:C\nCDEF|\n\nX:7\nL:1/4\nK:C\nGEGc|\n\nX:8\nL:1/4\nK:Q\nC|\n\nX:9\nL:1/4\nK:C\nFCDB|\n"
    )
    return path


def test_a_tune_of_a_book_by_its_number(book):
    piece = read_piece(f"{book}#7", AsFrames(1))
    assert piece.name == "book.abc#7"
    assert (piece.frames.argmax(axis=1) + 21).tolist() == [67, 64, 67, 72]
    with pytest.raises(UserError, match=r"expected a piece #1 in book\.abc, found #3, #7, #9"):
        read_piece(f"{book}#1")
    with pytest.raises(UserError, match=r"expected one piece, found 3; say which: book\.abc#3"):
        read_piece(book)


def test_tunes_are_named_by_their_numbers_and_the_bad_one_is_listed(book):
    data = data_sets.load(book, progress=False)
    names = {song.name for _, songs in data.items() for song in songs}
    assert names == {"book.abc#3", "book.abc#7", "book.abc#9"}
    assert [str(skip) for skip in data.skipped] == [
        "book.abc: X:8, line 13: expected a key like G, Am or D dorian, found K:Q"
    ]
