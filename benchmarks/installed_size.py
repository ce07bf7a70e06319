"""Installs the core, and each extra on top of it, into a clean environment: packages and megabytes.

    python benchmarks/installed_size.py [--wheel ostinato-0.1.0-cp311-cp311-linux_x86_64.whl]

PyTorch and what it brings are not counted: they are those of the environment that this runs in, and every
other one sees them by links. Everything else comes from the package index, as pip finds it. A megabyte is
10^6 bytes of files as pip has recorded them, bytecode included. Without --wheel one is built, without the
kernel.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# for users; docs and test are for those who change the package
EXTRAS = [name for name in PROJECT["optional-dependencies"] if name not in ("docs", "test")]


def brought(requirements: Iterable[str]) -> set[str]:
    """The names of the distributions that requirements bring, by what those here say; absent ones too."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in found:
                found.add((name, extra))
                waiting += [r for r in _required(name) if not r.marker or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in found if name != "ostinato"}


def _required(name: str) -> list[Requirement]:
    if name == "ostinato":  # as the source says it, whichever is installed
        texts = [*PROJECT["dependencies"]]
        for extra, own in PROJECT["optional-dependencies"].items():
            texts += [f"{text}; extra == '{extra}'" for text in own]
    else:
        there = list(distributions(name=name))
        texts = (there[0].requires or []) if there else []
    return [Requirement(text) for text in texts]


def build_wheel(folder: Path) -> Path:
    """The package as a wheel, without the kernel."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["-C", "wheel.cmake=false", "-C", "wheel.py-api=py3", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("ostinato-*.whl"))


def link_torch(folder: Path) -> Path:
    """A folder in which Python finds PyTorch, and what PyTorch brings, of this environment."""
    folder.mkdir(parents=True)
    for name in brought(["torch"]):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))).resolve())
    return folder


def new_environment(folder: Path, wanted: str, below: list[Path], *options: str) -> tuple[Path, Path]:
    """Install something by pip into a new environment that sees other folders; its Python and packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "below.pth").write_text("".join(f"{path}\n" for path in below))
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *options]
    subprocess.run([*pip, "--disable-pip-version-check", wanted], check=True)
    return python, packages


def measure(packages: Path) -> dict[str, float]:
    """The megabytes of each distribution in a folder."""
    found = {}
    for each in distributions(path=[str(packages)]):
        paths = {Path(str(each.locate_file(file))).resolve() for file in each.files or []}
        found[each.metadata["Name"]] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--wheel", type=Path, help="what is installed, instead of a wheel without the kernel")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every package")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        here = Path(place)
        wheel = asked.wheel or build_wheel(here)
        torch = link_torch(here / "torch")
        _, core = new_environment(here / "core", str(wheel.resolve()), [torch])
        sizes = {"core": measure(core)}
        for extra in EXTRAS:
            _, packages = new_environment(here / extra, f"{wheel.resolve()}[{extra}]", [torch, core])
            sizes[extra] = measure(packages)
    if asked.json:
        print(json.dumps(sizes, indent=1))
        return
    print(f"{'':<14}{'packages':>10}{'MB':>8}")
    for name, each in sizes.items():
        print(f"{name:<14}{len(each):>10}{sum(each.values()):>8.0f}")


if __name__ == "__main__":
    main()
