"""The native kernels under the sanitizers of addresses, undefined behaviour and threads; see tests/native."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from torture.trials import CRASH, RIGHT, Found

ROOT = Path(__file__).resolve().parents[2]


def why_not() -> str:
    """What is missing, where something is."""
    missing = [name for name in (os.environ.get("CXX", "c++"), "cmake") if shutil.which(name) is None]
    if not (ROOT / "CMakeLists.txt").exists():
        missing.append("the sources of the extension")
    return f"needs {' and '.join(missing)}" if missing else ""


def addresses(count: int, scratch: Path) -> Iterator[tuple[str, Found]]:
    """So many calls of kernels under AddressSanitizer and UBSan, each compared with its definition."""
    each = max(1, count // 9)
    program = (
        sys.executable,
        str(ROOT / "tests/native/fuzz.py"),
        "--calls",
        str(each),
        "--build",
        str(scratch / "asan"),
    )
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    for name, calls in re.findall(r"^(\w+): (\d+) calls", done.stdout, re.MULTILINE):
        for number in range(int(calls)):
            yield f"{name}:{number}", Found(RIGHT)
    if done.returncode:
        yield "sanitizers of addresses", Found(CRASH, (done.stdout + done.stderr)[-1500:])


def threads(scratch: Path) -> Iterator[tuple[str, Found]]:
    """The memory that threads share, under ThreadSanitizer."""
    program, sources = scratch / "tsan", ("tests/native/check_scratch.cpp", "native/team/scratch.cpp")
    options = ("-std=c++20", "-O1", "-g", "-fsanitize=thread", "-fno-sanitize-recover=all", "-pthread")
    paths = (str(ROOT / source) for source in sources)
    build = (os.environ.get("CXX", "c++"), *options, "-I", str(ROOT / "native"), *paths, "-o", str(program))
    subprocess.run(build, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    right = done.returncode == 0 and done.stdout == "right\n"
    yield "threads", Found(RIGHT) if right else Found(CRASH, (done.stdout + done.stderr)[-1500:])
