"""`ostinato check` and every command that reads a run, on a damaged run of words."""

import json
import os
import shutil
from pathlib import Path

import pytest

from ostinato import seal
from ostinato.data import cache

OLD = Path(__file__).parent / "old"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a run of words that has ended, and its text: trained once, copied for every test."""
    from ostinato.cli.main import run

    place = tmp_path_factory.mktemp("finished")
    shutil.copytree(OLD / "text", place / "text")
    shutil.copytree(OLD / "stopped" / "words", place / "stopped" / "words")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        config = shutil.move(place / "stopped" / "words" / "config.toml", place / "settings.toml")
        shutil.rmtree(place / "stopped" / "words")
        assert run(["train", "words", "--config", str(config), "--run", "stopped/words", "--quiet"]) == 0
    return place


@pytest.fixture
def words(finished, own_place, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path / "stopped" / "words"


def flip(path, place=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


def states(out):
    return {one["file"]: one["state"] for one in json.loads(out)["files"]}


COMMANDS = {
    "vocabulary.json": [
        ("evaluate", "{run}", "--data", "text/test.txt"),
        ("generate", "{run}", "--tokens", "3"),
        ("score", "{run}", "text/test.txt"),
    ],
    "config.toml": [
        ("evaluate", "{run}"),
        ("train", "--resume", "{run}"),
        ("train", "words", "--config", "{run}/config.toml", "--run", "new"),
        ("report", "{run}", "--samples", "0"),
    ],
    "metrics.jsonl": [("report", "{run}", "--samples", "0"), ("train", "--resume", "{run}", "--epochs", "3")],
    "results.json": [("report", "{run}", "--samples", "0")],
    "checkpoints/best.safetensors": [("evaluate", "{run}"), ("score", "{run}", "text/test.txt")],
    "checkpoints/last.safetensors": [("train", "--resume", "{run}")],
    "seal.json": [("evaluate", "{run}"), ("train", "--resume", "{run}"), ("score", "{run}", "text/test.txt")],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_reads_a_damaged_file_says_so(words, ostinato, name):
    flip(words / name)
    before = {path: path.read_bytes() for path in words.rglob("*") if path.is_file() and path.name != ".lock"}
    for command in COMMANDS[name]:
        code, _, err = ostinato(*(part.format(run=words) for part in command))
        assert (code, err.count("\n")) == (2, 1), (command, err)
        assert f"{name} as it was written, found it changed" in err
    assert before == {path: path.read_bytes() for path in before}
    code, out, _ = ostinato("runs", words.parent, "--json")
    found = json.loads(out)["runs"][0]
    listed = ("config.toml", "metrics.jsonl", "results.json", "seal.json")
    assert ("damaged" in json.dumps(found)) is (name in listed)


def test_what_can_be_made_again_is(words, ostinato):
    before = {path.name: path.read_bytes() for path in words.rglob("*") if path.is_file()}
    scores = json.loads(before["results.json"])["results"]
    for name in ("config.toml", "vocabulary.json", "results.json"):
        flip(words / name)
    (words / "learning_curve.png").unlink()
    code, out, err = ostinato("check", words, "--json")
    assert (code, err) == (0, "")
    made = [name for name, state in states(out).items() if state == "made again"]
    assert sorted(made) == ["config.toml", "learning_curve.png", "results.json", "vocabulary.json"]
    for name in ("config.toml", "vocabulary.json"):
        assert (words / name).read_bytes() == before[name]
    assert json.loads((words / "results.json").read_text())["results"] == scores
    code, out, _ = ostinato("check", words)
    assert code == 0
    assert "8 files as written, 0 not" in out.replace("\n", " ") or "files as written, 0 not" in out


def test_what_is_lost_is_said_and_left(words, ostinato):
    flip(words / "metrics.jsonl")
    (words / "checkpoints" / "last.safetensors").unlink()
    code, out, _ = ostinato("check", words, "--json")
    assert code == 1
    lost = {one["file"]: one["about"] for one in json.loads(out)["files"] if one["state"] == "lost"}
    assert set(lost) == {"metrics.jsonl", "checkpoints/last.safetensors"}
    assert lost["metrics.jsonl"].startswith("damaged; put it back from a copy")
    assert lost["checkpoints/last.safetensors"].startswith("missing;")
    code, _, err = ostinato("train", "--resume", words)
    assert code == 2
    assert "found none, though it has been written" in err
    assert ostinato("score", words, "text/test.txt")[0] == 0


def test_a_vocabulary_of_another_text_is_not_put_in_its_place(words, ostinato):
    flip(words / "vocabulary.json")
    damaged = (words / "vocabulary.json").read_bytes()
    with open("text/train.txt", "a") as file:
        file.write("one more line\n")
    code, out, _ = ostinato("check", words, "--json")
    assert (code, states(out)["vocabulary.json"]) == (1, "lost")
    assert (words / "vocabulary.json").read_bytes() == damaged


def test_what_is_not_to_the_bit_what_was_there_is_not_put_in_its_place(words, ostinato, monkeypatch):
    from ostinato.domains.text.reading.vocabulary import Vocabulary

    flip(words / "vocabulary.json")
    damaged, real = (words / "vocabulary.json").read_bytes(), Vocabulary.to_text
    monkeypatch.setattr(Vocabulary, "to_text", lambda vocabulary: real(vocabulary) + " ")
    code, out, _ = ostinato("check", words, "--json")
    assert (code, states(out)["vocabulary.json"]) == (1, "lost")
    assert "what could be made is not what was there" in out
    assert (words / "vocabulary.json").read_bytes() == damaged


@pytest.mark.parametrize("damage", ["none", "flipped", "of before"])
def test_a_seal_is_made_again(words, ostinato, damage):
    path = words / "seal.json"
    before = path.read_bytes()
    flip(path) if damage == "flipped" else path.unlink()
    code, out, _ = ostinato("check", words, "--json")
    assert (code, states(out)["seal.json"]) == (0, "made again")
    assert path.read_bytes() == before


def test_no_seal_is_made_over_a_damaged_checkpoint(words, ostinato):
    (words / "seal.json").unlink()
    flip(words / "checkpoints" / "best.safetensors", -1)
    code, out, _ = ostinato("check", words, "--json")
    assert (code, states(out)["checkpoints/best.safetensors"]) == (1, "lost")
    assert not (words / "seal.json").exists()


def test_a_run_goes_on_with_data_that_were_moved_and_no_others(words, ostinato):
    os.rename("text", "moved")
    code, _, err = ostinato("train", "--resume", words, "--epochs", "3")
    assert (code, err.count("\n")) == (2, 1)
    assert (
        f"if the data have been moved, say where they are: ostinato train --resume {words} --data PATH" in err
    )
    moved = ("--data", "moved/train.txt", "--valid-data", "moved/valid.txt", "--test-data", "moved/test.txt")
    code, _, err = ostinato("train", "--resume", words, *moved, "--quiet")
    assert (code, err) == (0, "")
    # nothing was trained, and the best model's checkpoint is of before
    assert ostinato("evaluate", words)[0] == 0
    with open("moved/train.txt", "a") as file:
        file.write("one more line\n")
    code, _, err = ostinato("train", "--resume", words, "--epochs", "4", *moved)
    assert code == 2
    assert "expected the data the run was started with" in err


def test_an_old_run_without_its_last_checkpoint_keeps_its_best(words, ostinato):
    for name in ("seal.json", "checkpoints/last.safetensors"):
        (words / name).unlink()
    best = (words / "checkpoints" / "best.safetensors").read_bytes()
    code, _, err = ostinato("train", "--resume", words)
    assert code == 2
    assert "found none, but a checkpoint best and results.json and metrics.jsonl" in err
    assert (words / "checkpoints" / "best.safetensors").read_bytes() == best


def test_a_later_versions_run_is_refused_in_a_line(words, ostinato, monkeypatch):
    monkeypatch.setattr(seal, "VERSION", 2)
    (words / "seal.json").unlink()
    seal.make(words, ["config.toml"])
    monkeypatch.undo()
    for command in (("train", "--resume", words), ("evaluate", words), ("check", words)):
        code, _, err = ostinato(*command)
        assert (code, err.count("\n")) == (2, 1)
        assert "found format 2; use the version of ostinato that wrote it" in err


def test_the_cache_is_looked_at(own_place, ostinato):
    import numpy as np

    for name in ("a", "b"):
        cache.save(name, {"x": np.arange(99)}, {"of": name})
    folder = cache.cache_folder()
    flip(folder / "b.npz")
    told = []
    with seal.telling(told.append):
        assert cache.load("a")[1] == {"of": "a"}
        assert cache.load("b") is None
    assert "b.npz is damaged: what was kept in it is made again" in told[0]
    tokens = folder / "tokens" / "0123"
    tokens.mkdir(parents=True)
    (tokens / "train.tokens").write_bytes(b"1234")
    seal.make(tokens, ["train.tokens"])
    (tokens / "train.tokens").write_bytes(b"12")
    code, out, _ = ostinato("check", "--json")
    assert code == 0
    assert states(out) == {"a.npz": "whole", "b.npz": "made again", "tokens/0123": "made again"}
    assert not (folder / "b.npz").exists()
    assert not tokens.exists()


def test_something_else_is_a_mistake(own_place, ostinato, tmp_path):
    (tmp_path / "other").mkdir()
    for place, found in (("other", "another folder"), ("none", "nothing there")):
        code, _, err = ostinato("check", place)
        assert (code, err.count("\n")) == (2, 1)
        assert found in err


def test_results_without_a_seal_that_are_none_are_made_again(words, ostinato):
    """Nothing says that they are others but their form: a key that is missing, a text for a number."""
    path = words / "results.json"
    before = json.loads(path.read_text())
    for change in (lambda found: found.pop("training"), lambda found: found["results"].update(model=[1])):
        (words / "seal.json").unlink()
        changed = json.loads(json.dumps(before))
        change(changed)
        path.write_text(json.dumps(changed))
        code, _, err = ostinato("report", words, "--samples", "0")
        assert (code, err.count("ostinato: in ")) == (2, 1), err
        assert f"ostinato check {words}" in err
        code, out, _ = ostinato("check", words, "--json")
        assert (code, states(out)["results.json"]) == (0, "made again")
        assert json.loads(path.read_text())["results"] == before["results"]
    (words / "seal.json").unlink()
    path.write_text("[]")
    flip(words / "checkpoints" / "best.safetensors")
    code, out, _ = ostinato("check", words, "--json")
    assert (code, states(out)["results.json"]) == (1, "lost")
    assert path.read_text() == "[]"
