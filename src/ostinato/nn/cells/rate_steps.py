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
from ostinato.nn.scan.noise import Noise
from ostinato.nn.scan.rate_layer import Settings, rate_layer
from ostinato.nn.scan.rates import fed_back_scan, pushed_scan
from ostinato.nn.scan.recurrence import leaky_scan

Phi = str | Callable[[Tensor], Tensor]
Inputs = tuple[Tensor | None, Tensor | None, Tensor | None]


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
    masked: bool = False  # whether W has connections that do not exist

    def apply(self, x: Tensor) -> Tensor:
        """phi(x)."""
        return nonlinearities.value(self.phi, x) if isinstance(self.phi, str) else self.phi(x)


@dataclass(frozen=True)
class _Terms:
    """What a form is in the terms of a scan."""

    inputs: Inputs  # U (H, I) and the biases (H,)
    weight: Tensor  # of the recurrence, (H, H)
    leak: Tensor | None  # (H,)
    scale: Tensor | None  # of a given drive, (H,)
    noise: Tensor  # how large it is, (H,)
    feeds_back: bool


def _terms(layer: RateLayer) -> _Terms:
    alpha, at_state = layer.alpha, layer.state_noise is not None
    sigma = layer.state_noise if at_state else layer.noise
    noise = torch.sqrt(2 / alpha) * (0 if sigma is None else sigma)
    inputs = (layer.input_weight, *layer.biases)
    if layer.form == "outside":
        return _Terms(inputs, layer.weight, 1 - alpha, None, alpha * noise if at_state else noise, False)
    column = alpha.unsqueeze(1)
    weight, own = column * layer.weight, layer.input_weight
    bias, second = (None if b is None else alpha * b for b in layer.biases)
    scaled = (None if own is None else column * own, bias, second)
    if layer.form == "inside":
        weight = weight + torch.diag(1 - alpha)
        return _Terms(scaled, weight, None, alpha, alpha * noise, False)
    return _Terms(scaled, weight, 1 - alpha, alpha, alpha * noise, True)


def run(
    layer: RateLayer,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    xi: Noise | None,
) -> tuple[Tensor, Tensor]:
    """Rates (T, B, H) and the last state (1, B, H).

    Args:
        layer: what runs.
        below: inputs, (T, B, I), or tokens (T, B).
        drive: U x + b of tokens, (T, B, H); made of `below` if None.
        h0: the state before the first step, (B, H); the initial one if None.
        starts: boolean (T, B), where a sequence starts.
        xi: standard normal noise (T, B, H), or None for none.
    """
    if h0 is None and layer.initial is not None:
        h0 = layer.initial.expand(below.shape[1], -1)
    terms, phi = _terms(layer), layer.phi
    if drive is not None and terms.scale is not None:
        drive = drive * terms.scale
    if not isinstance(phi, str) or (starts is not None and not _starts_from_zero(layer, terms)):
        return _by_parts(layer, terms, below, drive, h0, starts, xi)
    if xi is None and drive is None and not terms.feeds_back:
        weight, bias, second = terms.inputs
        assert weight is not None
        return recurrent_layer(
            below, weight, bias, terms.weight, terms.leak, h0, starts, phi, second, layer.masked
        )
    first = _start(layer, h0, below)
    return rate_layer(
        below,
        terms.inputs,
        drive,
        terms.weight,
        terms.leak,
        xi,
        terms.noise,
        (first, layer.apply(first) if terms.feeds_back else None),
        starts,
        Settings(phi, layer.state_noise is not None, layer.masked),
    )


def _starts_from_zero(layer: RateLayer, terms: _Terms) -> bool:
    """Whether state and rates are zero where a sequence starts."""
    if layer.initial is not None:
        return False
    # phi(0) need not be
    return not terms.feeds_back or (isinstance(layer.phi, str) and nonlinearities.vanishes(layer.phi))


def _start(layer: RateLayer, h0: Tensor | None, below: Tensor) -> Tensor:
    return layer.weight.new_zeros(below.shape[1], layer.weight.shape[0]) if h0 is None else h0


def _at_starts(x: Tensor, starts: Tensor, addition: Tensor) -> Tensor:
    """x (T, B, H), and the addition (H,) where a sequence starts."""
    return torch.where(starts.unsqueeze(-1), x + addition, x)


def _by_parts(
    layer: RateLayer,
    terms: _Terms,
    below: Tensor,
    drive: Tensor | None,
    h0: Tensor | None,
    starts: Tensor | None,
    xi: Noise | None,
) -> tuple[Tensor, Tensor]:
    """The same where states start from another value than zero, or phi is a function of its own."""
    push = None
    if drive is None:
        weight, bias, second = terms.inputs
        assert weight is not None
        drive = project(below, weight, bias, second)
    if xi is not None:
        scaled = xi.drawn(drive.shape, drive.dtype) * terms.noise
        drive, push = (drive, scaled) if layer.state_noise is not None else (drive + scaled, None)
    if starts is not None and not _starts_from_zero(layer, terms):
        initial = torch.zeros_like(layer.alpha) if layer.initial is None else layer.initial
        rates_there = layer.apply(initial) if terms.feeds_back else initial
        kept = None if terms.leak is None else terms.leak * initial
        contributed = terms.weight @ rates_there
        if terms.feeds_back:
            assert kept is not None
            contributed = kept + contributed
        drive = _at_starts(drive, starts, contributed)
        if kept is not None and not terms.feeds_back:
            push = _at_starts(torch.zeros_like(drive) if push is None else push, starts, kept)
    first = _start(layer, h0, below)
    out, states = _scanned(layer, terms, drive, push, first, starts)
    return out, states[-1:].clone()


def _scanned(
    layer: RateLayer,
    terms: _Terms,
    drive: Tensor,
    push: Tensor | None,
    first: Tensor,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """All rates and all states, (T, B, H) each; step by step of a function phi."""
    weight, leak, phi = terms.weight, terms.leak, layer.phi
    if not isinstance(phi, str):
        kept = torch.zeros_like(layer.alpha) if leak is None else leak
        return rates.steps(drive, weight, kept, push, first, starts, phi, feeds_back=terms.feeds_back)
    if terms.feeds_back:
        assert leak is not None
        return fed_back_scan(drive, weight, leak, first, layer.apply(first), starts, phi)
    if push is None:
        states = leaky_scan(drive, weight, leak, first, starts, phi)
    else:
        assert leak is not None
        states = pushed_scan(drive, weight, leak, push, first, starts, phi)
    return states, states
