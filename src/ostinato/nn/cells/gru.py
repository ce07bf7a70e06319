"""GRU: `torch.nn.GRU`'s calling convention and parameter names, with leaky units and starts of sequences.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

from typing import ClassVar

from ostinato.nn.cells.gated import GatedStack


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
        input_dropout, output_dropout, recurrent_dropout: as in `RNN`.
        leak, initialization, spectral_radius, token_inputs, sparse, generator, device, dtype: as in `RNN`;
            the initialization is that of each of the three blocks (H, H) of W_hh.

    Example:
        >>> import torch
        >>> gru = GRU(3, 5, leak=0.5, generator=torch.Generator().manual_seed(0))
        >>> output, h_n = gru(torch.zeros(7, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    cell: ClassVar[str] = "GRU"
    blocks: ClassVar[int] = 3
