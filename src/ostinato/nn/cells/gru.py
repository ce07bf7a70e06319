"""GRU: `torch.nn.GRU`'s calling convention and parameter names, with leaky units and starts of sequences.

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


class GRU(GatedStack):
    """A stack of layers of gated recurrent units, which may leak.

        r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
        z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
        n_t = tanh(W_in x_t + b_in + r_t (W_hn h_{t-1} + b_hn))
        h_t = a h_{t-1} + (1 - a) (z_t h_{t-1} + (1 - z_t) n_t)

    The rows of weights and biases are those of r, z and n, in this order. With `leak=None`, a = 0, it
    computes what `torch.nn.GRU` computes, from the same parameters: state dicts load both ways. The leak is
    that of `RNN`, on the step that the GRU would take without it; it is the same as an update gate that lies
    in [a, 1), z' = a + (1 - a) z, so a unit's memory is never shorter than its leak says.

    Source: Cho et al. 2014 (arXiv 1406.1078), with the reset gate after the product, as cuDNN and PyTorch
    have it.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: as in
            `torch.nn.GRU`.
        leak, initialization, spectral_radius, token_inputs, sparse, input_dropout, output_dropout,
            recurrent_dropout, generator, device, dtype: as in `RNN`;
            the initialization is that of each of the three blocks (H, H) of W_hh.

    Example:
        >>> gru = GRU(3, 5, leak=0.5, generator=torch.Generator().manual_seed(0))
        >>> output, h_n = gru(torch.zeros(7, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    cell: ClassVar[str] = "GRU"
    blocks: ClassVar[int] = 3

    def _layer(
        self, index: int, below: Tensor, state: Tensor | None, starts: Tensor | None, leak: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        _, weight_hh, bias_ih, bias_hh = self._weight_names[index]
        bias, second = (self._own(bias_ih), self._own(bias_hh)) if self.bias else (None, None)
        drive = self._drive(index, below, bias)
        h0 = drive.new_zeros(drive.shape[1], self.hidden_size) if state is None else state.squeeze(0)
        states = gru_scan(drive, self._recurrent(weight_hh), second, leak, h0, starts)
        return states, states[-1:].clone()


@in_widest_type
def gru_scan(
    drive: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """The states (T, B, H) of a layer.

    Args:
        drive: W_ih x_t + b_ih, shape (T, B, 3 H).
        weight: W_hh, shape (3 H, H).
        bias: b_hh, shape (3 H,), or None.
        leak: a, shape (H,), or None.
        h0: the state before the first step, (B, H).
        starts: boolean (T, B), where a sequence starts.
    """
    check_floating("drive", drive)
    if hand_written_serves((drive, weight, bias, h0), (leak,)):
        return _Scan.apply(drive, weight, bias, leak, h0, starts)
    return _steps(drive, weight, bias, leak, h0, starts)[0]


def _steps(
    drive: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    *,
    keep: bool = False,
) -> list[Tensor]:
    """The scan step by step: the states, and where asked for r, z, n and W_hn h + b_hn, each (T, B, H)."""
    size = weight.shape[1]
    # unbound, not indexed: the derivative of an index is as large as the whole
    gates_drives, new_drives = (x.unbind(0) for x in drive.split([2 * size, size], -1))
    marks = [None] * drive.shape[0] if starts is None else starts.unbind(0)
    transposed, h, made = weight.T, h0, []
    for of_gates, of_new, mark in zip(gates_drives, new_drives, marks, strict=True):
        h = reset(h, mark)
        hidden = h @ transposed if bias is None else torch.addmm(bias, h, transposed)
        to_gates, to_new = hidden.split([2 * size, size], -1)
        r, z = torch.sigmoid(of_gates + to_gates).chunk(2, -1)
        n = torch.tanh(torch.addcmul(of_new, r, to_new))
        kept = z if leak is None else z + leak * (1 - z)
        h = torch.lerp(n, h, kept)
        made.append((h, r, z, n, to_new) if keep else (h,))
    return [torch.stack(x) for x in zip(*made, strict=True)]


class _Scan(torch.autograd.Function):
    """(drive, weight, bias, leak, h0, starts) -> states, with a hand-written first derivative."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        """The steps, and all that they went through."""
        ctx.found = recorder(inputs[1], inputs[2])
        if ctx.found is not None:
            ctx.parameters = inputs[1], inputs[2]
        states, *inner = _steps(*inputs, keep=True)
        ctx.save_for_backward(*inputs, states, *inner)
        return states

    @staticmethod
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        """All of dr, dz, dn and r dn (pre-activations) are dL/dh_t times what is known before the scan."""
        *inputs, states, r, z, n, to_new = ctx.saved_tensors
        _, weight, _, leak, h0, starts = inputs
        if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
            return gradients_by_steps(_steps, inputs, ctx.needs_input_grad, (grad_states,))
        previous = previous_states(states, h0, starts)
        by_z = (previous - n) * z * (1 - z)
        by_n = (1 - z) * (1 - n * n)
        kept = z
        if leak is not None:
            by_z, by_n, kept = by_z * (1 - leak), by_n * (1 - leak), z + leak * (1 - z)
        by = torch.stack((by_n * to_new * r * (1 - r), by_z, by_n * r, by_n), 2)
        delta, grad_h0 = _adjoint(grad_states, by, kept, weight, starts)
        # not flattened, for which batches of gradients (is_grads_batched) have no rule
        to_hidden = delta[:, :, :3].reshape(*states.shape[:2], 3 * states.shape[2])
        _, need_weight, need_bias, *_ = ctx.needs_input_grad
        if ctx.found is not None:
            ctx.found.product(ctx.parameters[0], to_hidden, previous)
            ctx.found.vector(ctx.parameters[1], to_hidden)
            need_weight = need_bias = False
        return (
            torch.cat((delta[:, :, :2], delta[:, :, 3:]), 2).reshape(to_hidden.shape),
            weight_gradient(to_hidden, previous) if need_weight else None,
            to_hidden.sum((0, 1)) if need_bias else None,
            None,
            grad_h0,
            None,
        )


def _adjoint(
    grad_states: Tensor, by: Tensor, kept: Tensor, weight: Tensor, starts: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Backwards in time: `by` (T, B, 4, H) times dL/dh_t, and dL/dh0 (B, H)."""
    streams, size = kept.shape[1:]
    carried, deltas = torch.zeros_like(kept[0]), []
    for t in reversed(range(len(kept))):
        total = grad_states[t] + carried
        delta = by[t] * total.unsqueeze(1)
        carried = torch.addmm(total * kept[t], delta[:, :3].reshape(streams, 3 * size), weight)
        carried = reset(carried, None if starts is None else starts[t])
        deltas.append(delta)
    return torch.stack(deltas[::-1]), carried
