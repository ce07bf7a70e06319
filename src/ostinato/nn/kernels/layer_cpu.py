"""A whole recurrent layer in native code: what `native/rnn/layer.hpp` offers.

    drive = x U^T + b + b2,   h = scan(drive, W, a, h0, starts),   and the gradients of all of them

Inputs that are mostly zeros (piano-rolls, as bytes or as numbers) cost a sum over what is not zero. A short
scan takes about 100 microseconds, so every tensor operation saved here counts: one call each way. Whoever
calls has asked `ostinato.nn.kernels.plain` about the tensors.

Shapes: T time, B streams, N = T * B frames, I inputs, H hidden.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.nn.kernels import cpu, nonlinearities
from ostinato.nn.kernels.projection import sum_of_biases

BINARY = (torch.uint8, torch.bool)
_CODES = {name: code for code, name in enumerate(nonlinearities.FUSED)}


class Layer(NamedTuple):
    """What goes into a layer; everything but inputs and weights may be None."""

    inputs: Tensor  # (T, B, I), of the weights' type, uint8 or bool
    weight_ih: Tensor  # U (H, I)
    bias: Tensor | None  # b (H,)
    second_bias: Tensor | None  # b2 (H,)
    weight_hh: Tensor  # W (H, H)
    leak: Tensor | None  # a (H,)
    h0: Tensor | None  # (B, H) or (1, B, H)
    starts: Tensor | None  # (T, B), bool


class Gradients(NamedTuple):
    """What comes back, None where it was not asked for; delta is the drive's gradient (T, B, H)."""

    delta: Tensor | None
    weight_ih: Tensor | None
    bias: Tensor | None
    second_bias: Tensor | None
    weight_hh: Tensor | None
    h0: Tensor  # of h0's own shape


class States(NamedTuple):
    """What a layer computes."""

    states: Tensor  # (T, B, H)
    last: Tensor  # (1, B, H), a copy
    # (T * B * H,), for the native code's use, in the order of native/linear/frames.hpp; None where not kept
    slopes: Tensor | None
    sparse: bool  # whether the inputs were


def forward(
    layer: Layer,
    nonlinearity: str,
    extension: Any = None,
    *,
    keep_slopes: bool = True,
    may_be_sparse: bool = False,
) -> States:
    """The states, and what `backward` needs besides.

    Args:
        layer: what it computes with.
        nonlinearity: one of those that layers have.
        extension: the native kernels of one instruction set; the best by default.
        keep_slopes: whether there will be a way back. Without it there is one array (T, B, H) less.
        may_be_sparse: whether W may be multiplied by its weights that are not zero alone, see
            `cpu.sparse_count`. It is to be the same on the way back.
    """
    x, weight_ih, bias, second_bias, weight, leak, h0, starts = layer
    if nonlinearity not in _CODES:
        nonlinearities.check(nonlinearity)
        raise ValueError(f"a fused layer has {', '.join(nonlinearities.FUSED)}, got {nonlinearity!r}")
    _check(layer)
    steps, streams, inputs = x.shape
    shape, threads = (steps, streams, weight.shape[0]), torch.get_num_threads()
    states = weight.new_empty(*shape)  # one by one: sizes from a tuple take twice as long
    keep_slopes = keep_slopes or not cpu.has_sparse()
    slopes = cpu.scratch(states.numel(), weight.dtype) if keep_slopes else None
    x, weight_ih, weight = x.contiguous(), weight_ih.contiguous(), weight.contiguous()
    # Held in names: an address is good for as long as its tensor lives.
    bias = None if bias is None else bias.contiguous()
    second_bias = None if second_bias is None else second_bias.contiguous()
    leak = None if leak is None else leak.contiguous()
    h0 = None if h0 is None else h0.contiguous()
    starts = None if starts is None else starts.contiguous()
    # empty_like is cheaper than new_empty, whose sizes come from Python.
    last = weight.new_empty(1, streams, shape[2]) if h0 is None or h0.dim() == 2 else torch.empty_like(h0)
    binary = x.dtype in BINARY
    arguments = (
        weight_ih.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        0 if second_bias is None else second_bias.data_ptr(),
        weight.data_ptr(),
        0 if leak is None else leak.data_ptr(),
        0 if h0 is None else h0.data_ptr(),
        0 if starts is None else starts.data_ptr(),
        states.data_ptr(),
        last.data_ptr(),
        0 if slopes is None else slopes.data_ptr(),
        _CODES[nonlinearity],
        *cpu.may_be_sparse(may_be_sparse),
        threads,
    )
    run, float64 = (extension or cpu.extension()).layer_forward, weight.dtype is torch.float64
    address = x.data_ptr()
    if run(float64, shape, inputs, address if binary else 0, 0 if binary else address, *arguments):
        return States(states, last, slopes, True)
    project_to(x, weight_ih, bias, second_bias, states)
    if not run(float64, shape, 0, 0, 0, *arguments):
        raise MemoryError("no memory for the scan's packed weights")
    return States(states, last, slopes, False)


