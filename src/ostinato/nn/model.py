"""SequenceModel: an RNN and an output layer; the one place where a loss is put together.

Shapes: T time, B streams, I inputs, H hidden, L layers, V visible.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ostinato.nn.rnn import RNN


class OutputLayer(Protocol):
    """What a model asks of its output layer; any `nn.Module` with these two methods will do."""

    def __call__(self, hidden: Tensor) -> Distribution:
        """The distribution of the next observation for every state (..., H)."""

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over N frames of -log p in nats; hidden (N, H), targets (N, ...)."""


@dataclass(frozen=True)
class Loss:
    """What one segment costs.

    Arguments:
        objective: what training minimises: mean over frames of -log p plus the penalties; a scalar.
        nll: sum over frames of -log p in nats, detached.
        frames: how many frames were counted.
        states: the states after the segment, (L, B, H), detached.
    """

    objective: Tensor
    nll: Tensor
    frames: int
    states: Tensor


class SequenceModel(nn.Module):
    """p(v_1 ... v_T) = prod_t p(v_t | h_t), where h_t has read v_1 ... v_{t-1}.

    Args:
        rnn: turns inputs into hidden states.
        output: turns a hidden state into a distribution: `output(h)` returns one, `output.nll(h, v)` the
            summed negative log-likelihood.
        l1: lambda of the penalty lambda * sum_i |h_i|, mean over frames, on the outputs of every layer.

    Example:
        >>> from ostinato.nn.outputs.bernoulli import Bernoulli
        >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
        >>> frames = torch.zeros(7, 2, 88, dtype=torch.uint8)
        >>> loss = model.loss(frames, frames)
        >>> loss.objective.shape, loss.frames, loss.states.shape
        (torch.Size([]), 14, torch.Size([1, 2, 10]))
    """

    def __init__(self, rnn: RNN, output: OutputLayer, l1: float = 0.0) -> None:
        super().__init__()
        self.rnn, self.output, self.l1 = rnn, output, l1

    def forward(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Distribution, Tensor]:
        """The distribution of every next observation, and the states after the last."""
        hidden, last = self.rnn(inputs, states, starts)
        return self.output(hidden), last

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        states: Tensor | None = None,
        starts: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Loss:
        """Mean over the frames of a segment of -log p, plus the L1 penalty.

        Args:
            inputs: what the RNN reads, (T, B, I) or token ids (T, B).
            targets: what it should predict, (T, B, V) or token ids (T, B).
            states: carried states (L, B, H); zero by default.
            starts: boolean (T, B), where a new sequence starts.
            mask: boolean (T, B), the frames that count; all by default.
        """
        layers, last = self.rnn.forward_layers(inputs, states, starts)
        chosen = None if mask is None else mask.flatten().nonzero().squeeze(1)

        def frames_of(x: Tensor) -> Tensor:
            flat = x.flatten(0, 1)
            return flat if chosen is None else flat.index_select(0, chosen)

        hidden, values = frames_of(layers[-1]), frames_of(targets)
        frames = len(values)
        nll = self.output.nll(hidden, values)
        objective = nll / max(frames, 1)
        if self.l1 > 0:
            absolute = sum((frames_of(layer).abs().sum() for layer in layers), torch.zeros(()).to(nll))
            objective = objective + self.l1 / max(frames, 1) * absolute
        return Loss(objective, nll.detach(), frames, last.detach())
