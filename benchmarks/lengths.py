"""Streams of different lengths, forward and backward, beside a batch of whole ones and torch's packed ones.

Streams end at 100 to 10 % of the steps: all at another one, or in four groups of equal length. All run
interleaved in one process; medians are printed.

    python benchmarks/lengths.py [--threads N] [--shapes 16x100x200,...] [--seconds S]

Shapes: B streams, T time, H hidden.
"""

import argparse

import torch
from recurrence import Problem, Run, interleaved
from torch import Tensor, nn

from ostinato.nn import GRU, LSTM, RNN


def ours(module: nn.Module, problem: Problem, lengths: Tensor | None) -> Run:
    def run() -> None:
        module.zero_grad(set_to_none=True)
        module(problem.x, lengths=lengths)[0].backward(problem.upstream)

    return run


def torch_packed(module: nn.Module, problem: Problem, lengths: Tensor) -> Run:
    def run() -> None:
        module.zero_grad(set_to_none=True)
        made, _ = module(nn.utils.rnn.pack_padded_sequence(problem.x, lengths))
        nn.utils.rnn.pad_packed_sequence(made, total_length=len(problem.x))[0].backward(problem.upstream)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shapes", default="16x100x200,64x100x400")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each comparison")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}  threads {options.threads}", flush=True)
    for shape in options.shapes.split(","):
        streams, steps, hidden = map(int, shape.split("x"))
        problem, shortest = Problem(streams, steps, hidden), max(steps // 10, 1)
        each = torch.linspace(steps, shortest, streams).round().long()
        four = torch.linspace(steps, shortest, 4).round().long()[torch.arange(streams) * 4 // streams]
        shares = ", ".join(f"{float(x.sum()) / streams / steps:.2f}" for x in (four, each))
        print(f"{shape}  share of the frames, in four groups and all different: {shares}", flush=True)
        for name, own, theirs in (("RNN", RNN, nn.RNN), ("GRU", GRU, nn.GRU), ("LSTM", LSTM, nn.LSTM)):
            module, other = own(*problem.sizes), theirs(*problem.sizes)
            runs = {
                "whole": ours(module, problem, None),
                "four groups": ours(module, problem, four),
                "all different": ours(module, problem, each),
                "torch, all different": torch_packed(other, problem, each),
            }
            medians = interleaved(runs, options.seconds)
            figures = ", ".join(f"{key} {1e3 * value:.3g}" for key, value in medians.items())
            print(f"    {name}, milliseconds: {figures}", flush=True)


if __name__ == "__main__":
    main()