def tangent(
    layer: Layer,
    states: Tensor,
    slopes: Tensor,
    change_ih: Tensor,
    change_hh: Tensor | None,
    change_bias: Tensor | None,
    second_change_bias: Tensor | None,
    extension: Any = None,
) -> Tensor | None:
    """How the states (T, B, H) change with the weights and nothing else; None where inputs are too dense.

    Args:
        layer: as given to `forward`.
        states: what `forward` made of it.
        slopes: likewise; or step by step, (T, B, H).
        change_ih: dU, of the shape of U.
        change_hh: dW, or None for none.
        change_bias: db, or None for none.
        second_change_bias: db2, or None for none.
        extension: the native kernels of one instruction set; the best by default.
    """
    x, _, _, _, weight, leak, h0, starts = layer
    _check(layer._replace(weight_ih=change_ih, bias=change_bias, second_bias=second_change_bias))
    if not (change_hh is None or _fits(change_hh, tuple(weight.shape), weight.dtype)):
        raise mismatch("the change of weight_hh", change_hh, tuple(weight.shape), weight.dtype)
    # held in names: an address is good for as long as its tensor lives
    x, states, slopes, weight = x.contiguous(), states.contiguous(), slopes.contiguous(), weight.contiguous()
    h0, leak, starts = _dense(h0), _dense(leak), _dense(starts)
    changes = [_dense(t) for t in (change_ih, change_hh, change_bias, second_change_bias)]
    tangents = torch.empty_like(states)
    binary, address = x.dtype in BINARY, x.data_ptr()
    made = (extension or cpu.extension()).layer_tangent(
        weight.dtype is torch.float64,
        states.shape,
        x.shape[2],
        address if binary else 0,
        0 if binary else address,
        states.data_ptr(),
        slopes.data_ptr(),
        slopes.dim() == 1,
        0 if h0 is None else h0.data_ptr(),
        weight.data_ptr(),
        0 if leak is None else leak.data_ptr(),
        0 if starts is None else starts.data_ptr(),
        *(_address(t) for t in changes),
        tangents.data_ptr(),
        torch.get_num_threads(),
    )
    return tangents if made else None


def backward(
    layer: Layer,
    states: Tensor,
    slopes: Tensor,
    sparse: bool,
    grad_states: Tensor,
    wanted: tuple[bool, bool, bool, bool],
    want_delta: bool,
    extension: Any = None,
    *,
    may_be_sparse: bool = False,
) -> Gradients:
    """All gradients but the inputs', which is `delta @ weight_ih`.

    Args:
        layer: as given to `forward`.
        states: what `forward` made of it, as are the next two.
        slopes: likewise; or step by step, (T, B, H).
        sparse: likewise.
        grad_states: of the states (T, B, H).
        wanted: whether those of U, b, b2 and W are; a bias that the layer has not has no gradient.
        want_delta: whether delta is; where it is not, it needs no tensor of its own.
        extension: the native kernels of one instruction set; the best by default.
        may_be_sparse: as given to `forward`.
    """
    x, weight_ih, bias, second_bias, weight, leak, h0, starts = layer
    want_ih, want_bias, want_second, want_hh = wanted
    x, weight, grad_states = x.contiguous(), weight.contiguous(), grad_states.contiguous()
    states, slopes = states.contiguous(), slopes.contiguous()
    leak = None if leak is None else leak.contiguous()
    h0 = None if h0 is None else h0.contiguous()
    starts = None if starts is None else starts.contiguous()
    if grad_states.shape != states.shape or grad_states.dtype is not slopes.dtype:
        raise ValueError(
            f"the gradient must be {slopes.dtype} {tuple(states.shape)}, "
            f"got {grad_states.dtype} {tuple(grad_states.shape)}"
        )
    delta = _room_for(states, want_delta)
    grad_h0 = states.new_empty(x.shape[1], weight.shape[0]) if h0 is None else torch.empty_like(h0)
    grad_ih, grad_hh = _room_for(weight_ih, want_ih), _room_for(weight, want_hh)
    grad_bias, second = _room_for(bias, want_bias), _room_for(second_bias, want_second)
    binary, address = x.dtype in BINARY, x.data_ptr()
    (extension or cpu.extension()).layer_backward(
        slopes.dtype is torch.float64,
        states.shape,
        x.shape[2],
        address if binary else 0,
        0 if binary else address,
        sparse,
        grad_states.data_ptr(),
        slopes.data_ptr(),
        slopes.dim() == 1,
        states.data_ptr(),
        0 if h0 is None else h0.data_ptr(),
        weight.data_ptr(),
        0 if leak is None else leak.data_ptr(),
        0 if starts is None else starts.data_ptr(),
        0 if delta is None else delta.data_ptr(),
        grad_h0.data_ptr(),
        0 if grad_hh is None else grad_hh.data_ptr(),
        0 if grad_ih is None else grad_ih.data_ptr(),
        0 if grad_bias is None else grad_bias.data_ptr(),
        0 if second is None else second.data_ptr(),
        *cpu.may_be_sparse(may_be_sparse),
        torch.get_num_threads(),
    )
    return Gradients(delta, grad_ih, grad_bias, second, grad_hh, grad_h0)


