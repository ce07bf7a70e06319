"""Class-factored softmax against PyTorch's full softmax, forward and backward: V=10,000, N=1,280, H=200.

Words are drawn from a Zipf law, whose frequencies also make the 30 classes. The two take turns; the median
of many turns counts, so that other work on the machine disturbs both alike.

    python benchmarks/class_softmax.py [--threads 1] [--turns 15]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from ostinato.nn.outputs import ClassSoftmax, balanced_classes

V, K, H, N = 10_000, 30, 200, 1_280


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    frequencies = 1 / np.arange(1, V + 1)
    frequencies /= frequencies.sum()
    targets = torch.from_numpy(np.random.default_rng(0).choice(V, N, p=frequencies))
    hidden = (torch.randn(N, H, generator=generator) * 0.3).requires_grad_()
    factored = ClassSoftmax(H, balanced_classes(frequencies, K), generator=generator)
    full = torch.nn.Linear(H, V)

    def by_class() -> None:
        factored.zero_grad()
        hidden.grad = None
        factored.nll(hidden, targets).backward()

    def by_full() -> None:
        full.zero_grad()
        hidden.grad = None
        F.cross_entropy(full(hidden), targets, reduction="sum").backward()

    times = interleaved({"ostinato ClassSoftmax": by_class, "torch full softmax": by_full}, arguments.turns)
    print(f"V={V:,} K={K} N={N:,} H={H}, {arguments.threads} thread(s), median of {arguments.turns} turns")
    for name, seconds in times.items():
        print(f"{name:24} {1e3 * seconds:8.2f} ms  {N / seconds:10,.0f} words/s")
    print(f"ratio {times['torch full softmax'] / times['ostinato ClassSoftmax']:.1f}x (target: at least 12x)")


def interleaved(functions: dict[str, Callable[[], None]], turns: int) -> dict[str, float]:
    """Median seconds of each, taken in turns after one warm-up each."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            if turn:
                times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(values)) for name, values in times.items()}


if __name__ == "__main__":
    main()
