"""Annealed importance sampling: estimates of an RBM's log Z, for many frames with their own biases at once.

The path of distributions, for 0 <= beta <= 1, goes from independent notes to the RBM:

    f_beta(v) = exp(((1 - beta) b0 + beta b) . v) prod_j (1 + exp(beta (c_j + v . W_j)))

Forward (Salakhutdinov & Murray 2008, Neal 2001), from exact samples of f_0, the mean of the weights is an
unbiased estimate of Z / Z_0, so log Z is UNDERestimated in expectation and a log-likelihood OVERestimated.

Backward, from samples of f_1, the mean of the inverse weights is one of Z_0 / Z: if those samples are exact,
log Z is OVERestimated in expectation. Here they come from the forward chains, drawn anew by weight within
each frame and then led on by Gibbs steps, so that they are as good as the forward chains are.

From the data (RAISE: Burda, Grosse & Salakhutdinov 2015), the same walk back from an observed frame v, after
one Gibbs step from it, gives with f_1(v) / Z_0 an unbiased estimate of the probability with which a FORWARD
chain ends in v. Its log is, in expectation, at most the log-likelihood of that sampler, an approximation of
the RBM that can be drawn from exactly, however badly its chains mix.

Shapes: N frames, M chains a frame, K steps, V visible, J hidden units.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.devices import multinomial
from ostinato.nn.outputs.gibbs import BernoulliDraws, gibbs_chain, mean_field_logits
from ostinato.nn.outputs.visible_units import BINARY, VisibleUnits

# Chains worked on at once: their numbers stay in the cache of a processor; a GPU wants more.
_CHAINS_AT_ONCE, _CHAINS_ON_GPU = 1 << 11, 1 << 15

# Between the end of a forward chain and the start of a backward one: Gibbs steps, as a share of the path's.
_SETTLING = 0.1

# Where exp(activation * step) stays below e^this, a product over hidden units is exact enough in float32.
_SMALL = 2.0

# A product of so many factors below e^2 stays in the range of float32.
_FACTORS = 40


@dataclass(frozen=True)
class LogWeights:
    """Estimates of log Z or of log p, each of shape (N,), float64.

    Arguments:
        forward: log Z by the forward chains; at most log Z in expectation.
        backward: at least log Z in expectation, if the chains started from exact samples.
        bound: log of the forward sampler's own marginal plus log Z_0 - log f_1(v), so that
            log f_1(v) - bound is a lower bound in expectation; None without observed frames.
        forward_variance: of `forward`, by the spread of the chains.
        backward_variance: of `backward`.
        losses: what each step of the path took from both directions' log-weights, a mean over chains, (K,);
            see `temperatures`.
    """

    forward: Tensor
    backward: Tensor
    bound: Tensor | None
    forward_variance: Tensor
    backward_variance: Tensor
    losses: Tensor


def anneal(
    visible_bias: Tensor,
    hidden_bias: Tensor,
    weight: Tensor,
    betas: Sequence[float],
    chains: int,
    *,
    observed: Tensor | None = None,
    starts: Tensor | None = None,
    units: VisibleUnits = BINARY,
    generator: torch.Generator | None = None,
) -> LogWeights:
    """Estimate log Z of N RBMs that share W, in both directions, and bound log p of observed frames.

    Args:
        visible_bias: b, shape (N, V).
        hidden_bias: c, shape (N, J).
        weight: W, shape (V, J).
        betas: the path, K + 1 numbers from 0 to 1; see `temperatures`.
        chains: M, in each direction.
        observed: frames (N, V), for the bound.
        starts: samples (M, N, V) for the backward chains, where there are better ones.
        units: what the visible ones are.
        generator: source of randomness.

    Example:
        >>> b, c, w = torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(3, 2)
        >>> found = anneal(b, c, w, [0, 0.5, 1], 2, generator=torch.Generator().manual_seed(0))
        >>> round(found.forward.item(), 4) == round(5 * math.log(2), 4)
        True
    """
    at_once = _CHAINS_ON_GPU if visible_bias.device.type == "cuda" else _CHAINS_AT_ONCE
    rows, draws = max(1, at_once // chains), BernoulliDraws(generator)
    parts, losses = [], torch.zeros(len(betas) - 1, dtype=torch.float64)
    with torch.no_grad():
        for first in range(0, len(visible_bias), rows):
            part = slice(first, first + rows)
            walk = _Walk(
                visible_bias[part], hidden_bias[part], weight, betas, chains, draws, units, generator
            )
            found = walk.both_ways(None if starts is None else starts[:, part])
            own = walk.from_data(observed[part]) if observed is not None else torch.zeros_like(found[0])
            parts.append((*found, own))
            losses += walk.losses * len(visible_bias[part])
    nothing = visible_bias.new_zeros(0, dtype=torch.float64)
    forward, backward, forward_variance, backward_variance, bound = (
        [torch.cat(column) for column in zip(*parts, strict=True)] if parts else [nothing] * 5
    )
    return LogWeights(
        forward,
        backward,
        None if observed is None else bound,
        forward_variance,
        backward_variance,
        losses / max(1, len(visible_bias)),
    )


class _Walk:
    """The chains of some frames, as rows (M N), on the path."""

    def __init__(
        self,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        weight: Tensor,
        betas: Sequence[float],
        chains: int,
        draws: BernoulliDraws,
        units: VisibleUnits,
        generator: torch.Generator | None,
    ) -> None:
        self.betas, self.chains, self.draws, self.generator = betas, chains, draws, generator
        self.units = units
        self.weight, self.across = weight, weight.T.contiguous()
        base = mean_field_logits(visible_bias, hidden_bias, weight, units)
        self.bias, self.base = visible_bias.repeat(chains, 1), base.repeat(chains, 1)
        self.hidden_bias = hidden_bias.repeat(chains, 1)
        self.tilt = self.bias - self.base
        self.log_z0 = units.log_terms(base).double().sum(1) + hidden_bias.shape[1] * math.log(2)
        self.largest = float((hidden_bias.abs().amax(0) + weight.abs().sum(0)).max()) if len(base) else 0.0
        self.losses = torch.zeros(len(betas) - 1, dtype=torch.float64)

    def both_ways(self, starts: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """log Z forward and backward, and the variances of both, each (N,)."""
        values, forward = self._walk(self.units.drawn(self.base, self.draws), self.betas)
        if starts is None:
            values = self._drawn_anew(values, forward)
            settling = math.ceil(_SETTLING * len(self.losses))
            values = self._stepped(values, settling)
        else:
            values = starts.reshape(-1, starts.shape[-1]).to(self.bias.dtype)
        _, backward = self._walk(values, self.betas[::-1])
        log_ratio, variance = _log_mean(forward)
        inverse_ratio, backward_variance = _log_mean(backward)
        return self.log_z0 + log_ratio, self.log_z0 - inverse_ratio, variance, backward_variance

    def from_data(self, observed: Tensor) -> Tensor:
        """The bound: log Z_0 minus the log of the mean weight of chains that start one step from the data."""
        losses, values = self.losses.clone(), observed.to(self.bias.dtype).repeat(self.chains, 1)
        values = self._stepped(values, 1)
        _, weights = self._walk(values, self.betas[::-1])
        self.losses = losses  # these chains do not start in equilibrium: the path is not judged by them
        return self.log_z0 - _log_mean(weights)[0]

    def _stepped(self, values: Tensor, steps: int) -> Tensor:
        """Chains of the RBM itself led on."""
        return gibbs_chain(values, self.bias, self.hidden_bias, self.weight, steps, self.draws, self.units)

    def _drawn_anew(self, values: Tensor, log_weights: Tensor) -> Tensor:
        """The forward chains' ends, M of each frame with replacement, in proportion to their weights."""
        ends = values.reshape(self.chains, -1, values.shape[1])
        chosen = multinomial(log_weights.softmax(0).T, self.chains, self.generator).T
        return ends[chosen, torch.arange(ends.shape[1], device=values.device)].reshape(values.shape)

    def _walk(self, values: Tensor, betas: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Along the path as `betas` have it; the last values and the log-weights (M, N)."""
        weights = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        lost = torch.zeros(len(self.losses), dtype=torch.float64, device=values.device)
        activation = torch.addmm(self.hidden_bias, values, self.weight)
        p = torch.sigmoid(betas[0] * activation)
        for k, (before, after) in enumerate(itertools.pairwise(betas)):
            if k > 0:
                hidden = self.draws(p)
                bias = torch.lerp(self.base, self.bias, before)
                logits = torch.addmm(bias, hidden, self.across, alpha=before)
                values = self.units.drawn(logits, self.draws)
                activation = torch.addmm(self.hidden_bias, values, self.weight)
            p = torch.sigmoid(after * activation)
            change = self._free(activation, p, before, after) + (after - before) * (values * self.tilt).sum(1)
            weights += change
            lost[k] = -change.mean()
        lost = lost.cpu()
        self.losses += lost if betas[0] < betas[-1] else lost.flip(0)
        return values, weights.reshape(self.chains, -1)

    def _free(self, activation: Tensor, p: Tensor, before: float, after: float) -> Tensor:
        """sum_j softplus(after a_j) - softplus(before a_j)

            = -sum_j log(1 + p_j (exp((before - after) a_j) - 1)).

        The second form, with p = sigmoid(after a), takes one exponential of a small number each and few logs.
        """
        step = before - after
        if abs(step) * self.largest > _SMALL:
            return (F.softplus(after * activation) - F.softplus(before * activation)).sum(1)
        factors = torch.exp(activation * step).sub_(1).mul_(p).add_(1)
        return -sum(part.prod(1).log() for part in factors.split(_FACTORS, 1))


def _log_mean(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean over M chains, and its variance (delta method)."""
    chains = len(log_weights)
    log_mean = log_weights.logsumexp(0) - math.log(chains)
    effective = torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))
    # var(w) / mean(w)^2 = M / ESS - 1 for the plain variance; M - 1 for the unbiased one
    return log_mean, (chains / effective - 1).clamp_min(0) / max(1, chains - 1)
