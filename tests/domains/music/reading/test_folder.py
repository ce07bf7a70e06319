import os
import shutil

import numpy as np
import pytest

from ostinato.domains.music.layout import invalid
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.reading.similarity import versions
from ostinato.domains.music.writing import piano_roll
from ostinato.errors import UserError


def load(path, **options):
    return music.load(path, progress=False, **options)


def names(data):
    return sorted(song.name for _, songs in data.items() for song in songs)


def message(path):
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def songs(tmp_path, write_song):
    folder = tmp_path / "songs"
    for k in range(10):
        write_song(folder / f"{k}.mid", k)
    return folder


def test_a_folder_is_split_by_piece(songs):
    data = load(songs)
    assert [len(found) for _, found in data.items()] == [6, 2, 2]
    assert names(data) == [f"{k}.mid" for k in range(10)]
    assert data.name == "songs"
    assert data.details["split"] == "by work"
    assert data.details["frames_per_beat"] == 2


def test_the_version_depends_on_the_content_and_not_on_the_place(songs, tmp_path, write_song):
    shutil.copytree(songs, tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere").version == load(songs).version
    write_song(songs / "3.mid", 77)
    assert load(tmp_path / "elsewhere").version != load(songs).version
    assert len({load(songs, split_seed=seed).version for seed in range(3)}) == 3


def test_everything_below_in_any_case_and_form(tmp_path, write_song):
    write_song(tmp_path / "a" / "b" / "ONE.MID", 1)
    write_song(tmp_path / "two.midi", 2)
    (tmp_path / "three.ABC").write_text("X:1\nK:C\nL:1/4\nCDEF|\n\nX:2\nK:C\nL:1/4\nGABc|\n")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "._two.midi").write_text("a resource fork")
    data = load(tmp_path)
    assert names(data) == ["a/b/ONE.MID", "three.ABC#1", "three.ABC#2", "two.midi"]
    assert data.skipped == ()


def test_links_are_followed_once_and_circles_end(songs, tmp_path):
    (tmp_path / "outside").mkdir()
    shutil.copy(songs / "0.mid", tmp_path / "outside" / "other.mid")
    (songs / "linked").symlink_to(tmp_path / "outside")
    (songs / "circle").symlink_to(songs)
    (songs / "z-again.mid").symlink_to(songs / "1.mid")
    (songs / "broken.mid").symlink_to(songs / "nowhere.mid")
    (songs / "self.mid").symlink_to(songs / "self.mid")
    data = load(songs)
    assert names(data) == sorted([f"{k}.mid" for k in range(10)] + ["linked/other.mid"])
    assert {skip.path: skip.reason for skip in data.skipped} == {
        "broken.mid": "a link to nothing",
        "self.mid": "a link to nothing",
    }
    (tmp_path / "link").symlink_to(songs)
    assert load(tmp_path / "link").version == data.version


def test_one_bad_file_never_costs_the_others(songs):
    whole = (songs / "0.mid").read_bytes()
    (songs / "truncated.mid").write_bytes(whole[:-20])
    (songs / "text.mid").write_text("hello")
    (songs / "empty.mid").write_bytes(b"")
    (songs / "folder.mid").mkdir()
    (songs / "page.xml").write_text("<html></html>")
    (songs / "low.abc").write_text("X:1\nK:C\nL:1/64\nz4|\n")
    if hasattr(os, "mkfifo"):
        os.mkfifo(songs / "pipe.mid")
    data = load(songs)
    assert len(data) == 10
    reasons = {skip.path: skip.reason for skip in data.skipped}
    assert set(reasons) - {"pipe.mid"} == {"truncated.mid", "text.mid", "empty.mid", "page.xml", "low.abc"}
    assert "truncated" in reasons["truncated.mid"]
    assert reasons["empty.mid"] == "the file is empty"
    assert [skip.path for skip in data.skipped] == sorted(reasons)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_listed(songs):
    (songs / "0.mid").chmod(0)
    (songs / "locked").mkdir(mode=0)
    data = load(songs)
    (songs / "locked").chmod(0o700)
    assert {skip.path for skip in data.skipped} == {"0.mid", "locked"}


