"""`-c constraints.txt` chooses the CPU build of PyTorch, and without it the CUDA build comes."""

import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def write_wheel(index: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    """A wheel that holds nothing, on its page of a package index."""
    folder = index / name
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {other}\n" for other in requires)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", metadata)
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")
    links = "".join(f'<a href="{file.name}">{file.name}</a>' for file in sorted(folder.glob("*.whl")))
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{links}</body></html>")


@pytest.fixture
def indexes(tmp_path) -> tuple[str, str]:
    """The public index with its CUDA builds, and PyTorch's own with the CPU builds, as they are on Linux."""
    public, cpu = tmp_path / "public", tmp_path / "cpu"
    for version in ("2.12.0", "2.13.0", "2.14.0"):
        write_wheel(public, "torch", version, ("nvidia-cublas", "triton"))
        write_wheel(cpu, "torch", f"{version}+cpu")
    write_wheel(public, "nvidia-cublas", "13.1")
    write_wheel(public, "triton", "3.7")
    write_wheel(public, "ostinato", "0.1.0", ("torch>=2.6",))
    return public.as_uri(), cpu.as_uri()


def resolved(tmp_path: Path, *options: str) -> dict[str, str]:
    """What pip would install, by name: the version."""
    report = tmp_path / "report.json"
    # What this machine's pip is set to must not count.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check", "--report", str(report), *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())["install"]
    return {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in found}


def test_the_constraints_choose_the_cpu_build(tmp_path, indexes):
    public, cpu = indexes
    text = CONSTRAINTS.read_text()
    assert text.count(CPU_INDEX) == 1
    here = tmp_path / "constraints.txt"
    here.write_text(text.replace(CPU_INDEX, cpu))
    found = resolved(tmp_path, "--index-url", public, "-c", str(here), "ostinato")
    assert found == {"ostinato": "0.1.0", "torch": "2.13.0+cpu"}


def test_without_the_second_index_the_cuda_build_comes(tmp_path, indexes):
    public, _ = indexes
    here = tmp_path / "constraints.txt"
    here.write_text("torch==2.13.0\n")
    found = resolved(tmp_path, "--index-url", public, "-c", str(here), "ostinato")
    assert found == {"ostinato": "0.1.0", "torch": "2.13.0", "nvidia-cublas": "13.1", "triton": "3.7"}


def test_without_the_constraints_the_newest_cuda_build_comes(tmp_path, indexes):
    found = resolved(tmp_path, "--index-url", indexes[0], "ostinato")
    assert found["torch"] == "2.14.0"
    assert "triton" in found


def test_a_second_index_that_does_not_answer_is_passed_over(tmp_path, indexes):
    """As behind a firewall: what the first index has is installed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}/whl/cpu"
        here = tmp_path / "constraints.txt"
        here.write_text(CONSTRAINTS.read_text().replace(CPU_INDEX, nowhere))
        options = ("--retries", "0", "--index-url", indexes[0], "-c", str(here))
        assert resolved(tmp_path, *options, "ostinato")["torch"] == "2.13.0"


def _answers(host: str) -> bool:
    try:
        with socket.create_connection((host, 443), timeout=5):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_the_real_indexes(tmp_path):
    if not _answers("download.pytorch.org"):
        pytest.skip("download.pytorch.org cannot be reached")
    found = resolved(tmp_path, "-c", str(CONSTRAINTS), "torch")
    assert found["torch"] == "2.13.0+cpu"
    assert not [name for name in found if name.startswith(("nvidia", "cuda", "triton"))]
