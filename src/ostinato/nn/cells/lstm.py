"""LSTM: `torch.nn.LSTM`'s calling convention and parameter names, with leaky units and starts of sequences.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ostinato.nn.cells.gated import GatedStack
from ostinato.nn.cells.state import State
from ostinato.nn.kernels.arguments import check_floating
from ostinato.nn.kernels.autocast import in_widest_type


class LSTM(GatedStack):
    """A stack of layers of long short-term memory, whose cells may leak.

        i_t, f_t, o_t = sigmoid(W_i. x_t + b_i. + W_h. h_{t-1} + b_h.)   (rows i, f and o)
        g_t = tanh(W_ig x_t + b_ig + W_hg h_{t-1} + b_hg)
        c_t = a c_{t-1} + (1 - a) (f_t c_{t-1} + i_t g_t)
        h_t = o_t tanh(c_t)

    The rows of weights and biases are those of i, f, g and o, in this order. With `leak=None`, a = 0, it
    computes what `torch.nn.LSTM` computes, from the same parameters: state dicts load both ways.

    The leak is on the cell, not on the output: c is what an LSTM integrates over time, as h is in an `RNN`.
    It is the same as a forget gate that lies in [a, 1), f' = a + (1 - a) f, and an input gate below 1 - a: a
    cell's memory is never shorter than its leak says, its gradient through time never below a per step, and
    the output gate can still shut at any step, which it could not if h itself leaked.

    Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: as in
            `torch.nn.LSTM`. With proj_size P, h_t = W_hr (o_t tanh(c_t)) has P values, and no kernel of
            their own: training is slower a step.
        input_dropout, output_dropout, recurrent_dropout: as in `RNN`.
        leak, initialization, spectral_radius, token_inputs, sparse, generator, device, dtype: as in `RNN`;
            the initialization is that of each of the four blocks (H, P) of W_hh.

    Example:
        >>> lstm = LSTM(3, 5, generator=torch.Generator().manual_seed(0))
        >>> output, (h_n, c_n) = lstm(torch.zeros(7, 2, 3))
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]), torch.Size([1, 2, 5]))
    """

    cell: ClassVar[str] = "LSTM"
    blocks: ClassVar[int] = 4
    state_tensors: ClassVar[tuple[str, ...]] = ("h", "c")
    projects: ClassVar[bool] = True

    @property
    def _has_every_state(self) -> bool:
        return not self.proj_size

    def _layer(
        self,
        index: int,
        below: Tensor,
        state: tuple[Tensor, Tensor] | None,
        starts: Tensor | None,
        leak: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        _, weight_hh, bias_ih, bias_hh, *projection = self._weight_names[index]
        h0, c0 = self._before(index, below.shape[1]) if state is None else (x.squeeze(0) for x in state)
        if projection:
            bias, second = (self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None)
            drive = self._drive(index, below, bias, second)
            states, last = projected_scan(
                drive, self._recurrent(weight_hh), leak, h0, c0, starts, self._own(projection[0])
            )
        else:
            states, cells = self._over(index, below, (h0, c0), starts, leak)
            last = cells[-1]
        return states, (states[-1:].clone(), last.unsqueeze(0))

    def _every_state(
        self, index: int, leak: Tensor | None, below: Tensor, starts: Tensor
    ) -> tuple[Tensor, State]:
        states, cells = self._over(index, below, self._before(index, below.shape[1]), starts, leak)
        return states, (states, cells)

    def _before(self, index: int, streams: int) -> tuple[Tensor, Tensor]:
        """h and c of zero, (B, P) and (B, H)."""
        zero = self._own(self._weight_names[index][1]).new_zeros
        return zero(streams, self.output_size), zero(streams, self.hidden_size)

    def _over(
        self,
        index: int,
        below: Tensor,
        start: tuple[Tensor, Tensor],
        starts: Tensor | None,
        leak: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """h and c (T, B, H) of a layer without projection."""
        _, _, bias_ih, bias_hh = self._weight_names[index]
        bias, second = (self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None)
        return self._scanned(index, below, (bias, second), None, leak, start, starts)


@in_widest_type
def projected_scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    starts: Tensor | None,
    projection: Tensor,
) -> tuple[Tensor, Tensor]:
    """The outputs h (T, B, P) of a layer whose outputs are projected, and its last cells c (B, H).

    Args:
        drive: W_ih x_t + b_ih + b_hh, shape (T, B, 4 H).
        weight: W_hh, shape (4 H, P).
        leak: a, shape (H,), or None.
        h0, c0: output (B, P) and cells (B, H) before the first step.
        starts: boolean (T, B), where a sequence starts.
        projection: W_hr, shape (P, H).
    """
    check_floating("drive", drive)
    size = c0.shape[1]
    marks = [None] * drive.shape[0] if starts is None else starts.unbind(0)
    transposed, h, c = weight.T, h0, c0
    states = []
    # unbound, not indexed: the derivative of an index is as large as the whole
    for own, mark in zip(drive.unbind(0), marks, strict=True):
        if mark is not None:
            h, c = (x.masked_fill(mark.unsqueeze(-1), 0) for x in (h, c))
        to_gates, to_new, to_output = torch.addmm(own, h, transposed).split([2 * size, size, size], -1)
        i, f = torch.sigmoid(to_gates).chunk(2, -1)
        step = f * c + i * torch.tanh(to_new)
        c = step if leak is None else torch.lerp(step, c, leak)
        h = (torch.sigmoid(to_output) * torch.tanh(c)) @ projection.T
        states.append(h)
    return torch.stack(states), c
