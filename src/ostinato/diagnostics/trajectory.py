"""A run of a network, and gradients that go back along it, one source each.

    (d s_t / d s_{t-1})^T v    of many v at once: each has a copy of the streams

Shapes: T time, N streams, H units, S numbers in a flat state, K sources.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.diagnostics.networks import Network
from ostinato.errors import UserError, argument


@dataclass(frozen=True)
class Trajectory:
    """What a network did on some inputs.

    Attributes:
        network: it.
        inputs: (T, N, I), or tokens (T, N).
        starts: boolean (T, N), where sequences start; None for nowhere.
        before: the states before each step, (T, N, S).
        last: the states after the last, (N, S).
        outputs: of each layer, (T, N, H).
    """

    network: Network
    inputs: Tensor
    starts: Tensor | None
    before: Tensor
    last: Tensor
    outputs: list[Tensor]

    @property
    def steps(self) -> int:
        """T."""
        return self.inputs.shape[0]

    @property
    def streams(self) -> int:
        """N."""
        return self.inputs.shape[1]

    def again(self, t: int, states: Tensor, copies: int = 1) -> tuple[list[Tensor], Tensor]:
        """Step t once more, from other states (copies N, S)."""
        drive = self.inputs[t]
        drive = drive.repeat(copies, *[1] * (drive.dim() - 1))
        marks = None if self.starts is None else self.starts[t].repeat(copies)
        return self.network.step(states, drive, marks)

    def pulled(self, t: int, on_states: Tensor, on_outputs: Sequence[Tensor] | None = None) -> Tensor:
        """What gradients at the end of step t become before it.

        Args:
            t: the step.
            on_states: at the states after it, (K, N, S).
            on_outputs: at the outputs of each layer, (K, N, H).

        Returns:
            At the states before it, (K, N, S).
        """
        copies = on_states.shape[0]
        states = self.before[t].repeat(copies, 1).requires_grad_()
        with torch.enable_grad():
            outputs, following = self.again(t, states, copies)
            roots, given = [following], [on_states.flatten(0, 1)]
            for own, gradient in zip(outputs, on_outputs or [], strict=False):
                roots.append(own)
                given.append(gradient.flatten(0, 1))
            kept = [(r, g) for r, g in zip(roots, given, strict=True) if r.requires_grad]
            if not kept:  # computed without gradients
                return torch.zeros_like(on_states)
            (found,) = torch.autograd.grad(
                [r for r, _ in kept], states, [g for _, g in kept], allow_unused=True
            )
        if found is None:
            return torch.zeros_like(on_states)
        return found.detach().unflatten(0, (copies, -1))


@torch.no_grad()
def trajectory(
    network: Network, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
) -> Trajectory:
    """The run of a network on inputs (T, N, I), or tokens (T, N), time first, from flat states (N, S)."""
    if inputs.dim() < 2 or inputs.shape[0] < 1:
        raise UserError(
            f"expected {argument('inputs')} (T, N, I), or tokens (T, N), of at least one step, found "
            f"{tuple(inputs.shape)}"
        )
    if starts is not None and (starts.dtype is not torch.bool or starts.shape != inputs.shape[:2]):
        raise UserError(
            f"expected boolean {argument('starts')} of shape {tuple(inputs.shape[:2])}, found "
            f"{starts.dtype} of shape {tuple(starts.shape)}"
        )
    here = network.beginning(inputs.shape[1]) if states is None else states.detach()
    before, outputs = [], []
    for t in range(inputs.shape[0]):
        before.append(here)
        own, here = network.step(here, inputs[t], None if starts is None else starts[t])
        outputs.append(own)
    layers = [torch.stack([own[k] for own in outputs]) for k in range(len(outputs[0]))]
    return Trajectory(network, inputs, starts, torch.stack(before), here, layers)


@dataclass(frozen=True)
class Swept:
    """Where gradients of several sources have come to, on their way back.

    Attributes:
        step: the step that they have just gone back through: they are at the states before it.
        times: the step of each source, (K,): its lag is then times - step + 1.
        gradients: of the loss at `times`, by the states before `step`, (K, N, S).
        inside: whether the states before `step` belong to the same sequence as the source, (K, N).
    """

    step: int
    times: Tensor
    gradients: Tensor
    inside: Tensor


def swept(
    run: Trajectory, sources: Sequence[int], on_outputs: Sequence[Tensor], longest: int | None = None
) -> Iterator[Swept]:
    """The gradients of single steps' losses, step by step back through a run, from the last to the first.

    Args:
        run: the run.
        sources: the steps t whose loss is followed, each by itself.
        on_outputs: the gradient of every step's own loss by the outputs of each layer, (T, N, H).
        longest: the largest lag that is followed.
    """
    wanted, size = set(sources), run.before.shape[2]
    times = torch.zeros(0, dtype=torch.long)
    gradients = run.before.new_zeros(0, run.streams, size)
    inside = torch.zeros(0, run.streams, dtype=torch.bool)
    for t in reversed(range(run.steps)):
        if t in wanted:
            times = torch.cat([times, torch.tensor([t])])
            gradients = torch.cat([gradients, gradients.new_zeros(1, *gradients.shape[1:])])
            inside = torch.cat([inside, torch.ones(1, run.streams, dtype=torch.bool)])
        if not len(times):
            continue
        here = []
        for own in on_outputs:
            part = own.new_zeros(len(times), *own.shape[1:])
            if t in wanted:
                part[-1] = own[t]
            here.append(part)
        gradients = run.pulled(t, gradients, here)
        if run.starts is not None:
            inside = inside & ~run.starts[t].cpu()
        yield Swept(t, times, gradients, inside)
        if longest is not None:
            rest = times - t + 1 < longest
            times, gradients, inside = times[rest], gradients[rest], inside[rest]


def whole_gradients(run: Trajectory, on_outputs: Sequence[Tensor]) -> Tensor:
    """The gradient of the sum of all steps' losses by the states after each step, (T, N, S).

    What a step's own outputs read of its states is not in it: that is `on_outputs`.
    """
    found = torch.zeros_like(run.before)
    carried = run.before.new_zeros(1, *run.before.shape[1:])
    for t in reversed(range(run.steps)):
        found[t] = carried[0]
        carried = run.pulled(t, carried, [own[t].unsqueeze(0) for own in on_outputs])
    return found
