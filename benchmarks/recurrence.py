"""Forward and backward of one recurrent layer: ostinato, torch.nn, a loop, JAX, oneDNN, and the limit.

All run interleaved in one process, so that whatever else the machine does falls on each alike; medians are
printed, and ratios to torch.nn.RNN (which has no leak; everybody else here has one). A pass is the input
projection from 88 inputs, the scan, and the gradients of all weights and of the initial state. The limit
of such a pass is what was measured of a core: its multiply-adds, its second-level cache where a step's
weights take longer, and what follows the products (`pass_limit.py` has it part by part). oneDNN's library is
compiled against where it is installed (Debian: libdnnl-dev): dense inputs, no leak, no Python, weights
repacked at every pass.

    python benchmarks/recurrence.py [--json] [--threads N] [--shapes 1x100x200,...] [--only PART] [--cpu-time]

Parts: `peers`, `cells` (GRU and LSTM), `products` (each phase's by themselves, as shares of the multiply-adds
of as many cores as there are threads, and the whole pass's beside them), `sets` (one instruction set against
another), `memory`, `inputs` (sparse against dense ones).
Shapes: T time, B streams, H hidden, V visible (inputs).
"""

import argparse
import functools
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import compiled_peers
import pass_limit
import torch
import torch.nn.functional as F
from torch import nn

from ostinato.nn import GRU, LSTM, RNN
from ostinato.nn.kernels import cpu
from ostinato.nn.scan.functions import Scan

V = 88
SHAPES = ((1, 100, 200), (1, 100, 400), (16, 100, 200), (64, 100, 400), (128, 150, 500), (32, 40, 200))
WARM_UP = 0.02  # seconds
MEASURED = ("ostinato.RNN", "nn.RNN", "ostinato.GRU", "nn.GRU", "ostinato.LSTM", "nn.LSTM")
Run = Callable[[], object]
_clock: Callable[[], float] = time.perf_counter


