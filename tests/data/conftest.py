"""Every test has a cache of its own and no data folder; the chorales, which take a while, are shared."""

from pathlib import Path

import numpy as np
import pytest

from ostinato.domains.music.writing import piano_roll


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("OSTINATO_DATA", raising=False)


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("corpus-cache")


@pytest.fixture
def write_song():
    """write_song(path, seed): a MIDI file of 60 frames, different for each seed."""

    def write(path: Path, seed: int, frames: int = 60) -> Path:
        rng = np.random.default_rng(seed)
        roll = np.zeros((frames, 88), np.uint8)
        roll[np.arange(frames), rng.integers(30, 60, frames)] = 1
        path.parent.mkdir(parents=True, exist_ok=True)
        piano_roll.to_midi(roll, path)
        return path

    return write
