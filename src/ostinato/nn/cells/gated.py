"""What GRU and LSTM share: what the input contributes to all gates at once, and how they are linearised.

Shapes: T time, B streams, I inputs, H hidden, K gates.
"""

from torch import Tensor

from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.cells.state import State
from ostinato.nn.kernels.projection import project


class GatedStack(RecurrentStack):
    """Layers of a cell with K gates, each with a block of H rows in every weight matrix."""

    def _drive(
        self, index: int, below: Tensor, bias: Tensor | None, second_bias: Tensor | None = None
    ) -> Tensor:
        """W_ih x + b for all steps at once, shape (T, B, K H); a second bias is added to the first."""
        name = self._weight_names[index][0]
        if self._reads_tokens(index):
            return self._embedded(name, below, bias, second_bias)
        return project(below, self._own(name), bias, second_bias)

    def linearize(
        self, input: Tensor, hx: State | None = None, starts: Tensor | None = None
    ) -> LinearizedByAutograd:
        """The network at its present parameters and these inputs, for Gauss-Newton products."""
        return LinearizedByAutograd(self, input, hx, starts)
