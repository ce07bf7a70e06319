"""What `benchmarks/recurrence.py` compiles: oneDNN's recurrent layers, what one core can do, and parts of the
kernels by themselves.

All need a C++ compiler; oneDNN its headers and library, version 2 (Debian's libdnnl-dev), looked for where
the compiler does and in the folder that DNNLROOT names. What is missing is said, and left out.
"""

import ctypes
import functools
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pass_limit

from ostinato.nn.kernels import cpu

SOURCES = Path(__file__).resolve().parent / "peers"
NATIVE = SOURCES.parent.parent / "native"
KINDS = {"RNN": 0, "GRU": 1, "LSTM": 2}  # vanilla_rnn, lbr_gru (which torch's GRU is), lstm
# The kernels' options in CMakeLists.txt.
KERNEL_OPTIONS = ("-std=c++20", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi")
SETS: dict[str, tuple[str, ...]] = {
    "baseline": ("-DOSTINATO_VECTOR_BYTES=16",),
    "avx2": ("-DOSTINATO_VECTOR_BYTES=32", "-mavx2", "-mfma"),
    "avx512": (
        "-DOSTINATO_VECTOR_BYTES=64",
        *("-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mavx2", "-mfma"),
        "-mprefer-vector-width=512",
    ),
}


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def _library(name: str, *options: str) -> Any:
    """The compiled source, or why there is none, as text."""
    made = Path(_folder().name) / f"{name}.so"
    base = [os.environ.get("CXX", "c++"), "-O3", "-std=c++17", "-shared", "-fPIC"]  # a later -std wins
    try:
        done = subprocess.run(
            [*base, str(SOURCES / f"{name}.cpp"), *options, "-o", made], capture_output=True, text=True
        )
        if done.returncode:
            return next((line for line in done.stderr.splitlines() if "error" in line), "it does not compile")
        return ctypes.CDLL(str(made))
    except OSError as error:
        return str(error)


@functools.cache
def core() -> tuple[float, float] | str:
    """Floating-point operations and bytes from the second-level cache that one core does in a second."""
    library = _library("core", "-march=native", "-ffp-contract=fast")
    if isinstance(library, str):
        return library
    library.peak_flops.restype = library.read_bandwidth.restype = ctypes.c_double
    return library.peak_flops(), library.read_bandwidth(512)


@functools.cache
def _phases() -> Any:
    """The kernels' own code, for the instruction set in use; or why there is none."""
    where = [str(NATIVE / "team" / name) for name in ("team.cpp", "scratch.cpp")]
    library = _library(
        "phases",
        *KERNEL_OPTIONS,
        *SETS[cpu.instruction_set()],
        "-DOSTINATO_ISA=phases",
        f"-I{NATIVE}",
        *where,
        "-ldl",
    )
    if not isinstance(library, str):
        library.find_threads()
    return library


@functools.cache
def measured_core() -> pass_limit.Core | str:
    """What the limit of a pass is made from."""
    found, library = core(), _phases()
    if isinstance(found, str) or isinstance(library, str):
        return found if isinstance(found, str) else library
    pointwise = {}
    for kind, code in KINDS.items():
        seconds = (ctypes.c_double * 2)()
        library.pointwise(code, seconds)
        pointwise[kind] = seconds[0], seconds[1]
    return pass_limit.Core(*found, library.lanes_of_a_vector(), pointwise)


def products(
    kind: str, steps: int, streams: int, inputs: int, hidden: int, threads: int, rounds: int
) -> tuple[float, ...] | str:
    """Seconds of a pass's products by the kernels' own code, with nothing behind them.

    They are those of the inputs, of the forward and the adjoint scan, and of the gradients; each is the best
    of some rounds.
    """
    library = _phases()
    if isinstance(library, str):
        return library
    seconds = (ctypes.c_double * 4)()
    library.products(KINDS[kind], steps, streams, inputs, hidden, threads, rounds, seconds)
    return tuple(seconds)


def onednn(
    kind: str, steps: int, streams: int, inputs: int, hidden: int, threads: int
) -> Callable[[], object] | str:
    """A whole pass, forward and backward with weights repacked, of dense inputs and without a leak."""
    root = os.environ.get("DNNLROOT")
    # an rpath of the older kind is also that of what the library needs
    where = [f"-I{root}/include", "-Wl,--disable-new-dtags"] if root else []
    for folder in ("lib", "lib/x86_64-linux-gnu"):
        if root:
            where += [f"-L{root}/{folder}", f"-Wl,-rpath,{root}/{folder}"]
    library = _library("onednn", "-fopenmp", *where, "-ldnnl")
    if isinstance(library, str):
        return library
    library.make_pass.restype, library.run_pass.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    made = library.make_pass(KINDS[kind], steps, streams, inputs, hidden, threads)
    return lambda: library.run_pass(made)
