"""Layers in operations that other programs know: for `torch.jit`, both ONNX exporters and `torch.export`.

The kernels of this package are known to nobody else, and a loop that has run says how often it ran. So where
a network is captured, a layer of an ordinary RNN, GRU or LSTM is the operator of that name, of PyTorch or of
ONNX, and any other is a loop whose number of steps is the input's: of TorchScript, or a scan.

Shapes: T time, B streams, I inputs, H hidden, P outputs, K gates.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ostinato.errors import UserError, argument
from ostinato.nn.kernels.projection import TOKEN_TYPES

_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
# In the places by which `rnn_step` knows them.
_PORTABLE = ("tanh", "relu", "sigmoid", "identity")
# Blocks of rows as ONNX has them, in places of PyTorch's: r z n and i f g o here, z r h and i o f c there.
_ONNX_ROWS = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}


class Captured(NamedTuple):
    """A layer in one direction; what it has not is None."""

    cell: str  # RNN, GRU or LSTM
    weight_ih: Tensor  # (K H, I)
    weight_hh: Tensor  # (K H, P)
    bias_ih: Tensor | None  # (K H,)
    bias_hh: Tensor | None  # (K H,)
    projection: Tensor | None  # W_hr (P, H), of an LSTM
    leak: Tensor | None  # (H,)
    nonlinearity: str  # of an RNN

    @property
    def is_operator(self) -> bool:
        """Whether PyTorch and ONNX have an operator that computes it."""
        return self.leak is None and self.nonlinearity in ("tanh", "relu")


def wanted(*, is_operator: bool = False, unrolls: bool = False) -> bool:
    """Whether a network is being captured in such a way that kernels would not come along.

    Args:
        is_operator: whether PyTorch has an operator that `torch.export` could take.
        unrolls: whether the way that is taken otherwise is a loop in Python.
    """
    if torch.jit.is_tracing():
        return True
    return _is_exporting() and (torch.onnx.is_in_onnx_export() or (is_operator and unrolls))


def refuse_capture() -> None:
    """An error where a network is captured: what is about to run depends on the values of a tensor."""
    if torch.jit.is_tracing() or _is_exporting():
        raise RuntimeError(
            "lengths and packed sequences decide how many steps are run, which a trace or an export would "
            "keep as they are now; trace or export the module on a padded batch"
        )


def check(cell: str, nonlinearity: str | None = None) -> None:
    """A UserError unless other programs have the operations of a cell and its nonlinearity.

    Example:
        >>> check("RNN", "softplus")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected a network of operations that ONNX has: cell rnn with ...
    """
    if cell in _ONNX_ROWS and nonlinearity in (None, *_PORTABLE):
        return
    found = cell if nonlinearity is None else f"{cell} with nonlinearity {nonlinearity}"
    raise UserError(
        f"expected a network of operations that ONNX has: {argument('cell')} rnn with "
        f"{argument('nonlinearity')} {', '.join(_PORTABLE[:-1])} or {_PORTABLE[-1]}, gru or lstm; found "
        f"{found}"
    )


def run(
    layer: Captured, below: Tensor, state: tuple[Tensor, ...], starts: Tensor | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The outputs (T, B, P) of a layer, and the state after them.

    Args:
        layer: what runs.
        below: frames (T, B, I), or tokens (T, B).
        state: before the first step, each tensor (1, B, H) or (1, B, P).
        starts: boolean (T, B), where a sequence starts.
    """
    if layer.nonlinearity not in _PORTABLE:
        raise RuntimeError(
            f"expected one of the nonlinearities {', '.join(_PORTABLE)} to trace or export, which other "
            f"programs have, got {layer.nonlinearity!r}"
        )
    tokens = below.dtype in TOKEN_TYPES
    if not tokens:
        below = below.to(layer.weight_hh.dtype)
    if layer.is_operator and starts is None and not tokens:
        if not torch.onnx.is_in_onnx_export() or torch.jit.is_tracing():
            if layer.projection is None or not torch.onnx.is_in_onnx_export():
                return _operator_of_torch(layer, below, state)
        elif layer.projection is None:
            return _operator_of_onnx(layer, below, state)
    drive = F.embedding(below, layer.weight_ih.T) if tokens else below @ layer.weight_ih.T
    if layer.bias_ih is not None:
        drive = drive + layer.bias_ih
    if layer.bias_hh is not None and layer.cell != "GRU":
        drive = drive + layer.bias_hh
    marks = drive.new_zeros(drive.shape[:2], dtype=torch.bool) if starts is None else starts
    leak = layer.leak if layer.leak is not None else layer.weight_hh.new_zeros(state[-1].shape[-1])
    loop = _traced if torch.jit.is_tracing() else _scanned
    out, *last = loop(layer, drive, leak, marks, tuple(x.squeeze(0) for x in state))
    return out, tuple(x.unsqueeze(0) for x in last)


