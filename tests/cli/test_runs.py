"""`ostinato runs` on runs that were really trained."""

import builtins
import json
import sys
from pathlib import Path

import pytest


@pytest.fixture
def runs(trained, ostinato, songs, tmp_path) -> Path:
    """A folder of two runs, one of them stopped, a foreign folder and a damaged run."""
    folder = tmp_path / "runs"
    folder.mkdir()
    (tmp_path / "run").rename(folder / "first")
    quick = ("--hidden-size", 6, "--epochs", 1, "--threads", 1, "--recipe", "SGD", "-q")
    assert ostinato("train", "--data", songs, "--run", folder / "second", *quick)[0] == 0
    (folder / "second" / "results.json").unlink()
    (folder / "foreign").mkdir()
    (folder / "zdamaged").mkdir()
    (folder / "zdamaged" / "config.toml").write_text("=")
    return folder


def test_the_list(runs, trained, ostinato) -> None:
    code, out, err = ostinato("runs", runs)
    assert (code, err) == (0, "")
    first, second = (next(line for line in out.splitlines() if name in line) for name in ("first", "second"))
    score = trained["results"]["model"]
    for text in (
        "songs",
        "SGD+CL",
        "bernoulli",
        "finished",
        f"{score['test']['log_likelihood']['value']:.3f}",
    ):
        assert text in first
    assert f"{score['valid']['log_likelihood']['value']:.3f}" in first
    assert "stopped" in second
    assert "foreign: no run\n" in out
    assert "zdamaged: damaged: expected TOML in" in out


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
    assert order("--sort", "validation") == best
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
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert {"recipe", "hidden_size", "epochs", "clip", "leak_fraction", "validation", "test"} <= rows.keys()
    assert not {"data", "seed", "learning_rate"} & rows.keys()
    assert [cell.strip() for cell in rows["hidden_size"].split("│")[2:4]] == ["8", "6"]
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
