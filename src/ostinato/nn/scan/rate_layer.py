"""A layer of a rate network as one step of the autograd graph on the CPU: drive, noise and scan.

    drive = x U^T + b + b2 + n     or, where noise is at the state, its push is n;      n = scale xi
    leaky       h_t = a h_{t-1} + (1 - a) phi(drive_t + W h_{t-1}) + push_t
    fed back    h_t = a h_{t-1} + W r_{t-1} + drive_t,   r_t = phi(h_t)

The composition of `project`, noise and a scan computes the same, and writes and reads a tensor (T, B, H) for
every part. This serves plain eager training; whatever differentiates in another way (`torch.func`, forward
mode, `torch.compile`, a gradient for the leak, the scale or the draws), and tensors that are not numbers in
memory, get the composition.

Shapes: T time, B streams, I inputs, H hidden.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ostinato.nn.kernels import cpu, rates_cpu, select
from ostinato.nn.kernels.by_stream import recorder
from ostinato.nn.kernels.plain import plain, still_plain
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan import functions
from ostinato.nn.scan.layer import way_back
from ostinato.nn.scan.noise import Noise
from ostinato.nn.scan.rates import fed_back_scan, pushed_scan
from ostinato.nn.scan.recurrence import leaky_scan


@dataclass(frozen=True)
class Settings:
    """What is no tensor: phi, and where noise acts."""

    nonlinearity: str
    noise_at_state: bool
    masked: bool = False  # W has connections that do not exist


def rate_layer(
    inputs: Tensor | None,
    weights: tuple[Tensor | None, Tensor | None, Tensor | None],
    drive: Tensor | None,
    weight_hh: Tensor,
    leak: Tensor | None,
    noise: Noise | None,
    scale: Tensor | None,
    start: tuple[Tensor, Tensor | None],
    starts: Tensor | None,
    settings: Settings,
) -> tuple[Tensor, Tensor]:
    """The rates (T, B, H) and the state after the last step (1, B, H).

    Args:
        inputs: x (T, B, I), or None where the drive is given.
        weights: U (H, I), b (H,), b2 (H,).
        drive: (T, B, H), where there are no inputs.
        weight_hh: W (H, H).
        leak: a (H,), or None for none.
        noise: xi, or None for none.
        scale: of the noise, (H,).
        start: h0 (B, H), and r0 (B, H) where rates are fed back.
        starts: boolean (T, B): where a sequence starts from zero.
        settings: phi, where noise acts, and whether W is masked: see `recurrent_layer`.
    """
    draws, key = (None, None) if noise is None else (noise.draws, noise.key)
    given = rates_cpu.RateLayer(
        inputs if drive is None else None,
        *(weights if drive is None else (None, None, None)),
        drive,
        weight_hh,
        leak,
        None if noise is None else scale,
        draws,
        key,
        *start,
        starts,
    )
    if not _fuses(given):
        return _composition(*given, settings)
    return _apply(*given, settings, way_back(*given))


def _composition(*arguments: Any) -> tuple[Tensor, Tensor]:
    *tensors, settings = arguments
    layer = rates_cpu.RateLayer(*tensors)
    drive, push = layer.drive, None
    if drive is None:
        assert layer.inputs is not None
        assert layer.weight_ih is not None
        drive = project(layer.inputs, layer.weight_ih, layer.bias, layer.second_bias)
    if layer.scale is not None:
        scaled = Noise(layer.draws, layer.key).drawn(drive.shape, drive.dtype) * layer.scale
        drive, push = (drive, scaled) if settings.noise_at_state else (drive + scaled, None)
    phi, common = settings.nonlinearity, (layer.h0, layer.starts)
    if layer.r0 is not None:
        assert layer.leak is not None
        rates, states = fed_back_scan(
            drive, layer.weight_hh, layer.leak, layer.h0, layer.r0, layer.starts, phi
        )
        return rates, states[-1:].clone()
    if push is None:
        states = leaky_scan(drive, layer.weight_hh, layer.leak, *common, phi)
    else:
        assert layer.leak is not None
        states = pushed_scan(drive, layer.weight_hh, layer.leak, push, *common, phi)
    return states, states[-1:].clone()


def _fuses(layer: rates_cpu.RateLayer) -> bool:
    """Whether one call of the native code does all that is asked."""
    frames = layer.inputs if layer.drive is None else layer.drive
    dtype = layer.weight_hh.dtype
    return (
        plain(*layer)
        and forward_ad._current_level < 0
        and frames is not None
        and frames.dim() == 3
        and frames.dtype is dtype
        and frames.numel() > 0
        and not (torch.is_grad_enabled() and _wants_more(layer))
        and (layer.starts is None or layer.starts.dtype is torch.bool)
        and (layer.draws is None or layer.draws.dtype is dtype)
        and recorder(layer.weight_ih, layer.bias, layer.second_bias, layer.weight_hh) is None
        and select.has_native(dtype)
        and cpu.has_noise()
    )


def _wants_more(layer: rates_cpu.RateLayer) -> bool:
    return any(t is not None and t.requires_grad for t in (layer.leak, layer.scale, layer.draws))


class _RateLayer(torch.autograd.Function):
    """A layer's tensors -> rates and last; derivatives of derivatives go by the composition's."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
        """One scan that makes its drive and its noise."""
        *tensors, ctx.settings, returns = arguments
        layer = rates_cpu.RateLayer(*tensors)
        ctx.may_be_sparse = ctx.settings.masked or not (returns and layer.weight_hh.requires_grad)
        rates, last, slopes = rates_cpu.forward(
            layer,
            ctx.settings.nonlinearity,
            ctx.settings.noise_at_state,
            keep_slopes=returns,
            may_be_sparse=ctx.may_be_sparse,
        )
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, slopes, rates)
        return rates, last

    @staticmethod
    def backward(ctx: Any, grad_rates: Tensor | None, grad_last: Tensor | None) -> tuple[Tensor | None, ...]:
        """One adjoint scan and one product for each weight."""
        *tensors, slopes, rates = ctx.saved_tensors
        if grad_rates is None and grad_last is None:
            return (None,) * len(ctx.needs_input_grad)
        layer = rates_cpu.RateLayer(*tensors)
        if layer.r0 is None and grad_last is not None:
            before = torch.zeros_like(rates[:-1]) if grad_rates is None else grad_rates[:-1]
            end = grad_last if grad_rates is None else grad_last + grad_rates[-1:]
            grad_rates, grad_last = torch.cat((before, end)), None
        simple = grad_last is None and grad_rates is not None and plain(grad_rates)
        if functions.is_differentiated() or not (simple and still_plain(*tensors, rates)):
            return _differentiable_backward(ctx, tensors, grad_rates, grad_last)
        assert grad_rates is not None
        needs = rates_cpu.RateLayer(*ctx.needs_input_grad[:-2])
        made = _gradients(needs, layer, rates, slopes, grad_rates, ctx.may_be_sparse)
        return (*(made.get(name) for name in layer._fields), None, None)


