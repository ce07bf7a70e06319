"""Small studies on small songs."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from ostinato.domains.domain import load_data
from ostinato.recipe.recipe import Recipe
from ostinato.search import Space, StudySettings

SPACE = """
[search]
hidden_size = {low = 4, high = 8}
learning_rate = {low = 1e-3, high = 0.1, log = true}
leak_fraction = {choices = [0.0, 0.5]}
"""


@pytest.fixture(autouse=True)
def _own_place(own_place):
    pass


@pytest.fixture
def space_file(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(SPACE)
    return path


@pytest.fixture
def small(songs, space_file):
    """The arguments of a small study, but for its folder."""

    def arguments(trials=4, epochs=2, *more):
        size = ("--trials", str(trials), "--epochs", str(epochs), "--patience", str(epochs))
        return ("--data", str(songs), "--space", str(space_file), *size, "--no-pruning", *map(str, more))

    return arguments


@pytest.fixture
def data_and_settings(songs):
    """A function: songs, and settings of a small study on them."""
    recipe = Recipe.parse("SGD+C", data=str(songs), hidden_size=4, epochs=2)
    data = load_data(recipe, progress=False)

    def make(trials=3, pruning=False, space=None, **options):
        ranges = space or {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True}}
        return data, StudySettings(
            recipe=recipe,
            space=Space.from_toml(ranges),
            data_version=data.version,
            trials=trials,
            pruning=pruning,
            **options,
        )

    return make


@pytest.fixture
def started():
    """started(*arguments): a process of `ostinato search`; whatever is left of them is killed at the end."""
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "ostinato", "search", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def trials_of():
    """trials_of(folder): what the trials have come to, without what differs from one machine to another."""

    def read(folder):
        records = json.loads((folder / "trials.json").read_text())
        other = ("seconds", "host", "attempts")
        return [{k: v for k, v in record.items() if k not in other} for record in records]

    return read


@pytest.fixture
def epochs_of():
    """epochs_of(folder): every trial's metrics, without the clock."""

    def read(folder):
        found = {}
        for path in sorted(folder.glob("trials/*/metrics.jsonl")):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[path.parent.name] = [{k: v for k, v in r.items() if k != "seconds"} for r in lines]
        return found

    return read


@pytest.fixture
def in_training():
    """in_training(folder, process): wait until the process is some epochs into a trial; the trial's name."""

    def wait(folder, process, epochs=2, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for lock in folder.glob("trials/*/.lock"):
                metrics = lock.with_name("metrics.jsonl")
                mine = lock.read_text().strip() == str(process.pid)
                if mine and metrics.exists() and metrics.read_bytes().count(b"\n") >= epochs:
                    return lock.parent.name
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        raise AssertionError("no trial has begun")

    return wait


def server_programs():
    """The folder of initdb and pg_ctl, which Debian does not put on the path; None where there are none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class Server:
    """A PostgreSQL server on loopback, in a temporary folder.

    Args:
        password: without which it lets nobody in; None: it lets in everybody.
    """

    def __init__(self, password=None):
        self.programs = server_programs()
        if self.programs is None:
            pytest.skip("no PostgreSQL server is installed: apt-get install postgresql")
        pytest.importorskip("psycopg", reason="no driver: pip install 'ostinato[postgres]'")
        # not in pytest's folder, which every session closes to other users anew
        self.base = Path(tempfile.mkdtemp(prefix="ostinato-postgres-"))
        self.user, self.before = getpass.getuser(), []
        if os.getuid() == 0:  # the server refuses to run as root
            self.user, self.before = "postgres", ["runuser", "-u", "postgres", "--"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        access = ["-A", "trust"]
        if password is not None:
            (self.base / "password").write_text(password)
            access = ["-A", "scram-sha-256", "--pwfile", self.base / "password"]
        if self.before:
            for path in (self.base, *self.base.iterdir()):
                shutil.chown(path, self.user)
        self.call("initdb", "-D", self.base / "data", *access, "-U", self.user, "--no-sync", "-E", "UTF8")
        self.start()

    @property
    def place(self):
        """HOST:PORT/DATABASE."""
        return f"127.0.0.1:{self.port}/postgres"

    def call(self, program, *arguments):
        command = [*self.before, self.programs / program, *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.base} -c fsync=off"
        log = self.base / "log"
        self.call("pg_ctl", "-D", self.base / "data", "-l", log, "-w", "-o", options, "start")

    def stop(self):
        self.call("pg_ctl", "-D", self.base / "data", "-m", "immediate", "stop")

    def remove(self):
        self.stop()
        shutil.rmtree(self.base)


@pytest.fixture(scope="session")
def server():
    """The URL of a server of the tests' own."""
    own = Server()
    yield f"postgresql://{own.user}@{own.place}"
    own.remove()


@pytest.fixture
def guarded():
    """guarded(password): a server of the tests' own that asks for a password."""
    made = []

    def make(password):
        made.append(Server(password))
        return made[-1]

    yield make
    for own in made:
        own.remove()
