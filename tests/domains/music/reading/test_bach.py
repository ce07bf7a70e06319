import numpy as np
import pytest

from ostinato.domains.music.reading import bach
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.reading.similarity import versions

# the first of these tests to run reads the corpus, which takes a while
pytestmark = pytest.mark.slow


@pytest.fixture
def chorales(corpus_cache, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(corpus_cache))
    return music.load("bach", progress=False)


def all_songs(data):
    return [(split, song) for split, songs in data.items() for song in songs]


def test_sixty_twenty_twenty(chorales):
    songs = {split: len(found) for split, found in chorales.items()}
    assert sum(songs.values()) > 340
    assert songs["train"] / sum(songs.values()) == pytest.approx(0.6, abs=0.02)
    assert songs["test"] / sum(songs.values()) == pytest.approx(0.2, abs=0.02)


def test_it_resembles_the_published_chorales(chorales):
    frames = np.concatenate([song.values for _, song in all_songs(chorales)])
    notes = frames.sum(axis=1)
    # jsb: 3.89 notes a frame, 60 frames a song
    assert notes.mean() == pytest.approx(3.89, abs=0.05)
    assert notes.max() == 4
    assert len(frames) / len(chorales) == pytest.approx(57, abs=6)
    assert not chorales.skipped


def test_no_work_is_in_two_splits(chorales):
    where = {}
    for split, song in all_songs(chorales):
        assert where.setdefault(bach.catalogue_number(song.name), split) == split


def test_no_tune_and_no_harmony_is_in_two_splits(chorales):
    songs = all_songs(chorales)
    pairs = versions([song.values for _, song in songs])
    assert len(pairs) > 300
    for i, j, _ in pairs:
        assert songs[i][0] == songs[j][0], (songs[i][1].name, songs[j][1].name)


def test_known_duplicates_are_together(chorales):
    where = {song.name: split for split, song in all_songs(chorales)}
    passion = ["bwv135.6", "bwv153.5", "bwv244.15", "bwv244.54", "bwv248.5", "bwv270", "bwv271"]
    assert len({where[name] for name in passion}) == 1
    freu_dich_sehr = ["bwv25.6", "bwv30.6", "bwv32.6", "bwv39.7", "bwv70.7", "bwv194.6"]
    assert len({where[name] for name in freu_dich_sehr}) == 1


def test_the_same_again_from_the_cache_and_with_options(chorales):
    assert music.load("bach", progress=False).version == chorales.version
    fine = music.load("bach", frames_per_beat=2, transpose=False, progress=False)
    assert [[s.name for s in songs] for _, songs in fine.items()] == [
        [s.name for s in songs] for _, songs in chorales.items()
    ]
    assert fine.frames("train") == pytest.approx(2 * chorales.frames("train"), rel=0.01)
    other = music.load("bach", split_seed=1, progress=False)
    assert {s.name for s in other.test} != {s.name for s in chorales.test}
