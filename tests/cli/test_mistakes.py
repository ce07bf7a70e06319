"""Every foreseeable mistake is one clear line on standard error, exit code 2, and no traceback."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ostinato.cli.settings import asked_for
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run

from .conftest import QUICK


@pytest.fixture
def mistake(ostinato):
    """mistake(*arguments): the one line that the command printed."""

    def call(*arguments: object) -> str:
        code, out, err = ostinato(*arguments)
        lines = [line for line in err.splitlines() if line.startswith("ostinato: ")]
        assert code == 2
        assert out == ""
        assert "Traceback" not in err
        assert len(lines) == 1, err
        return lines[0]

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "--data", "notingham"), "did you mean nottingham?"),
        (("train", "--data", ""), "expected"),
        (("tain",), "unknown command tain: did you mean train?"),
        (("train", "--learnig-rate", "1"), "--learning-rate"),
        (("train", "--learning-rate", "fast"), "--learning-rate"),
        (("train", "--learning-rate", "-1"), "expected --learning-rate above 0, found -1"),
        (("train", "--hidden-size", "0"), "expected --hidden-size in [1"),
        (("train", "--recipe", "SGD+X"), "expected a recipe like SGD"),
        (("train", "--threads", "0"), "--threads of at least 1"),
        (("train", "--checkpoint-seconds", "nan"), "--checkpoint-seconds as a finite number of at least 0"),
        (("search", "--checkpoint-seconds", "-1"), "--checkpoint-seconds as a finite number of at least 0"),
        (("train", "--config", "none.toml"), "cannot read none.toml"),
        (("train", "--resume", "nowhere"), "expected a run folder at nowhere, found nothing there"),
        (("train", "--resume", ".", "--config", "x"), "expected --resume alone"),
        (("evaluate",), "expected a run folder, or --baselines"),
        (("evaluate", "nowhere"), "expected a run folder at nowhere"),
        (("evaluate", "--baselines", "--data", "jbs"), "did you mean jsb?"),
    ],
)
def test_wrong_words(mistake, arguments, message) -> None:
    assert message in mistake(*arguments)


@pytest.fixture
def words_run(tmp_path: Path) -> Path:
    """The folder of a run on words that has not begun."""
    run = tmp_path / "words-1"
    Run.create(run, Recipe.parse(None, domain="words", data="ptb").to_dict()).close()
    return run


def test_a_run_on_other_data_is_named_before_anything_else(mistake, words_run) -> None:
    config = words_run / "config.toml"
    assert mistake("train", "music", "--resume", words_run) == (
        f"ostinato: expected a run on music, found one on words: {words_run}; leave music out"
    )
    assert mistake("train", "series", "--config", config) == (
        f"ostinato: expected settings for series, found some for words in {config}; leave series out"
    )
    assert mistake("search", "music", "--config", config).endswith("leave music out")
    for out in ((), ("--out", "a.mid")):
        assert mistake("harmonize", words_run, "melody.mid", *out) == (
            f"ostinato: expected a run on music, found one on words: {words_run}"
        )


def test_settings_for_other_text_are_taken(words_run) -> None:
    recipe, _ = asked_for(None, words_run / "config.toml", "chars")
    assert recipe.domain == "chars"


def test_a_file_to_write_is_needed_to_harmonize(mistake, tmp_path) -> None:
    Run.create(tmp_path / "music-1", Recipe.parse("SGD").to_dict()).close()
    line = mistake("harmonize", tmp_path / "music-1", "melody.mid")
    assert line == "ostinato: expected --out FILE, found none; see ostinato harmonize --help"


def test_a_file_where_the_run_should_be(mistake, songs, tmp_path) -> None:
    file = tmp_path / "good.csv"
    file.write_text("1\n")
    line = mistake("train", "--data", songs, "--run", file)
    assert line == f"ostinato: expected a folder for the run, found a file at {file}; choose another one"


def test_settings_that_the_optimizer_refuses_leave_no_run(mistake, songs, tmp_path) -> None:
    settings = ("--optimizer", "adam", "--optimizer-settings", "betas = 3")
    line = mistake("train", "--data", songs, "--run", tmp_path / "run", *settings)
    assert line == "ostinato: expected settings of adam like betas = [0.9, 0.999], found betas = 3"
    assert not (tmp_path / "run").exists()


def test_an_empty_folder(mistake, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in mistake("train", "--data", tmp_path / "empty")


def test_a_text_file_renamed_and_a_truncated_midi_file_alone(mistake, songs, tmp_path) -> None:
    text = tmp_path / "notes.mid"
    text.write_text("do re mi")
    assert "notes.mid" in mistake("train", "--data", text)
    cut = tmp_path / "cut.mid"
    cut.write_bytes((songs / "song0.mid").read_bytes()[:60])
    assert "cut.mid" in mistake("train", "--data", cut)


def test_one_bad_file_among_good_ones_is_skipped_and_listed(ostinato, songs) -> None:
    (songs / "broken.mid").write_bytes(b"MThd\x00\x00")
    code, out, err = ostinato("train", "--data", songs, *QUICK)
    assert code == 0
    assert "skipped 1 file:" in err
    assert "broken.mid" in err
    assert "model" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learnig_rate = 1", "unknown setting 'learnig_rate' in run.toml: did you mean learning_rate"),
        ("momentum = 1.5", "expected momentum in [0, 1), found 1.5"),
        ("hidden_size = 'many'", "expected hidden_size to be int, found 'many'"),
        ("not toml", "expected a TOML file of settings"),
    ],
)
def test_a_wrong_config(mistake, tmp_path, line, message) -> None:
    (tmp_path / "run.toml").write_text(line)
    assert message in mistake("train", "--config", "run.toml")


def test_a_folder_that_is_no_run(mistake, songs) -> None:
    assert "found a folder without config.toml" in mistake("evaluate", songs)


def test_a_run_folder_in_use(mistake, trained, songs, tmp_path) -> None:
    assert "expected a new or an empty folder" in mistake("train", "--data", songs, "--run", tmp_path / "run")


def test_resuming_with_other_settings_or_an_edited_config(mistake, trained, tmp_path) -> None:
    run = tmp_path / "run"
    assert "--seed = 5 (the run has 0)" in mistake("train", "--resume", run, "--seed", "5")
    config = run / "config.toml"
    config.write_text(config.read_text().replace("hidden_size = 8", "hidden_size = 9"))
    assert "config.toml as it was written, found it changed" in mistake("train", "--resume", run)


def test_data_that_changed_since(mistake, trained, songs, tmp_path) -> None:
    (songs / "song3.mid").unlink()
    assert "expected the data the run was started with" in mistake("train", "--resume", tmp_path / "run")
    assert "its files changed" in mistake("evaluate", tmp_path / "run")


def test_a_damaged_checkpoint(mistake, trained, tmp_path) -> None:
    best = tmp_path / "run" / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-100])
    assert "damaged" in mistake("evaluate", tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB; skipped where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_no_space_left_loses_nothing(ostinato, mistake, songs, small_disk: Path, tmp_path) -> None:
    run = small_disk / "run"
    filler = small_disk / "filler"
    code, _, err = ostinato("train", "--data", songs, "--run", run, *QUICK)
    if code == 0:  # room enough for this one: fill the disk and go on training in another run
        filler.write_bytes(b"\0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize))
        err = mistake("train", "--data", songs, "--run", small_disk / "second", *QUICK)
    assert "no space left" in err
    kept = tmp_path / "kept"
    wide = ("--hidden-size", "60", "--epochs", "3", "--threads", "1", "--checkpoint-seconds", "0")
    filler.unlink(missing_ok=True)
    message = mistake("train", "--data", songs, "--run", small_disk / "third", *wide)
    assert "no space left" in message
    assert not list(small_disk.rglob("*.tmp"))
    assert not kept.exists()


def test_a_full_disk_is_one_line_even_where_none_can_be_mounted(mistake, songs, monkeypatch) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 5000:  # a checkpoint
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    assert "no space left" in mistake("train", "--data", songs, "--run", "run", *QUICK)


def test_tensorboard_that_is_not_installed(mistake, songs, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert "pip install" in mistake("train", "--data", songs, "--tensorboard", *QUICK)


def test_settings_are_dataclass_fields() -> None:
    from ostinato.cli.settings import Options
    from ostinato.recipe.owned import every_setting

    # the domain is the command's first word, no option; the last is an option of earlier versions
    names = [name for name in every_setting() if name != "domain"] + ["momentum_kind"]
    assert sorted(f.name for f in dataclasses.fields(Options)) == sorted(names)
