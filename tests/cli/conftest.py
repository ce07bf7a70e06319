"""A short training on a folder of small songs; every test has its own cache and working folder."""

import json

import pytest

QUICK = ("--hidden-size", "8", "--epochs", "2", "--threads", "1")


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


@pytest.fixture
def trained(ostinato, songs, tmp_path) -> dict:
    """The JSON that a short `ostinato train --json` printed."""
    code, out, err = ostinato("train", "--data", songs, "--run", tmp_path / "run", "--json", *QUICK)
    assert code == 0, err
    return json.loads(out)
