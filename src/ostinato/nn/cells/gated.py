"""What GRU and LSTM share: what the input contributes to all gates at once, and how they are linearised.

Shapes: T time, B streams, I inputs, H hidden, K gates.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.cells.state import State
from ostinato.nn.kernels.gated_cells import named
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan.gated import gated_scan
from ostinato.nn.scan.gated_layer import gated_layer


class GatedStack(RecurrentStack):
    """Layers of a cell with K gates, each with a block of H rows in every weight matrix.

    A cell whose state is one tensor needs no more than its name, that of its kernels in capitals, and K.
    """

    @property
    def _has_every_state(self) -> bool:
        return True

    def _layer(
        self, index: int, below: Tensor, state: Any, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, Any]:
        _, weight_hh, bias_ih, bias_hh = self._weight_names[index]
        bias, second = (self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None)
        if state is None:
            h0 = self._own(weight_hh).new_zeros(below.shape[1], self.hidden_size)
        else:
            h0 = state.squeeze(0)
        states, _ = self._scanned(index, below, (bias, None), second, leak, (h0, None), starts)
        return states, states[-1:].clone()

    def _scanned(
        self,
        index: int,
        below: Tensor,
        biases: tuple[Tensor | None, Tensor | None],
        gate_bias: Tensor | None,
        leak: Tensor | None,
        start: tuple[Tensor, Tensor | None],
        starts: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """h and c (T, B, H) of a layer, from `start`, h0 and c0 (B, H); `biases` are of the input's share."""
        weight_ih, weight_hh, *_ = self._weight_names[index]
        rest: Any = (self._recurrent(weight_hh), gate_bias, leak, *start, starts, self.cell.lower())
        if self._reads_tokens(index):
            return gated_scan(self._embedded(weight_ih, below, *biases), *rest)
        return gated_layer(below, self._own(weight_ih), *biases, *rest)

    @torch.no_grad()
    def gates(self, index: int, below: Tensor, before: Tensor) -> dict[str, Tensor]:
        """The values of a layer's gates, and of the candidate for its next state, "new", by name.

        Args:
            index: the layer, from 0; of one direction.
            below: what it reads: the network's inputs (T, B, I), or tokens (T, B), or outputs of the layer
                below it.
            before: h before each step, (T, B, H), zero where a sequence starts.

        Returns:
            Each (T, B, H).

        Example:
            >>> from ostinato.nn import GRU
            >>> gru = GRU(3, 5)
            >>> list(gru.gates(0, torch.zeros(7, 2, 3), torch.zeros(7, 2, 5)))
            ['reset', 'update', 'new']
        """
        if index == 0:
            below = self._input(below)
        _, weight_hh, *biases = self._weight_names[index]
        bias, second = (self._own(name) for name in biases[:2]) if self.bias else (None, None)
        drive = self._drive(index, below, bias, None)
        recurrent = project(before, self._recurrent(weight_hh), second, None)
        cell, rest = named(self.cell.lower()), drive.new_zeros(*drive.shape[:-1], self.hidden_size)
        _, _, saved = cell.step(
            drive.chunk(self.blocks, -1), recurrent.chunk(self.blocks, -1), None, rest, rest
        )
        return dict(zip(cell.names, saved, strict=False))

    def linearize(
        self, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> LinearizedByAutograd:
        """The network at its present parameters and these inputs, for Gauss-Newton products."""
        return LinearizedByAutograd(self, input, hx, starts)
