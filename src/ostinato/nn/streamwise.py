"""Gradients that are clipped stream by stream before they are averaged.

    g = sum_b n_b / n  g_b min(1, threshold / ||g_b||)

g_b is the gradient of what a minibatch of stream b alone would cost, penalties included, n_b its frames that
count and n all of them: what the paper does with one sequence after the other, on B streams at once.

Shapes: T time, B streams.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.nn.cells.state import State, map_state, select
from ostinato.nn.kernels.by_stream import StreamGradients
from ostinato.nn.model import Loss, SequenceModel
from ostinato.nn.outputs.base import Objective


@dataclass(frozen=True)
class Minibatch:
    """What a loss is taken of; see `SequenceModel.loss`."""

    inputs: Tensor
    targets: Tensor
    states: State | None
    starts: Tensor | None
    mask: Tensor | None
    objective: Objective | None = None

    @property
    def streams(self) -> int:
        """B."""
        return self.inputs.shape[1]

    def stream(self, index: int) -> "Minibatch":
        """One stream of it."""
        at = torch.tensor([index], device=self.inputs.device)
        return Minibatch(
            self.inputs[:, index : index + 1],
            self.targets[:, index : index + 1],
            None if self.states is None else select(self.states, at),
            None if self.starts is None else self.starts[:, index : index + 1],
            None if self.mask is None else self.mask[:, index : index + 1],
            self.objective,
        )

    def loss(self, model: SequenceModel) -> Loss:
        """The model's loss on it."""
        return model.loss(self.inputs, self.targets, self.states, self.starts, self.mask, self.objective)


@dataclass(frozen=True)
class Streamwise:
    """What `clipped_backward` found.

    Arguments:
        loss: of all streams.
        norms: of the gradient of each stream that has frames that count, before clipping.
        uncovered: a parameter because of which B passes were needed; "" where one was enough.
    """

    loss: Loss
    norms: list[float]
    uncovered: str = ""

    @property
    def finite(self) -> bool:
        """Whether the gradients may be used."""
        return all(map(math.isfinite, self.norms))


def clipped_backward(model: SequenceModel, minibatch: Minibatch, threshold: float | None) -> Streamwise:
    """Give every parameter the gradient whose streams are each clipped to the threshold.

    One pass over all streams serves where every layer knows how to tell the streams' gradients apart
    (`kernels.by_stream`), as the package's cells and outputs do. Otherwise each stream gets a pass of its
    own, which is as exact and takes as long as B minibatches of one stream.

    Where a stream's gradient is not finite no parameter gets one.

    Args:
        model: whose parameters have no gradients yet.
        minibatch: T steps of B streams.
        threshold: the largest norm of a stream's gradient; None for no clipping.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs.bernoulli import Bernoulli
        >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
        >>> frames = torch.zeros(7, 2, 88, dtype=torch.uint8)
        >>> found = clipped_backward(model, Minibatch(frames, frames, None, None, None), 1.0)
        >>> len(found.norms), found.uncovered
        (2, '')
    """
    before = _moving_parts(model)
    steps, streams = minibatch.inputs.shape[:2]
    with StreamGradients(steps, streams, minibatch.mask).recording() as found:
        loss = minibatch.loss(model)
        loss.objective.backward()
    parameters = dict(model.named_parameters())
    odd = found.uncovered(list(parameters.values()))
    if odd is not None:
        _put_back(model, before)
        name = next(name for name, parameter in parameters.items() if parameter is odd)
        return clipped_one_by_one(model, minibatch, threshold, name)
    counts = found.counts
    shares = counts.double() / max(loss.frames, 1)
    norms = found.norms(torch.where(counts > 0, 1 / shares, torch.zeros_like(shares)))
    result = Streamwise(loss, norms[counts > 0].tolist())
    if result.finite:
        factors = torch.ones_like(norms) if threshold is None else (threshold / norms).clamp(max=1)
        found.assign(factors, float((shares * factors).sum()))
    return result


def clipped_one_by_one(
    model: SequenceModel, minibatch: Minibatch, threshold: float | None, uncovered: str = ""
) -> Streamwise:
    """The same by a pass for each stream, whatever the layers know.

    Args:
        model, minibatch, threshold: as for `clipped_backward`.
        uncovered: what is given back as such.
    """
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    total: dict[Tensor, Tensor] = {}
    losses, norms = [], []
    counts = _counts(minibatch)
    for stream, count in enumerate(counts):
        _forget(parameters)
        loss = minibatch.stream(stream).loss(model)
        losses.append(loss)
        if count == 0:
            continue
        loss.objective.backward()
        given = {p: p.grad for p in parameters if p.grad is not None}
        norms.append(_norm(given.values()))
        share = count / sum(counts)
        factor = share if threshold is None or norms[-1] <= threshold else share * threshold / norms[-1]
        for parameter, gradient in given.items():
            term = gradient * factor
            total[parameter] = term if parameter not in total else total[parameter] + term
    _forget(parameters)
    result = Streamwise(_together(losses, counts), norms, uncovered)
    if result.finite:
        for parameter, gradient in total.items():
            parameter.grad = gradient
    return result


def _counts(minibatch: Minibatch) -> list[int]:
    if minibatch.mask is None:
        return [minibatch.inputs.shape[0]] * minibatch.streams
    return [int(n) for n in minibatch.mask.sum(0).tolist()]


def _together(losses: list[Loss], counts: list[int]) -> Loss:
    frames = sum(counts)
    objective = sum(
        (loss.objective.detach() * (n / max(frames, 1)) for loss, n in zip(losses, counts, strict=True)),
        torch.zeros_like(losses[0].objective),
    )
    nll = torch.stack([loss.nll for loss in losses]).sum()
    states = map_state(lambda *parts: torch.cat(parts, 1), *(loss.states for loss in losses))
    return Loss(objective, nll, frames, states)


def _norm(gradients: Iterable[Tensor]) -> float:
    squares = 0.0
    for gradient in gradients:
        values = gradient.coalesce().values() if gradient.is_sparse else gradient
        squares += float(values.double().square().sum())
    return math.sqrt(squares)


def _forget(parameters: Iterable[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _moving_parts(model: SequenceModel) -> dict[str, Tensor]:
    """What a pass may change besides gradients: buffers, and where the random numbers are."""
    kept = {name: value.clone() for name, value in model.named_buffers()}
    if model.rnn.generator is not None:
        kept[""] = model.rnn.generator.get_state()
    return kept


def _put_back(model: SequenceModel, before: Mapping[str, Tensor]) -> None:
    _forget(model.parameters())
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(before[name])
    if model.rnn.generator is not None:
        model.rnn.generator.set_state(before[""])
