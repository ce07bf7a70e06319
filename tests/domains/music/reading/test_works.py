"""Versions of one work stay in one split: transposed, at another tempo, ornamented."""

import time

import numpy as np
import pytest

from ostinato.data.splitting import connected
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import data_sets, works
from ostinato.errors import UserError

from .test_loss import write

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def tune(rng, length=64):
    """(start, length, pitch) of notes of quarters and eighths, in steps and leaps of a scale."""
    degree = 7 + np.cumsum(rng.choice([-4, -3, -2, -1, 1, 1, 2, 3], length)) % 14
    lasts = rng.choice([0.5, 0.5, 1.0], length)
    start = np.cumsum(lasts) - lasts
    return [(s, d, 48 + 12 * (k // 7) + SCALE[k % 7]) for s, d, k in zip(start, lasts, degree, strict=True)]


def transposed(notes, rng):
    by = rng.integers(-5, 7)
    return [(start, length, pitch + by) for start, length, pitch in notes]


def faster(notes, rng):
    by = rng.choice([0.5, 2.0, 0.75, 1.3])
    return [(start * by, length * by, pitch) for start, length, pitch in notes]


def ornamented(notes, rng):
    """A third of the notes begin with a mordent."""
    found = []
    for start, length, pitch in notes:
        if rng.random() < 1 / 3:
            short = length / 8
            found += [(start, short, pitch), (start + short, short, pitch + 2)]
            found.append((start + 2 * short, length - 2 * short, pitch))
        else:
            found.append((start, length, pitch))
    return found


def test_tunes_too_short_to_tell_are_named_and_no_version_of_them_is_found(tmp_path):
    rng = np.random.default_rng(3)
    assert works.LEAST_NOTES == 10
    for length, short in ((7, True), (9, True), (10, False), (20, False)):
        pitch = 60 + np.cumsum(rng.choice([1, 2, 3, -1, -2, -4, 5], length))
        start = np.arange(float(length))
        # the second with a last note of its own
        pair = [Notes(start, start + 1, pitch), Notes(start / 2, start / 2 + 0.5, pitch + 3)]
        assert [works.too_short(one) for one in pair] == [short, short]
        assert works.works(pair, ["a", "b"]) == ([] if short else [(0, 1)])
    for k in range(8):
        write(tmp_path / f"{k}.mid", tune(rng))
    for k in range(4):
        write(tmp_path / f"short{k}.mid", tune(rng, 7))
    said = data_sets.load(tmp_path, cache=False, progress=False).details["notices"]
    (line,) = [line for line in said if "too short" in line]
    assert line.startswith("4 pieces too short or too uniform for versions to be found, which takes 10 notes")
    assert "short0.mid, short1.mid, short2.mid and 1 more; only identical ones stay together" in line


VERSIONS = {"transposed": transposed, "faster": faster, "ornamented": ornamented}


def folder_of(count, seed=0):
    """Works with three versions each beside the first: what each is of, and their notes."""
    rng = np.random.default_rng(seed)
    made = []
    for work in range(count):
        first = tune(rng)
        made.append((work, first))
        made += [(work, version(first, rng)) for version in VERSIONS.values()]
    return made


def as_notes(rows):
    start, length, pitch = np.array(rows, dtype=float).T
    return Notes(start, start + length, pitch.astype(int))


@pytest.mark.parametrize("name", VERSIONS)
def test_each_version_is_found(name):
    rng = np.random.default_rng(1)
    firsts = [tune(rng) for _ in range(30)]
    pieces = [as_notes(one) for first in firsts for one in (first, VERSIONS[name](first, rng))]
    links = works.works(pieces, [f"{k}.mid" for k in range(60)])
    assert set(links) == {(2 * k, 2 * k + 1) for k in range(30)}


def test_no_work_of_a_folder_is_in_two_splits(tmp_path):
    made = folder_of(30)
    # names that say nothing
    order = np.random.default_rng(2).permutation(len(made))
    for name, k in enumerate(order):
        write(tmp_path / f"{name:03d}.mid", made[k][1])
    data = data_sets.load(tmp_path, progress=False)
    where = {}
    for split, songs in data.items():
        for song in songs:
            where.setdefault(made[order[int(song.name[:3])]][0], set()).add(split)
    assert len(where) == 30
    assert all(len(splits) == 1 for splits in where.values())
    assert [len(songs) for _, songs in data.items()] == [72, 24, 24]
    # the split of runs of before keeps fewer together
    before = data_sets.load(tmp_path, progress=False, split_by="piece")
    splits = {song.name: split for split, songs in before.items() for song in songs}
    both = [{splits[f"{n:03d}.mid"] for n, k in enumerate(order) if made[k][0] == work} for work in range(30)]
    assert sum(len(one) > 1 for one in both) > 10


@pytest.mark.parametrize("count", [50, pytest.param(500, marks=pytest.mark.long)])
def test_many_files_take_seconds(count):
    made = folder_of(count)
    pieces = [as_notes(rows) for _, rows in made]
    begin = time.process_time()
    links = works.works(pieces, [f"{k}.mid" for k in range(len(pieces))])
    spent = time.process_time() - begin
    groups = connected(len(pieces), links)
    assert len(set(groups)) == count
    assert all(
        (a == b) == (made[i][0] == made[j][0])
        for i, a in enumerate(groups[:40])
        for j, b in enumerate(groups[:40])
    )
    assert spent < 60, spent


def test_a_name_is_a_hint_and_no_more():
    rng = np.random.default_rng(3)
    first, other = tune(rng), tune(rng)
    # a quarter of the tune is the other's
    half = other[:20] + [(s, d, p) for s, d, p in first[20:36]] + tune(rng)[36:]
    pieces = [as_notes(first), as_notes(sorted(half))]
    assert works.works(pieces, ["waltz.mid", "other.mid"]) == []
    assert works.works(pieces, ["waltz (version 2).mid", "Waltz.mid"]) == [(0, 1)]
    assert works.works([as_notes(first), as_notes(other)], ["waltz.mid", "waltz_2.mid"]) == []


@pytest.fixture
def given(tmp_path):
    rng = np.random.default_rng(4)
    for split in ("train", "valid", "test"):
        (tmp_path / split).mkdir()
        for k in range(2):
            write(tmp_path / split / f"{k}.mid", tune(rng))
    return tmp_path


def splits_of(data):
    return {song.name: split for split, songs in data.items() for song in songs}


def test_folders_that_are_splits_are_obeyed(given):
    data = data_sets.load(given, progress=False)
    assert splits_of(data) == {f"{s}/{k}.mid": s for s in ("train", "valid", "test") for k in range(2)}
    assert data.details["split"] == "as given"
    assert not any("leak" in line for line in data.details["notices"])
    write(given / "beside.mid", tune(np.random.default_rng(9)))
    with pytest.raises(UserError, match=r"folders train, valid and test, found beside\.mid"):
        data_sets.load(given, progress=False)


def test_given_splits_that_leak_are_obeyed_and_said(given):
    rng = np.random.default_rng(4)
    write(given / "test" / "again.mid", transposed(tune(rng), rng))
    data = data_sets.load(given, progress=False)
    assert splits_of(data)["test/again.mid"] == "test"
    [line] = [line for line in data.details["notices"] if "leak" in line]
    assert "1 work in more than one of them" in line
    assert "test/again.mid (test)" in line
    assert "train/0.mid (train)" in line


def test_a_file_of_splits_is_obeyed(given):
    lines = ["file,split", "train/0.mid,test", "train/1.mid,valid", "valid/0.mid,train", "valid/1.mid,train"]
    (given / "splits.csv").write_text("\n".join([*lines, "./test/0.mid,train", "test/1.mid,dev", ""]))
    found = splits_of(data_sets.load(given, progress=False))
    assert found["train/0.mid"] == "test"
    assert found["test/1.mid"] == "valid"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\ntrain/0.mid,test\n", "found none for test/0.mid"),
        ("name,part\n", "to be file,split, found 'name,part'"),
        ("file,split\ntrain/0.mid,tset\n", "line 2: expected a file and train, valid or test"),
        ("file,split\na.mid,test\na.mid,train\n", "line 3: expected one split for a.mid, found two"),
        ("", "to be file,split, found ''"),
    ],
)
def test_a_file_of_splits_that_does_not_fit(given, text, message):
    (given / "splits.csv").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        data_sets.load(given, progress=False)
    assert "\n" not in str(caught.value)


def test_a_file_of_splits_about_no_file_or_without_test(given):
    names = [f"{s}/{k}.mid" for s in ("train", "valid", "test") for k in range(2)]
    lines = ["file,split", *(f"{name},train" for name in names)]
    (given / "splits.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match="found none in valid and test"):
        data_sets.load(given, progress=False)
    (given / "splits.csv").write_text("\n".join([*lines, "nowhere.mid,test"]))
    with pytest.raises(UserError, match=r"found a line for nowhere\.mid, which is none"):
        data_sets.load(given, progress=False)
