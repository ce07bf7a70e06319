"""What GRU and LSTM share: what the input contributes to all gates at once, and how they are linearised.

Shapes: T time, B streams, I inputs, H hidden, K gates.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.cells.state import State
from ostinato.nn.kernels.projection import embed, project


class GatedStack(RecurrentStack):
    """Layers of a cell with K gates, each with a block of H rows in every weight matrix."""

    def _standard_form(
        self, input: Tensor, hx: State | None, starts: Tensor | None
    ) -> tuple[Tensor, State | None, Tensor | None, bool]:
        input, hx, starts, unbatched = super()._standard_form(input, hx, starts)
        if starts is not None:
            if starts.dtype != torch.bool:
                raise ValueError(f"starts must be boolean, got {starts.dtype}")
            if starts.shape != input.shape[:2]:
                raise ValueError(
                    f"starts must have shape {tuple(input.shape[:2])} to go with the input, "
                    f"got {tuple(starts.shape)}"
                )
        return input, hx, starts, unbatched

    def _drive(
        self, layer: int, below: Tensor, bias: Tensor | None, second_bias: Tensor | None = None
    ) -> Any:
        """W_ih x + b for all steps at once, shape (T, B, K H); a second bias is added to the first."""
        if self.token_inputs and layer == 0:
            rows = self.embedding
            # A sparse gradient is for a parameter to take; one that goes further through a graph is dense.
            return embed(below, rows, bias, second_bias, sparse=rows.is_leaf)
        return project(below, self._own(self._weight_names[layer][0]), bias, second_bias)

    def linearize(
        self, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> LinearizedByAutograd:
        """The network at its present parameters and these inputs, for Gauss-Newton products."""
        return LinearizedByAutograd(self, input, hx, starts)
