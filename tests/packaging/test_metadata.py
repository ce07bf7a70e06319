"""What is said of this version is the same wherever it is said."""

import re
import tomllib
from pathlib import Path

import ostinato

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version():
    version = PROJECT["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert re.findall(r"^version: (.+)$", citation, re.M) == [version]
    assert headings[0] == version
    assert ostinato.__version__ == version


def test_wheels_are_built_for_every_python_that_is_promised():
    oldest = PROJECT["project"]["requires-python"]
    built = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert oldest == ">=3.11"
    assert built == [f"cp3{minor}-*" for minor in range(11, 15)]


def test_only_what_was_run_is_called_supported():
    """The classifiers name the platforms and Pythons that docs/installing.md has as run."""
    table = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (Linux x86-64|Linux arm64|macOS \S+|Windows) \| ([^|]+) \| ([^|]+) \|$", table, re.M
    )
    run = {(platform, python) for platform, python, what in rows if "tests run" in what}
    listed = PROJECT["project"]["classifiers"]
    pythons = {c.rpartition(" ")[2] for c in listed if re.search(r"Python :: 3\.\d+$", c)}
    assert {python for _, python in run} == pythons
    assert {platform for platform, _ in run} == {"Linux x86-64"}
    assert [c for c in listed if c.startswith("Operating System")] == ["Operating System :: POSIX :: Linux"]