def _operator_of_torch(
    layer: Captured, below: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    has_bias = layer.bias_ih is not None
    weights = [x for x in layer[1:6] if x is not None]
    rest = (weights, has_bias, 1, 0.0, False, False, False)
    if layer.cell == "LSTM":
        out, h, c = torch._VF.lstm(below, state, *rest)
        return out, (h, c)
    name = "gru" if layer.cell == "GRU" else f"rnn_{layer.nonlinearity}"
    out, h = getattr(torch._VF, name)(below, state[0], *rest)
    return out, (h,)


def _operator_of_onnx(
    layer: Captured, below: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    def rows(x: Tensor) -> Tensor:
        blocks = x.chunk(len(_ONNX_ROWS[layer.cell]))
        return torch.cat([blocks[k] for k in _ONNX_ROWS[layer.cell]])

    both = None
    if layer.bias_ih is not None and layer.bias_hh is not None:
        both = torch.cat((rows(layer.bias_ih), rows(layer.bias_hh))).unsqueeze(0)
    settings: dict[str, Any] = {"hidden_size": layer.weight_hh.shape[1]}
    if layer.cell == "RNN":
        settings["activations"] = [layer.nonlinearity.capitalize()]
    elif layer.cell == "GRU":
        settings["linear_before_reset"] = 1
    steps, streams = below.shape[:2]
    shape = (steps, 1, streams, layer.weight_hh.shape[1])
    out, *last = torch.onnx.ops.symbolic_multi_out(
        layer.cell,
        (below, rows(layer.weight_ih).unsqueeze(0), rows(layer.weight_hh).unsqueeze(0), both, None, *state),
        settings,
        dtypes=[below.dtype] * (1 + len(state)),
        shapes=[shape, *(x.shape for x in state)],
    )
    return out.squeeze(1), tuple(last)


def scriptable(module: nn.Module, names: list[str], settings: dict[str, Any]) -> nn.Module:
    """The module of `torch.nn` that computes the same from the same parameters, for TorchScript.

    Args:
        module: an RNN, GRU, LSTM or one of their cells, by class name.
        names: of its parameters.
        settings: what the module of `torch.nn` is made with.

    Raises:
        RuntimeError: there is none.
    """
    kind = type(module).__name__
    own = [module._parameters.get(name) for name in names]
    if getattr(module, "leak", None) is not None:
        why = "a leak"
    elif settings.get("nonlinearity", "tanh") not in ("tanh", "relu"):
        why = f"nonlinearity={settings['nonlinearity']!r}"
    elif getattr(module, "token_inputs", False):
        why = "token_inputs"
    elif any(parameter is None for parameter in own):
        why = "weights that are made from others, by pruning or a parametrisation"
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of dropout, which was given when this was made
            made: nn.Module = getattr(nn, kind)(**settings, device="meta")
        for name, parameter in zip(names, own, strict=True):
            setattr(made, name, parameter)
        return made.train(module.training)
    raise RuntimeError(
        f"torch.jit.script knows no {kind} with {why}; use torch.jit.trace, whose result takes inputs of any "
        "length"
    )


# One step of each cell, in the terms of TorchScript, which compiles them; `nonlinearity` is a place.


def rnn_step(drive: Tensor, weight: Tensor, leak: Tensor, h: Tensor, nonlinearity: int) -> Tensor:
    """h_t of z = drive + W h, (B, H)."""
    z = drive + torch.matmul(h, weight.t())
    if nonlinearity == 0:
        z = torch.tanh(z)
    elif nonlinearity == 1:
        z = torch.relu(z)
    elif nonlinearity == 2:
        z = torch.sigmoid(z)
    return leak * h + (1 - leak) * z


def gru_step(drive: Tensor, weight: Tensor, bias: Tensor, leak: Tensor, h: Tensor) -> Tensor:
    """h_t, (B, H); the bias is that of W h."""
    size = h.shape[1]
    hidden = torch.matmul(h, weight.t()) + bias
    gates = torch.sigmoid(drive[:, : 2 * size] + hidden[:, : 2 * size])
    n = torch.tanh(drive[:, 2 * size :] + gates[:, :size] * hidden[:, 2 * size :])
    kept = gates[:, size:]
    kept = kept + leak * (1 - kept)
    return n + kept * (h - n)


def lstm_step(drive: Tensor, weight: Tensor, leak: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """o_t tanh(c_t) and c_t, (B, H)."""
    size = c.shape[1]
    z = drive + torch.matmul(h, weight.t())
    gates = torch.sigmoid(z)
    i, f, o = gates[:, :size], gates[:, size : 2 * size], gates[:, 3 * size :]
    step = f * c + i * torch.tanh(z[:, 2 * size : 3 * size])
    c = leak * c + (1 - leak) * step
    return o * torch.tanh(c), c


def _rnn_loop(
    drive: Tensor, weight: Tensor, leak: Tensor, starts: Tensor, h: Tensor, nonlinearity: int
) -> tuple[Tensor, Tensor]:
    outputs: list[Tensor] = []
    for t in range(drive.shape[0]):
        h = rnn_step(drive[t], weight, leak, h.masked_fill(starts[t].unsqueeze(-1), 0.0), nonlinearity)
        outputs.append(h)
    return torch.stack(outputs), h


def _gru_loop(
    drive: Tensor, weight: Tensor, bias: Tensor, leak: Tensor, starts: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    outputs: list[Tensor] = []
    for t in range(drive.shape[0]):
        h = gru_step(drive[t], weight, bias, leak, h.masked_fill(starts[t].unsqueeze(-1), 0.0))
        outputs.append(h)
    return torch.stack(outputs), h


def _lstm_loop(
    drive: Tensor, weight: Tensor, projection: Tensor, leak: Tensor, starts: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    outputs: list[Tensor] = []
    for t in range(drive.shape[0]):
        mark = starts[t].unsqueeze(-1)
        h, c = lstm_step(drive[t], weight, leak, h.masked_fill(mark, 0.0), c.masked_fill(mark, 0.0))
        h = torch.matmul(h, projection)
        outputs.append(h)
    return torch.stack(outputs), h, c


@functools.cache
def _scripted(function: Callable[..., Any]) -> Any:
    """A loop as TorchScript, which a trace keeps as a loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)


def _traced(
    layer: Captured, drive: Tensor, leak: Tensor, starts: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The outputs, and the last of each tensor of the state, by a loop of TorchScript."""
    weight, (h, *c) = layer.weight_hh, state
    if layer.cell == "RNN":
        place = _PORTABLE.index(layer.nonlinearity)
        found: tuple[Tensor, ...] = _scripted(_rnn_loop)(drive, weight, leak, starts, h, place)
    elif layer.cell == "GRU":
        found = _scripted(_gru_loop)(drive, weight, _gru_bias(layer), leak, starts, h)
    else:
        projection = torch.eye(leak.shape[0], dtype=h.dtype, device=h.device)
        if layer.projection is not None:
            projection = layer.projection.T
        found = _scripted(_lstm_loop)(drive, weight, projection, leak, starts, h, c[0])
    return found


def _gru_bias(layer: Captured) -> Tensor:
    return layer.weight_hh.new_zeros(layer.weight_hh.shape[0]) if layer.bias_hh is None else layer.bias_hh


def _scanned(
    layer: Captured, drive: Tensor, leak: Tensor, starts: Tensor, state: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The same, by PyTorch's scan, which ONNX has too."""
    from torch._higher_order_ops.scan import scan

    # An export to ONNX wants no gradients, and PyTorch 2.13 fails to leave those of a scan out by itself.
    weight, bias, leak, drive = (x.detach() for x in (layer.weight_hh, _gru_bias(layer), leak, drive))
    projection = None if layer.projection is None else layer.projection.detach()
    state = tuple(x.detach() for x in state)
    place = _PORTABLE.index(layer.nonlinearity)

    def step(carried: tuple[Tensor, ...], given: tuple[Tensor, Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
        own, mark = given
        h, *c = (torch.where(mark.unsqueeze(-1), torch.zeros_like(x), x) for x in carried)
        if layer.cell == "RNN":
            made: tuple[Tensor, ...] = (rnn_step(own, weight, leak, h, place),)
        elif layer.cell == "GRU":
            made = (gru_step(own, weight, bias, leak, h),)
        else:
            made = lstm_step(own, weight, leak, h, c[0])
            if projection is not None:
                made = (made[0] @ projection.T, made[1])
        return made, made[0].clone()  # what is carried must not be what is returned

    last, out = scan(step, state, (drive, starts))
    return out, *last
