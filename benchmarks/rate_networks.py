"""One training step of a rate network with noise: `CTRNN` beside the usual loop in PyTorch.

A step is the forward pass in training mode, a linear readout, its squared error, the gradients of all
weights, and Adam. Both draw their own noise, the loop as it is written everywhere, (B, N) at every step. They
run in turns, so that whatever else the machine does falls on each alike; medians are printed, and the median
of the ratios of neighbouring runs, by the clock and by the processor's time, which tells more on a busy
machine. Before that both are given the same draws, and their rates and gradients compared.

    python benchmarks/rate_networks.py [--json] [--rounds 9] [--sizes 100,500] [--threads 1]
        [--form outside ...]

Shapes: T = 300 steps, B = 64 streams, N units.
"""

import argparse
import json
import math
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from ostinato.nn import CTRNN
from ostinato.nn.kernels import cpu

STEPS, STREAMS, INPUTS, OUTPUTS = 300, 64, 3, 3
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

    def forward(self, x: Tensor, draws: Tensor | None = None) -> Tensor:
        h, rates, size = (
            x.new_zeros(x.shape[1], self.recurrent.out_features),
            [],
            math.sqrt(2 / ALPHA) * SIGMA,
        )
        for t in range(len(x)):
            noise = size * (torch.randn_like(h) if draws is None else draws[t])
            if self.form == "preactivation":
                h = (1 - ALPHA) * h + ALPHA * (self.recurrent(torch.relu(h)) + self.inputs(x[t]) + noise)
                rates.append(torch.relu(h))
                continue
            z = self.recurrent(h) + self.inputs(x[t])
            if self.form == "inside":
                h = torch.relu((1 - ALPHA) * h + ALPHA * (z + noise))
            elif self.noise_at == "input":
                h = (1 - ALPHA) * h + ALPHA * torch.relu(z + noise)
            else:
                h = (1 - ALPHA) * h + ALPHA * (torch.relu(z) + noise)
            rates.append(h)
        return torch.stack(rates)


class Problem:
    """The two networks with the same weights, and a step of either."""

    def __init__(self, form: str, noise_at: str, units: int) -> None:
        draws = torch.Generator().manual_seed(1)
        self.x = torch.randn(STEPS, STREAMS, INPUTS, generator=draws)
        self.targets = torch.rand(STEPS, STREAMS, OUTPUTS, generator=draws)
        self.xi = torch.randn(STEPS, STREAMS, units, generator=draws)
        self.ours = CTRNN(
            INPUTS,
            units,
            form=form,
            noise_at=noise_at,
            nonlinearity="relu",
            noise=SIGMA,
            tau=1 / ALPHA,
            generator=torch.Generator().manual_seed(3),
        )
        self.theirs = Loop(self.ours)
        self.readouts = nn.Linear(units, OUTPUTS), nn.Linear(units, OUTPUTS)
        self.readouts[1].load_state_dict(self.readouts[0].state_dict())
        self.optimizers = [
            torch.optim.Adam([*network.parameters(), *readout.parameters()], 1e-5)
            for network, readout in zip((self.ours, self.theirs), self.readouts, strict=True)
        ]

    def backward(self, which: int, draws: Tensor | None = None) -> Tensor:
        """The rates, after the gradients of all weights."""
        self.optimizers[which].zero_grad()
        rates: Tensor = self.theirs(self.x, draws) if which else self.ours(self.x, draws=draws)[0]
        (self.readouts[which](rates) - self.targets).square().mean().backward()
        return rates.detach()

    def step(self, which: int) -> tuple[float, float]:
        """Seconds of one training step, by the clock and of the processor."""
        begin, begin_cpu = time.perf_counter(), time.process_time()
        self.backward(which)
        self.optimizers[which].step()
        return time.perf_counter() - begin, time.process_time() - begin_cpu

    def check(self) -> None:
        """Refuse to time what does not compute the same."""
        rates = [self.backward(which, self.xi) for which in (0, 1)]
        pairs = [(rates[0], rates[1]), (self.ours.weight_hh_l0.grad, self.theirs.recurrent.weight.grad)]
        for mine, other in pairs:
            assert mine is not None
            assert other is not None
            apart = ((mine - other).abs().max() / other.abs().max()).item()
            if not apart < 1e-3:
                raise SystemExit(f"expected the same from both, found them {apart:g} apart")


def measure(name: str, units: int, rounds: int) -> dict[str, float | str]:
    """Medians of both in milliseconds, and of the paired ratios."""
    problem = Problem(*CASES[name], units)
    problem.check()
    problem.step(0), problem.step(1)
    pairs = [(problem.step(0), problem.step(1)) for _ in range(rounds)]
    row: dict[str, float | str] = {"form": name, "units": units}
    for clock, place in (("clock", 0), ("cpu", 1)):
        row[f"ours_{clock}_ms"] = 1e3 * statistics.median(a[place] for a, _ in pairs)
        row[f"loop_{clock}_ms"] = 1e3 * statistics.median(b[place] for _, b in pairs)
        row[f"ratio_{clock}"] = statistics.median(b[place] / a[place] for a, b in pairs)
    return row


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
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--form", nargs="*", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = [measure(name, int(n), given.rounds) for n in given.sizes.split(",") for name in given.form]
    about = {"processor": processor(), "kernel": cpu.instruction_set(), "torch": torch.__version__}
    if given.json:
        print(json.dumps({**about, "rows": rows}))
        return
    print(f"{about['processor']}, {about['kernel']}, torch {about['torch']}, threads: {given.threads}")
    print(f"T = {STEPS}, B = {STREAMS}, {given.rounds} pairs; milliseconds by the clock (of the processor)")
    for row in rows:
        both = (f"{x} {row[f'{x}_clock_ms']:7.1f} ({row[f'{x}_cpu_ms']:7.1f})" for x in ("ours", "loop"))
        print(
            f"N={row['units']:<4} {row['form']:28} {'  '.join(both)}  "
            f"ratio {row['ratio_clock']:.2f} ({row['ratio_cpu']:.2f})"
        )


if __name__ == "__main__":
    main()
