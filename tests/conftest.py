import os
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from ostinato.cli.main import run as run_command
from ostinato.domains.music.writing import piano_roll
from ostinato.runs.folder import Run

# No deadline: the machines that run this are shared, and a slow moment is no defect.
# Derandomized: a failure seen once is seen by everybody.
hypothesis.settings.register_profile("ostinato", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ostinato")


@pytest.fixture
def run(tmp_path):
    """A run's folder, just created and locked."""
    with Run.create(tmp_path / "run", {"data": "jsb"}) as run:
        yield run


@pytest.fixture
def contents():
    """A function: the bytes of every file of a run, but for the lock."""

    def read(folder):
        paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}

    return read


class Killed(BaseException):
    """The process is dead."""


@pytest.fixture
def dies_at():
    """dies_at(step, work): do the work as a process that is killed before the step-th call by which it writes
    (write, fsync, rename, truncate); whether it was. What a dead process would leave to do is not done.
    """

    def do(step, work):
        calls = 0

        def dying(real):
            def call(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls > step:
                    raise Killed
                return real(*arguments, **options)

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("write", "fsync", "replace", "ftruncate"):
                patch.setattr(os, name, dying(getattr(os, name)))
            patch.setattr(Path, "unlink", dying(Path.unlink))
            patch.setattr("ostinato.runs.folder.Run.close", lambda run: run._release())
            try:
                work()
            except Killed:
                return True
        return False

    return do


@pytest.fixture
def in_a_process():
    """A function: start a Python process that runs this code with these arguments."""

    def start(code, *arguments, **options):
        return subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            **options,
        )

    return start


@pytest.fixture
def own_place(tmp_path, tmp_path_factory, monkeypatch):
    """A cache and a working folder of the test's own."""
    monkeypatch.setenv("OSTINATO_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("OSTINATO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def songs(tmp_path) -> Path:
    """Ten songs of two bars that differ in their chords."""
    folder = tmp_path / "songs"
    folder.mkdir()
    for seed in range(10):
        rng = np.random.default_rng(seed)
        roll = np.zeros((40, 88), np.uint8)
        for start in range(0, 40, 4):
            roll[start : start + 4, rng.choice(np.arange(30, 60), 3, replace=False)] = 1
        piano_roll.to_midi(roll, folder / f"song{seed}.mid")
    return folder


@pytest.fixture
def ostinato(capsys):
    """ostinato(*arguments): (exit code, standard output, standard error) of the command line."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = run_command([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def corpus_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("corpus-cache")


@pytest.fixture
def write_song():
    """write_song(path, seed): a MIDI file of 60 frames, different for each seed."""

    def write(path: Path, seed: int, frames: int = 60) -> Path:
        rng = np.random.default_rng(seed)
        roll = np.zeros((frames, 88), np.uint8)
        roll[np.arange(frames), rng.integers(30, 60, frames)] = 1
        path.parent.mkdir(parents=True, exist_ok=True)
        piano_roll.to_midi(roll, path)
        return path

    return write
