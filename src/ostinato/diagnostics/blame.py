"""The first place of a segment where a step of training went wrong: frame, stream, layer and unit.

Looked for in the order in which a step computes: inputs, units and losses from the first frame to the last,
then gradients at the states from the last frame back to the first.

Shapes: T time, N streams, H units, S numbers in a flat state.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.broken import wrong_input, wrong_state
from ostinato.diagnostics.networks import network_of
from ostinato.diagnostics.trajectory import Trajectory, trajectory, whole_gradients
from ostinato.diagnostics.units import growth, state_norms
from ostinato.nn.cells.state import State
from ostinato.nn.model import SequenceModel
from ostinato.nn.outputs.base import Objective

# A frame that has this share of what all frames lose is to blame for it.
_MOST = 0.5


@dataclass(frozen=True)
class Blame:
    """Where it went wrong.

    Attributes:
        what: "input", "state", "loss" or "gradient".
        frame: t, from 0.
        stream: from 0.
        layer: by name, "" where it is no unit's.
        unit: its place in the layer's part of the state, None where it is no unit's.
        sentence: the same in words.
        losses: the loss of each frame, summed over streams, (T,).
        back: the norm of the gradient at the states after each frame, (T,); [] where there is none.
        states: root mean square of the states after each frame, had no sequence started in between, (T,).
    """

    what: str
    frame: int
    stream: int
    layer: str
    unit: int | None
    sentence: str
    losses: list[float]
    back: list[float]
    states: list[float]

    @property
    def growth(self) -> float | None:
        """What the states are at the end over what they are half-way."""
        return growth(self.states)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def blame(
    model: SequenceModel,
    inputs: Tensor,
    targets: Tensor,
    states: State | None = None,
    starts: Tensor | None = None,
    mask: Tensor | None = None,
    objective: Objective | None = None,
) -> Blame:
    """Where a step of a model on a segment went wrong; where nothing did, where it is at its largest.

    The model computes without dropout and noise. For the arguments see `SequenceModel.loss`.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs.bernoulli import Bernoulli
        >>> inputs = torch.randn(7, 2, 4)
        >>> inputs[3, 1, 2] = torch.nan
        >>> found = blame(SequenceModel(RNN(4, 3), Bernoulli(3, 4)), inputs, torch.zeros(7, 2, 4))
        >>> found.what, found.frame, found.stream
        ('input', 3, 1)
    """
    was = model.training
    model.eval()
    try:
        return _blame(model, inputs, targets, states, starts, mask, objective or model.objective)
    finally:
        model.train(was)


def _blame(
    model: SequenceModel,
    inputs: Tensor,
    targets: Tensor,
    states: State | None,
    starts: Tensor | None,
    mask: Tensor | None,
    objective: Objective,
) -> Blame:
    net = network_of(model)
    first = None if states is None else net.flow.flat(model.recurrent(states))
    run = trajectory(net, inputs, first, starts)
    losses, on_outputs = _losses(model, run, model.beside(inputs, states, starts), targets, mask, objective)
    sums = losses.nan_to_num(nan=torch.inf).sum(1).tolist()
    found = _wrong_input(inputs) or _wrong_state(run) or _wrong_loss(losses)
    back: list[float] = []
    finite = run.before.isfinite().all() and all(bool(g.isfinite().all()) for g in on_outputs)
    if bool(finite):
        gradients = whole_gradients(run, on_outputs)
        back = gradients.double().square().sum((1, 2)).sqrt().tolist()
        found = found or _wrong_gradient(run, gradients) or _largest(run, losses, gradients)
    what, frame, stream, layer, unit, sentence = found or _largest(run, losses, torch.zeros_like(run.before))
    return Blame(what, frame, stream, layer, unit, sentence, sums, back, state_norms(run))


_Found = tuple[str, int, int, str, int | None, str]


def _losses(
    model: SequenceModel,
    run: Trajectory,
    beside: tuple[Tensor, ...],
    targets: Tensor,
    mask: Tensor | None,
    objective: Objective,
) -> tuple[Tensor, list[Tensor]]:
    """The loss of every frame (T, N), zero where it does not count, and its gradient by the outputs."""
    counts = torch.ones_like(run.inputs[..., 0] if run.inputs.dim() > 2 else run.inputs, dtype=torch.bool)
    counts = counts if mask is None else mask
    losses = torch.zeros(counts.shape, dtype=torch.float64, device=run.before.device)
    last = run.outputs[-1]
    own = torch.zeros_like(last)
    total = max(int(counts.sum()), 1)
    for t in range(run.steps):
        for n in counts[t].nonzero().flatten().tolist():
            leaf = last[t, n : n + 1].detach().requires_grad_()
            with torch.enable_grad():
                hidden = model.told(leaf, run.inputs[t, n : n + 1])
                more = tuple(x[t, n : n + 1] for x in beside)
                cost = model.cost(hidden, more, targets[t, n : n + 1], objective, model.generator)
                (gradient,) = torch.autograd.grad(cost, leaf)
            losses[t, n] = float(cost.detach())
            own[t, n] = gradient[0] / total
    return losses, [*(torch.zeros_like(layer) for layer in run.outputs[:-1]), own]


def _wrong_input(inputs: Tensor) -> _Found | None:
    found = wrong_input(inputs)
    if found is None:
        return None
    frame, stream, said = found
    return "input", frame, stream, "", None, said


def _wrong_state(run: Trajectory) -> _Found | None:
    found = wrong_state(run)
    return None if found is None else ("state", *found)


def _wrong_loss(losses: Tensor) -> _Found | None:
    """The first frame whose loss is not finite, or the one that loses more than all others together."""
    bad = ~losses.isfinite()
    if bool(bad.any()):
        frame, stream = bad.nonzero()[0].tolist()
        said = f"the loss of frame {frame} of stream {stream} is {float(losses[frame, stream])}"
        return "loss", frame, stream, "", None, said
    above = (losses - losses.median()).clamp(min=0)
    place = int(above.argmax())
    frame, stream = divmod(place, losses.shape[1])
    share = float(above.flatten()[place] / above.sum().clamp(min=1e-300))
    if losses.numel() < 4 or share <= _MOST:
        return None
    said = (
        f"frame {frame} of stream {stream} has {share:.0%} of the loss above the median: "
        f"{float(losses[frame, stream]):.4g} nats, of others {float(losses.median()):.4g}"
    )
    return "loss", frame, stream, "", None, said


def _wrong_gradient(run: Trajectory, gradients: Tensor) -> _Found | None:
    """The first one, on the way back, that is not finite."""
    bad = ~gradients.isfinite()
    if not bool(bad.any()):
        return None
    frame = int(bad.flatten(1).any(1).nonzero()[-1])
    stream, place = bad[frame].nonzero()[0].tolist()
    return _at_unit(run, frame, stream, place, f"is {float(gradients[frame, stream, place])}")


def _largest(run: Trajectory, losses: Tensor, gradients: Tensor) -> _Found:
    """Where the gradient at the states is largest, and how it compares with that at the last frame's."""
    place = int(gradients.abs().flatten().argmax())
    frame, rest = divmod(place, gradients[0].numel())
    stream, unit = divmod(rest, gradients.shape[2])
    norms = gradients.double().square().sum((1, 2)).sqrt()
    least = float(norms[norms > 0].min()) if bool((norms > 0).any()) else 0.0
    value = float(gradients[frame, stream, unit])
    more = f", {float(norms.max()) / least:.3g} times the smallest on its way back" if least > 0 else ""
    return _at_unit(run, frame, stream, unit, f"is largest there, {value:.3g}{more}")


def _at_unit(run: Trajectory, frame: int, stream: int, place: int, what: str) -> _Found:
    for name, places in run.network.units.items():
        at = (places == place).nonzero().flatten()
        if len(at):
            unit = int(at[0])
            said = f"the gradient at {name}, unit {unit}, frame {frame} of stream {stream} {what}"
            return "gradient", frame, stream, name, unit, said
    raise AssertionError(f"no layer has place {place}")  # the layers' places are all there are
