"""What a model asks of its recurrent part: the whole contract of a cell.

A class that does what `Recurrence` says can be a `SequenceModel`'s `rnn`: it is trained by gradient descent
and by Hessian-free optimisation, its states are carried from segment to segment, reordered among particles
and written to checkpoints, all by what is named here. `ostinato.nn.RNN`, `GRU` and `LSTM` do.

Shapes: T time, B streams, I inputs, H hidden, L layers, N the frames that count.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, Protocol, overload, runtime_checkable

import torch
from torch import Tensor, nn

from ostinato.nn.cells.state import State

Tangents = Mapping[str, Tensor]


class LinearizedRecurrence(Protocol):
    """A recurrence at its present parameters and some inputs, ready for many Gauss-Newton products.

    The states before the first step are constants, and dropout is not applied. Parameters go by the names
    they have in the module; those that `tangents` leaves out do not change, and get nothing back.
    """

    @property
    def outputs(self) -> Tensor:
        """The outputs of the last layer, (T, B, H)."""

    def tangent(self, tangents: Tangents) -> list[Tensor]:
        """How the outputs (T, B, H) of each layer change with the parameters."""

    def structural(
        self, changes: list[Tensor], tangents: Tangents, weight: float, mask: Tensor | None
    ) -> list[Tensor]:
        """Structural damping: what `weight` times the cost of these changes of the units puts on each layer.

        Only `adjoint` needs to understand what is returned.

        Args:
            changes: what `tangent` gave for `tangents`.
            tangents: changes of the parameters.
            weight: of the term.
            mask: boolean (T, B), the frames whose units count; all if None.
        """

    def adjoint(
        self, grad_outputs: Tensor, structural: list[Tensor] | None, tangents: Tangents
    ) -> dict[str, Tensor]:
        """The transpose of `tangent`: what G (T, B, H) at the last layer's outputs passes to the parameters.

        `structural`, if there is such a term, is what the method of that name gave.
        """


@runtime_checkable
class Recurrence(Protocol):
    """A stack of recurrent layers that turns inputs into outputs (T, B, H), one step after another.

    An `nn.Module`; always called as one, never by `forward`, so hooks, parametrizations and pruning act.

    Attributes:
        input_size: I, the size of a frame or the number of tokens.
        hidden_size: H, the size of an output.
        num_layers: L.
        batch_first: whether inputs and outputs have the stream before the time dimension, which training
            and Gauss-Newton products do not take.
        dropout: probability of dropping an output between layers while training. A cell that is a
            `dropping.Dropping` has others.
        token_inputs: whether it reads token ids only; then its `embedding` (I, .) may have sparse gradients.
        generator: the source of all its randomness; its state is part of a checkpoint.
        training: whether dropout acts.
    """

    input_size: int
    hidden_size: int
    num_layers: int
    batch_first: bool
    dropout: float
    token_inputs: bool
    generator: torch.Generator | None
    training: bool

    @overload
    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        starts: Tensor | None = None,
        *,
        all_layers: Literal[False] = False,
    ) -> tuple[Tensor, State]: ...
    @overload
    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        starts: Tensor | None = None,
        *,
        all_layers: Literal[True],
    ) -> tuple[list[Tensor], State]: ...
    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        starts: Tensor | None = None,
        *,
        all_layers: bool = False,
    ) -> tuple[Tensor | list[Tensor], State]:
        """Run over a batch of streams.

        One run over T steps, and T runs over one step each with the state carried, are the same.

        Args:
            input: real frames (T, B, I) of the weights' type, binary frames as uint8 or bool, or token ids
                (T, B) as int64 or int32.
            hx: the state before the first step, as a call returned it; that of `initial_state` if None.
            starts: boolean (T, B): where a new sequence starts. The state before such a step is that of
                `initial_state`, and no gradient passes to what was before.
            all_layers: whether to return the outputs of every layer, in a list.

        Returns:
            The outputs of the last layer (T, B, H), and the state after the last step: a tensor or a tuple,
            in which every tensor has its streams in dimension 1, so that the functions of
            `ostinato.nn.cells.state` can reorder them.
        """

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before a sequence, of the weights' type and device."""

    def linearize(
        self, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> LinearizedRecurrence:
        """The recurrence at its present parameters and these inputs, for Gauss-Newton products."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters by name; `tangents` and `adjoint` use the same names."""
