import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from ostinato.data.download import sha256
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.reading.published import PUBLISHED, read_mat
from ostinato.errors import UserError

# taken before the fixture that hides it from the other tests
FOLDER = Path(os.environ.get("OSTINATO_DATA", "."))

COUNTS = {
    "jsb": ((229, 13_807), (76, 4_602), (77, 4_725)),
    "nottingham": ((694, 176_561), (173, 45_513), (170, 44_463)),
    "musedata": ((524, 245_202), (135, 82_755), (124, 64_339)),
    "piano-midi": ((87, 75_911), (12, 8_540), (25, 19_036)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name, monkeypatch):
    if not (FOLDER / PUBLISHED[name].file.name).is_file():
        pytest.skip("set OSTINATO_DATA to the folder that holds the published files")
    monkeypatch.setenv("OSTINATO_DATA", str(FOLDER))
    data = music.load(name)
    assert tuple((len(songs), data.frames(split)) for split, songs in data.items()) == COUNTS[name]
    for _, songs in data.items():
        for song in songs:
            assert song.values.dtype == np.uint8
            assert song.values.shape[1] == 88
            assert song.values.max() <= 1
    assert music.load(name).version == data.version


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A data set of the published form stands in for jsb."""

    def make(**changes):
        cells = {}
        for length, split in enumerate(("train", "valid", "test"), start=3):
            cells[f"{split}data"] = np.empty((1, 2), dtype=object)
            cells[f"{split}data"][:] = [[np.eye(88, dtype=np.uint8)[:length]] * 2]
        path = tmp_path / "JSB_Chorales.mat"
        scipy.io.savemat(path, cells | changes)
        monkeypatch.setenv("OSTINATO_DATA", str(tmp_path))
        monkeypatch.setitem(PUBLISHED, "jsb", replaced(PUBLISHED["jsb"], sha256(path)))
        return path

    return make


def replaced(published, checksum):
    import dataclasses

    return dataclasses.replace(published, file=dataclasses.replace(published.file, sha256=checksum))


def test_frames_and_splits_are_kept(tiny):
    tiny()
    data = music.load("jsb")
    assert [(split, len(songs), data.frames(split)) for split, songs in data.items()] == [
        ("train", 2, 6),
        ("valid", 2, 8),
        ("test", 2, 10),
    ]
    assert [song.name for song in data.train] == ["train/000", "train/001"]
    assert data.details["frames_per_beat"] == 1
    assert data.details["transposed"] is True


def test_options_that_cannot_be_had_are_refused(tiny):
    tiny()
    assert music.load("jsb", frames_per_beat=1).version == music.load("jsb").version
    with pytest.raises(UserError, match="jsb is published with 1 frames per beat, found 2"):
        music.load("jsb", frames_per_beat=2)
    with pytest.raises(UserError, match="the first keys are lost"):
        music.load("jsb", transpose=False)


def test_other_contents_are_refused(tiny):
    tiny(testdata=np.zeros((3, 3)))
    with pytest.raises(UserError, match=r"expected songs of shape \(T, 88\)"):
        music.load("jsb")


@pytest.mark.parametrize("value", [9, np.nan, -1.0])
def test_other_values_than_zeros_and_ones_are_refused(tiny, value):
    cell = np.empty(1, object)
    cell[0] = np.full((3, 88), value)
    tiny(testdata=cell)
    with pytest.raises(UserError, match="expected songs of zeros and ones, found other values"):
        music.load("jsb")


@pytest.mark.parametrize("content", [b"", b"MATLAB", b"text " * 200, pickle.dumps({"traindata": 1}) * 50])
def test_what_is_no_matlab_file_is_refused(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match="expected a MATLAB 5 file") as caught:
        read_mat(tmp_path / "a.mat")
    assert "\n" not in str(caught.value)


def test_the_list_says_what_is_ready(tiny, monkeypatch):
    path = tiny()
    entries = {entry.name: entry for entry in music.listing()}
    assert tuple(entries) == music.names()
    assert entries["bach"].ready
    assert (entries["jsb"].ready, entries["jsb"].place) == (True, str(path))
    assert not entries["musedata"].ready
    assert entries["musedata"].source.startswith("https://")
