"""Pythons that have the core, some of the extras and nothing else: in this environment, or installed."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

from packaging.utils import canonicalize_name

import ostinato

ROOT = Path(__file__).parent.parent
SOURCE = str(Path(ostinato.__file__).parent.parent)


def _benchmark():
    path = ROOT / "benchmarks" / "installed_size.py"
    specification = importlib.util.spec_from_file_location("installed_size", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


INSTALLED_SIZE = _benchmark()
EXTRAS = INSTALLED_SIZE.EXTRAS

# Where Python looks for modules and for what is installed, without what was refused: as if it were not there.
REFUSING = """
import json, os, re, sys
from importlib.machinery import PathFinder

refused = json.loads(os.environ["REFUSED"])
modules, names = set(refused["modules"]), set(refused["names"])


class Clean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in modules else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *context):
        for found in super().find_distributions(*context):
            if re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower() not in names:
                yield found


sys.meta_path[sys.meta_path.index(PathFinder)] = Clean
"""

# Runs commands one after the other: each one's exit code, standard output and standard error.
RUN_ALL = """
import contextlib, io, json, os, sys
from ostinato.cli.main import run

found = []
for words in json.load(sys.stdin):
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(words)
        except SystemExit as stopped:
            code = stopped.code or 0
    out.seek(0)
    found.append((code, out.read(), err.getvalue()))
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Environment:
    """A Python, and the variables that make it what it is."""

    python: str
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, folder: Path, lines: list[str], code: str = RUN_ALL) -> list:
        """Exit code, standard output and standard error of each command, one after the other in a process."""
        kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "OSTINATO_DATA", "COLUMNS")}
        done = subprocess.run(
            [self.python, "-c", code],
            input=json.dumps([line.split() for line in lines]),
            capture_output=True,
            text=True,
            cwd=folder,
            env=kept | {"OSTINATO_CACHE": str(folder / "cache")} | self.variables,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def installed() -> set[str]:
    """The names of what is installed here."""
    return {canonicalize_name(each.metadata["Name"]) for each in distributions()}


def everything() -> Environment:
    """This environment as it is."""
    return Environment(sys.executable, {"PYTHONPATH": SOURCE})


def wanted(extras: tuple[str, ...]) -> str:
    return f"ostinato[{','.join(extras)}]" if extras else "ostinato"


def refusing(folder: Path, *extras: str) -> Environment:
    """This environment, in which all is refused that the core and these extras do not bring."""
    allowed = INSTALLED_SIZE.brought([wanted(extras)]) | {"ostinato"}
    modules = [
        module
        for module, owners in packages_distributions().items()
        if allowed.isdisjoint(map(canonicalize_name, owners))
    ]
    refused = {"names": sorted(installed() - allowed), "modules": sorted(modules)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(REFUSING)
    paths = os.pathsep.join([str(folder), SOURCE])
    return Environment(sys.executable, {"PYTHONPATH": paths, "REFUSED": json.dumps(refused)})


class Installing:
    """Makes environments by pip, each once, the core below the extras; PyTorch is this environment's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._wheel = INSTALLED_SIZE.build_wheel(folder)
        self._below = [INSTALLED_SIZE.link_torch(folder / "torch")]
        self._made: dict[tuple[str, ...], Environment] = {}
        self.sizes: dict[tuple[str, ...], dict[str, float]] = {}
        self()

    def __call__(self, *extras: str) -> Environment:
        if extras not in self._made:
            name = "-".join(extras) or "core"
            what = wanted(extras).replace("ostinato", str(self._wheel), 1)
            # bytecode of all that is never imported would take most of the time
            options = ("--no-compile",)
            python, packages = INSTALLED_SIZE.new_environment(
                self._folder / name, what, self._below, *options
            )
            self._made[extras] = Environment(str(python))
            self.sizes[extras] = INSTALLED_SIZE.measure(packages)
            if not extras:
                self._below = [*self._below, packages]
        return self._made[extras]
