"""RNN: `torch.nn.RNN`'s calling convention and parameter names, with leaky units and more.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.cells import portable
from ostinato.nn.cells.dropping import acting
from ostinato.nn.cells.linearized import LinearizedByAutograd
from ostinato.nn.cells.linearized_rnn import LinearizedRNN
from ostinato.nn.cells.protocol import LinearizedRecurrence
from ostinato.nn.cells.stack import RecurrentStack
from ostinato.nn.kernels import nonlinearities
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan.layer import recurrent_layer
from ostinato.nn.scan.recurrence import leaky_scan


class RNN(RecurrentStack):
    """A stack of leaky recurrent layers.

        h_t = a * h_{t-1} + (1 - a) * phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    With `leak=None` it computes what `torch.nn.RNN` computes, from the same parameters: state dicts load
    both ways. Bengio, Boulanger-Lewandowski & Pascanu 2012, section 3.2 (arXiv 1212.0901).

    Args:
        input_size: I, the size of a frame, or the number of tokens.
        hidden_size: H, units in a layer.
        num_layers: L, layers; each one above the first reads the states of the one below.
        nonlinearity: phi: "tanh", "relu", "sigmoid", "identity", "softplus", "elu", "leaky_relu", "retanh"
            (the rectified tanh) or "power" (max(z, 0)^2); "elu", "leaky_relu" and "power" take a parameter,
            as in "power(1.5)".
        bias: whether there are b_ih and b_hh.
        batch_first: whether inputs, outputs and starts have the stream before the time dimension.
        dropout: probability of dropping an output of every layer but the last, while training.
        bidirectional: whether each layer has a second direction, backwards in time, whose outputs are behind
            the first one's, and parameters of its own, named as weight_ih_l0_reverse.
        leak: a, the share of the OLD state that is kept (one minus the echo-state "leak rate"): None, a
            number for all units, or a tensor (H,), each in [0, 1). A tensor that requires a gradient is
            learned: its values are where the parameter `leak_logit` starts, of which `leak` is then made so
            that it stays in (0, 1); see `ostinato.nn.cells.leak`. State dicts with a leak load.
        initialization: of W_hh; see `initialize_recurrent_`. All else is PyTorch's uniform draw.
        spectral_radius: largest absolute eigenvalue of an "echo-state" W_hh.
        token_inputs: whether inputs are token ids only. The first layer's W_ih is then the parameter
            `embedding`, its transpose (I, H). State dicts with weight_ih_l0 load.
        embedding_size: E; a token is then a row of the parameter `embedding` (I, E), which W_ih (H, E) reads.
        sparse: whether the gradient of the embedding is sparse, only the rows of the tokens that occurred.
            Adam, `DistributedDataParallel` and `torch.nn.utils.clip_grad_norm_` want a dense one.
        input_dropout, output_dropout, recurrent_dropout: of what the first layer reads, of the last layer's
            outputs, and of states as W_hh reads them, while training, with one layer too; see
            `ostinato.nn.cells.dropping`.
        generator: source of randomness for the weights and for dropout.
        device: where the parameters live.
        dtype: their type.

    Example:
        >>> import torch
        >>> rnn = RNN(3, 5, leak=0.5, generator=torch.Generator().manual_seed(0))
        >>> output, h_n = rnn(torch.zeros(7, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **further: Any,
    ) -> None:
        try:
            nonlinearities.check(nonlinearity)
        except ValueError as error:
            names = ", ".join(map(repr, nonlinearities.NONLINEARITIES[:-1]))
            raise ValueError(
                f"Unknown nonlinearity {nonlinearity!r}. Select from {names} or "
                f"{nonlinearities.NONLINEARITIES[-1]!r}: {error}"
            ) from None
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **further
        )
        self.nonlinearity = nonlinearity

    def _operator_settings(self) -> tuple[str, ...]:
        return ("nonlinearity",)

    @property
    def _has_every_state(self) -> bool:
        return True

    def _layer(
        self, index: int, below: Tensor, state: Tensor | None, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The states (T, B, H) of one layer, and the last of them (1, B, H)."""
        weight_ih, weight_hh, bias_ih, bias_hh = self._weight_names[index]
        recurrent = self._recurrent(weight_hh)
        bias = second_bias = None
        if self.bias:
            bias, second_bias = self._own(bias_ih), self._own(bias_hh)
        if self._reads_tokens(index):
            drive = self._embedded(weight_ih, below, bias, second_bias)
            h0 = None if state is None else state.squeeze(0)
            out = leaky_scan(drive, recurrent, leak, h0, starts, self.nonlinearity)
            return out, out[-1:].clone()
        return recurrent_layer(
            below, self._own(weight_ih), bias, recurrent, leak, state, starts, self.nonlinearity, second_bias
        )

    @torch.no_grad()
    def slopes(self, index: int, below: Tensor, before: Tensor) -> Tensor:
        """phi'(z) of a layer's units, (T, B, H), without the leak's factor.

        Args:
            index: the layer, from 0; of one direction.
            below: what it reads: the network's inputs (T, B, I), or tokens (T, B), or outputs of the layer
                below it.
            before: h before each step, (T, B, H), zero where a sequence starts.

        Example:
            >>> rnn = RNN(3, 5, nonlinearity="relu", bias=False)
            >>> float(rnn.slopes(0, torch.zeros(7, 2, 3), torch.zeros(7, 2, 5)).sum())
            0.0
        """
        if index == 0:
            below = self._input(below)
        _, weight_hh, *biases = self._weight_names[index]
        bias, second = (self._own(name) for name in biases[:2]) if self.bias else (None, None)
        z = self._drive(index, below, bias, second) + project(before, self._recurrent(weight_hh), None, None)
        return nonlinearities.slope(self.nonlinearity, nonlinearities.value(self.nonlinearity, z))

    def linearize(self, input: Tensor, hx: Any = None, starts: Tensor | None = None) -> LinearizedRecurrence:
        """The network at these parameters and inputs, for Gauss-Newton products; on kernels, if it can."""
        if self.bidirectional or acting(self) or self.embedding_size is not None:
            return LinearizedByAutograd(self, input, hx, starts)
        return LinearizedRNN(self, input, hx, starts)

    def check_portable(self) -> None:
        """Raise a UserError unless other programs, such as those that run ONNX, have all its operations."""
        portable.check(self.cell, self.nonlinearity)

    def extra_repr(self) -> str:
        """The settings that differ from the defaults."""
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity!r}"