def _gradients(
    needs: rates_cpu.RateLayer,
    layer: rates_cpu.RateLayer,
    rates: Tensor,
    slopes: Tensor,
    grad_rates: Tensor,
    may_be_sparse: bool,
) -> dict[str, Tensor | None]:
    """Those of a layer's tensors that are needed, by name."""
    wanted = (bool(needs.weight_ih), bool(needs.bias), bool(needs.second_bias), bool(needs.weight_hh))
    want_drive = bool(needs.inputs or needs.drive)
    made = rates_cpu.backward(
        layer, rates, slopes, grad_rates, wanted, want_drive, may_be_sparse=may_be_sparse
    )
    found = made._asdict()
    if needs.inputs and made.drive is not None:
        assert layer.inputs is not None
        assert layer.weight_ih is not None
        found["inputs"] = (made.drive.flatten(0, 1) @ layer.weight_ih).view(layer.inputs.shape)
    return {name: grad for name, grad in found.items() if getattr(needs, name)}


@functions.without_autocast
def _differentiable_backward(
    ctx: Any, tensors: list[Tensor | None], grad_rates: Tensor | None, grad_last: Tensor | None
) -> tuple[Tensor | None, ...]:
    """The composition again, and its own gradients, which PyTorch can differentiate or batch in turn."""
    needed = ctx.needs_input_grad[:-2]
    with torch.enable_grad():
        # each argument by itself, also where two are one tensor
        own = [t.view_as(t) if t is not None and need else t for t, need in zip(tensors, needed, strict=True)]
        outputs = _composition(*own, ctx.settings)
    pairs = [(x, g) for x, g in zip(outputs, (grad_rates, grad_last), strict=True) if g is not None]
    wanted = [t for t, need in zip(own, needed, strict=True) if t is not None and need]
    grads = iter(
        torch.autograd.grad(
            [x for x, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=torch.is_grad_enabled(),
            allow_unused=True,
        )
    )
    return (
        *(next(grads) if t is not None and need else None for t, need in zip(own, needed, strict=True)),
        None,
        None,
    )


_apply = functions.plain_apply(_RateLayer)
