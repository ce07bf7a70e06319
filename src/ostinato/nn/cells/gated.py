"""What GRU and LSTM share: what the input contributes to all gates at once, and how they are linearised.

Shapes: T time, B streams, I inputs, H hidden, K gates.
"""

from typing import Any

from torch import Tensor

from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.cells.state import State
from ostinato.nn.scan.gated import gated_scan
from ostinato.nn.scan.gated_layer import gated_layer


class GatedStack(RecurrentStack):
    """Layers of a cell with K gates, each with a block of H rows in every weight matrix."""

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

    def linearize(
        self, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> LinearizedByAutograd:
        """The network at its present parameters and these inputs, for Gauss-Newton products."""
        return LinearizedByAutograd(self, input, hx, starts)
