"""RNNCell, GRUCell and LSTMCell: one step of one layer, as in `torch.nn`, with leaky units.

Shapes: B streams, I inputs, H hidden, K blocks of H rows in a weight matrix.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ostinato.nn.cells import portable, settings
from ostinato.nn.cells.leak import LEARNED, Leaking
from ostinato.nn.kernels import nonlinearities
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan.gated import gated_scan
from ostinato.nn.scan.layer import recurrent_layer


class _Cell(Leaking):
    """What the three share.

    Args:
        input_size, hidden_size, bias: as in `torch.nn.RNNCellBase`.
        leak: as in `ostinato.nn.RNN`.
        generator: source of randomness for the weights.
        device, dtype: of the parameters.
    """

    cell: ClassVar[str] = "RNN"
    blocks: ClassVar[int] = 1
    states: ClassVar[int] = 1

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        leak: float | Tensor | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        settings.check_sizes(input_size, hidden_size, 1)
        self.input_size, self.hidden_size, self.bias, self.generator = (
            input_size,
            hidden_size,
            bias,
            generator,
        )
        rows = self.blocks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        for name in ("bias_ih", "bias_hh"):
            vector = nn.Parameter(torch.empty(rows, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, vector)
        self._register_leak(leak, self.weight_hh)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight again from the generator; the leak stays."""
        bound = 1 / math.sqrt(self.hidden_size)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name != LEARNED:
                    parameter.uniform_(-bound, bound, generator=self.generator)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """One step.

        Args:
            input: (B, I), or (I,) unbatched.
            hx: the state before it, (B, H) or (H,); zero by default. That of an LSTMCell is a pair (h, c).

        Returns:
            The state after it, in the form of `hx`.
        """
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        parts = self._parts(hx)
        for place, part in enumerate(parts):
            if part.dim() not in (1, 2):
                which = "hidden" if self.states == 1 else f"hx[{place}]"
                raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {part.dim()}D instead")
        unbatched = input.dim() == 1
        if unbatched:
            input, parts = input.unsqueeze(0), tuple(part.unsqueeze(0) for part in parts)
        if not parts:
            zero = torch.zeros(
                input.shape[0], self.hidden_size, dtype=self.weight_hh.dtype, device=input.device
            )
            parts = (zero,) * self.states
        if not torch.jit.is_tracing():  # where sizes are no numbers
            self._check(input, parts)
        made = self._captured(input, parts) if portable.wanted() else self._step(input, parts)
        if unbatched:
            made = tuple(part.squeeze(0) for part in made)
        return made[0] if self.states == 1 else made

    def _parts(self, hx: Any) -> tuple[Tensor, ...]:
        if hx is None:
            return ()
        if (self.states == 1) != isinstance(hx, Tensor) or (self.states > 1 and len(hx) != self.states):
            wanted = "one tensor" if self.states == 1 else "tensors (h, c)"
            found = "one tensor" if isinstance(hx, Tensor) else f"a {type(hx).__name__} of {len(hx)}"
            raise ValueError(f"expected hx as {wanted}, got {found}")
        return (hx,) if self.states == 1 else tuple(hx)

    def _check(self, input: Tensor, parts: tuple[Tensor, ...]) -> None:
        if input.shape[1] != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {input.shape[1]} expected {self.input_size}"
            )
        for place, part in enumerate(parts):
            if part.shape[0] != input.shape[0]:
                raise RuntimeError(
                    f"Input batch size {input.shape[0]} doesn't match hidden{place} batch size "
                    f"{part.shape[0]}"
                )
            if part.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{place} has inconsistent hidden_size: got {part.shape[1]}, expected "
                    f"{self.hidden_size}"
                )

    def _step(self, input: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The state after the step, tensors (B, H)."""
        raise NotImplementedError

    def _captured(self, input: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`_step`, in operations that other programs know."""
        layer = portable.Captured(
            self.cell,
            self.weight_ih,
            self.weight_hh,
            self.bias_ih,
            self.bias_hh,
            None,
            self.leak,
            getattr(self, "nonlinearity", "tanh"),
        )
        _, last = portable.run(layer, input.unsqueeze(0), tuple(x.unsqueeze(0) for x in parts), None)
        return tuple(x.squeeze(0) for x in last)

    def __prepare_scriptable__(self) -> nn.Module:
        """What `torch.jit.script` compiles in this module's place."""
        names = ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ())]
        kinds = ("input_size", "hidden_size", "bias", *self._operator_settings())
        return portable.scriptable(self, names, {name: getattr(self, name) for name in kinds})

    def _operator_settings(self) -> tuple[str, ...]:
        """Further settings of the module of `torch.nn`."""
        return ()

    def _settings(self) -> tuple[tuple[str, Any, Any], ...]:
        leaking = self._buffers.get("leak") is not None
        return (
            ("bias", self.bias, True),
            ("leak", leaking, False),
            ("learned_leak", self.learned_leak, False),
        )

    def extra_repr(self) -> str:
        """The settings that differ from the defaults."""
        return settings.differing((self.input_size, self.hidden_size), self._settings())


