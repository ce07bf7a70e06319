"""What clipping each stream's own gradient costs: a step of it against one that clips the minibatch's.

    python benchmarks/clipping.py

Loss, gradients, clipping and step of a rectifier network with Nesterov momentum on synthetic piano-rolls
(T, B, H) = (100, 16, 200), and of a words model; and as many passes as there are streams, for comparison. The
three take turns. CPU milliseconds of one thread, which other work on the machine disturbs little.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from ostinato.nn import GRU, RNN, SequenceModel, streamwise
from ostinato.nn.outputs.bernoulli import Bernoulli
from ostinato.nn.outputs.class_softmax import ClassSoftmax
from ostinato.nn.outputs.nade import NADE
from ostinato.nn.outputs.rbm import RBM
from ostinato.nn.outputs.softmax import Softmax
from ostinato.optim import SimplifiedNesterov, clip_grad_norm

STEPS, STREAMS, HIDDEN, NOTES, WORDS, CHARACTERS = 100, 16, 200, 88, 10_000, 50
THRESHOLD = 1.0


def music(output: Callable[..., Any], cell: Callable[..., Any] = RNN) -> tuple[SequenceModel, torch.Tensor]:
    """A model of frames, and frames of which one note in twenty sounds."""
    draw = torch.Generator().manual_seed(0)
    frames = (torch.rand(STEPS + 1, STREAMS, NOTES, generator=draw) < 0.05).to(torch.uint8)
    return SequenceModel(cell(NOTES, HIDDEN, generator=draw), output(HIDDEN, NOTES, generator=draw)), frames


def text(output: Callable[..., Any], size: int) -> tuple[SequenceModel, torch.Tensor]:
    """A model of tokens, and tokens of which the first are the more frequent."""
    draw = torch.Generator().manual_seed(0)
    tokens = (size * torch.rand(STEPS + 1, STREAMS, generator=draw) ** 3).long()
    return SequenceModel(RNN(size, HIDDEN, token_inputs=True, generator=draw), output), tokens


def problems() -> dict[str, tuple[SequenceModel, torch.Tensor]]:
    """Models with data."""
    classes = [WORDS // 30] * 29
    words = ClassSoftmax(HIDDEN, [*classes, WORDS - sum(classes)])
    return {
        "RNN, independent notes": music(Bernoulli),
        "GRU, independent notes": music(Bernoulli, GRU),
        "RNN, NADE": music(NADE),
        "RNN, RBM": music(RBM),
        "RNN, softmax of characters": text(Softmax(HIDDEN, CHARACTERS), CHARACTERS),
        "RNN, class softmax of words": text(words, WORDS),
    }


def steps(model: SequenceModel, data: torch.Tensor) -> dict[str, Callable[[], None]]:
    """One update by each of the ways."""
    optimizer = SimplifiedNesterov(model.parameters(), lr=1e-4, momentum=0.9)
    minibatch = streamwise.Minibatch(data[:-1], data[1:], None, None, None)

    def of_minibatch() -> None:
        optimizer.zero_grad()
        minibatch.loss(model).objective.backward()
        clip_grad_norm(model.parameters(), THRESHOLD)
        optimizer.step()

    def by_stream() -> None:
        optimizer.zero_grad()
        assert not streamwise.clipped_backward(model, minibatch, THRESHOLD).uncovered
        optimizer.step()

    def by_passes() -> None:
        optimizer.zero_grad()
        streamwise.clipped_one_by_one(model, minibatch, THRESHOLD)
        optimizer.step()

    return {"minibatch": of_minibatch, "by stream": by_stream, "a pass each": by_passes}


def main() -> None:
    """Print CPU milliseconds of a step, medians, and ratios to clipping the minibatch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="steps of each way that are timed")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"{'':32}{'minibatch':>12}{'by stream':>12}{'ratio':>8}{'a pass each':>14}{'ratio':>8}")
    for name, (model, data) in problems().items():
        ways = steps(model, data)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds + 1):
            for way, step in ways.items():
                begin = time.process_time()
                step()
                taken[way].append(1e3 * (time.process_time() - begin))
        each = {way: statistics.median(times[1:]) for way, times in taken.items()}
        plain, own, passes = each.values()
        print(f"{name:32}{plain:12.1f}{own:12.1f}{own / plain:8.2f}{passes:14.1f}{passes / plain:8.2f}")


if __name__ == "__main__":
    main()
