"""What the harness has found, each once and small."""

import json
import os

import numpy as np
import pytest

from ostinato import seal
from ostinato.data import cache
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.search.opening import _is_others, join_study
from ostinato.search.storage import reading_journal
from torture import places
from torture.damage import without_times

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    before = os.environ.get("OSTINATO_CACHE")
    made = places.make(tmp_path_factory.mktemp("whole") / "places")
    yield made
    os.environ.pop("OSTINATO_CACHE")
    if before is not None:
        os.environ["OSTINATO_CACHE"] = before


def test_two_exchanged_files_of_the_cache_are_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    for name in ("a", "b"):
        cache.save(name, {"x": np.zeros(3)}, name)
    (tmp_path / "a.npz").rename(tmp_path / "c")
    (tmp_path / "b.npz").rename(tmp_path / "a.npz")
    with pytest.warns(UserWarning, match=r"a\.npz is damaged"):
        assert cache.load("a") is None


def test_a_cache_of_before_is_made_again_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path))
    cache.save("a", {"x": np.zeros(3)}, 1)
    path = tmp_path / "a.npz"
    path.write_bytes(cache._sealed(cache._archive(path.read_bytes()), ""))
    assert cache.load("a") is None


def test_lines_added_to_a_run_that_is_done_are_damage_and_more_epochs_are_none(whole, tmp_path):
    folder = tmp_path / "words"
    places.copied(whole.whole / "words", folder)
    path = folder / "metrics.jsonl"
    data = path.read_bytes()
    path.write_bytes(data + data.splitlines(keepends=True)[0])
    with pytest.raises(seal.SealError):
        Run.open(folder).metrics()
    path.write_bytes(data)
    places.needed("train", "--resume", folder, "--epochs", 3, "--quiet")
    assert len(Run.open(folder).metrics()) == 3


def test_a_study_without_a_trials_settings_is_checked_and_reported_as_such(whole, tmp_path):
    folder = tmp_path / "study"
    places.copied(whole.whole / "study", folder)
    (folder / "trials" / "0000" / "config.toml").unlink()
    code, _, err = places.command("report", folder, "--out", tmp_path / "page.html")
    assert code == 2
    assert "config.toml as it was written, found none" in err
    _, out, _ = places.command("check", folder)
    assert "trials/0000/config.toml" in out
    assert "made again" in out


def test_a_study_that_was_killed_before_its_settings_begins(tmp_path):
    (tmp_path / ".study.toml.0123.tmp").touch()
    (tmp_path / "mine.txt").touch()
    assert [_is_others(tmp_path / name) for name in (".study.toml.0123.tmp", "mine.txt")] == [False, True]


def test_trials_whose_study_has_lost_its_settings_are_not_taken_into_a_new_one(whole, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    journal = (whole.whole / "study" / "journal.log").read_bytes()
    (folder / "journal.log").write_bytes(journal)
    code, _, err = places.command(*places.searching(whole.given, str(folder)))
    assert (code, "found other files" in err) == (2, True)
    (folder / "journal.log").write_bytes(journal.splitlines(keepends=True)[0])
    places.needed(*places.searching(whole.given, str(folder)))


@pytest.mark.parametrize("error", [ValueError("a"), KeyError("b"), RecursionError()])
def test_a_journal_that_is_none_is_a_line(tmp_path, error):
    none = pytest.raises(UserError, match=r"the journal of a study in .* found lines that are none")
    with none, reading_journal(tmp_path):
        raise error


def test_an_integer_beyond_all_numbers_is_a_line():
    for name in ("learning_rate", "hidden_size"):
        with pytest.raises(UserError, match=name.replace("_", ".")):
            Recipe.parse("SGD+C", **{name: 10**400})


def test_report_tells_of_a_damaged_journal_and_makes_the_page(whole, tmp_path):
    folder = tmp_path / "study"
    places.copied(whole.whole / "study", folder)
    page = tmp_path / "page.html"
    code, _, err = places.command("report", folder, "--out", page)
    assert (code, "journal.log" in err) == (0, False)
    first = page.read_text()
    path = folder / "journal.log"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    for damage in (lambda: path.write_bytes(data), path.unlink, lambda: path.symlink_to(page)):
        damage()
        code, _, err = places.command("report", folder, "--out", page)
        assert code == 0
        assert f"expected {path} " in err
        assert "The report is of trials.json" in err
        assert page.read_text()[:1000] == first[:1000]


def test_settings_of_a_study_that_turn_into_something_else_are_a_line(whole, tmp_path):
    folder = tmp_path / "study"
    places.copied(whole.whole / "study", folder)
    with join_study(str(folder)) as study:
        (folder / "seal.json").unlink()
        for wrong in ("a = " + 10_000 * "[", "[study]\ntrials = [1]", "[study]", "study = 3", "\n" * 70_000):
            (folder / "study.toml").write_text(wrong)
            with pytest.raises(UserError, match=r"study\.toml"):
                study.refresh()
        (folder / "study.toml").unlink()
        with pytest.raises(UserError, match="found it removed"):
            study.refresh()


@pytest.mark.parametrize("name", ["results.json", "vocabulary.json", "metrics.jsonl"])
def test_json_that_is_nested_is_a_line(whole, tmp_path, name):
    folder = tmp_path / "words"
    places.copied(whole.whole / "words", folder)
    (folder / "seal.json").unlink()
    (folder / name).write_text(100_000 * "[" + 100_000 * "]" + "\n")
    command = (
        ("report", folder, "--out", tmp_path / "a.html")
        if name != "vocabulary.json"
        else ("generate", folder)
    )
    code, _, err = places.command(*command)
    own = [line for line in err.splitlines() if line.startswith("ostinato: ")]
    assert (code, len(own)) == (2, 1)
    assert "nested too deeply" in own[0]
    assert name in own[0]


def test_results_of_a_study_without_a_seal_that_are_none_are_a_line_and_made_again(whole, tmp_path):
    folder = tmp_path / "study"
    places.copied(whole.whole / "study", folder)
    for name in ("results.json", "trials.json"):
        path = folder / name
        right = json.loads(path.read_text())
        for wrong in ({"chosen": 3}, [{"number": "x"}], 3):
            (folder / "seal.json").unlink()
            path.write_text(json.dumps(wrong))
            commands = [("report", folder, "--out", tmp_path / "page.html")]
            commands += [("search", "--join", folder)] if name == "results.json" else []
            for command in commands:
                code, _, err = places.command(*command)
                own = [line for line in err.splitlines() if line.startswith("ostinato: ")]
                assert (code, len(own)) == (2, 1), err
                assert f"in {path}: expected" in own[0]
                (folder / "seal.json").unlink(missing_ok=True)
            code, out, _ = places.command("check", folder, "--json")
            states = {one["file"]: one["state"] for one in json.loads(out)["files"]}
            assert (code, states[name]) == (0, "made again"), out
            assert without_times(json.loads(path.read_text())) == without_times(right)