class RNNCell(_Cell):
    """One step of an `RNN`: h' = a h + (1 - a) phi(W_ih x + b_ih + W_hh h + b_hh).

    With `leak=None` it computes what `torch.nn.RNNCell` computes, from the same parameters.

    Args:
        input_size, hidden_size, bias: as in `torch.nn.RNNCell`.
        nonlinearity: phi, as in `RNN`.
        leak, generator, device, dtype: as in `RNN`.

    Example:
        >>> cell = RNNCell(3, 5, leak=0.5)
        >>> cell(torch.zeros(2, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", **further: Any
    ) -> None:
        nonlinearities.check(nonlinearity)
        super().__init__(input_size, hidden_size, bias, **further)
        self.nonlinearity = nonlinearity

    def _operator_settings(self) -> tuple[str, ...]:
        return ("nonlinearity",)

    def _step(self, input: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        _, last = recurrent_layer(
            input.unsqueeze(0),
            self.weight_ih,
            self.bias_ih,
            self.weight_hh,
            self.leak,
            parts[0],
            None,
            self.nonlinearity,
            self.bias_hh,
        )
        return (last.view_as(parts[0]),)

    def _settings(self) -> tuple[tuple[str, Any, Any], ...]:
        return (*super()._settings(), ("nonlinearity", self.nonlinearity, "tanh"))


class GRUCell(_Cell):
    """One step of a `GRU`, whose equations it has.

    With `leak=None` it computes what `torch.nn.GRUCell` computes, from the same parameters.

    Args:
        input_size, hidden_size, bias: as in `torch.nn.GRUCell`.
        leak, generator, device, dtype: as in `RNN`.

    Example:
        >>> GRUCell(3, 5)(torch.zeros(2, 3), torch.zeros(2, 5)).shape
        torch.Size([2, 5])
    """

    cell: ClassVar[str] = "GRU"
    blocks: ClassVar[int] = 3

    def _step(self, input: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        drive = project(input.unsqueeze(0), self.weight_ih, self.bias_ih)
        states, _ = gated_scan(drive, self.weight_hh, self.bias_hh, self.leak, parts[0], None, None, "gru")
        return (states.squeeze(0),)


class LSTMCell(_Cell):
    """One step of an `LSTM`, whose equations it has; its state is a pair (h, c).

    With `leak=None` it computes what `torch.nn.LSTMCell` computes, from the same parameters.

    Args:
        input_size, hidden_size, bias: as in `torch.nn.LSTMCell`.
        leak, generator, device, dtype: as in `RNN`.

    Example:
        >>> h, c = LSTMCell(3, 5)(torch.zeros(2, 3))
        >>> h.shape, c.shape
        (torch.Size([2, 5]), torch.Size([2, 5]))
    """

    cell: ClassVar[str] = "LSTM"
    blocks: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def _step(self, input: Tensor, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        drive = project(input.unsqueeze(0), self.weight_ih, self.bias_ih, self.bias_hh)
        states, cells = gated_scan(drive, self.weight_hh, None, self.leak, parts[0], parts[1], None, "lstm")
        return states.squeeze(0), cells.squeeze(0)
