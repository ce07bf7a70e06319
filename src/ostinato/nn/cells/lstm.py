"""LSTM: `torch.nn.LSTM`'s calling convention and parameter names, with leaky units and starts of sequences.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from ostinato.nn.cells.gated import GatedStack
from ostinato.nn.cells.unrolled import gradients_by_steps, hand_written_serves, reset
from ostinato.nn.kernels.arguments import check_floating
from ostinato.nn.kernels.autocast import in_widest_type
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.definition import previous_states
from ostinato.nn.scan.functions import weight_gradient


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
            `torch.nn.LSTM`. With proj_size P, h_t = W_hr (o_t tanh(c_t)) has P values, and no derivative by
            hand: training is slower a step.
        leak, initialization, spectral_radius, token_inputs, sparse, input_dropout, output_dropout,
            recurrent_dropout, generator, device, dtype: as in `RNN`;
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

    def _layer(
        self,
        index: int,
        below: Tensor,
        state: tuple[Tensor, Tensor] | None,
        starts: Tensor | None,
        leak: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        _, weight_hh, bias_ih, bias_hh, *projection = self._weight_names[index]
        bias, second = (self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None)
        drive = self._drive(index, below, bias, second)
        if state is None:
            h0 = c0 = drive.new_zeros(drive.shape[1], self.hidden_size)
            if projection:
                h0 = drive.new_zeros(drive.shape[1], self.output_size)
        else:
            h0, c0 = (x.squeeze(0) for x in state)
        weight_hr = self._own(projection[0]) if projection else None
        states, cell = lstm_scan(drive, self._recurrent(weight_hh), leak, h0, c0, starts, weight_hr)
        return states, (states[-1:].clone(), cell.unsqueeze(0))


@in_widest_type
def lstm_scan(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    starts: Tensor | None,
    projection: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The outputs h (T, B, P) of a layer, and its last cells c (B, H).

    Args:
        drive: W_ih x_t + b_ih + b_hh, shape (T, B, 4 H).
        weight: W_hh, shape (4 H, P).
        leak: a, shape (H,), or None.
        h0, c0: output (B, P) and cells (B, H) before the first step.
        starts: boolean (T, B), where a sequence starts.
        projection: W_hr, shape (P, H), or None, where P = H.
    """
    check_floating("drive", drive)
    if projection is None and hand_written_serves((drive, weight, h0, c0), (leak,)):
        return _Scan.apply(drive, weight, leak, h0, c0, starts)
    states, last = _last_and_all(drive, weight, leak, h0, c0, starts, projection)
    return states, last


def _last_and_all(*inputs: Any) -> tuple[Tensor, Tensor]:
    made = _steps(*inputs)
    return torch.stack([step[0] for step in made]), made[-1][1]


def _steps(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    starts: Tensor | None,
    projection: Tensor | None = None,
) -> list[tuple[Tensor, ...]]:
    """The scan step by step: h, c, i, f, g, o and tanh(c) of every step, each (B, H)."""
    size = c0.shape[1]
    marks = [None] * drive.shape[0] if starts is None else starts.unbind(0)
    transposed, h, c = weight.T, h0, c0
    made: list[tuple[Tensor, ...]] = []
    # unbound, not indexed: the derivative of an index is as large as the whole
    for own, mark in zip(drive.unbind(0), marks, strict=True):
        h, c = reset(h, mark), reset(c, mark)
        to_gates, to_new, to_output = torch.addmm(own, h, transposed).split([2 * size, size, size], -1)
        i, f = torch.sigmoid(to_gates).chunk(2, -1)
        g, o = torch.tanh(to_new), torch.sigmoid(to_output)
        step = f * c + i * g
        c = step if leak is None else torch.lerp(step, c, leak)
        squashed = torch.tanh(c)
        h = o * squashed if projection is None else (o * squashed) @ projection.T
        made.append((h, c, i, f, g, o, squashed))
    return made


class _Scan(torch.autograd.Function):
    """(drive, weight, leak, h0, c0, starts) -> h and the last c, with a hand-written first derivative."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        """The steps, and all that they went through."""
        ctx.found = recorder(inputs[1])
        if ctx.found is not None:
            ctx.weight = inputs[1]
        states, cells, *inner = (torch.stack(x) for x in zip(*_steps(*inputs), strict=True))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, states, cells, *inner)
        return states, cells[-1].clone()

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor | None, grad_cell: Tensor | None) -> tuple[Tensor | None, ...]:
        """The changes of all pre-activations are dL/dc_t or dL/dh_t times what is known before the scan."""
        *inputs, states, cells, i, f, g, o, squashed = ctx.saved_tensors
        _, weight, leak, h0, c0, starts = inputs
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return gradients_by_steps(_last_and_all, inputs, ctx.needs_input_grad, (grad_states, grad_cell))
        before = previous_states(cells, c0, starts)
        by_c = torch.stack((g * i * (1 - i), before * f * (1 - f), i * (1 - g * g)), 2)
        kept = f
        if leak is not None:
            by_c, kept = by_c * (1 - leak), f + leak * (1 - f)
        by_h = squashed * o * (1 - o)
        passed = o * (1 - squashed * squashed)
        grad_states = torch.zeros_like(states) if grad_states is None else grad_states
        delta, grad_h0, grad_c0 = _adjoint(grad_states, grad_cell, by_c, by_h, kept, passed, weight, starts)
        grad_weight = None
        if ctx.found is not None:
            ctx.found.product(ctx.weight, delta, previous_states(states, h0, starts))
        elif ctx.needs_input_grad[1]:
            grad_weight = weight_gradient(delta, previous_states(states, h0, starts))
        return delta, grad_weight, None, grad_h0, grad_c0, None


def _adjoint(
    grad_states: Tensor,
    grad_cell: Tensor | None,
    by_c: Tensor,
    by_h: Tensor,
    kept: Tensor,
    passed: Tensor,
    weight: Tensor,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Backwards in time: `by_c` and `by_h` times dL/dc_t and dL/dh_t (T, B, 4 H); dL/dh0 and dL/dc0."""
    streams, size = kept.shape[1:]
    carried, deltas = torch.zeros_like(kept[0]), []
    cell = torch.zeros_like(carried) if grad_cell is None else grad_cell
    for t in reversed(range(len(kept))):
        total = grad_states[t] + carried
        of_cell = torch.addcmul(cell, total, passed[t])
        # not flattened, for which batches of gradients (is_grads_batched) have no rule
        to_gates = (by_c[t] * of_cell.unsqueeze(1)).reshape(streams, 3 * size)
        delta = torch.cat((to_gates, by_h[t] * total), 1)
        deltas.append(delta)
        mark = None if starts is None else starts[t]
        carried = reset(delta @ weight, mark)
        cell = reset(of_cell * kept[t], mark)
    return torch.stack(deltas[::-1]), carried, cell
