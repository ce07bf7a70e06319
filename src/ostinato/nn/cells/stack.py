"""What recurrent cells share: parameters named as in `torch.nn`, layers, dropout, the forms of a call.

Shapes: T time, B streams, I inputs, H hidden, L layers, K blocks of H rows in a weight matrix.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ostinato.nn.cells.state import State, map_state
from ostinato.nn.initialization import initialize_recurrent_
from ostinato.nn.projection import TOKEN_TYPES


class RecurrentStack(nn.Module):
    """Layers of one kind of cell; a subclass says in `_layer` what one of them computes.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout: as in `torch.nn.RNNBase`.
        leak: None, a number for all units, or a tensor (H,), each in [0, 1): the share of the old state
            that is kept. A tensor that requires a gradient becomes a parameter. All layers share it.
        initialization: of each of the K blocks (H, H) of W_hh; see `initialize_recurrent_`. All else is
            PyTorch's uniform draw.
        spectral_radius: largest absolute eigenvalue of an "echo-state" block.
        token_inputs: whether inputs are token ids only. The first layer's W_ih is then the parameter
            `embedding`, its transpose (I, K H), whose gradient is sparse: only the rows of the tokens that
            occurred. State dicts with weight_ih_l0 load.
        generator: source of randomness for the weights and for dropout.
        device, dtype: of the parameters.
    """

    blocks: ClassVar[int] = 1
    state_tensors: ClassVar[tuple[str, ...]] = ("h",)

    leak: Tensor | None
    weight_hh_l0: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
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
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.initialization, self.spectral_radius, self.generator = initialization, spectral_radius, generator
        self.token_inputs = token_inputs
        self._register_weights({"device": device, "dtype": dtype})
        self._register_leak(leak)
        self.reset_parameters()

    def _register_weights(self, factory: dict[str, Any]) -> None:
        rows = self.blocks * self.hidden_size
        for layer in range(self.num_layers):
            fan_in = self.input_size if layer == 0 else self.hidden_size
            if self.token_inputs and layer == 0:
                self.embedding = nn.Parameter(torch.empty(self.input_size, rows, **factory))
            else:
                self.register_parameter(
                    f"weight_ih_l{layer}", nn.Parameter(torch.empty(rows, fan_in, **factory))
                )
            self.register_parameter(
                f"weight_hh_l{layer}", nn.Parameter(torch.empty(rows, self.hidden_size, **factory))
            )
            if self.bias:
                for name in (f"bias_ih_l{layer}", f"bias_hh_l{layer}"):
                    self.register_parameter(name, nn.Parameter(torch.empty(rows, **factory)))
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self._weight_names = [[f"{kind}_l{layer}" for kind in kinds] for layer in range(self.num_layers)]

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
                for block in parameter.detach().chunk(self.blocks):
                    initialize_recurrent_(
                        block,
                        self.initialization,
                        generator=self.generator,
                        spectral_radius=self.spectral_radius,
                    )
            elif name != "leak":
                with torch.no_grad():
                    parameter.uniform_(-bound, bound, generator=self.generator)

    def initial_state(self, batch: int) -> State:
        """The state of `batch` streams before a sequence: zeros (L, B, H) of the weights' type."""
        like, shape = self.weight_hh_l0, (self.num_layers, batch, self.hidden_size)
        parts = tuple(torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in self.state_tensors)
        return parts[0] if len(parts) == 1 else parts

    def forward(
        self,
        input: Tensor,
        hx: State | None = None,
        starts: Tensor | None = None,
        *,
        all_layers: bool = False,
    ) -> tuple[Any, Any]:
        """Run over a batch of streams, or over one sequence without a stream dimension.

        Args:
            input: (T, B, I), or (B, T, I) with batch_first, or (T, I) unbatched, of the weights' type;
                uint8 or bool for binary frames; token ids as int64 or int32 without the last dimension.
            hx: the state before the first step, (L, B, H) or (L, H); zero by default. That of an LSTM is
                a pair (h, c).
            starts: boolean (T, B), (B, T) or (T,): where a new sequence starts and the state is zero.
            all_layers: whether to return the outputs of every layer, in a list.

        Returns:
            Outputs of the last layer, (T, B, H), (B, T, H) or (T, H), or a list of every layer's; and the
            state of all layers after the last step, in the form of `hx`.
        """
        below, states, marks, unbatched = self._standard_form(input, hx, starts)
        outputs: list[Tensor] = []
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer > 0:
                below = self._dropped(below)
            own = states
            if states is not None and self.num_layers > 1:
                own = map_state(lambda x, i=layer: x[i : i + 1], states)
            below, end = self._layer(layer, below, own, marks)
            outputs.append(below)
            last.append(end)
        final = last[0] if self.num_layers == 1 else map_state(lambda *parts: torch.cat(parts), *last)
        if unbatched:
            outputs = [out.squeeze(1) for out in outputs]
            final = map_state(lambda x: x.squeeze(1), final)
        elif self.batch_first:
            outputs = [out.transpose(0, 1) for out in outputs]
        return (outputs if all_layers else outputs[-1]), final

    def _layer(self, layer: int, below: Tensor, state: Any, starts: Tensor | None) -> tuple[Tensor, State]:
        """Outputs (T, B, H) of one layer and its last state, from its state before; tensors (1, B, H)."""
        raise NotImplementedError

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
        self, input: Tensor, hx: State | None, starts: Tensor | None
    ) -> tuple[Tensor, State | None, Tensor | None, bool]:
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
        self._check_form(hx)
        unbatched = input.dim() == batched_dims - 1
        if unbatched:
            input = input.unsqueeze(1)
            hx = None if hx is None else map_state(lambda x: x.unsqueeze(1), hx)
            starts = None if starts is None else starts.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
            starts = None if starts is None else starts.transpose(0, 1)
        if input.shape[0] == 0:
            raise ValueError("expected at least one time step, got none")
        if hx is not None:
            expected = (self.num_layers, input.shape[1], self.hidden_size)
            for part in (hx,) if isinstance(hx, Tensor) else hx:
                if tuple(part.shape) != expected:
                    raise ValueError(
                        f"expected an initial state of shape {expected}, got {tuple(part.shape)}"
                    )
        return input, hx, starts, unbatched

    def _check_form(self, hx: State | None) -> None:
        """Refuse a tensor where the state is a tuple, and the other way round."""
        names = self.state_tensors
        if hx is None or (isinstance(hx, Tensor) and len(names) == 1):
            return
        if len(names) == 1:
            raise ValueError(f"expected an initial state as one tensor, got a {type(hx).__name__}")
        if isinstance(hx, Tensor) or len(hx) != len(names):
            found = "one tensor" if isinstance(hx, Tensor) else f"{len(hx)} of them"
            raise ValueError(f"expected an initial state of tensors ({', '.join(names)}), got {found}")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, *rest: Any
    ) -> None:
        # A state dict of torch.nn knows no leak: the module's own one stays.
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
        if self.leak is not None:
            text += f", leaky_units={int((self.leak > 0).sum())}"
        return text