def interleaved(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Median seconds of each run, taken in turns for about `seconds` and at least 7 rounds.

    Each goes on unmeasured for the same short while, at least once, just before: what the one before it left
    in the caches is not its affair. Training repeats one pass over and over.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    begin, rounds = time.perf_counter(), 0
    while rounds < 7 or time.perf_counter() - begin < seconds:
        for name, run in runs.items():
            warm = time.perf_counter() + WARM_UP
            run()
            while time.perf_counter() < warm:
                run()
            before = _clock()
            run()
            times[name].append(_clock() - before)
        rounds += 1
    return {name: statistics.median(values) for name, values in times.items()}


class Problem:
    """Inputs, an upstream gradient and weights of one size, drawn once for all."""

    def __init__(self, streams: int, steps: int, hidden: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.x = (torch.rand(steps, streams, V, generator=draw) < 0.05).float()
        self.h0 = torch.randn(1, streams, hidden, generator=draw) * 0.1
        self.leak = torch.rand(hidden, generator=draw) * 0.9
        self.upstream = torch.randn(steps, streams, hidden, generator=draw) * 0.01
        self.sizes = (V, hidden)


def ours(problem: Problem) -> Run:
    return _module_pass(RNN(*problem.sizes, leak=problem.leak), problem)


def torch_rnn(problem: Problem) -> Run:
    return _module_pass(nn.RNN(*problem.sizes), problem)


def _module_pass(module: nn.Module, problem: Problem) -> Run:
    h0 = problem.h0.clone().requires_grad_()
    leaves, start = [*module.parameters(), h0], h0
    if isinstance(module, (LSTM, nn.LSTM)):
        c0 = problem.h0.clone().requires_grad_()
        leaves, start = [*leaves, c0], (h0, c0)

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        states, _ = module(problem.x, start)
        states.backward(problem.upstream)

    return run


def naive_loop(problem: Problem) -> Run:
    cell = nn.RNN(*problem.sizes)
    h0 = problem.h0[0].clone().requires_grad_()
    leaves = [*cell.parameters(), h0]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        drive = F.linear(problem.x, cell.weight_ih_l0, cell.bias_ih_l0)
        h, states = h0, []
        for t in range(drive.shape[0]):
            phi = torch.tanh(torch.addmm(drive[t], h, cell.weight_hh_l0.T))
            h = problem.leak * h + (1 - problem.leak) * phi
            states.append(h)
        torch.stack(states).backward(problem.upstream)

    return run


def jax_scan(problem: Problem) -> Run | None:
    """The same pass by `jax.lax.scan`, compiled; None where JAX is not installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ModuleNotFoundError:
        return None
    cell = nn.RNN(*problem.sizes)
    weights = [
        jnp.asarray(w.detach().numpy()) for w in (cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0)
    ]
    x, h0, leak, upstream = (
        jnp.asarray(a.numpy()) for a in (problem.x, problem.h0[0], problem.leak, problem.upstream)
    )

    def states(u: Any, w: Any, b: Any, h0: Any) -> Any:
        def step(h: Any, drive: Any) -> Any:
            h = leak * h + (1 - leak) * jnp.tanh(drive + h @ w.T)
            return h, h

        return jax.lax.scan(step, h0, x @ u.T + b)[1]

    @jax.jit
    def gradients(*inputs: Any) -> Any:
        return jax.vjp(states, *inputs)[1](upstream)

    return lambda: jax.block_until_ready(gradients(weights[0], weights[1], weights[2], h0))


def onednn(kind: str, shape: tuple[int, int, int]) -> Run | None:
    """oneDNN's pass; None, with one line that says why, where it cannot be."""
    streams, steps, hidden = shape
    made = compiled_peers.onednn(kind, steps, streams, V, hidden, torch.get_num_threads())
    if not isinstance(made, str):
        return made
    _say_once(f"oneDNN is left out: {made}")
    return None


def limit(kind: str, shape: tuple[int, int, int], on: float | None = None) -> pass_limit.Limit | None:
    """Of a whole pass on as many cores as there are threads; see `pass_limit`."""
    core = compiled_peers.measured_core()
    if isinstance(core, str):
        _say_once(f"the limit is left out: {core}")
        return None
    return pass_limit.of_pass(core, kind, shape, V, torch.get_num_threads(), on)


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def against_peers(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    problem = Problem(*shape)
    made = {
        "ostinato": ours(problem),
        "nn.RNN": torch_rnn(problem),
        "loop": naive_loop(problem),
        "jax": jax_scan(problem),
        "oneDNN": onednn("RNN", shape),
    }
    medians = interleaved({name: run for name, run in made.items() if run is not None}, seconds)
    on = float(problem.x.count_nonzero()) / (shape[0] * shape[1])
    return _compared(shape, medians, "nn.RNN", limit("RNN", shape, on))


def _compared(
    shape: tuple[int, int, int], medians: dict[str, float], to: str, least: pass_limit.Limit | None
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "shape": shape,
        "milliseconds": {name: 1e3 * median for name, median in medians.items()},
        f"times as fast as {to}": {name: medians[to] / median for name, median in medians.items()},
    }
    if least is not None:
        parts = {name: 1e3 * getattr(least, name) for name in ("seconds", *least._fields[:-1])}
        parts["whole"] = parts.pop("seconds")
        record["limit in milliseconds" + " (bytes of W)" * least.bound_by_bytes] = parts
        record["share of the limit"] = {name: least.seconds / median for name, median in medians.items()}
    return record


def gated_cells(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    """GRU and LSTM, with and without leak, beside torch's (whose LSTM is oneDNN's) and oneDNN's library."""
    problem, record = Problem(*shape), {"shape": shape}
    for name, own, theirs in (("GRU", GRU, nn.GRU), ("LSTM", LSTM, nn.LSTM)):
        made = {
            "ostinato": _module_pass(own(*problem.sizes), problem),
            "with leak": _module_pass(own(*problem.sizes, leak=problem.leak), problem),
            "torch": _module_pass(theirs(*problem.sizes), problem),
            "oneDNN": onednn(name, shape),
        }
        medians = interleaved({key: run for key, run in made.items() if run is not None}, seconds)
        found = _compared(shape, medians, "torch", limit(name, shape))
        record |= {f"{name}, {key}": value for key, value in found.items() if key != "shape"}
    return record


def phases(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    """Shares of the peak of multiply-adds, none counted that only fills a vector up."""
    streams, steps, hidden = shape
    core, record = compiled_peers.core(), {"shape": shape}
    for name, own in (("RNN", RNN), ("GRU", GRU), ("LSTM", LSTM)):
        threads = torch.get_num_threads()
        found = compiled_peers.products(name, steps, streams, V, hidden, threads, 9)
        if isinstance(core, str) or isinstance(found, str):
            _say_once(f"the products are left out: {core if isinstance(core, str) else found}")
            return record
        problem = Problem(*shape)
        problem.x = torch.rand_like(problem.x) + 0.1  # dense, as what is counted is
        whole = interleaved({name: _module_pass(own(*problem.sizes), problem)}, seconds / 3)[name]
        flops, peak = pass_limit.useful_flops(name, shape, V), core[0] * threads
        parts = zip(("inputs", "forward", "adjoint", "gradients"), flops, found, strict=True)
        record[f"{name}, share of the peak"] = {part: f / s / peak for part, f, s in parts} | {
            "all products": sum(flops) / sum(found) / peak,
            "whole pass": sum(flops) / whole / peak,
        }
    return record


def instruction_sets(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    """The kernels of every instruction set this machine runs, forward and backward of the scan."""
    problem = Problem(*shape)
    hidden = shape[2]
    weight = (torch.randn(hidden, hidden) / hidden**0.5).requires_grad_()
    drive = torch.randn(problem.upstream.shape).requires_grad_()

    def scan(kernel: cpu.Kernel) -> Run:
        def run() -> None:
            weight.grad = drive.grad = None
            states = Scan.apply(drive, weight, problem.leak, problem.h0[0], None, "tanh", kernel)[0]
            states.backward(problem.upstream)

        return run

    medians = interleaved({name: scan(cpu.Kernel(name)) for name in cpu.instruction_sets()}, seconds)
    best = next(iter(medians.values()))
    return {"shape": shape, "speed relative to the best": {name: best / t for name, t in medians.items()}}


def peak_memory(shape: tuple[int, int, int]) -> dict[str, Any]:
    """MiB by which passes raise the peak of a fresh process's resident memory (Linux only)."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        jobs = [(name, shape, torch.get_num_threads()) for name in MEASURED]
        peaks = pool.starmap(_peak_of, jobs, chunksize=1)
    return {"shape": shape, "peak MiB": dict(zip(MEASURED, peaks, strict=True))}


def _peak_of(name: str, shape: tuple[int, int, int], threads: int) -> float:
    def status(field: str) -> int:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field))

    torch.set_num_threads(threads)
    package, kind = name.split(".")
    module = getattr(nn if package == "nn" else sys.modules[__name__], kind)

    def make(problem: Problem) -> Run:
        leak = {} if package == "nn" else {"leak": problem.leak}
        return _module_pass(module(*problem.sizes, **leak), problem)

    make(Problem(1, 2, 3))()  # code and thread pools are not what is measured
    run, before = make(Problem(*shape)), status("VmRSS")
    for _ in range(3):
        run()
    return (status("VmHWM") - before) / 1024


def kinds_of_inputs(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    """A pass over 0-1 inputs, of which one in twenty is on, against the same with no input that is zero."""
    problem, dense = Problem(*shape), Problem(*shape)
    dense.x = torch.rand_like(dense.x) + 0.1
    binary = Problem(*shape)
    binary.x = binary.x.to(torch.uint8)
    medians = interleaved({"bytes": ours(binary), "sparse": ours(problem), "dense": ours(dense)}, seconds)
    return {
        "shape": shape,
        "times as fast as dense": {
            "bytes": medians["dense"] / medians["bytes"],
            "numbers": medians["dense"] / medians["sparse"],
        },
    }


def _flat(record: dict[str, Any]) -> str:
    """One line: the shape, then every figure with its name."""
    parts = [str(tuple(record["shape"])).ljust(16)]
    for name, value in record.items():
        if isinstance(value, dict):
            parts.append(f"{name}: " + ", ".join(f"{key} {number:.4g}" for key, number in value.items()))
        elif name != "shape":
            parts.append(f"{name}: {value:.3g}")
    return "  |  ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shapes", default=",".join("x".join(map(str, shape)) for shape in SHAPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="for each comparison")
    parser.add_argument("--only", choices=("peers", "cells", "products", "sets", "memory", "inputs"))
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="time of the thread on its core, not of the clock: for one thread on a machine that is busy",
    )
    options = parser.parse_args()
    if options.cpu_time:
        if options.threads != 1:
            parser.error(f"--cpu-time expects --threads 1, got {options.threads}")
        global _clock
        _clock = time.thread_time
    torch.set_num_threads(options.threads)
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    parts: dict[str, Callable[[Any], dict[str, Any]]] = {
        "peers": lambda shape: against_peers(shape, options.seconds),
        "cells": lambda shape: gated_cells(shape, options.seconds),
        "products": lambda shape: phases(shape, options.seconds),
        "sets": lambda shape: instruction_sets(shape, options.seconds),
        "memory": peak_memory,
        "inputs": lambda shape: kinds_of_inputs(shape, options.seconds),
    }
    if sys.platform != "linux":
        del parts["memory"]
    results: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": options.threads,
        "kernel": cpu.instruction_set(),
    }
    if not isinstance(core := compiled_peers.core(), str):
        results["GFLOP/s of a core"], results["GB/s of its L2"] = (round(x / 1e9) for x in core)
    if not options.json:
        print("  ".join(f"{name} {value}" for name, value in results.items()), flush=True)
    for name, part in parts.items():
        if options.only not in (None, name):
            continue
        results[name] = []
        for shape in shapes:
            results[name].append(part(shape))
            if not options.json:
                print(name.ljust(8) + _flat(results[name][-1]), flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
