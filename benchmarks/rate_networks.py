"""One training step of a rate network with noise: `CTRNN` beside the usual loop in PyTorch.

A step is the forward pass, a squared error on the rates, and the gradients of all weights; both draw their
noise (T, B, N) from a generator, in the same way. They run in turns on one thread, so that whatever else the
machine does falls on each alike; medians are printed, and the median of the ratios of neighbouring runs.

    python benchmarks/rate_networks.py [--json] [--rounds 9] [--sizes 100,500] [--form outside ...]

Shapes: T = 300 steps, B = 64 streams, N units.
"""

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ostinato.nn import CTRNN
from ostinato.nn.kernels import cpu

STEPS, STREAMS, INPUTS = 300, 64, 3
ALPHA, SIGMA = 0.2, 0.05
CASES = {
    "outside, noise at the input": ("outside", "input"),
    "outside, noise at the state": ("outside", "state"),
    "preactivation": ("preactivation", "input"),
    "inside": ("inside", "input"),
}


class Loop(nn.Module):
    """The cell as it is written where rate networks are trained: one step after another."""

    def __init__(self, rnn: CTRNN) -> None:
        super().__init__()
        self.form, self.noise_at = rnn.form, rnn.noise_at
        self.inputs = nn.Linear(INPUTS, rnn.hidden_size)
        self.recurrent = nn.Linear(rnn.hidden_size, rnn.hidden_size)
        with torch.no_grad():
            self.inputs.weight.copy_(rnn.input_weight())
            self.recurrent.weight.copy_(rnn.recurrent_weight())
            self.inputs.bias.copy_(rnn.bias_ih_l0)
            self.recurrent.bias.copy_(rnn.bias_hh_l0)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        h, rates = x.new_zeros(x.shape[1], noise.shape[2]), []
        for t in range(len(x)):
            if self.form == "preactivation":
                h = (1 - ALPHA) * h + ALPHA * (self.recurrent(torch.relu(h)) + self.inputs(x[t]) + noise[t])
                rates.append(torch.relu(h))
                continue
            z = self.recurrent(h) + self.inputs(x[t])
            if self.form == "inside":
                h = torch.relu((1 - ALPHA) * h + ALPHA * (z + noise[t]))
            elif self.noise_at == "input":
                h = (1 - ALPHA) * h + ALPHA * torch.relu(z + noise[t])
            else:
                h = (1 - ALPHA) * h + ALPHA * (torch.relu(z) + noise[t])
            rates.append(h)
        return torch.stack(rates)


def steps(form: str, noise_at: str, units: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """One training step of ours, and one of the loop, each giving its rates."""
    x = torch.randn(STEPS, STREAMS, INPUTS, generator=torch.Generator().manual_seed(1))
    targets = torch.rand(STEPS, STREAMS, units, generator=torch.Generator().manual_seed(2))
    ours = CTRNN(
        INPUTS,
        units,
        form=form,
        noise_at=noise_at,
        nonlinearity="relu",
        noise=SIGMA,
        tau=1 / ALPHA,
        generator=torch.Generator().manual_seed(3),
    )
    theirs, generator = Loop(ours), torch.Generator()
    assert ours.generator is not None
    ours.generator.manual_seed(4)
    generator.manual_seed(4)

    def own() -> Tensor:
        ours.zero_grad()
        rates: Tensor = ours(x)[0]
        (rates - targets).square().mean().backward()
        return rates.detach()

    def loop() -> Tensor:
        theirs.zero_grad()
        noise = math.sqrt(2 / ALPHA) * SIGMA * torch.randn(STEPS, STREAMS, units, generator=generator)
        rates = theirs(x, noise)
        (rates - targets).square().mean().backward()
        return rates.detach()

    return own, loop


def timed(run: Callable[[], Tensor]) -> float:
    """Seconds of one run."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def measure(name: str, units: int, rounds: int) -> dict[str, float | str]:
    """Medians of both in milliseconds, and of the paired ratios."""
    own, loop = steps(*CASES[name], units)
    difference = (own() - loop()).abs().max().item()
    if difference > 1e-3:
        raise SystemExit(f"expected the same rates from both, found them {difference:g} apart")
    pairs = [(timed(own), timed(loop)) for _ in range(rounds)]
    return {
        "form": name,
        "units": units,
        "ours_ms": 1e3 * statistics.median(a for a, _ in pairs),
        "loop_ms": 1e3 * statistics.median(b for _, b in pairs),
        "ratio": statistics.median(b / a for a, b in pairs),
    }


def processor() -> str:
    """What the system calls its processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "unknown")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="training steps of rate networks")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", default="100,500")
    parser.add_argument("--form", nargs="*", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, int(n), given.rounds) for n in given.sizes.split(",") for name in given.form]
    about = {"processor": processor(), "kernel": cpu.instruction_set(), "torch": torch.__version__}
    if given.json:
        print(json.dumps({**about, "rows": rows}))
        return
    print(f"{about['processor']}, {about['kernel']}, torch {about['torch']}, one thread")
    print(f"T = {STEPS}, B = {STREAMS}, {given.rounds} pairs; milliseconds")
    for row in rows:
        print(
            f"N={row['units']:<4} {row['form']:28} ours {row['ours_ms']:7.1f}  loop {row['loop_ms']:7.1f}  "
            f"ratio {row['ratio']:.2f}"
        )


if __name__ == "__main__":
    main()
