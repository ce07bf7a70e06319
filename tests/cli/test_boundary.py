"""What a command says when something goes wrong that nobody foresaw, and where it cannot print."""

import os
import subprocess
import sys

import pytest

from ostinato.cli import main
from ostinato.cli.boundary import line_of
from ostinato.errors import UserError
from ostinato.runs.folder import Run

DEEP = "a" * 400


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("expected x"), "expected x"),
        (
            PermissionError(13, "Permission denied", "runs/a"),
            "cannot use runs/a: Permission denied; check it",
        ),
        (MemoryError(), "not enough memory: none is left"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough memory: Default"),
        (RecursionError("maximum"), "nested too deeply"),
        (TypeError("bad\n" + DEEP), "an error of ostinato's own, TypeError: bad aaa"),
    ],
)
def test_every_error_is_one_line(error, line, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(main, "app", fail)
    assert main.run(["x"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("ostinato: ")
    assert line in err
    assert len(err) < 500
    assert main.run(["--debug", "x"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupted_is_no_mistake(monkeypatch, capsys):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", fail)
    assert main.run([]) == 130
    assert capsys.readouterr().err == "ostinato: interrupted\n"


def test_a_line_says_what_to_do():
    assert line_of(ValueError("x")).endswith("--debug says where, which is worth a report")


def command(redirected: str, **variables: str) -> subprocess.CompletedProcess:
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m ostinato --help {redirected}'],
        capture_output=True,
        text=True,
        env=os.environ | paths | variables,
    )


@pytest.mark.parametrize(
    ("redirected", "said"), [(">&-", "found it closed"), ("> /dev/full", "no space left")]
)
def test_output_that_takes_nothing_is_a_line(redirected, said):
    if "full" in redirected and not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = command(redirected)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert said in done.stderr


def test_a_terminal_of_ascii_and_of_no_width_gets_plain_text():
    done = command("", PYTHONIOENCODING="ascii", COLUMNS="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Train recurrent networks" in done.stdout


def unread(*arguments: str, stream: str = "stdout", folder=None) -> tuple[int, str]:
    """Exit code, and what the other stream was told, of a command whose reader has gone before it writes."""
    reading, writing = os.pipe()
    os.close(reading)
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    command = [sys.executable, "-m", "ostinato", *arguments]
    done = subprocess.run(command, **streams, text=True, env=os.environ | paths, cwd=folder, check=False)
    os.close(writing)
    return done.returncode, done.stderr if stream == "stdout" else done.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("data", "list"), ("data", "list", "--json")])
def test_a_reader_that_has_gone_ends_a_command_without_a_word(arguments):
    assert unread(*arguments) == (141, "")


def test_a_mistake_that_nobody_hears_of_is_an_exit_code():
    assert unread("evaluate", "nothing", stream="stderr") == (2, "")


def test_progress_that_nobody_reads_ends_training_at_a_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("the cat sat on the mat\na dog ran\n" * 40)
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path / "cache"))
    small = ["--hidden-size", "4", "--epochs", "30", "--patience", "30", "--learning-rate-rule", "constant"]
    train = ["train", "words", "--data", "a.txt", *small, "--run"]
    assert unread(*train, "run", stream="stderr", folder=tmp_path) == (141, "")
    run = Run.open(tmp_path / "run")
    state = run.load_checkpoint("last")[1]
    assert (state["progress"]["epoch"], state["progress"]["segment"]) == (0, 0)
    # all but the table
    assert unread("train", "--resume", "run", "--quiet", folder=tmp_path)[0] == 141
    assert unread(*train, "whole", "--quiet", folder=tmp_path)[0] == 141
    kept = [Run.open(tmp_path / name).load_checkpoint("best")[0] for name in ("run", "whole")]
    assert kept[0].keys() == kept[1].keys()
    assert all(bool((x == kept[1][name]).all()) for name, x in kept[0].items())
    assert (tmp_path / "whole" / "results.json").is_file()
