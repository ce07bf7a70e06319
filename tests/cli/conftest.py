"""A folder of small songs and a short training on it; every test has its own cache and working folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from ostinato.cli.main import run
from ostinato.data import piano_roll

QUICK = ("--hidden-size", "8", "--epochs", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def _own_place(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("OSTINATO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def songs(tmp_path) -> Path:
    """Ten songs of two bars that differ in their chords."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        roll = np.zeros((40, 88), np.uint8)
        for start in range(0, 40, 4):
            roll[start : start + 4, rng.choice(np.arange(30, 60), 3, replace=False)] = 1
        piano_roll.to_midi(roll, folder / f"song{seed}.mid")
    return folder


@pytest.fixture
def ostinato(capsys):
    """ostinato(*arguments): (exit code, standard output, standard error) of the command line."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = run([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def trained(ostinato, songs, tmp_path) -> dict:
    """The JSON that a short `ostinato train --json` printed."""
    code, out, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", "--json", *QUICK)
    assert code == 0, err
    return json.loads(out)
