"""Small files in the place of the published data sets, for tests that must run without these."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from scipy.io import savemat

from ostinato.domains.music.reading import published
from ostinato.domains.text.reading import data_sets as text

SENTENCES = ("the cat sat on the mat", "a dog <unk> at the cat", "the dog sat on a log")


def stand_in(monkeypatch, folder: Path) -> None:
    """Write the files of every published set, and take their checksums for the published ones."""
    folder.mkdir()
    for place, (name, found) in enumerate(published.PUBLISHED.items()):
        path = folder / found.file.name
        write_mat(path, seed=place)
        small = dataclasses.replace(found, file=dataclasses.replace(found.file, sha256=_checksum(path)))
        monkeypatch.setitem(published.PUBLISHED, name, small)
    rng = np.random.default_rng(0)
    files = {}
    for split, file in text.PTB.items():
        path = folder / file.name
        path.write_text("".join(f" {line} \n" for line in rng.choice(SENTENCES, 60)))
        files[split] = dataclasses.replace(file, sha256=_checksum(path))
    monkeypatch.setattr(text, "PTB", files)
    monkeypatch.setenv("OSTINATO_DATA", str(folder))


def write_mat(path: Path, seed: int = 0) -> None:
    """A MATLAB file of twelve random songs, as the published ones are."""
    rng = np.random.default_rng(seed)
    splits = {}
    for split, songs in (("train", 6), ("valid", 3), ("test", 3)):
        cells = np.empty((1, songs), dtype=object)
        for song in range(songs):
            cells[0, song] = (rng.random((24, 88)) < 0.05).astype(np.uint8)
        splits[f"{split}data"] = cells
    savemat(path, splits)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
