"""`ostinato generate`, `harmonize` and `score`, on a run trained for a moment on a few songs."""

import json
import os
import wave
from pathlib import Path

import numpy as np
import pytest
import symusic

from ostinato.cli.main import run as command
from ostinato.domains.music.reading.pieces import read_piece
from ostinato.domains.music.writing import piano_roll


def song(seed: int, frames: int = 40) -> np.ndarray:
    """Four held voices of the scale of D major."""
    draw = np.random.default_rng(seed)
    scale = np.array([pitch for pitch in range(40, 80) if pitch % 12 in (2, 4, 6, 7, 9, 11, 1)]) - 21
    found = np.zeros((frames, 88), np.uint8)
    for t in range(0, frames, 2):
        found[t : t + 2, draw.choice(scale, 4, replace=False)] = 1
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("composing")
    (folder / "songs").mkdir()
    for seed in range(6):
        piano_roll.to_midi(song(seed), folder / "songs" / f"{seed}.mid")
    # by themselves, songs that change with the beat would have one frame to a beat
    options = [
        "--recipe",
        "SGD",
        "--frames-per-beat",
        "2",
        "--epochs",
        "1",
        "--hidden-size",
        "8",
        "--quiet",
        "--json",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTINATO_CACHE", str(folder / "cache"))
        assert (
            command(["train", "--data", str(folder / "songs"), "--run", str(folder / "run"), *options]) == 0
        )
    melody = np.zeros((16, 88), np.uint8)
    melody[np.arange(16), np.array([74, 76, 78, 74] * 4) - 21] = 1
    piano_roll.to_midi(melody, folder / "melody.mid")
    return folder


@pytest.fixture
def ostinato(place, capsys, monkeypatch, tmp_path):
    """A function: run a command on the run, in a folder of its own; code, standard output and error."""
    monkeypatch.chdir(tmp_path)

    def call(name, *arguments):
        capsys.readouterr()
        code = command([name, str(place / "run"), *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def frames_of(path) -> np.ndarray:
    return piano_roll.from_file(path, frames_per_beat=2, transpose=False)


def test_generate_writes_midi_sound_and_picture(ostinato):
    code, out, err = ostinato("generate", "--steps", 20, "--tempo", 60)
    assert (code, err) == (0, "")
    assert "run-0.mid, run-0.wav, run-0.png: 20 frames" in out
    assert sorted(os.listdir()) == ["run-0.mid", "run-0.png", "run-0.wav"]
    with wave.open("run-0.wav") as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(20 * 0.5 + 0.12, abs=1e-3)
        assert np.frombuffer(file.readframes(10**9), "<i2").std() > 500


def test_a_seed_is_a_piece(ostinato):
    for seed, name in ((3, "a.mid"), (3, "b.mid"), (4, "c.mid")):
        assert ostinato("generate", "--seed", seed, "--out", name)[0] == 0
    a, b, c = (Path(name).read_bytes() for name in ("a.mid", "b.mid", "c.mid"))
    assert a == b
    assert a != c


def test_a_piece_is_continued_in_its_own_key(ostinato, place):
    prime = place / "songs" / "0.mid"
    code, out, _ = ostinato(
        "generate",
        "--prime",
        prime,
        "--prime-steps",
        10,
        "--steps",
        6,
        "--count",
        2,
        "--out",
        "c.mid",
        "--json",
    )
    found = json.loads(out)
    assert code == 0
    assert [piece["files"] for piece in found["pieces"]] == [["c-1.mid"], ["c-2.mid"]]
    assert found["prime"] == {
        "frames": 10,
        "semitones": read_piece(prime).semitones,
        "key": read_piece(prime).key,
        "notes": 19,
    }
    assert found["prime"]["semitones"] != 0
    assert found["pieces"][0]["frames"] == 16
    for name in ("c-1.mid", "c-2.mid"):
        assert (frames_of(name)[:10] == frames_of(prime)[:10]).all()


def test_a_melody_is_kept_and_stays_on_top(ostinato, place):
    code, out, err = ostinato("harmonize", place / "melody.mid", "--out", "h.mid", "--particles", 20)
    assert code == 0
    assert "13 of 13 given notes kept" in out
    assert "moved by -2 semitones" in err
    melody, harmony = frames_of(place / "melody.mid"), frames_of("h.mid")
    assert (harmony[melody == 1] == 1).all()
    assert (harmony[:, ::-1].argmax(1) == melody[:, ::-1].argmax(1)).all()
    assert harmony.sum() > melody.sum()


def read_by_another(path, new="ostinato ") -> list:
    """Track, time, length, pitch and velocity of each note that was not composed, by symusic."""
    score = symusic.Score(path)
    return sorted(
        (
            track.name,
            n.time / score.ticks_per_quarter,
            n.duration / score.ticks_per_quarter,
            n.pitch,
            n.velocity,
        )
        for track in score.tracks
        if not track.name.startswith(new)
        for n in track.notes
    )


@pytest.mark.parametrize(
    ("key", "moved"),
    [("D", -2), ("F#", -6), ("B minor", 1), ("G", 5), ("Ebm", -3), ("guessed", -2), ("stated", -2)],
)
def test_the_key_that_is_named_moves_the_piece_and_no_given_note(ostinato, place, key, moved):
    # which states no key, so that "stated" is guessed, and said to be
    given = place / "melody.mid"
    code, out, err = ostinato("harmonize", given, "--out", "h.mid", "--particles", 5, "--key", key)
    assert code == 0
    assert f"moved by {moved:+d} semitones" in err
    assert ("guessed from the notes" if moved == -2 and key != "D" else "as given") in err
    assert read_by_another("h.mid") == read_by_another(given)
    _, out, _ = ostinato("score", given, "--json", "--key", key)
    named = json.loads(out)["pieces"][0]
    _, out, _ = ostinato("score", given, "--json", "--semitones", moved)
    assert named["log_likelihood"] == json.loads(out)["pieces"][0]["log_likelihood"]


def test_a_prime_has_the_key_that_is_named(ostinato, place):
    given = place / "melody.mid"
    code, out, _ = ostinato(
        "generate", "--prime", given, "--key", "Bm", "--out", "c.mid", "--json", "--steps", 4
    )
    assert code == 0
    assert json.loads(out)["prime"] | {"notes": 0} == {
        "frames": 16,
        "semitones": 1,
        "key": "Bm given",
        "notes": 0,
    }
    assert [n for n in read_by_another("c.mid") if n[1] < 8] == read_by_another(given)


def test_a_key_that_the_file_states_is_taken(ostinato, tmp_path):
    Path("a.abc").write_text("X:1\nL:1/4\nM:4/4\nK:F\nCCCC|CCEG|]\n")
    said = {
        by: ostinato("harmonize", "a.abc", "--out", "h.mid", "--particles", 5, "--key", by)[2]
        for by in ("guessed", "stated")
    }
    assert "in C, guessed from the notes: in the key the model knows" in said["guessed"]
    assert "in F, as the file states: moved by -5 semitones" in said["stated"]


def test_where_no_note_is_given_none_are_said_to_be_kept(ostinato, place):
    code, out, _ = ostinato("harmonize", place / "melody.mid", "--free", "bars", "1-2", "--out", "h.mid")
    assert code == 0
    assert "no notes given, 13 replaced, " in out
    assert " 0 of 0" not in out
    assert read_by_another("h.mid") == []


def test_above_allows_higher_notes(ostinato, place):
    out = ostinato(
        "harmonize",
        place / "melody.mid",
        "--out",
        "h.mid",
        "--above",
        "--particles",
        5,
        "--temperature",
        3,
        "--json",
    )[1]
    assert json.loads(out)["log_evidence"] < 0
    harmony = frames_of("h.mid")
    assert harmony[:, 79 - 21 :].any()


def test_a_gap_is_filled_and_the_rest_stays(ostinato, place):
    piece = place / "songs" / "1.mid"
    assert ostinato("harmonize", piece, "--free", "4-8", "--out", "g.mid", "--particles", 20)[0] == 0
    before, after = frames_of(piece), frames_of("g.mid")
    assert (before[:8] == after[:8]).all()
    assert (before[16:] == after[16:]).all()
    assert (before[8:16] != after[8:16]).any()


def test_fixed_pitches_are_those_of_the_file(ostinato, place):
    piece = place / "songs" / "2.mid"
    assert ostinato("harmonize", piece, "--fixed", "C4-C8", "--out", "g.mid", "--particles", 20)[0] == 0
    before, after = frames_of(piece), frames_of("g.mid")
    assert (before[:, 60 - 21 :] == after[:, 60 - 21 :]).all()
    assert (before[:, : 60 - 21] != after[:, : 60 - 21]).any()


def test_score_ranks_and_lists_notes(ostinato, place):
    noise = (np.random.default_rng(0).random((40, 88)) < 0.3).astype(np.uint8)
    piano_roll.to_midi(noise, "noise.mid")
    code, out, err = ostinato("score", "noise.mid", place / "songs" / "3.mid", "--top", 3, "--out", "s.png")
    assert code == 0
    assert out.index("3.mid") < out.index("noise.mid")
    assert "nats/frame" in out
    assert "bits" in out
    assert "s-1.png" in err
    assert Path("s-2.png").read_bytes()[:4] == b"\x89PNG"


def test_score_takes_folders_and_collections_and_goes_on_past_a_bad_file(ostinato, place):
    os.mkdir("folder")
    Path("folder", "a.abc").write_text("X:3\nL:1/4\nK:D\nDEFG|\n\nX:5\nL:1/4\nK:D\nFDFD|\n\nX:6\nK:Q\nD|\n")
    Path("folder", "bad.mid").write_text("no music")
    code, out, _ = ostinato("score", "folder", "folder/a.abc#5", "none.mid", place / "melody.mid", "--json")
    found = json.loads(out)
    assert code == 2
    assert sorted(piece["file"] for piece in found["pieces"]) == [
        str(place / "melody.mid"),
        "folder/a.abc#3",
        "folder/a.abc#5",
        "folder/a.abc#5",
    ]
    assert {failed["file"]: failed["reason"].split(":")[0] for failed in found["failed"]} == {
        "folder/a.abc": "X",
        "folder/bad.mid": "not a MIDI file",
        "none.mid": "no such file",
    }
    code, out, err = ostinato("score", "folder", "--top", 1)
    assert code == 2
    assert out.count("most surprising notes") == 2
    assert "2 files or pieces cannot be scored:" in err
    assert "folder/bad.mid: not a MIDI file" in err


def test_score_of_whole_files_ends_well(ostinato, place):
    assert ostinato("score", f"{place / 'songs'}", "--top", 0)[0] == 0


def test_score_of_nothing_usable_is_one_line(ostinato):
    code, out, err = ostinato("score", "a.mid", "b.mid")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "a.mid: no such file; b.mid: no such file" in err


def test_score_json(ostinato, place):
    _, out, _ = ostinato("score", place / "melody.mid", "--json")
    (piece,) = json.loads(out)["pieces"]
    assert piece["frames"] == 16
    assert piece["log_likelihood"]["unit"] == "nats/frame"
    assert piece["surprisal"]["unit"] == "bits"
    assert [note["name"] for note in sorted(piece["notes"], key=lambda note: note["begin"])][:3] == [
        "D5",
        "E5",
        "F♯5",
    ]
    assert np.mean(piece["frame_log_likelihood"]) == pytest.approx(piece["log_likelihood"]["value"])


def test_score_finds_wrong_notes(ostinato, place):
    code, out, _ = ostinato("score", place / "melody.mid", "--wrong-notes", "--json")
    (piece,) = json.loads(out)["pieces"]
    assert code == 0
    assert {note["pitch"] for note in piece["corrections"]["notes"]} == {74, 76, 78}
    assert all(abs(note["pitch"] - note["better"]) == 1 for note in piece["corrections"]["notes"])
    assert "a semitone" in ostinato("score", place / "melody.mid", "--wrong-notes")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate --out a.txt", "expected a file name ending in .mid"),
        ("generate --out no/a.mid", "expected a folder"),
        ("generate --steps 0", "expected --steps of at least 1"),
        ("generate --temperature 0", "temperature of 0.001 to 100"),
        ("generate --prime nothing.mid", "no such file"),
        ("generate --seed -1", "seed"),
        ("harmonize nothing.mid --out a.mid", "no such file"),
        ("harmonize {melody} --out a.mid --particles 0", "expected --particles of at least 1"),
        ("harmonize {melody} --out a.mid --free 8", "expected a region"),
        ("harmonize {melody} --out a.mid --free 100-120", "expected quarter notes within 0-8"),
        ("harmonize {melody} --out a.mid --free bars 9-12", "expected bars within 1-2"),
        ("harmonize {melody} --out a.mid --fixed bars 1-2", "all of the piece held by --fixed"),
        ("harmonize {melody} --out a.mid --key H", "expected --key guessed, stated, or a key such as"),
        ("harmonize {melody} --out a.mid --key d", "found 'd'"),
        ("harmonize {melody} --out a.mid --key D --semitones 2", "expected --key or --semitones, found both"),
        ("generate --key D", "expected --key with --prime"),
        ("score {melody} --key X", "expected --key guessed, stated"),
        ("harmonize {melody} --out a.mid --free 1-2 --above", "--above"),
        ("score nothing.mid", "no such file"),
        ("score {melody} --out a.mid", "expected a file name ending in .png"),
        ("score {melody} --beats-per-bar 0", "--beats-per-bar of 1/16 to 1,000 quarter notes, found 0"),
        ("score {melody} --beats-per-bar nan", "--beats-per-bar of 1/16 to 1,000 quarter notes, found nan"),
        ("score {melody} --beats-per-bar inf", "--beats-per-bar of 1/16 to 1,000 quarter notes, found inf"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(ostinato, place, arguments, message):
    name, *rest = arguments.format(melody=place / "melody.mid").split()
    code, out, err = ostinato(name, *rest)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir() == []


def test_what_is_read_is_not_written_over(ostinato, place, tmp_path):
    piece = tmp_path / "mine.mid"
    piece.write_bytes((place / "songs" / "0.mid").read_bytes())
    before = piece.read_bytes()
    (tmp_path / "link.mid").symlink_to(piece)
    for arguments in (
        ("harmonize", piece, "--out", piece),
        ("harmonize", piece, "--out", tmp_path / "new.mid", "--out", tmp_path / "link.mid"),
        ("generate", "--prime", piece, "--steps", 4, "--out", piece),
    ):
        code, out, err = ostinato(*arguments)
        assert (code, out) == (2, "")
        assert "expected another file to write than the one read" in err
    assert piece.read_bytes() == before
    assert not (tmp_path / "new.mid").exists()
