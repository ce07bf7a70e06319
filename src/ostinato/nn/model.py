"""SequenceModel: a recurrence and an output layer; the one place where a loss is put together.

Shapes: T time, B streams, I inputs, H hidden, L layers, V visible.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ostinato.nn.cells.protocol import Recurrence
from ostinato.nn.cells.state import State, detached
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.outputs.base import Objective, OutputLayer, objective_of


@dataclass(frozen=True)
class Loss:
    """What one segment costs.

    Arguments:
        objective: what training minimises: mean over frames of -log p (or of the output layer's own cost)
            plus the penalties; a scalar.
        nll: sum over frames of -log p in nats, or of what the objective watches instead, detached.
        frames: how many frames were counted.
        states: the state after the segment, detached: (L, B, H), or what the recurrence has.
    """

    objective: Tensor
    nll: Tensor
    frames: int
    states: State


class Segment(Protocol):
    """T steps of B streams, as a model reads them; see `SequenceModel.loss` for the shapes."""

    @property
    def inputs(self) -> Tensor:
        """What the network reads."""

    @property
    def targets(self) -> Tensor:
        """What it should predict."""

    @property
    def starts(self) -> Tensor | None:
        """Where sequences start."""

    @property
    def mask(self) -> Tensor | None:
        """Which steps count."""


class LearnsApart(Protocol):
    """A part of a model that takes steps of its own, on the weights alone that a loss has used."""

    def forget(self) -> None:
        """What losses have told so far is not learned."""

    def learn(self, scale: float) -> None:
        """One step along what they have told, at its own rate times this scale."""


def check_frames(hidden: Tensor, targets: Tensor, mask: Tensor | None) -> None:
    """Refuse targets and masks of other frames than the hidden states': flat ones would be paired wrongly.

    Args:
        hidden: (T, B, H).
        targets: (T, B, V) or (T, B).
        mask: boolean (T, B).

    Raises:
        ValueError: one has another shape, or the mask another type.

    Example:
        >>> check_frames(torch.zeros(3, 2, 4), torch.zeros(2, 3, 5), None)
        Traceback (most recent call last):
        ...
        ValueError: expected targets of shape (3, 2, ...), as the outputs of the rnn, found (2, 3, 5)
    """
    frames = hidden.shape[:2]
    if hidden.dim() != 3 or targets.shape[:2] != frames:
        sizes = ", ".join(map(str, (*frames, "...")))
        raise ValueError(
            f"expected targets of shape ({sizes}), as the outputs of the rnn, found {tuple(targets.shape)}"
        )
    if mask is not None and (mask.dtype is not torch.bool or mask.shape != frames):
        raise ValueError(
            f"expected a boolean mask of shape {tuple(frames)}, one for each frame, found {mask.dtype} of "
            f"shape {tuple(mask.shape)}"
        )


class SequenceModel(nn.Module):
    """p(v_1 ... v_T) = prod_t p(v_t | h_t), where h_t has read v_1 ... v_{t-1}.

    Args:
        rnn: turns inputs into hidden states: any `Recurrence`, such as `RNN`, `GRU` and `LSTM`.
        output: turns a hidden state into a distribution: `output(h)` returns one, `output.nll(h, v)` the
            summed negative log-likelihood.
        l1: lambda of the penalty lambda * sum_i |h_i|, mean over frames, on the outputs of every layer.
        l2: lambda of the penalty lambda / 2 * sum_ij W_ij^2 on all weight matrices; biases are free.

    Raises:
        ValueError: it reads the future too.

    Example:
        >>> from ostinato.nn import RNN
        >>> from ostinato.nn.outputs.bernoulli import Bernoulli
        >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
        >>> frames = torch.zeros(7, 2, 88, dtype=torch.uint8)
        >>> loss = model.loss(frames, frames)
        >>> loss.objective.shape, loss.frames, loss.states.shape
        (torch.Size([]), 14, torch.Size([1, 2, 10]))
    """

    def __init__(self, rnn: Recurrence, output: OutputLayer, l1: float = 0.0, l2: float = 0.0) -> None:
        super().__init__()
        if getattr(rnn, "bidirectional", False):
            raise ValueError(
                "expected an rnn that reads the past alone, found bidirectional=True, which reads what it is "
                "to predict; put an output layer behind it yourself to label whole sequences"
            )
        self.rnn, self.output, self.l1, self.l2 = rnn, output, l1, l2

    def forward(
        self, inputs: Tensor, states: State | None = None, starts: Tensor | None = None
    ) -> tuple[Distribution, State]:
        """The distribution of every next observation, and the states after the last."""
        read, last = self.read(inputs, states, starts)
        return self.distribution(*read), last

    def read(
        self, inputs: Tensor, states: State | None = None, starts: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], State]:
        """What `distribution` makes the distributions of, each (T, B, ...), and the states after the last.

        Whoever looks at some of the predictions alone, or later, or in another order, takes those rows of it.

        Example:
            >>> from ostinato.nn import RNN
            >>> from ostinato.nn.outputs.bernoulli import Bernoulli
            >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
            >>> (hidden,), states = model.read(torch.zeros(7, 2, 88))
            >>> model.distribution(hidden[-1, :1]).batch_shape
            torch.Size([1])
        """
        hidden, last = self.rnn(inputs, states, starts)
        return (self.told(hidden, inputs),), last

    def told(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        """The hidden states (..., H), and behind them what the output is told of the inputs: see `Told`."""
        size: int = getattr(self.output, "told", 0)
        return torch.cat([hidden, inputs[..., :size].to(hidden.dtype)], -1) if size else hidden

    def distribution(self, *read: Tensor) -> Distribution:
        """The distributions of what `read` returned, or of rows of it (..., H)."""
        found: Distribution = self.output(*read)
        return found

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        states: State | None = None,
        starts: Tensor | None = None,
        mask: Tensor | None = None,
        objective: Objective | None = None,
    ) -> Loss:
        """Mean over the frames of a segment of -log p (or the output's own cost), plus the penalties.

        Args:
            inputs: what the recurrence reads, (T, B, I) or token ids (T, B).
            targets: what it should predict, (T, B, V) or token ids (T, B).
            states: carried states, as `Loss` has them; those of the recurrence's start by default.
            starts: boolean (T, B), where a new sequence starts.
            mask: boolean (T, B), the frames that count; all by default.
            objective: one of the output's, such as that of a stage of pre-training; by default the one that
                training ends with.

        Raises:
            ValueError: the targets or the mask are not those of the frames.
        """
        layers, last = self.rnn(inputs, states, starts, all_layers=True)
        check_frames(layers[-1], targets, mask)
        chosen = None if mask is None else mask.flatten().nonzero().squeeze(1)

        def frames_of(x: Tensor) -> Tensor:
            flat = x.flatten(0, 1)
            return flat if chosen is None else flat.index_select(0, chosen)

        hidden, values = frames_of(self.told(layers[-1], inputs)), frames_of(targets)
        frames = len(values)
        cost = (objective or self.objective).cost(hidden, values, self.generator)
        total = cost.loss / max(frames, 1)
        if self.l1 > 0 or self.l2 > 0:
            total = total + self.penalty([frames_of(layer) for layer in layers])
        return Loss(total, cost.nll.detach(), frames, detached(last))

    def recurrent(self, states: State) -> State:
        """The recurrence's own part of the states that `Loss` has: here all of them."""
        return states

    def beside(
        self, inputs: Tensor, states: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """What `cost` takes of each frame beside its hidden state, each (T, B, ...): here nothing."""
        return ()

    def cost(
        self,
        hidden: Tensor,
        beside: tuple[Tensor, ...],
        targets: Tensor,
        objective: Objective | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The objective's cost, summed over frames, without penalties: for those who measure derivatives.

        Args:
            hidden: of N frames, as `told` has them, (N, ...).
            beside: rows of what the method of that name gives.
            targets: (N, ...).
            objective: as in `loss`.
            generator: what the objective draws from.
        """
        return (objective or self.objective).cost(hidden, targets, generator).loss

    def penalty(self, layers: list[Tensor]) -> Tensor:
        """The L1 penalty on the outputs of the layers, each (N, H), and the L2 penalty on the weights."""
        total = layers[-1].new_zeros(())
        if self.l1 > 0:
            total = total + self.l1 / max(len(layers[-1]), 1) * sum(layer.abs().sum() for layer in layers)
        if self.l2 > 0:
            weights: list[Tensor] = [*self.weights()]
            found = recorder(*weights)
            if found is not None:  # every stream's own gradient has the whole of it
                found.decay(weights, self.l2)
                weights = [w.detach() for w in weights]
            total = total + self.l2 / 2 * torch.stack([w.square().sum() for w in weights]).sum()
        return total

    def weights(self) -> list[nn.Parameter]:
        """The trained matrices, on which the L2 penalty is; not the biases."""
        return [p for p in self.parameters() if p.requires_grad and p.dim() > 1]

    @property
    def generator(self) -> torch.Generator | None:
        """The source of randomness in training; its state is part of a checkpoint."""
        return self.rnn.generator

    @property
    def objective(self) -> Objective:
        """What training ends with."""
        return objective_of(self.output)

    @property
    def apart(self) -> "tuple[LearnsApart, ...]":
        """Parts whose weights no optimizer moves: they learn from what a loss has told them."""
        return ()

    @property
    def counts(self) -> frozenset[str]:
        """Names in the state dict that count how training went on: another training begins them anew."""
        return frozenset()

    @property
    def score_name(self) -> str:
        """What `Loss.nll` is minus the sum of, and what early stopping watches."""
        return self.objective.score_name
