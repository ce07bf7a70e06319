"""A language model with direct n-gram connections beside its recurrent network.

Shapes: T time, B streams, H hidden, L layers.
"""

import torch
from torch import Tensor

from ostinato.errors import UserError, argument
from ostinato.nn.cells.protocol import Recurrence
from ostinato.nn.cells.state import State, detached, with_last, without_last
from ostinato.nn.model import Loss, SequenceModel, check_frames
from ostinato.nn.outputs import ClassSoftmax, DirectNgrams, Features, Softmax, Tokens
from ostinato.nn.outputs.base import HasObjectives, Objective, likelihood


class DirectModel(SequenceModel):
    """A `SequenceModel` over tokens whose logits also have hashed n-gram features.

    Its states are the recurrent network's and one more row (1, B, H), by `with_last`, whose first entries are
    the ids of the last tokens, exact as floating-point numbers up to 2^24. So whoever carries states carries
    the history too.

    Args:
        rnn: reads token ids; at least order - 2 hidden units.
        output: a softmax.
        direct: the features.
        l1, l2: as in `SequenceModel`.

    Example:
        >>> from ostinato.nn import RNN
        >>> output = Softmax(4, 9)
        >>> model = DirectModel(RNN(9, 4), output, DirectNgrams(100, 3, output.widest))
        >>> tokens = torch.zeros(7, 2, dtype=torch.int64)
        >>> model.loss(tokens, tokens).states.shape
        torch.Size([2, 2, 4])
    """

    output: Softmax | ClassSoftmax

    def __init__(
        self,
        rnn: Recurrence,
        output: Softmax | ClassSoftmax,
        direct: DirectNgrams,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(rnn, output, l1, l2)
        if isinstance(output, HasObjectives):
            raise UserError(
                f"{argument('direct')} is for outputs that are trained on their likelihood alone, found "
                f"{type(output).__name__}; leave it out"
            )
        if direct.history > rnn.hidden_size or rnn.input_size > 1 << 24:
            raise ValueError("expected fewer tokens of history than hidden units, and at most 2^24 tokens")
        self.direct = direct

    def read(
        self, inputs: Tensor, states: State | None = None, starts: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], State]:
        """The hidden states and the n-grams' contexts; see `SequenceModel.read`."""
        hidden_states, features, history = self._read(inputs, states, starts)
        hidden, last = self.rnn(inputs, hidden_states, starts)
        return (hidden, features.contexts), with_last(last, history)

    def distribution(self, *read: Tensor) -> Tokens:
        """See `SequenceModel.distribution`."""
        hidden, contexts = read
        return self.output(hidden, Features(self.direct, contexts))

    def loss(
        self,
        inputs: Tensor,
        targets: Tensor,
        states: State | None = None,
        starts: Tensor | None = None,
        mask: Tensor | None = None,
        objective: Objective | None = None,
    ) -> Loss:
        """Mean over the tokens of a segment of -log p, plus the penalties; see `SequenceModel.loss`.

        Raises:
            ValueError: the objective is another one, or targets or mask are not those of the frames.
        """
        self._check_objective(objective)
        hidden_states, features, history = self._read(inputs, states, starts)
        layers, last = self.rnn(inputs, hidden_states, starts, all_layers=True)
        check_frames(layers[-1], targets, mask)
        if self.direct.learns_apart:
            return self._loss_apart(layers, features, targets, mask, with_last(detached(last), history))
        counted = torch.ones_like(targets, dtype=torch.bool) if mask is None else mask
        frames = int(counted.sum())
        nll = -self.output(layers[-1], features).log_prob(targets)[counted].sum()
        total = nll / max(frames, 1) + self.penalty([layer[counted] for layer in layers])
        return Loss(total, nll.detach(), frames, with_last(detached(last), history))

    def _loss_apart(
        self, layers: list[Tensor], features: Features, targets: Tensor, mask: Tensor | None, states: State
    ) -> Loss:
        """The loss where the n-grams learn apart: the output tells them, in the same pass."""
        chosen = None if mask is None else mask.flatten().nonzero().squeeze(1)

        def frames_of(x: Tensor) -> Tensor:
            flat = x.flatten(0, 1)
            return flat if chosen is None else flat.index_select(0, chosen)

        values = frames_of(targets)
        own = Features(self.direct, frames_of(features.contexts))
        nll = self.output.nll(frames_of(layers[-1]), values, own)
        self.direct.count(len(values))
        total = nll / max(len(values), 1)
        if self.l1 > 0 or self.l2 > 0:
            total = total + self.penalty([frames_of(layer) for layer in layers])
        return Loss(total, nll.detach(), len(values), states)

    def recurrent(self, states: State) -> State:
        """See `SequenceModel.recurrent`: without the row of the last tokens."""
        return without_last(states)[0]

    def beside(
        self, inputs: Tensor, states: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """See `SequenceModel.beside`: the n-grams' contexts (T, B, O)."""
        return (self._read(inputs, states, starts)[1].contexts,)

    def cost(
        self,
        hidden: Tensor,
        beside: tuple[Tensor, ...],
        targets: Tensor,
        objective: Objective | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See `SequenceModel.cost`; nothing is learned from it."""
        self._check_objective(objective)
        return -self.distribution(hidden, *beside).log_prob(targets).sum()

    def _check_objective(self, objective: Objective | None) -> None:
        if objective is not None and objective != likelihood(self.output):
            raise ValueError(f"expected no objective but the likelihood, got {objective.name!r}")

    @property
    def apart(self) -> tuple[DirectNgrams, ...]:
        """See `SequenceModel.apart`."""
        return (self.direct,) if self.direct.learns_apart else ()

    @property
    def counts(self) -> frozenset[str]:
        """See `SequenceModel.counts`."""
        return frozenset({"direct.tokens", "direct.used"})

    def _read(
        self, inputs: Tensor, states: State | None, starts: Tensor | None
    ) -> tuple[State | None, Features, Tensor]:
        """The network's own states, the features of these inputs, and the history after them."""
        count, inputs = self.direct.history, inputs.long()
        before, own = inputs.new_zeros(count, inputs.shape[1]), None
        if states is not None:
            own, row = without_last(states)
            before = row[0, :, :count].T.long()
        features = Features(self.direct, self.direct.contexts(inputs, before, starts))
        history = self.direct.table.new_zeros(1, inputs.shape[1], self.rnn.hidden_size)
        history[0, :, :count] = self.direct.after(inputs, before, starts).T
        return own, features, history
