"""NADE's likelihood and all its gradients: the native kernel against PyTorch, interleaved medians.

    python benchmarks/nade.py [--threads 2] [--rounds 15]

"loop" is the definition in PyTorch, one step a note, under autograd: what an implementation without a
kernel does. "slots" is our own path for machines without the kernel.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor

from ostinato.nn.kernels import nade

SHAPES = ((1600, 88, 100), (1600, 88, 150), (1600, 88, 200), (400, 88, 150), (100, 88, 150))
KERNELS = {"loop": "definition", "slots": "torch", "native": "cpu"}


def seconds(kernel: str, values: Tensor, weights: list[Tensor]) -> float:
    begin = time.perf_counter()
    torch.autograd.grad(nade.nll(values, *weights, kernel=kernel), weights)
    return time.perf_counter() - begin


def measure(frames: int, visible: int, hidden: int, rounds: int) -> dict[str, float]:
    draw = torch.Generator().manual_seed(0)
    values = (torch.rand(frames, visible, generator=draw) < 4 / visible).to(torch.uint8)  # four voices
    shapes = ((frames, visible + hidden), (visible, hidden), (visible, hidden))
    weights = [(0.1 * torch.randn(shape, generator=draw)).requires_grad_() for shape in shapes]
    times: dict[str, list[float]] = {name: [] for name in KERNELS}
    for round_ in range(rounds + 1):
        for name, kernel in KERNELS.items():
            taken = seconds(kernel, values, weights)
            if round_ > 0:  # the first warms up
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"forward and backward, float32, {arguments.threads} threads, medians of {arguments.rounds}")
    for frames, visible, hidden in SHAPES:
        medians = measure(frames, visible, hidden, arguments.rounds)
        shown = "  ".join(f"{name} {1e3 * taken:8.2f} ms" for name, taken in medians.items())
        ratio = medians["loop"] / medians["native"]
        print(f"N={frames:<5} V={visible} J={hidden:<4} {shown}  native is {ratio:.1f}x the loop")


if __name__ == "__main__":
    main()
