"""The page about comparing says of overlaps what the command does."""

import os
import re
from pathlib import Path

import pytest

from ostinato.domains.music.reading import data_sets
from ostinato.domains.music.reading.overlap import overlap

PAGE = Path(__file__).parents[2] / "docs" / "compare.md"
ROW = re.compile(r"\| (\S+) \| valid, test \| (.+?), (.+?) \| (.+?), (.+?) songs \| (.+?) %, (.+?) % \|")


def rows() -> dict[str, tuple[str, ...]]:
    return {name: rest for name, *rest in ROW.findall(PAGE.read_text(encoding="utf-8"))}


def test_every_set_of_music_has_a_row() -> None:
    assert set(rows()) == {"jsb", "piano-midi", "nottingham", "musedata", "bach"}


@pytest.mark.parametrize("name", ["jsb"])
def test_its_shares_are_those_that_are_counted(name) -> None:
    if "OSTINATO_DATA" not in os.environ:
        pytest.skip("set OSTINATO_DATA to the folder that holds the published files")
    data = data_sets.load(name, progress=False)
    found = [overlap(data.train, data[split]) for split in ("valid", "test")]
    seen = [f"{one.seen.sum()}" for one in found]
    count = [f"{len(one.seen)}" for one in found]
    shares = [f"{100 * one.shares.mean():.1f}" for one in found]
    assert rows()[name] == [*seen, *count, *shares]
