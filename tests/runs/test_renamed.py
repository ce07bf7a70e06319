"""A run goes on where its file has another name, and with no other file."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ostinato import seal
from ostinato.data.sequences import Sequence, Splits, under_name


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


def series() -> None:
    steps = np.arange(300)
    Path("wave.csv").write_text("x,y\n" + "".join(f"{np.sin(t / 7)},{np.cos(t / 5)}\n" for t in steps))


def tune() -> None:
    notes = "".join("CDEFGABc"[(3 * k + k * k // 5) % 8] for k in range(160))
    Path("wave.abc").write_text(f"X:1\nT:one\nM:4/4\nL:1/4\nK:C\n{notes}|\n")


@pytest.mark.parametrize(("made", "domain"), [(series, "series"), (tune, "music")])
def test_a_single_file_is_known_by_what_is_in_it(ostinato, made, domain):
    made()
    (file,) = Path().glob("wave.*")
    small = ("--hidden-size", "4", "--recipe", "SGD+C", "--learning-rate-rule", "constant", "--quiet")
    for run, epochs in (("whole", "2"), ("broken", "1")):
        code, _, err = ostinato(
            "train", domain, "--data", file, *small, "--epochs", epochs, "--run", run, "--seed", "1"
        )
        assert code == 0, err
    other = file.with_stem("renamed")
    os.rename(file, other)
    resume = ("train", "--resume", "broken", "--epochs", "2", "--quiet")
    code, _, err = ostinato(*resume)
    assert (code, "if the data have been moved, say where they are" in err) == (2, True)
    code, _, err = ostinato(*resume, "--data", other)
    assert code == 0, err
    ends = [load_file(Path(run) / "checkpoints" / "last.safetensors") for run in ("whole", "broken")]
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])
    # whoever reads the run finds its data from here on
    assert ostinato("evaluate", "broken")[0] == 0
    results = Path("broken") / "results.json"
    results.write_bytes(results.read_bytes() + b" ")
    code, out, _ = ostinato("check", "broken", "--json")
    assert (code, '"made again"' in out) == (0, True)
    assert seal.read(Path("broken"), "results.json")
    # other data under any name are other data
    text = other.read_text()
    other.write_text(text.replace("0.0,1.0", "0.5,1.0").replace("CF", "CD", 1))
    assert other.read_text() != text
    code, _, err = ostinato(*resume, "--data", other)
    assert (code, err.count("\n")) == (2, 1)
    assert "expected the data the run was started with" in err


def test_only_the_files_own_name_is_taken_back():
    def data(name, *sequences):
        songs = tuple(Sequence(one, np.full((3, 88), k % 2, np.uint8)) for k, one in enumerate(sequences))
        listing = tuple({"name": one} for one in sequences)
        return Splits(name, songs, (), (), listing=listing)

    before, now = data("a", "a", "a/u", "a#3", "b c"), data("b", "b", "b/u", "b#3", "b c")
    assert under_name(now, "a", now.version) is now
    # "b c" is of the file, too, as far as names can tell: then it is left as other data
    assert under_name(now, "a", before.version) is now
    before, now = data("a", "a", "a/u", "bc"), data("b", "b", "b/u", "bc")
    found = under_name(now, "a", before.version)
    assert (found.version, found.name) == (before.version, "a")
    assert [one["name"] for one in found.listing] == ["a", "a/u", "bc"]
    assert under_name(now, "a", "0" * 64) is now
