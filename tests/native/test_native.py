"""The C++ by itself: under the sanitizers, and without any vector extension."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILER = shutil.which(os.environ.get("CXX", "c++"))
CMAKE = shutil.which("cmake")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(COMPILER is None or CMAKE is None, reason="needs a C++ compiler and CMake"),
    pytest.mark.skipif(not (ROOT / "CMakeLists.txt").exists(), reason="needs the sources of the extension"),
]


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_no_sanitizer_complains_and_every_number_is_right(tmp_path: Path) -> None:
    run(CMAKE, "-S", ROOT, "-B", tmp_path, "-DOSTINATO_SANITIZE=ON")
    run(CMAKE, "--build", tmp_path)
    printed = run(tmp_path / "check_kernels")
    assert "baseline: right" in printed
    assert "gomp" in printed or "omp" in printed  # the run had threads


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_threads_never_share_scratch_memory(tmp_path: Path, sanitizer: str) -> None:
    program, sources = tmp_path / "check", ("tests/native/check_scratch.cpp", "native/team/scratch.cpp")
    run(
        COMPILER, "-std=c++20", "-O1", "-g", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all",
        "-pthread", "-I", ROOT / "native", *(ROOT / source for source in sources), "-o", program,
    )  # fmt: skip
    assert run(program) == "right\n"


def test_each_object_defines_nothing_but_its_own_table(tmp_path: Path) -> None:
    """A function that two builds shared would be linked once, perhaps with instructions the machine lacks."""
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    run(
        COMPILER, "-std=c++20", "-O2", "-fPIC", "-fno-exceptions", "-w", "-DOSTINATO_ISA=some",
        "-DOSTINATO_VECTOR_BYTES=16",
        "-I", ROOT / "native", "-c", ROOT / "native/kernels.cpp", "-o", tmp_path / "kernels.o",
    )  # fmt: skip
    symbols = run("nm", "-C", "--defined-only", "--extern-only", tmp_path / "kernels.o").splitlines()
    assert [line.split(maxsplit=2)[2] for line in symbols] == ["ostinato::some::table"]


def test_it_compiles_for_any_width(tmp_path: Path) -> None:
    """Vectors of 8 bytes, one double: the compiler takes them apart, as it does for any processor."""
    run(
        COMPILER, "-std=c++20", "-O1", "-fPIC", "-w", "-DOSTINATO_ISA=baseline",
        "-DOSTINATO_VECTOR_BYTES=8",
        "-I", ROOT / "native", "-S", ROOT / "native/kernels.cpp", "-o", tmp_path / "kernels.s",
    )  # fmt: skip
