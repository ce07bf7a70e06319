"""Annealed importance sampling: estimates of an RBM's log Z, for many frames with their own biases at once.

The path of distributions, for 0 <= beta <= 1, goes from independent notes to the RBM:

    f_beta(v) = exp(((1 - beta) b0 + beta b) . v) prod_j (1 + exp(beta (c_j + v . W_j)))

Salakhutdinov & Murray 2008, Neal 2001. Forward, from exact samples of f_0, the mean of the weights is an
unbiased estimate of Z / Z_0, so log Z is UNDERestimated in expectation and a log-likelihood OVERestimated.
Backward, from samples of f_1, the mean of the inverse weights is one of Z_0 / Z: if those samples are exact,
log Z is OVERestimated in expectation; if they come from Gibbs steps, it is only an estimate.

Shapes: N frames, M chains a frame, V visible, J hidden units.
"""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ostinato.nn.devices import uniform

# Steps of the mean-field iteration that finds the independent notes the path starts from.
MEAN_FIELD_STEPS = 10

# Chains worked on at once: bounds memory.
_CHAINS_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class Annealing:
    """How much work an estimate is worth.

    Arguments:
        steps: distributions on the path, each with one block Gibbs step.
        chains: independent chains M for each frame and direction; at least 2, or no error can be told.
        gibbs_steps: from the end of a forward chain to the start of a backward one.
    """

    steps: int = 200
    chains: int = 4
    gibbs_steps: int = 25

    def __post_init__(self) -> None:
        if self.steps < 1 or self.chains < 2:
            raise ValueError(
                f"annealing needs at least 1 step and 2 chains, got {self.steps} and {self.chains}"
            )


@dataclass(frozen=True)
class LogPartition:
    """Estimates of log Z, each of shape (N,).

    Arguments:
        forward: log of the mean weight; at most log Z in expectation.
        backward: at least log Z in expectation if the chains started from exact samples.
        variance: of `forward`, estimated from the spread of the weights.
        backward_variance: of `backward`.
        effective_chains: (sum w)^2 / sum w^2 of the forward weights, between 1 and M.
        exact_starts: whether the backward chains started from exact samples.
    """

    forward: Tensor
    backward: Tensor
    variance: Tensor
    backward_variance: Tensor
    effective_chains: Tensor
    exact_starts: bool = False


