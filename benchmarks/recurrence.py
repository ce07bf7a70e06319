"""Forward and backward of one recurrent layer: ostinato, torch.nn.RNN, a loop, JAX, and the limit.

All run interleaved in one process, so that whatever else the machine does falls on each alike; medians are
printed, and ratios to torch.nn.RNN (which has no leak; everybody else here has one). A pass is the input
projection from 88 inputs, the scan, and the gradients of all weights and of the initial state. The limit
is what the recurrence's own 6 T B H^2 operations would take at the rate of a 1024 x 1024 product.

    python benchmarks/recurrence.py [--json] [--threads N] [--shapes 1x100x200,...] [--only PART]

Parts: `peers`, `sets` (one instruction set against another), `memory`, `inputs` (sparse against dense ones).
Shapes: T time, B streams, H hidden, V visible (inputs).
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ostinato.nn import RNN
from ostinato.nn.kernels import cpu
from ostinato.nn.scan.functions import Scan

V = 88
SHAPES = ((1, 100, 200), (1, 100, 400), (16, 100, 200), (64, 100, 400), (128, 150, 500), (32, 40, 200))
WARM_UP = 0.02  # seconds
Run = Callable[[], object]


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
            before = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - before)
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
    leaves = [*module.parameters(), h0]

    def run() -> None:
        for leaf in leaves:
            leaf.grad = None
        states, _ = module(problem.x, h0)
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


def sgemm() -> Run:
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return lambda: left @ right


def against_peers(shape: tuple[int, int, int], seconds: float) -> dict[str, Any]:
    streams, steps, hidden = shape
    problem = Problem(*shape)
    made = {
        "ostinato": ours(problem),
        "nn.RNN": torch_rnn(problem),
        "loop": naive_loop(problem),
        "jax": jax_scan(problem),
        "sgemm": sgemm(),
    }
    medians = interleaved({name: run for name, run in made.items() if run is not None}, seconds)
    limit = 6 * steps * streams * hidden**2 / (2 * 1024**3) * medians.pop("sgemm")
    return {
        "shape": shape,
        "milliseconds": {name: 1e3 * median for name, median in medians.items()},
        "times as fast as nn.RNN": {name: medians["nn.RNN"] / median for name, median in medians.items()},
        "times the limit": medians["ostinato"] / limit,
    }


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
        jobs = [(name, shape, torch.get_num_threads()) for name in ("ostinato", "nn.RNN")]
        peaks = pool.starmap(_peak_of, jobs, chunksize=1)
    return {"shape": shape, "peak MiB": dict(zip(("ostinato", "nn.RNN"), peaks, strict=True))}


def _peak_of(name: str, shape: tuple[int, int, int], threads: int) -> float:
    def status(field: str) -> int:
        with open("/proc/self/status") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith(field))

    torch.set_num_threads(threads)
    make = {"ostinato": ours, "nn.RNN": torch_rnn}[name]
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
    parser.add_argument("--only", choices=("peers", "sets", "memory", "inputs"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes.split(",")]
    parts: dict[str, Callable[[Any], dict[str, Any]]] = {
        "peers": lambda shape: against_peers(shape, options.seconds),
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
