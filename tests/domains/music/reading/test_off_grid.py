"""One grid for a folder in eighths and triplets: what it costs is said of the piece that it does not suit."""

import numpy as np
import pytest

from ostinato.domains.music.grid import Cost
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import data_sets
from ostinato.domains.music.reading.off_grid import off_grid_lines


@pytest.fixture
def folder(tmp_path):
    """A function: a folder of so many tunes in eighths, so many in triplets, and so many in 32nds."""

    def make(duple: int, triplets: int, fast: int = 0):
        rng = np.random.default_rng(0)
        for kind, count, length in (
            ("duple", duple, "1/8"),
            ("triplet", triplets, "1/12"),
            ("fast", fast, "1/32"),
        ):
            for k in range(count):
                notes = "".join(rng.choice(list("CDEFGABc"), 48))
                (tmp_path / f"{kind}{k}.abc").write_text(f"X:1\nM:4/4\nL:{length}\nK:C\n{notes}|]\n")
        return data_sets.load(tmp_path, frames="onsets", cache=False, progress=False)

    return make


def about(data) -> list[str]:
    return [line for line in data.details["notices"] if "these frames" in line]


def test_eighths_and_triplets_have_a_grid_that_holds_all(folder):
    data = folder(6, 6)
    assert data.details["frames_per_beat"] == 6
    assert (data.details["reading"]["moved"], data.details["reading"]["lost"]) == (0, 0)
    assert about(data) == []


def test_one_in_triplets_among_many_is_named(folder):
    data = folder(80, 1)
    assert data.details["frames_per_beat"] == 2
    (line,) = about(data)
    (one,) = [one for one in data.listing if one["name"] == "triplet0.abc"]
    # of three notes in a triplet two are moved, and some of them onto another of their pitch, which are lost
    assert one["moved"] + one["lost"] == 32
    lost = f", {one['lost']} lost" if one["lost"] else ""
    named = f"triplet0.abc ({one['moved']} of 48 notes moved{lost})"
    assert line == f"1 of 81 pieces is off these frames: {named}; 6 to a quarter note would suit all"
    assert sum(one["moved"] for one in data.listing) == data.details["reading"]["moved"]


def test_what_would_suit_all_does(folder, tmp_path):
    folder(80, 1, 1)
    (line,) = about(data_sets.load(tmp_path, cache=False, progress=False))
    assert line.endswith("24 to a quarter note would suit all")
    data = data_sets.load(tmp_path, frames_per_beat=24, cache=False, progress=False)
    assert (data.details["reading"]["moved"], data.details["reading"]["lost"]) == (0, 0)
    assert about(data) == []


def test_where_no_grid_suits_all_none_is_offered():
    played = np.sort(np.random.default_rng(1).random(50) * 20)
    pieces = [("a", Notes(np.arange(9.0), np.arange(1, 10.0), np.arange(60, 69)))]
    pieces += [("b", Notes(played, played + 0.3, np.arange(50) + 40))]
    costed = [(name, notes, notes.cost(4, "nearest")) for name, notes in pieces]
    (line,) = off_grid_lines(costed, 4)
    assert line.startswith("1 of 2 pieces is off these frames: b (")
    assert "suit" not in line


def test_many_are_counted_and_few_notes_pass():
    notes = Notes(np.arange(9.0), np.arange(1, 10.0), np.arange(60, 69))
    pieces = [(f"p{k}", notes, Cost(100, moved)) for k, moved in enumerate((2, 50, 60, 3, 70))]
    (line,) = off_grid_lines(pieces, 1)
    assert line.startswith("4 of 5 pieces are off these frames: p4 (70 of 100 notes moved), p2 (60")
    assert "p1 (50 of 100 notes moved) and 1 more" in line
    assert "p0" not in line
