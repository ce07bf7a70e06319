"""A source distribution made from a clone holds what git tracks, and nothing else."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("scikit_build_core")
ROOT = Path(__file__).parents[2]
BUILD = "import sys; sys.path.insert(0, 'packaging'); import backend; print(backend.build_sdist(sys.argv[1]))"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "safe.directory=*"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def built(folder: Path, out: Path) -> set[str]:
    """The files of the source distribution of a folder, without the two that are made."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    return names - {"PKG-INFO"}


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone with the files for building, a few sources, and names that patterns could mistake."""
    clone = tmp_path / "clone"
    for name in ("packaging/backend.py", "src/ostinato/__init__.py", "CMakeLists.txt", "docs/index.md"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, clone / name)
    for name in ("docs/a [b] #1!.md", "src/ostinato/*.txt"):
        (clone / name).write_text("tracked\n")
    git(tmp_path, "init", "-q", str(clone))
    git(clone, "add", "-A", "-f")
    git(clone, "commit", "-qm", "all")
    return clone


def test_untracked_files_stay_out(clone, tmp_path):
    for name in ("notes.txt", "src/ostinato/private.py", "src/ostinato/a.txt", "docs/data.mat", "docs/b.md"):
        (clone / name).write_text("secret\n")
    assert built(clone, tmp_path / "out") == set(git(clone, "ls-files", "-z").split("\0")) - {""}


def test_a_source_distribution_can_be_made_from_one(clone, tmp_path):
    first = built(clone, tmp_path / "out")
    with tarfile.open(next((tmp_path / "out").glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert first <= built(unpacked, tmp_path / "again")


def test_the_real_one(tmp_path):
    """Where this is a clone: all of it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-local", str(ROOT), str(clone)], check=True)
    (clone / "src" / "ostinato" / "untracked.py").touch()
    assert built(clone, tmp_path / "out") == set(git(clone, "ls-files", "-z").split("\0")) - {""}
