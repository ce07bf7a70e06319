"""What a command says when something goes wrong that nobody foresaw, and where it cannot print."""

import os
import subprocess
import sys

import pytest

from ostinato.cli import main
from ostinato.cli.boundary import line_of
from ostinato.errors import UserError

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
