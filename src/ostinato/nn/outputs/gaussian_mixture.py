"""A mixture of Gaussians: several ways in which a step may go on, given the hidden state.

Shapes: N steps (any leading shape), H hidden, D values in a step, K components, P parameters of each.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import constraints

from ostinato.nn.curvature.outputs import AffineCurvature, softmax_hessian
from ostinato.nn.devices import multinomial, normal
from ostinato.nn.kernels.by_stream import affine
from ostinato.nn.outputs.distribution import OutputDistribution
from ostinato.nn.outputs.normal import (
    REAL_OR_MISSING,
    SCALES,
    NormalMap,
    deviations,
    log_density,
    mean_absolute,
    scale_constraint,
    scaled_noise,
)

# Halvings of the bracket of a quantile: beyond the last bit of a double.
BISECTIONS = 60


class MixtureOfGaussians(OutputDistribution):
    """A mixture of K normal distributions over the D values of a step, some of which may be missing.

        log p(x) = log sum_k pi_k N(x; mu_k, L_k L_k^T),   pi = softmax(logits)

    Args:
        logits: shape (..., K).
        loc: mu, shape (..., K, D).
        scale: L, lower triangular with a positive diagonal, (..., K, D, D); or its diagonal (..., K, D).

    Example:
        >>> far = torch.tensor([[-9.0], [9.0]])
        >>> mixture = MixtureOfGaussians(torch.zeros(2), far, torch.ones(2, 1))
        >>> mixture.log_prob(torch.tensor([9.0])), mixture.mean
        (tensor(-1.6121), tensor([0.]))
    """

    support = REAL_OR_MISSING

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, *, validate_args: bool | None = None
    ) -> None:
        self._of_scale = scale_constraint(loc, scale)
        if logits.shape != loc.shape[:-1]:
            raise ValueError(
                "expected logits (..., K) and loc (..., K, D), "
                f"found {tuple(logits.shape)} and {tuple(loc.shape)}"
            )
        self.logits, self.loc, self.scale = logits, loc, scale
        super().__init__(logits.shape[:-1], loc.shape[-1:], validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Of logits and loc, and of the scale's form."""
        real = constraints.independent(constraints.real, 2)
        return {"logits": constraints.real_vector, "loc": real, "scale": self._of_scale}

    @property
    def _parameters(self) -> dict[str, int]:  # type: ignore[override]
        return {"logits": 1, "loc": 2, "scale": self.scale.dim() - self.loc.dim() + 2}

    @property
    def weights(self) -> Tensor:
        """pi, shape (..., K)."""
        return torch.softmax(self.logits, -1)

    @property
    def mean(self) -> Tensor:
        """sum_k pi_k mu_k, shape (..., D)."""
        return (self.weights.unsqueeze(-1) * self.loc).sum(-2)

    @property
    def mode(self) -> Tensor:
        """Not available: the peak of a mixture's density has no closed form.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "the mode of a mixture has no closed form; the components' own are `loc`, their shares `weights`"
        )

    @property
    def variance(self) -> Tensor:
        """The variance of each value, shape (..., D): within the components, and between them."""
        within = deviations(self.scale, self.loc).square()
        between = (self.loc - self.mean.unsqueeze(-2)).square()
        return (self.weights.unsqueeze(-1) * (within + between)).sum(-2)

    def component_log_probs(self, value: Tensor) -> Tensor:
        """log pi_k + log N_k of the values (..., D) that are not NaN, shape (..., K)."""
        each = log_density(self.loc, self.scale, value.unsqueeze(-2))
        return torch.log_softmax(self.logits, -1) + each

    def _log_prob(self, value: Tensor) -> Tensor:
        return self.component_log_probs(value).logsumexp(-1)

    def value_log_probs(self, value: Tensor) -> Tensor:
        """Log-density of each value by itself, its own marginal, shape (..., D); 0 where it is NaN."""
        deviation = deviations(self.scale, self.loc)
        values = value.to(self.loc.dtype).unsqueeze(-2).unsqueeze(-1)
        each = log_density(self.loc.unsqueeze(-1), deviation.unsqueeze(-1), values)
        return (torch.log_softmax(self.logits, -1).unsqueeze(-1) + each).logsumexp(-2)

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw steps, shape sample_shape + (..., D)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            components, size = self.loc.shape[-2:]
            rows = self.weights.expand(*shape, components).reshape(-1, components)
            chosen = multinomial(rows, 1, generator).reshape(*shape, 1)
            noise = normal((*shape, 1, size), self.loc, generator)
            drawn = self.loc + scaled_noise(self.scale, self.loc, noise)
            place = chosen.unsqueeze(-1).expand(*shape, 1, size)
            return drawn.gather(-2, place).squeeze(-2)

    def cdf(self, value: Tensor) -> Tensor:
        """P(X_i <= x_i) of each value by itself, shape (..., D)."""
        z = (value.unsqueeze(-2) - self.loc) / deviations(self.scale, self.loc)
        return (self.weights.unsqueeze(-1) * torch.special.ndtr(z)).sum(-2)

    def quantile(self, probability: float) -> Tensor:
        """Of each value by itself, shape (..., D): by bisection between the components' own quantiles."""
        z = torch.special.ndtri(torch.tensor(probability, dtype=self.loc.dtype, device=self.loc.device))
        each = self.loc + z * deviations(self.scale, self.loc)
        low, high = each.amin(-2), each.amax(-2)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            below = self.cdf(middle) < probability
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score of each value, (..., D): E|X - x| - 1/2 E|X - X'|.

        In closed form, in the unit of the values, lower is better (Grimit et al. 2006).

        Example:
            >>> alike = MixtureOfGaussians(torch.zeros(2), torch.zeros(2, 1), torch.ones(2, 1))
            >>> alike.crps(torch.zeros(1))
            tensor([0.2337])
        """
        weights, deviation = self.weights.unsqueeze(-1), deviations(self.scale, self.loc)
        distance = (weights * mean_absolute(value.unsqueeze(-2) - self.loc, deviation)).sum(-2)
        gaps = self.loc.unsqueeze(-2) - self.loc.unsqueeze(-3)
        spread = torch.hypot(deviation.unsqueeze(-2), deviation.unsqueeze(-3))
        pairs = weights.unsqueeze(-2) * weights.unsqueeze(-3) * mean_absolute(gaps, spread)
        return distance - 0.5 * pairs.sum((-3, -2))


class GaussianMixture(nn.Module):
    """Output layer: a mixture density, its parameters affine in the hidden state but for their bounds.

    Bishop 1994, Mixture density networks; each component as in `Gaussian`, with the same bounds on scales.

    A mixture is no exponential family. Its curvature is that of the bound which one step of expectation
    maximisation minimises, and which touches -log p where the parameters are,

        Q = -sum_k r_k (log pi_k + log N_k),   r_k = P(component k | x_o), held fixed,

    by the natural parameters of the categorical and of each component: diag(pi) - pi pi^T at the logits, and
    r_k times the Fisher information of component k. Both are positive semi-definite, and Q's gradient is that
    of -log p.

    Args:
        hidden_size: H.
        visible_size: D.
        components: K.
        covariance: of each component, "full" or "diagonal".
        scales: lowest and highest standard deviation; see `Gaussian`.
        generator: source of randomness for the weights (PyTorch's uniform draw for a linear layer) and for
            where the components start; see `initialize_bias_`.

    Example:
        >>> output = GaussianMixture(5, 3, components=4, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).log_prob(torch.zeros(7, 2, 3)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        hidden_size: int,
        visible_size: int,
        components: int = 5,
        covariance: str = "diagonal",
        *,
        scales: tuple[float, float] = SCALES,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.hidden_size, self.visible_size, self.components = hidden_size, visible_size, components
        self.normal = NormalMap(visible_size, covariance, scales)
        bound, rows = 1 / math.sqrt(hidden_size), components * (1 + self.normal.count)
        weight = torch.empty(rows, hidden_size, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(rows, device=device, dtype=dtype))
        self.initialize_bias_(torch.zeros(visible_size), torch.ones(visible_size), generator=generator)

    def _parts(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The components' logits (..., K) and parameters (..., K, P)."""
        return raw[..., : self.components], raw[..., self.components :].unflatten(-1, (self.components, -1))

    def forward(self, hidden: Tensor) -> MixtureOfGaussians:
        """The distribution of the next step for every state (..., H)."""
        logits, raw = self._parts(affine(hidden, self.weight, self.bias).to(self.weight.dtype))
        return MixtureOfGaussians.of_layer(logits, *self.normal(raw))

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over steps of -log p(targets | hidden) in nats.

        hidden (N, H), targets (N, D); a NaN is missing, and the others are scored without it.
        """
        return -self(hidden)._log_prob(targets).sum()

    def linearize(self, hidden: Tensor, targets: Tensor) -> AffineCurvature:
        """The curvature of `nll` at these states (N, H): see above."""
        affine = F.linear(hidden, self.weight, self.bias)
        logits, raw = self._parts(affine)
        observed = ~targets.isnan()
        mixture = MixtureOfGaussians.of_layer(logits, *self.normal(raw))
        shares = torch.softmax(mixture.component_log_probs(targets), -1).unsqueeze(-1)
        each = observed.unsqueeze(-2).expand(*raw.shape[:-1], -1).flatten(0, 1)
        of_logits, of_normals = softmax_hessian(mixture.weights), self.normal.fisher(raw.flatten(0, 1), each)
        anything = observed.any(-1, keepdim=True)

        def hessian(change: Tensor) -> Tensor:
            logits, raw = self._parts(change)
            curved = shares * of_normals(raw.flatten(0, 1)).view_as(raw)
            return torch.cat([of_logits(logits.clone()) * anything, curved.flatten(-2)], -1)

        return AffineCurvature(hidden, self.weight, hessian)

    def initialize_bias_(
        self, means: Tensor, deviations: Tensor, *, generator: torch.Generator | None = None
    ) -> None:
        """Set the biases so that a state of zero gives independent values of about these moments, each (D,).

        The components are equally likely. Where there are several their means are drawn, half a standard
        deviation around the given one: components that are alike would stay alike.
        """
        with torch.no_grad():
            logits, raw = self._parts(self.bias)
            logits.zero_()
            means, deviations = means.to(raw), deviations.to(raw)
            for component in raw:
                away = torch.zeros_like(means)
                if self.components > 1:
                    away.normal_(0, 0.5, generator=generator)
                component.copy_(self.normal.inverse(means + away * deviations, deviations))

    def extra_repr(self) -> str:
        """The sizes, the components and their covariance."""
        return (
            f"{self.hidden_size}, {self.visible_size}, components={self.components}, "
            f"covariance={self.normal.covariance!r}"
        )
