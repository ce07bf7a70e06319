"""Frames per second of the whole training step: ostinato beside what a competent PyTorch user would write.

Both train one model from the same weights on the same frames, with clipping and Nesterov momentum. The
plain program holds its frames as floats and uses `torch.nn.RNN`, or, as that has no leak, a loop over time.
It has no way to reset the state within a segment, so both read the songs of a stream as one; `with starts` is
ostinato again with the resets that `ostinato train` makes. The steps of all are interleaved in one process;
medians are printed, and ratios. The first 50 losses must agree to 1e-4.

    OSTINATO_DATA=FOLDER python benchmarks/training.py [--json] [--threads N] [--data jsb nottingham]

Shapes: T time, B streams, H hidden, V visible.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostinato.data.streams import Segment, Streams
from ostinato.domains.music.reading import data_sets as music
from ostinato.nn import RNN, SequenceModel, sample_leak
from ostinato.nn.outputs import Bernoulli
from ostinato.optim import SimplifiedNesterov, clip_grad_norm

HIDDEN, SEGMENT, LEARNING_RATE, MOMENTUM, CLIP = 200, 100, 0.005, 0.9, 2.0
AGREED_STEPS, TOLERANCE = 50, 1e-4


class LeakyLoop(nn.Module):
    """Leaky units as most people would write them."""

    def __init__(self, visible: int, leak: Tensor) -> None:
        super().__init__()
        self.input = nn.Linear(visible, HIDDEN)
        self.recurrent = nn.Linear(HIDDEN, HIDDEN)
        self.leak = leak

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        drive, h, states = self.input(x), h[0], []
        for t in range(len(x)):
            h = self.leak * h + (1 - self.leak) * torch.tanh(drive[t] + self.recurrent(h))
            states.append(h)
        return torch.stack(states), h[None]


class Plain:
    """The plain program: one training step after another."""

    def __init__(self, model: SequenceModel, leak: Tensor | None) -> None:
        visible = model.rnn.input_size
        self.rnn: nn.Module
        if leak is None:
            self.rnn = nn.RNN(visible, HIDDEN)
            self.rnn.load_state_dict(model.rnn.state_dict())
        else:
            self.rnn = LeakyLoop(visible, leak)
            names = ("input.weight", "recurrent.weight", "input.bias", "recurrent.bias")
            values = dict(zip(names, model.rnn.parameters(), strict=True))
            self.rnn.load_state_dict({name: values[name].detach() for name in names})
        self.output = nn.Linear(HIDDEN, visible)
        self.output.load_state_dict(model.output.state_dict())
        self.parameters = [*self.rnn.parameters(), *self.output.parameters()]
        self.optimizer = torch.optim.SGD(self.parameters, LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
        self.state: Tensor | None = None

    def step(self, inputs: Tensor, targets: Tensor) -> Tensor:
        if self.state is None:
            self.state = torch.zeros(1, inputs.shape[1], HIDDEN)
        self.optimizer.zero_grad()
        hidden, state = self.rnn(inputs, self.state)
        logits = self.output(hidden)
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        self.state = state.detach()
        return loss.detach()


class Ours:
    """What `ostinato train` does in a step."""

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self.parameters = list(model.parameters())
        self.optimizer = SimplifiedNesterov(self.parameters, LEARNING_RATE, MOMENTUM)
        self.state: Tensor | None = None

    def step(self, inputs: Tensor, targets: Tensor, starts: Tensor | None = None) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.model.loss(inputs, targets, self.state, starts)
        loss.objective.backward()
        clip_grad_norm(self.parameters, CLIP)
        self.optimizer.step()
        self.state = loss.states
        return loss.objective.detach()


def new_model(visible: int, leak: Tensor | None) -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    return SequenceModel(
        RNN(visible, HIDDEN, leak=leak, generator=generator),
        Bernoulli(HIDDEN, visible, generator=generator),
    )


def compare(data: str, streams: int, leaky: bool, repeats: int) -> dict[str, object]:
    songs = music.load(data).train
    segments = [s for s in Streams(songs, streams, SEGMENT) if len(s.inputs) == SEGMENT and s.mask is None]
    leak = sample_leak(HIDDEN, 0.5, 0.8, 0.98, generator=torch.Generator().manual_seed(1)) if leaky else None
    visible = segments[0].inputs.shape[-1]
    ours, restarted = Ours(new_model(visible, leak)), Ours(new_model(visible, leak))
    plain = Plain(new_model(visible, leak), leak)
    floats = [(segment.inputs.float(), segment.targets.float()) for segment in segments]

    def at(step: int) -> tuple[Segment, tuple[Tensor, Tensor]]:
        return segments[step % len(segments)], floats[step % len(floats)]

    differences, times = [], {"ours": [0.0] * 0, "plain": [0.0] * 0, "with starts": [0.0] * 0}
    for step in range(AGREED_STEPS + repeats):
        segment, (x, y) = at(step)
        steps: dict[str, Callable[[], Tensor]] = {
            "ours": lambda s=segment: ours.step(s.inputs, s.targets),
            "plain": lambda x=x, y=y: plain.step(x, y),
            "with starts": lambda s=segment: restarted.step(s.inputs, s.targets, s.starts),
        }
        losses = {}
        for name, take in steps.items():
            begin = time.perf_counter()
            losses[name] = take().item()
            if step >= AGREED_STEPS:
                times[name].append(time.perf_counter() - begin)
        if step < AGREED_STEPS:
            differences.append(abs(losses["ours"] / losses["plain"] - 1))
    if max(differences) > TOLERANCE:
        raise SystemExit(f"losses differ by {max(differences):.1e} (relative), more than {TOLERANCE}")
    median = {name: statistics.median(values) for name, values in times.items()}
    frames = SEGMENT * streams
    return {
        "data": data,
        "streams": streams,
        "leak": leaky,
        "frames_per_second": {name: round(frames / seconds) for name, seconds in median.items()},
        "ratio": median["plain"] / median["ours"],
        "ratio_with_starts": median["plain"] / median["with starts"],
        "largest_loss_difference": max(differences),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--data", nargs="+", default=["jsb", "nottingham"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        compare(data, streams, leaky, options.repeats)
        for data in options.data
        for streams in (1, 16)
        for leaky in (True, False)
    ]
    if options.json:
        print(json.dumps({"threads": options.threads, "hidden_size": HIDDEN, "rows": rows}))
        return
    print(f"{options.threads} threads, H={HIDDEN}, T={SEGMENT}; medians, frames a second; ratio to PyTorch")
    for row in rows:
        speed = "  ".join(f"{name} {value:>9,}" for name, value in row["frames_per_second"].items())
        print(
            f"{row['data']:<11} B={row['streams']:<3} {'leak   ' if row['leak'] else 'no leak'} {speed}  "
            f"ratio {row['ratio']:.2f}  with starts {row['ratio_with_starts']:.2f}  "
            f"losses within {row['largest_loss_difference']:.0e}"
        )


if __name__ == "__main__":
    main()