def anneal(
    visible_bias: Tensor,
    hidden_bias: Tensor,
    weight: Tensor,
    settings: Annealing = Annealing(),
    *,
    starts: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> LogPartition:
    """Estimate log Z of N RBMs that share W, in both directions.

    Args:
        visible_bias: b, shape (N, V).
        hidden_bias: c, shape (N, J).
        weight: W, shape (V, J).
        settings: steps and chains.
        starts: exact samples (M, N, V) for the backward chains; without them these start from the ends of
            the forward chains after some more Gibbs steps.
        generator: source of randomness.

    Example:
        >>> b, c, w = torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(3, 2)
        >>> estimate = anneal(b, c, w, generator=torch.Generator().manual_seed(0))
        >>> round(estimate.forward.item(), 4) == round(5 * math.log(2), 4)
        True
    """
    rows = max(1, _CHAINS_AT_ONCE // settings.chains)
    parts = []
    with torch.no_grad():
        for first in range(0, len(visible_bias), rows):
            part = slice(first, first + rows)
            path = _Path(visible_bias[part], hidden_bias[part], weight, settings, generator)
            own = None if starts is None else starts[:, part]
            parts.append(path.both_ways(own))
    columns = [torch.cat(x) for x in zip(*parts, strict=True)] or [visible_bias.new_zeros(0)] * 5
    forward, backward, variance, backward_variance, effective = columns
    return LogPartition(forward, backward, variance, backward_variance, effective, starts is not None)


class _Path:
    """The path of some frames, its chains as rows (M N)."""

    def __init__(
        self,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        weight: Tensor,
        settings: Annealing,
        generator: torch.Generator | None,
    ) -> None:
        self.settings, self.generator, self.weight = settings, generator, weight
        base = mean_field_logits(visible_bias, hidden_bias, weight)
        chains = settings.chains
        self.bias, self.base = visible_bias.repeat(chains, 1), base.repeat(chains, 1)
        self.hidden_bias = hidden_bias.repeat(chains, 1)
        self.tilt = self.bias - self.base
        self.log_z0 = F.softplus(base).sum(1).double() + hidden_bias.shape[1] * math.log(2)

    def both_ways(self, starts: Tensor | None) -> tuple[Tensor, ...]:
        values, forward = self._walk(self._draw(self.base), backward=False)
        if starts is None:
            for _ in range(self.settings.gibbs_steps):
                values = self._gibbs(self._activation(values), 1.0)
        else:
            values = starts.reshape(-1, starts.shape[-1]).to(self.bias.dtype)
        _, backward = self._walk(values, backward=True)
        log_ratio, variance, effective = _log_mean(forward)
        inverse_ratio, backward_variance, _ = _log_mean(backward)
        return (
            self.log_z0 + log_ratio,
            self.log_z0 - inverse_ratio,
            variance,
            backward_variance,
            effective,
        )

    def _walk(self, values: Tensor, *, backward: bool) -> tuple[Tensor, Tensor]:
        """Along the path from f_0 to f_1, or back; the last values and the log-weights (M, N)."""
        betas = [k / self.settings.steps for k in range(self.settings.steps + 1)]
        if backward:
            betas.reverse()
        weights = torch.zeros(len(values), dtype=torch.float64, device=values.device)
        activation = self._activation(values)
        for k, (before, after) in enumerate(itertools.pairwise(betas)):
            if k > 0:
                values = self._gibbs(activation, before)
                activation = self._activation(values)
            change = F.softplus(after * activation).sub_(F.softplus(before * activation)).sum(1)
            weights += change + (after - before) * (values * self.tilt).sum(1)
        return values, weights.reshape(self.settings.chains, -1)

    def _activation(self, values: Tensor) -> Tensor:
        return torch.addmm(self.hidden_bias, values, self.weight)

    def _gibbs(self, activation: Tensor, beta: float) -> Tensor:
        """One block step that leaves f_beta as it is."""
        hidden = self._draw(beta * activation)
        bias = torch.lerp(self.base, self.bias, beta)
        return self._draw(torch.addmm(bias, hidden, self.weight.T, alpha=beta))

    def _draw(self, logits: Tensor) -> Tensor:
        return draw_bernoulli(logits, self.generator)


def _log_mean(log_weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log of the mean over M chains, its variance (delta method), and the effective number of chains."""
    chains = len(log_weights)
    log_mean = log_weights.logsumexp(0) - math.log(chains)
    effective = torch.exp(2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0))
    # var(w) / mean(w)^2 = M / ESS - 1 for the plain variance; M - 1 for the unbiased one
    variance = (chains / effective - 1).clamp_min(0) / (chains - 1)
    return log_mean, variance, effective


def mean_field_logits(visible_bias: Tensor, hidden_bias: Tensor, weight: Tensor) -> Tensor:
    """Logits (N, V) of independent notes near the RBM: a few damped steps of mean field."""
    hidden = torch.sigmoid(hidden_bias)
    for _ in range(MEAN_FIELD_STEPS):
        visible = torch.sigmoid(visible_bias + hidden @ weight.T)
        hidden = 0.5 * (hidden + torch.sigmoid(hidden_bias + visible @ weight))
    return visible_bias + hidden @ weight.T


def draw_bernoulli(logits: Tensor, generator: torch.Generator | None) -> Tensor:
    """0 or 1, of the logits' type, 1 with probability sigmoid(logits)."""
    return (uniform(logits.shape, logits, generator) < torch.sigmoid(logits)).to(logits.dtype)
