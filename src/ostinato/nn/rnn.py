"""RNN: `torch.nn.RNN`'s calling convention and parameter names, with leaky units and more.

Shapes: T time, B streams, I inputs, H hidden, L layers.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ostinato.nn import nonlinearities
from ostinato.nn.fused_layer import recurrent_layer
from ostinato.nn.initialization import initialize_recurrent_
from ostinato.nn.projection import TOKEN_TYPES, embed, sum_of_biases
from ostinato.nn.recurrence import leaky_scan


class RNN(nn.Module):
    """A stack of leaky recurrent layers.

        h_t = a * h_{t-1} + (1 - a) * phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)

    With `leak=None` it computes what `torch.nn.RNN` computes, from the same parameters: state dicts load
    both ways. Bengio, Boulanger-Lewandowski & Pascanu 2012, section 3.2 (arXiv 1212.0901).

    Args:
        input_size: I, the size of a frame, or the number of tokens.
        hidden_size: H, units in a layer.
        num_layers: L, layers; each one above the first reads the states of the one below.
        nonlinearity: phi: "tanh", "relu", "sigmoid" or "identity".
        bias: whether there are b_ih and b_hh.
        batch_first: whether inputs, outputs and starts have the stream before the time dimension.
        dropout: probability of dropping an output of every layer but the last, while training.
        leak: a, the share of the OLD state that is kept (one minus the echo-state "leak rate"): None, a
            number for all units, or a tensor (H,), each in [0, 1). A tensor that requires a gradient
            becomes a parameter.
        initialization: of W_hh; see `initialize_recurrent_`. All else is PyTorch's uniform draw.
        spectral_radius: largest absolute eigenvalue of an "echo-state" W_hh.
        token_inputs: whether inputs are token ids only. The first layer's W_ih is then the parameter
            `embedding`, its transpose (I, H), whose gradient is sparse: only the rows of the tokens that
            occurred. State dicts with weight_ih_l0 load.
        generator: source of randomness for the weights and for dropout.
        device: where the parameters live.
        dtype: their type.

    Example:
        >>> rnn = RNN(3, 5, leak=0.5, generator=torch.Generator().manual_seed(0))
        >>> output, h_n = rnn(torch.zeros(7, 2, 3))
        >>> output.shape, h_n.shape
        (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    leak: Tensor | None
    weight_hh_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        leak: float | Tensor | None = None,
        initialization: str = "uniform",
        spectral_radius: float = 1.1,
        token_inputs: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        nonlinearities.check(nonlinearity)
        for name, size in (
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("num_layers", num_layers),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a probability, got {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.nonlinearity, self.bias, self.batch_first, self.dropout = (
            nonlinearity,
            bias,
            batch_first,
            dropout,
        )
        self.initialization, self.spectral_radius, self.generator = initialization, spectral_radius, generator
        self.token_inputs = token_inputs
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        for layer in range(num_layers):
            fan_in = input_size if layer == 0 else hidden_size
            if token_inputs and layer == 0:
                self.embedding = nn.Parameter(torch.empty(input_size, hidden_size, **factory))
            else:
                self.register_parameter(
                    f"weight_ih_l{layer}", nn.Parameter(torch.empty(hidden_size, fan_in, **factory))
                )
            self.register_parameter(
                f"weight_hh_l{layer}", nn.Parameter(torch.empty(hidden_size, hidden_size, **factory))
            )
            if bias:
                for name in (f"bias_ih_l{layer}", f"bias_hh_l{layer}"):
                    self.register_parameter(name, nn.Parameter(torch.empty(hidden_size, **factory)))
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._weight_names = [[f"{kind}_l{layer}" for kind in kinds] for layer in range(num_layers)]
        self._register_leak(leak)
        self.reset_parameters()

    def _register_leak(self, leak: float | Tensor | None) -> None:
        if leak is None or (isinstance(leak, int | float) and leak == 0):
            self.leak = None
            return
        like = self.weight_hh_l0
        tensor = leak.detach() if isinstance(leak, Tensor) else torch.full((self.hidden_size,), float(leak))
        if tuple(tensor.shape) != (self.hidden_size,):
            raise ValueError(f"leak must have shape ({self.hidden_size},), got {tuple(tensor.shape)}")
        if not bool(((tensor >= 0) & (tensor < 1)).all()):
            raise ValueError("every leak must lie in [0, 1): it is the share of the old state that is kept")
        tensor = tensor.to(like.device, like.dtype, copy=True)
        if isinstance(leak, Tensor) and leak.requires_grad:
            self.leak = nn.Parameter(tensor)
        else:
            self.register_buffer("leak", tensor)

    def reset_parameters(self) -> None:
        """Draw every weight again from the generator; the leak stays."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("weight_hh"):
                initialize_recurrent_(
                    parameter,
                    self.initialization,
                    generator=self.generator,
                    spectral_radius=self.spectral_radius,
                )
            elif name != "leak":
                with torch.no_grad():
                    parameter.uniform_(-bound, bound, generator=self.generator)

    def forward(
        self, input: Tensor, hx: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run over a batch of streams, or over one sequence without a stream dimension.

        Args:
            input: (T, B, I), or (B, T, I) with batch_first, or (T, I) unbatched, of the weights' type;
                uint8 or bool for binary frames; token ids as int64 or int32 without the last dimension.
            hx: states before the first step, (L, B, H) or (L, H); zero by default.
            starts: boolean (T, B), (B, T) or (T,): where a new sequence starts and the state is zero.

        Returns:
            Outputs of the last layer, (T, B, H), (B, T, H) or (T, H), and the last states of all layers,
            (L, B, H) or (L, H).
        """
        outputs, last = self.forward_layers(input, hx, starts)
        return outputs[-1], last

    def forward_layers(
        self, input: Tensor, hx: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[list[Tensor], Tensor]:
        """Like `forward`, but the outputs of every layer, in a list."""
        below, states, marks, unbatched = self._standard_form(input, hx, starts)
        outputs, last = [], []
        for layer in range(self.num_layers):
            if layer > 0:
                below = self._dropped(below)
            h0 = states if states is None or self.num_layers == 1 else states[layer]
            below, end = self._layer(layer, below, h0, marks)
            outputs.append(below)
            last.append(end)
        final = last[0] if self.num_layers == 1 else torch.cat(last)
        if unbatched:
            return [out.squeeze(1) for out in outputs], final.squeeze(1)
        if self.batch_first:
            outputs = [out.transpose(0, 1) for out in outputs]
        return outputs, final

    def _layer(
        self, layer: int, below: Tensor, h0: Tensor | None, starts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The states (T, B, H) of one layer, and the last of them (1, B, H)."""
        weight_ih, weight_hh, bias_ih, bias_hh = self._weight_names[layer]
        recurrent, leak = self._own(weight_hh), self._own("leak")
        bias = second_bias = None
        if self.bias:
            bias, second_bias = self._own(bias_ih), self._own(bias_hh)
        if self.token_inputs and layer == 0:
            drive = embed(below, self.embedding, sum_of_biases(bias, second_bias), sparse=True)
            h0 = h0 if h0 is None or h0.dim() == 2 else h0.squeeze(0)
            out = leaky_scan(drive, recurrent, leak, h0, starts, self.nonlinearity)
            return out, out[-1:].clone()
        return recurrent_layer(
            below, self._own(weight_ih), bias, recurrent, leak, h0, starts, self.nonlinearity, second_bias
        )

    def _own(self, name: str) -> Any:
        """`getattr(self, name)`, without nn.Module's detour where nothing has replaced the tensor."""
        found: Tensor | None = self._parameters.get(name)
        if found is None:
            found = self._buffers.get(name)
        return getattr(self, name) if found is None else found

    def _dropped(self, below: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return below
        if self.dropout == 1:
            return torch.zeros_like(below)
        place = below.device if self.generator is None else self.generator.device
        drawn = torch.empty_like(below, device=place).bernoulli_(1 - self.dropout, generator=self.generator)
        return below * drawn.to(below.device) / (1 - self.dropout)

    def _standard_form(
        self, input: Tensor, hx: Tensor | None, starts: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, bool]:
        """Time-major inputs with a stream dimension, whatever the caller's convention."""
        tokens = input.dtype in TOKEN_TYPES
        if self.token_inputs and not tokens:
            raise ValueError(f"expected token ids as int64 or int32, got {input.dtype}")
        batched_dims = 2 if tokens else 3
        if input.dim() not in (batched_dims, batched_dims - 1):
            kind = "token ids (T, B) or (T,)" if tokens else "frames (T, B, I) or (T, I)"
            raise ValueError(f"expected {kind}, got an input of shape {tuple(input.shape)}")
        if not tokens and input.shape[-1] != self.input_size:
            raise ValueError(f"expected frames of size {self.input_size}, got {input.shape[-1]}")
        unbatched = input.dim() == batched_dims - 1
        if unbatched:
            input = input.unsqueeze(1)
            hx = None if hx is None else hx.unsqueeze(1)
            starts = None if starts is None else starts.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
            starts = None if starts is None else starts.transpose(0, 1)
        if input.shape[0] == 0:
            raise ValueError("expected at least one time step, got none")
        expected = (self.num_layers, input.shape[1], self.hidden_size)
        if hx is not None and tuple(hx.shape) != expected:
            raise ValueError(f"expected an initial state of shape {expected}, got {tuple(hx.shape)}")
        return input, hx, starts, unbatched

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        # A state dict of torch.nn.RNN knows no leak: the module's own one stays.
        if self.leak is not None:
            state_dict.setdefault(f"{prefix}leak", self.leak.detach())
        if self.token_inputs and f"{prefix}weight_ih_l0" in state_dict:
            state_dict[f"{prefix}embedding"] = state_dict.pop(f"{prefix}weight_ih_l0").T
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *rest)

    def extra_repr(self) -> str:
        """The settings that differ from the defaults."""
        text = f"{self.input_size}, {self.hidden_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.nonlinearity != "tanh":
            text += f", nonlinearity={self.nonlinearity!r}"
        if self.leak is not None:
            text += f", leaky_units={int((self.leak > 0).sum())}"
        return text