def project_to(
    x: Tensor, weight: Tensor, bias: Tensor | None, second_bias: Tensor | None, out: Tensor
) -> None:
    """out = x U^T + b + b2, by a dense product."""
    frames, drive = x.view(-1, x.shape[2]), out.view(-1, out.shape[2])
    if x.dtype is not weight.dtype:
        frames = frames.to(weight.dtype)
    both = sum_of_biases(bias, second_bias)
    if both is None:
        torch.mm(frames, weight.T, out=drive)
    else:
        torch.addmm(both, frames, weight.T, out=drive)


def _room_for(gradient_of: Tensor | None, wanted: bool) -> Tensor | None:
    if not wanted or gradient_of is None:
        return None
    if gradient_of.is_contiguous():
        return torch.empty_like(gradient_of)
    return torch.empty_like(gradient_of, memory_format=torch.contiguous_format)


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _check(layer: Layer) -> None:
    """Everything the native code takes on trust."""
    x, weight_ih, bias, second_bias, weight, leak, h0, starts = layer
    steps, streams, inputs = x.shape
    hidden, dtype = weight.shape[0], weight.dtype
    row, start = (hidden,), (streams, hidden) if h0 is None or h0.dim() == 2 else (1, streams, hidden)
    if (  # all at once, as every pass asks; by name where something is wrong
        dtype not in (torch.float32, torch.float64)
        or not (x.dtype is dtype or x.dtype in BINARY)
        or weight_ih.dtype is not dtype
        or weight_ih.shape != (hidden, inputs)
        or weight.shape != (hidden, hidden)
        or not (bias is None or (bias.dtype is dtype and bias.shape == row))
        or not (second_bias is None or (second_bias.dtype is dtype and second_bias.shape == row))
        or not (leak is None or (leak.dtype is dtype and leak.shape == row))
        or not (h0 is None or (h0.dtype is dtype and h0.shape == start))
        or not (starts is None or (starts.dtype is torch.bool and starts.shape == (steps, streams)))
        or x.numel() == 0
    ):
        _refuse(layer, start)


def _refuse(layer: Layer, start: tuple[int, ...]) -> None:
    x, weight_ih, bias, second_bias, weight, leak, h0, starts = layer
    steps, streams, inputs = x.shape
    hidden, dtype = weight.shape[0], weight.dtype
    if dtype not in (torch.float32, torch.float64) or not weight.is_cpu:
        raise ValueError(f"weights must be float32 or float64 on the CPU, got {dtype} on {weight.device}")
    if not ((x.dtype is dtype or x.dtype in BINARY) and x.is_cpu):
        raise ValueError(f"inputs must be {dtype}, uint8 or bool on the CPU, got {x.dtype} on {x.device}")
    if x.numel() == 0:
        raise ValueError(f"inputs must be of shape (1, 1, 1) at least, got {tuple(x.shape)}")
    row = (hidden,)
    for name, tensor, shape, kind in (
        ("weight_ih", weight_ih, (hidden, inputs), dtype),
        ("bias", bias, row, dtype),
        ("the second bias", second_bias, row, dtype),
        ("weight_hh", weight, (hidden, hidden), dtype),
        ("leak", leak, row, dtype),
        ("the initial state", h0, start, dtype),
        ("starts", starts, (steps, streams), torch.bool),
    ):
        if not (tensor is None or _fits(tensor, shape, kind)):
            raise mismatch(name, tensor, shape, kind)


def _fits(tensor: Tensor, shape: tuple[int, ...], kind: torch.dtype) -> bool:
    return tensor.shape == shape and tensor.dtype is kind and tensor.is_cpu


def mismatch(name: str, tensor: Tensor, shape: tuple[int, ...], kind: torch.dtype) -> ValueError:
    """The error of a tensor that is not what it must be."""
    return ValueError(
        f"{name} must be {kind} {shape} on the CPU, "
        f"got {tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
    )
