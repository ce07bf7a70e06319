import os
import subprocess
import sys
import textwrap

import hypothesis
import pytest

from ostinato.runs import Run

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
