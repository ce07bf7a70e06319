"""A layer of a rate network in native code: what `native/rnn/rate_layer.hpp` offers.

    drive = x U^T + b + b2 + n     or, where noise is at the state, its push is n;      n = scale xi
    leaky       h_t = a h_{t-1} + (1 - a) phi(drive_t + W h_{t-1}) + push_t
    fed back    h_t = a h_{t-1} + W r_{t-1} + drive_t,   r_t = phi(h_t)

Drive and noise are made step by step and kept nowhere. Whoever calls has asked
`ostinato.nn.kernels.plain` about the tensors.

Shapes: T time, B streams, I inputs, H hidden.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.nn.kernels import cpu, layer_cpu, nonlinearities

_FEW_INPUTS = (
    16  # up to here a step's drive is made just before it; a product of matrices makes all that of more
)


class RateLayer(NamedTuple):
    """What goes into a layer; None is what it has not."""

    inputs: Tensor | None  # x (T, B, I)
    weight_ih: Tensor | None  # U (H, I)
    bias: Tensor | None  # b (H,)
    second_bias: Tensor | None  # b2 (H,)
    drive: Tensor | None  # (T, B, H), where there are no inputs
    weight_hh: Tensor  # W (H, H)
    leak: Tensor | None  # a (H,)
    scale: Tensor | None  # of the noise (H,)
    draws: Tensor | None  # xi (T, B, H)
    key: Tensor | None  # int64 (): of xi that is not given
    h0: Tensor  # (B, H)
    r0: Tensor | None  # (B, H), where rates are fed back
    starts: Tensor | None  # (T, B), bool


class Rates(NamedTuple):
    """What a layer computes."""

    rates: Tensor  # (T, B, H)
    last: Tensor  # (1, B, H): the state after the last step
    # (T * B * H,), for the native code's use, in the order of native/linear/frames.hpp; None where not kept
    slopes: Tensor | None


def forward(
    layer: RateLayer,
    nonlinearity: str,
    noise_at_state: bool,
    extension: Any = None,
    *,
    keep_slopes: bool = True,
    may_be_sparse: bool = False,
) -> Rates:
    """The rates, and what the way back needs besides; the last two as in `layer_cpu.forward`.

    Where slopes are kept, the rates are in memory that is kept for the next ones when they go, as in
    `cpu.scratch`: without it every page of theirs and of their gradient would come anew in most steps.
    """
    shape = _check(layer)
    layer = _contiguous(layer)
    name, parameter = nonlinearities.parse(nonlinearity)
    weight = layer.weight_hh
    kept = keep_slopes or not cpu.has_sparse()
    rates = cpu.scratch(math.prod(shape), weight.dtype).view(shape) if kept else weight.new_empty(*shape)
    last = None if layer.r0 is None else weight.new_empty(1, *shape[1:])
    slopes = cpu.scratch(rates.numel(), weight.dtype) if kept else None
    drive = layer.drive
    if drive is None:
        assert layer.inputs is not None
        assert layer.weight_ih is not None
        if layer.inputs.shape[2] > _FEW_INPUTS:
            layer_cpu.project_to(layer.inputs, layer.weight_ih, layer.bias, layer.second_bias, rates)
            drive = rates
    (extension or cpu.extension()).rate_forward(
        weight.dtype is torch.float64,
        shape,
        0 if layer.inputs is None else layer.inputs.shape[2],
        _address(layer.inputs),
        _address(layer.weight_ih),
        _address(layer.bias),
        _address(layer.second_bias),
        _address(drive),
        _address(layer.scale),
        _address(layer.draws),
        0 if layer.key is None else int(layer.key),
        noise_at_state,
        weight.data_ptr(),
        _address(layer.leak),
        layer.h0.data_ptr(),
        _address(layer.r0),
        _address(layer.starts),
        rates.data_ptr(),
        _address(last),
        _address(slopes),
        nonlinearities.NONLINEARITIES.index(name),
        parameter,
        *cpu.may_be_sparse(may_be_sparse),
        torch.get_num_threads(),
    )
    return Rates(rates, rates[-1:].clone() if last is None else last, slopes)


class Gradients(NamedTuple):
    """What comes back through a layer; None where it was not asked for."""

    drive: Tensor | None  # (T, B, H)
    h0: Tensor  # (B, H)
    r0: Tensor | None
    weight_ih: Tensor | None
    bias: Tensor | None
    second_bias: Tensor | None
    weight_hh: Tensor | None


def backward(
    layer: RateLayer,
    rates: Tensor,
    slopes: Tensor,
    grad_rates: Tensor,
    wanted: tuple[bool, bool, bool, bool],
    want_drive: bool,
    extension: Any = None,
    *,
    may_be_sparse: bool = False,
) -> Gradients:
    """All gradients of a layer but the inputs', which is the drive's times U.

    Args:
        layer: as given to `forward`.
        rates: what `forward` made of it.
        slopes: likewise.
        grad_rates: of the rates (T, B, H).
        wanted: whether those of U, b, b2 and W are.
        want_drive: whether the drive's is; where it is not, it needs no tensor of its own.
        extension: the native kernels of one instruction set; the best by default.
        may_be_sparse: as given to `forward`.
    """
    shape = tuple(rates.shape)
    if tuple(grad_rates.shape) != shape or grad_rates.dtype is not rates.dtype:
        raise ValueError(
            f"the gradient must be {rates.dtype} {shape}, got {grad_rates.dtype} {tuple(grad_rates.shape)}"
        )
    layer = _contiguous(layer)
    grad_rates, rates, weight = grad_rates.contiguous(), rates.contiguous(), layer.weight_hh
    feeds_back, drive = layer.r0 is not None, torch.empty_like(rates) if want_drive else None
    first = rates.new_empty(*shape[1:])
    parameters = (layer.weight_ih, layer.bias, layer.second_bias, weight)
    grads = [
        torch.empty_like(of) if want and of is not None else None
        for of, want in zip(parameters, wanted, strict=True)
    ]
    grad_ih, grad_bias, second, grad_hh = grads
    (extension or cpu.extension()).rate_backward(
        weight.dtype is torch.float64,
        shape,
        feeds_back,
        0 if layer.inputs is None else layer.inputs.shape[2],
        _address(layer.inputs),
        grad_rates.data_ptr(),
        slopes.data_ptr(),
        rates.data_ptr(),
        _address(layer.r0 if feeds_back else layer.h0),
        weight.data_ptr(),
        _address(layer.leak),
        _address(layer.starts),
        _address(drive),
        first.data_ptr(),
        _address(grad_hh),
        _address(grad_ih),
        _address(grad_bias),
        _address(second),
        *cpu.may_be_sparse(may_be_sparse),
        torch.get_num_threads(),
    )
    if not feeds_back:
        return Gradients(drive, first, None, *grads)
    if layer.starts is not None:
        first = first.masked_fill(layer.starts[0].unsqueeze(-1), 0)
    assert layer.leak is not None
    return Gradients(drive, first * layer.leak, first @ weight, *grads)


def _contiguous(layer: RateLayer) -> RateLayer:
    held: Any = (None if t is None else t.contiguous() for t in layer)
    return RateLayer(*held)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _check(layer: RateLayer) -> tuple[int, int, int]:
    """T, B and H; everything that the native code takes on trust."""
    like = layer.inputs if layer.drive is None else layer.drive
    if like is None or like.dim() != 3 or not like.numel():
        raise ValueError("a layer has inputs (T, B, I) or a drive (T, B, H), of (1, 1, 1) at least")
    (steps, streams, inputs), hidden = like.shape, layer.weight_hh.shape[0]
    dtype = layer.weight_hh.dtype
    if dtype not in (torch.float32, torch.float64) or not layer.weight_hh.is_cpu:
        raise ValueError(f"weights must be float32 or float64 on the CPU, got {dtype}")
    if (layer.draws is not None) + (layer.key is not None) != (layer.scale is not None):
        raise ValueError("noise has a scale and either draws or a key")
    if layer.r0 is not None and layer.leak is None:
        raise ValueError("rates that are fed back have a leak")
    row, frame = (hidden,), (steps, streams, hidden)
    for name, tensor, shape, kind in (
        ("inputs", layer.inputs if layer.drive is None else None, (steps, streams, inputs), dtype),
        ("weight_ih", layer.weight_ih if layer.drive is None else None, (hidden, inputs), dtype),
        ("bias", layer.bias, row, dtype),
        ("the second bias", layer.second_bias, row, dtype),
        ("the drive", layer.drive, frame, dtype),
        ("weight_hh", layer.weight_hh, (hidden, hidden), dtype),
        ("leak", layer.leak, row, dtype),
        ("the noise's scale", layer.scale, row, dtype),
        ("draws", layer.draws, frame, dtype),
        ("the key", layer.key, (), torch.int64),
        ("the initial state", layer.h0, frame[1:], dtype),
        ("the initial rates", layer.r0, frame[1:], dtype),
        ("starts", layer.starts, frame[:2], torch.bool),
    ):
        if tensor is not None and not (tensor.shape == shape and tensor.dtype is kind and tensor.is_cpu):
            raise layer_cpu.mismatch(name, tensor, shape, kind)
    return steps, streams, hidden
