"""One layer of a rate network as a scan: what each of its forms is in the terms of the scans that exist.

With a = dt / tau, k = 1 - a, and everything in small letters per unit:

    outside         leaky scan, with drive u + n; with noise at the state a push of a n
    inside          r = phi((k + a W) r + a (u + n)): a scan without leak, of other weights
    preactivation   h = k h + (a W) phi(h) + a (u + n): a scan whose rates are fed back

All these scans start from zero where a sequence starts. Another initial state s adds what it would have
contributed to that step: W s to the drive, k s to the push, and so on.

Shapes: T time, B streams, I inputs, H hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ostinato.nn.kernels import nonlinearities, rates
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan.layer import recurrent_layer
from ostinato.nn.scan.rates import fed_back_scan, pushed_scan
from ostinato.nn.scan.recurrence import leaky_scan

Phi = str | Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RateLayer:
    """A layer's settings and effective weights; what it has not is None."""

    form: str
    phi: Phi
    alpha: Tensor  # a (H,)
    weight: Tensor  # W (H, H)
    input_weight: Tensor | None  # U (H, I); None where the drive is given
    biases: tuple[Tensor | None, Tensor | None]  # (H,)
    initial: Tensor | None  # s (H,); zero if None
    noise: Tensor | None  # sigma, () or (H,), beside the input
    state_noise: Tensor | None  # sigma, outside of phi

    def apply(self, x: Tensor) -> Tensor:
        """phi(x)."""
        return nonlinearities.value(self.phi, x) if isinstance(self.phi, str) else self.phi(x)


def run(
    layer: RateLayer,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    draws: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Rates (T, B, H) and the last state (1, B, H).

    Args:
        layer: what runs.
        below: inputs, (T, B, I), or tokens (T, B).
        drive: U x + b of tokens, (T, B, H); made of `below` if None.
        h0: the state before the first step, (B, H); the initial one if None.
        starts: boolean (T, B), where a sequence starts.
        draws: xi, (T, B, H), or None for no noise.
    """
    if h0 is None and layer.initial is not None:
        h0 = layer.initial.expand(below.shape[1], -1)
    form = {"outside": _outside, "inside": _inside, "preactivation": _preactivation}[layer.form]
    return form(layer, below, drive, h0, starts, draws)


def _drive(
    layer: RateLayer, below: Tensor, drive: Tensor | None, scale: Tensor | None, draws: Tensor | None
) -> Tensor:
    """scale (u + n), (T, B, H)."""
    if drive is not None:
        drive = drive if scale is None else drive * scale
    else:
        assert layer.input_weight is not None
        weight, (bias, second) = layer.input_weight, layer.biases
        if scale is not None:
            weight = scale.unsqueeze(1) * weight
            bias, second = (None if b is None else scale * b for b in (bias, second))
        drive = project(below, weight, bias, second)
    if draws is None or layer.noise is None:
        return drive
    size = _scaled_noise(layer.alpha, layer.noise)
    return drive + draws * (size if scale is None else scale * size)


def _scaled_noise(alpha: Tensor, sigma: Tensor) -> Tensor:
    """sqrt(2 / a) sigma, (H,)."""
    return torch.sqrt(2 / alpha) * sigma


def _at_starts(x: Tensor, starts: Tensor, addition: Tensor) -> Tensor:
    """x (T, B, H), and the addition (H,) where a sequence starts."""
    return torch.where(starts.unsqueeze(-1), x + addition, x)


def _start(h0: Tensor | None, drive: Tensor) -> Tensor:
    return torch.zeros_like(drive[0]) if h0 is None else h0


def _scanned(
    layer: RateLayer,
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    push: Tensor | None,
    first: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """All states of h' = a h + (1 - a) phi(W h + drive) + push, (T, B, H); step by step of a function phi."""
    if not isinstance(layer.phi, str):
        kept = torch.zeros_like(layer.alpha) if leak is None else leak
        return rates.steps(drive, weight, kept, push, first, starts, layer.phi, feeds_back=False)[0]
    if push is None:
        return leaky_scan(drive, weight, leak, first, starts, layer.phi)
    assert leak is not None
    return pushed_scan(drive, weight, leak, push, first, starts, layer.phi)


def _outside(
    layer: RateLayer,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    draws: Tensor | None,
) -> tuple[Tensor, Tensor]:
    leak, resets = 1 - layer.alpha, starts if layer.initial is not None else None
    in_drive = draws if layer.noise is not None else None
    in_state = draws if layer.state_noise is not None else None
    if isinstance(layer.phi, str) and drive is None and resets is None and draws is None:
        assert layer.input_weight is not None
        bias, second = layer.biases
        return recurrent_layer(
            below, layer.input_weight, bias, layer.weight, leak, h0, starts, layer.phi, second
        )
    drive = _drive(layer, below, drive, None, in_drive)
    push = None
    if in_state is not None and layer.state_noise is not None:
        push = in_state * (layer.alpha * _scaled_noise(layer.alpha, layer.state_noise))
    if resets is not None and layer.initial is not None:
        drive = _at_starts(drive, resets, layer.weight @ layer.initial)
        push = _at_starts(torch.zeros_like(drive) if push is None else push, resets, leak * layer.initial)
    first = _start(h0, drive)
    out = _scanned(layer, drive, layer.weight, leak, push, first, starts)
    return out, out[-1:].clone()


def _inside(
    layer: RateLayer,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    draws: Tensor | None,
) -> tuple[Tensor, Tensor]:
    alpha = layer.alpha
    weight = alpha.unsqueeze(1) * layer.weight + torch.diag(1 - alpha)
    resets = starts if layer.initial is not None else None
    if isinstance(layer.phi, str) and drive is None and resets is None and draws is None:
        assert layer.input_weight is not None
        bias, second = (None if b is None else alpha * b for b in layer.biases)
        scaled = alpha.unsqueeze(1) * layer.input_weight
        return recurrent_layer(below, scaled, bias, weight, None, h0, starts, layer.phi, second)
    drive = _drive(layer, below, drive, alpha, draws)
    if resets is not None and layer.initial is not None:
        drive = _at_starts(drive, resets, weight @ layer.initial)
    first = _start(h0, drive)
    out = _scanned(layer, drive, weight, None, None, first, starts)
    return out, out[-1:].clone()


def _preactivation(
    layer: RateLayer,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    draws: Tensor | None,
) -> tuple[Tensor, Tensor]:
    alpha = layer.alpha
    leak, weight = 1 - alpha, alpha.unsqueeze(1) * layer.weight
    drive = _drive(layer, below, drive, alpha, draws)
    if starts is not None:
        # also where the initial state is zero: phi(0) need not be
        initial = torch.zeros_like(alpha) if layer.initial is None else layer.initial
        drive = _at_starts(drive, starts, leak * initial + weight @ layer.apply(initial))
    first = _start(h0, drive)
    if isinstance(layer.phi, str):
        out, states = fed_back_scan(drive, weight, leak, first, layer.apply(first), starts, layer.phi)
    else:
        out, states = rates.steps(drive, weight, leak, None, first, starts, layer.phi, feeds_back=True)
    return out, states[-1:].clone()
