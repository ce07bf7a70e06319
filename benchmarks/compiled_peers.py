"""What `benchmarks/recurrence.py` compiles: oneDNN's recurrent layers, and what one core can do.

Both need a C++ compiler; oneDNN its headers and library, version 2 (Debian's libdnnl-dev), looked for where
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

SOURCES = Path(__file__).resolve().parent / "peers"
KINDS = {"RNN": 0, "GRU": 1, "LSTM": 2}  # vanilla_rnn, lbr_gru (which torch's GRU is), lstm


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


@functools.cache
def _library(name: str, *options: str) -> Any:
    """The compiled source, or why there is none, as text."""
    made = Path(_folder().name) / f"{name}.so"
    base = [os.environ.get("CXX", "c++"), "-O3", "-std=c++17", "-shared", "-fPIC"]
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
