"""Reservoirs: states and ridge readouts of many series, by ostinato and by reservoirpy, in turns.

Both have the same weights, in the same precision. reservoirpy runs with the matrices that it makes by itself
(sparse ones), with dense ones, and with its JAX backend where JAX is installed; the fastest of them counts.

    python benchmarks/reservoir.py [--units 100,500] [--series 64] [--steps 5000] [--rounds 3] [--threads 1]
        [--dtype float64]

Give it as many cores as threads (`taskset -c 0`): reservoirpy's workers are as many. Beside the clock's
seconds stand those of the processor, of all threads, which tell more where other programs run as well.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import ostinato

LEAK_RATE, RADIUS, RIDGE, WASHOUT = 0.3, 0.9, 1e-6, 100
Run = Callable[[], np.ndarray]


class Problem:
    """Weights and data of one size, drawn once for all."""

    def __init__(self, units: int, series: int, steps: int, dtype: torch.dtype) -> None:
        draws = torch.Generator().manual_seed(0)
        self.cell = ostinato.reservoir(
            3,
            units,
            spectral_radius=RADIUS,
            leak=1 - LEAK_RATE,
            generator=draws,
            dtype=dtype,
            bias_scaling=0.2,
        )
        self.x = torch.rand(steps, series, 3, generator=draws, dtype=dtype) - 0.5
        self.y = self.x.roll(5, 0)[..., :2] * self.x[..., 2:]


def ours(problem: Problem) -> tuple[Run, Run]:
    """Its states, and predictions after a fit."""

    def states() -> np.ndarray:
        with torch.no_grad():
            return problem.cell(problem.x)[0][-1].numpy()

    def fit() -> np.ndarray:
        readout = ostinato.fit_readout(problem.cell, problem.x, problem.y, washout=WASHOUT, ridge=RIDGE)
        return readout.linear.weight.detach().numpy()

    return states, fit


def theirs(problem: Problem, backend: str, threads: int) -> tuple[Run, Run]:
    """The same by reservoirpy."""
    if backend == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
        from reservoirpy.jax.nodes import Reservoir, Ridge
    else:
        from reservoirpy.nodes import Reservoir, Ridge
    from scipy import sparse

    own = {name: parameter.detach().numpy() for name, parameter in problem.cell.named_parameters()}
    w = own["weight_hh_l0"]
    node = Reservoir(
        lr=LEAK_RATE,
        W=sparse.csr_array(w) if backend == "sparse" else w,
        Win=own["weight_ih_l0"],
        bias=own["bias_ih_l0"],
        dtype=w.dtype.type,
    )
    x = np.ascontiguousarray(problem.x.numpy().transpose(1, 0, 2))
    y = np.ascontiguousarray(problem.y.numpy().transpose(1, 0, 2))
    # JAX compiles, and runs on as many threads as it finds cores
    workers = {} if backend == "jax" else {"workers": threads}

    def run() -> np.ndarray:
        node.initialize(x)
        return np.asarray(node.run(x, **workers))

    def states() -> np.ndarray:
        return run()[:, -1]

    def fit() -> np.ndarray:
        ridge = Ridge(ridge=RIDGE)
        ridge.fit(run(), y, warmup=WASHOUT, **workers)
        return np.asarray(ridge.Wout).T

    return states, fit


def compare(problem: Problem, backends: list[str], rounds: int, threads: int) -> None:
    """Both kinds of work, by each, in turns; and how far their results are apart."""
    made = {name: theirs(problem, name, threads) for name in backends} | {"ostinato": ours(problem)}
    for kind, name in enumerate(("states", "states and fit")):
        times: dict[str, list[float]] = {each: [] for each in made}
        of_cpu: dict[str, list[float]] = {each: [] for each in made}
        results = {}
        for _ in range(rounds):
            for each, runs in made.items():
                begin, begin_cpu = time.perf_counter(), time.process_time()
                results[each] = runs[kind]()
                times[each].append(time.perf_counter() - begin)
                of_cpu[each].append(time.process_time() - begin_cpu)
        apart = np.abs(results["ostinato"] - results[backends[0]]).max()
        print(f"  {name}, apart by {apart:.1e}", flush=True)
        for clock, measured in (("clock", times), ("processor", of_cpu)):
            medians = {each: statistics.median(values) for each, values in measured.items()}
            fastest = min(backends, key=lambda each: medians[each])
            told = ", ".join(f"{each} {median:.2f}" for each, median in medians.items())
            ratio = medians[fastest] / medians["ostinato"]
            print(f"    {clock} s: {told}; {ratio:.1f} times as fast as {fastest}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--units", default="100,500")
    parser.add_argument("--series", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    backends = ["sparse", "dense"]
    try:
        import jax

        backends.append("jax")
        print(f"JAX {jax.__version__}")
    except ModuleNotFoundError:
        print("JAX is not installed")
    for units in map(int, options.units.split(",")):
        print(f"{units} units, {options.series} series, {options.steps} steps", flush=True)
        problem = Problem(units, options.series, options.steps, getattr(torch, options.dtype))
        compare(problem, backends, options.rounds, options.threads)


if __name__ == "__main__":
    main()
