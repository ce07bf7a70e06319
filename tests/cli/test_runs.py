"""`ostinato runs` on runs that were really trained."""

import builtins
import json
import shutil
import sys
from pathlib import Path

import pytest

from terminal import screen


@pytest.fixture
def runs(trained, ostinato, songs, tmp_path) -> Path:
    """A folder of two runs, one of them stopped, a foreign folder and a damaged run."""
    folder = tmp_path / "runs"
    folder.mkdir()
    (tmp_path / "run").rename(folder / "first")
    quick = ("--hidden-size", 6, "--epochs", 1, "--threads", 1, "--recipe", "SGD", "-q")
    assert ostinato("train", "--data", songs, "--run", folder / "second", *quick)[0] == 0
    # as one of before there were seals, which is still to be scored
    for name in ("results.json", "seal.json"):
        (folder / "second" / name).unlink()
    (folder / "foreign").mkdir()
    (folder / "zdamaged").mkdir()
    (folder / "zdamaged" / "config.toml").write_text("=")
    return folder


def test_the_list(runs, trained, ostinato, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = ostinato("runs", runs)
    assert (code, err) == (0, "")
    first, second = (next(line for line in out.splitlines() if name in line) for name in ("first", "second"))
    score = trained["results"]["model"]
    valid, test = (score[split]["log_likelihood"] for split in ("valid", "test"))
    assert f" {valid['value']:.3f} " in first
    assert f" {test['value']:.3f} ± {test['standard_error']:.3f} " in first
    assert {"songs", "SGD+CL", "bernoulli", "finished"} <= set(first.split())
    assert "stopped" in second
    assert "foreign: no run\n" in out
    assert "zdamaged: damaged: expected TOML in" in out


@pytest.mark.parametrize("width", [80, 40])
def test_a_narrow_terminal_loses_nothing(runs, ostinato, monkeypatch, width) -> None:
    wide = ostinato("runs", runs, "--json")[1]
    monkeypatch.setenv("COLUMNS", str(width))
    shown = screen(ostinato("runs", runs)[1], width)
    words = " ".join(shown).split()
    for run in json.loads(wide)["runs"]:
        assert run["name"] in words or f"{run['name']}:" in words
        if run["is_run"]:
            assert {run["recipe"], run["output"], run["state"], f"{run['validation']:.3f}"} <= set(words)


def test_sorting_and_json(runs, ostinato) -> None:
    def order(*arguments: str) -> list[str]:
        code, out, _ = ostinato("runs", runs, "--json", *arguments)
        assert code == 0
        return [run["name"] for run in json.loads(out)["runs"] if run["is_run"]]

    assert order() == ["first", "second"]
    assert order("--sort", "recipe") == ["second", "first"]
    assert order("--sort", "epochs") == ["first", "second"]
    assert order("--sort", "state") == ["first", "second"]
    assert order("--sort", "date") == ["second", "first"]
    assert order("--sort", "test") == ["first", "second"]
    found = {run["name"]: run for run in json.loads(ostinato("runs", runs, "--json")[1])["runs"]}
    best = sorted(("first", "second"), key=lambda name: -found[name]["validation"])
    assert order("--sort", "valid") == best
    assert len(found) == 4


def test_the_default_folder_and_none(runs, ostinato, tmp_path, monkeypatch) -> None:
    assert "first" in ostinato("runs")[1]
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, out, err = ostinato("runs")
    assert (code, out) == (2, "")
    assert "expected a folder of runs at runs, found nothing there" in err
    assert ostinato("runs", ".")[:2] == (0, "no runs in .; ostinato train makes one\n")


def test_diff(runs, ostinato) -> None:
    code, out, _ = ostinato("runs", "diff", runs / "first", runs / "second")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert {"recipe", "hidden_size", "epochs", "clip", "leak_fraction", "valid", "test"} <= rows.keys()
    assert not {"data", "seed", "learning_rate"} & rows.keys()
    assert rows["hidden_size"] == ["8", "6"]
    assert rows["test"][-1] == "-"
    code, out, _ = ostinato("runs", "diff", runs / "first", runs / "second", "--json")
    assert json.loads(out)["differences"]["hidden_size"] == [8, 6]
    for arguments, message in (
        ((runs / "first",), "expected two or more runs, found 1"),
        ((runs / "first", runs / "foreign"), "expected a run folder"),
        ((runs / "first", runs / "zdamaged"), "found damaged"),
    ):
        code, _, err = ostinato("runs", "diff", *arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "removed"), [("y", True), ("", False), ("n", False), ("yes", True)])
def test_remove_asks(runs, ostinato, monkeypatch, answer, removed) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    asked = []
    monkeypatch.setattr(builtins, "input", lambda question: asked.append(question) or answer)
    (runs / "first" / "notes.txt").write_text("mine")
    code, out, _ = ostinato("runs", "remove", runs / "first")
    assert code == (0 if removed else 1)
    assert asked == ["remove this run for good? [y/N] "]
    assert "of yours: notes.txt" in out
    assert (runs / "first").exists() is not removed
    assert (runs / "second").exists()


def test_remove_without_a_terminal_wants_yes(runs, ostinato) -> None:
    code, out, err = ostinato("runs", "remove", runs / "first")
    assert (code, out) == (2, "")
    assert "--yes" in err
    assert ostinato("runs", "remove", runs / "first", runs / "second", "--yes")[0] == 0
    assert sorted(path.name for path in runs.iterdir()) == ["foreign", "zdamaged"]


def test_one_wrong_folder_and_nothing_is_removed(runs, ostinato) -> None:
    for arguments, message in (
        ((runs / "first", runs / "foreign"), "expected a run folder"),
        ((runs / "first", runs / "zdamaged"), "found damaged"),
        ((runs / "first", runs / "first"), "twice"),
        ((), "expected runs to remove, found none"),
    ):
        code, _, err = ostinato("runs", "remove", *arguments, "--yes")
        assert (code, err.count("\n")) == (2, 1), err
        assert message in err
    assert (runs / "first").is_dir()


def test_a_path_that_begins_with_a_bracket_is_a_path(runs, ostinato, monkeypatch) -> None:
    monkeypatch.chdir(runs)
    shutil.copytree("first", "[first]")
    code, out, err = ostinato("runs", "diff", "[first]", "second")
    assert (code, err) == (0, "")
    assert "[first]" in out