def test_identical_pieces_stay_together_in_any_key(tmp_path):
    rng = np.random.default_rng(0)
    for k in range(12):
        frames = np.eye(88, dtype=np.uint8)[rng.integers(30, 50, 40)]
        piano_roll.to_midi(frames, tmp_path / f"{k}.mid")
        piano_roll.to_midi(np.roll(frames, 3, axis=1), tmp_path / f"{k}-higher.mid")
    data = load(tmp_path)
    where = {song.name: split for split, songs in data.items() for song in songs}
    assert len(where) == 24
    assert all(where[f"{k}.mid"] == where[f"{k}-higher.mid"] for k in range(12))
    pairs = versions([song.values for _, songs in data.items() for song in songs])
    assert len(pairs) == 12


def test_one_file_is_cut_in_time(tmp_path, write_song):
    path = write_song(tmp_path / "a.mid", 1, frames=100)
    data = load(path)
    assert [(split, len(songs), data.frames(split)) for split, songs in data.items()] == [
        ("train", 1, 60),
        ("valid", 1, 20),
        ("test", 1, 20),
    ]
    assert (data.name, data.details["split"]) == ("a.mid", "in time")


def test_a_note_that_is_held_over_a_cut_begins_the_part_behind_it(tmp_path):
    # a melody over a drone of twelve bars
    tune = "CDEF|EDCD|" * 6
    (tmp_path / "drone.abc").write_text(
        f"X:1\nM:4/4\nL:1/4\nK:C\nV:1\n{tune}\nV:2\n" + "C,4-|" * 11 + "C,4|]\n"
    )
    data = load(tmp_path, frames="onsets", transpose=False, cache=False)
    assert data.details["split"] == "in time"
    for _, (part,) in data.items():
        assert invalid(part.values) == ""
        assert part.values[0, 88 + 48 - 21] == 1


def test_two_pieces_or_copies_of_one_are_cut_in_time(tmp_path, write_song):
    for name in ("a.mid", "b.mid", "c.mid"):
        write_song(tmp_path / name, 1)
    write_song(tmp_path / "d.mid", 2)
    data = load(tmp_path)
    assert data.details["split"] == "in time"
    assert [len(songs) for _, songs in data.items()] == [4, 4, 4]


def test_options(tmp_path, write_song):
    path = write_song(tmp_path / "a.mid", 1, frames=60)
    assert load(path, frames_per_beat=4).frames("train") == 2 * load(path).frames("train")
    assert load(path, transpose=False).details["transposed"] is False
    with pytest.raises(UserError, match=r"frames_per_beat in \[1, 48\], found 0"):
        load(path, frames_per_beat=0)


def test_folders_without_music(tmp_path):
    assert message(tmp_path).startswith(f"{tmp_path} is an empty folder; expected files of .mid")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.txt").write_text("hello")
    assert message(tmp_path).endswith("found 2 of .txt")
    (tmp_path / "0.mid").write_text("hello")
    assert f"the only file in {tmp_path} cannot be used: 0.mid: not a MIDI file" in message(tmp_path)
    for k in range(1, 5):
        (tmp_path / f"{k}.mid").write_text("hello")
    assert message(tmp_path).startswith(
        f"none of the 5 files in {tmp_path} can be used: 0.mid: not a MIDI file"
    )
    assert message(tmp_path).endswith("and 2 more")


def test_a_single_bad_file_is_one_line(tmp_path, write_song):
    path = write_song(tmp_path / "a.mid", 1)
    path.write_bytes(path.read_bytes()[:-20])
    assert message(path) == f"{path}: truncated MIDI: it ends within track 2 of 2"
    path.write_text("hello")
    assert "not a MIDI file" in message(path)
    (tmp_path / "a.txt").write_text("hello")
    assert "expected one of .mid" in message(tmp_path / "a.txt")
    write_song(path, 1, frames=10)
    assert "too little music" in message(path)


@pytest.mark.parametrize(
    "name", ["notingham", "JSB", "", "no/such/folder", "nul\0", "x" * 5000, "~nobody-here/x"]
)
def test_unknown_names(name):
    assert message(name).startswith("expected a data set or a path, found ")


def test_near_names():
    assert message("piano_midi").endswith("did you mean piano-midi?")
    assert message("JSB").endswith("did you mean jsb?")


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    assert "is a link to nothing" in message(tmp_path / "a")
