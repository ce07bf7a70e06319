"""A Gaussian: the values of a step are jointly normal, given the hidden state.

Shapes: N steps (any leading shape), H hidden, D values in a step, P parameters of a step.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import constraints

from ostinato.nn.curvature.outputs import AffineCurvature
from ostinato.nn.devices import normal
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


class MultivariateGaussian(OutputDistribution):
    """A normal distribution over the D values of a step, some of which may be missing.

        log p(x) = -1/2 |L^-1 (x - mu)|^2 - sum_i log L_ii - D/2 log 2 pi

    Args:
        loc: mu, shape (..., D).
        scale: L, lower triangular with a positive diagonal, (..., D, D); or its diagonal (..., D).

    Example:
        >>> pair = MultivariateGaussian(torch.zeros(2), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        >>> pair.log_prob(torch.tensor([[0.0, 0.0], [0.0, math.nan]]))
        tensor([-2.5310, -0.9189])
    """

    support = REAL_OR_MISSING
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, *, validate_args: bool | None = None) -> None:
        self._of_scale = scale_constraint(loc, scale)
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args)

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """Of loc, and of the scale's form."""
        return {"loc": constraints.real_vector, "scale": self._of_scale}

    @property
    def _parameters(self) -> dict[str, int]:  # type: ignore[override]
        return {"loc": 1, "scale": self.scale.dim() - self.loc.dim() + 1}

    @property
    def mean(self) -> Tensor:
        """mu, shape (..., D)."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """mu, shape (..., D)."""
        return self.loc

    @property
    def stddev(self) -> Tensor:
        """The standard deviation of each value, shape (..., D)."""
        return deviations(self.scale, self.loc)

    @property
    def variance(self) -> Tensor:
        """The variance of each value, shape (..., D)."""
        return self.stddev.square()

    @property
    def covariance_matrix(self) -> Tensor:
        """Sigma = L L^T, shape (..., D, D)."""
        full = self.scale if self.scale.dim() > self.loc.dim() else torch.diag_embed(self.scale)
        return full @ full.mT

    def _log_prob(self, value: Tensor) -> Tensor:
        return log_density(self.loc, self.scale, value)

    def value_log_probs(self, value: Tensor) -> Tensor:
        """Log-density of each value by itself, its own marginal, shape (..., D); 0 where it is NaN."""
        return log_density(
            self.loc.unsqueeze(-1), self.stddev.unsqueeze(-1), value.to(self.loc.dtype).unsqueeze(-1)
        )

    def entropy(self) -> Tensor:
        """Entropy in nats, shape (...)."""
        full = self.scale.dim() > self.loc.dim()
        diagonal = torch.diagonal(self.scale, dim1=-2, dim2=-1) if full else self.scale
        return diagonal.log().sum(-1) + self.loc.shape[-1] / 2 * (1 + math.log(2 * math.pi))

    def sample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw steps, shape sample_shape + (..., D)."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator=generator)

    def rsample(self, sample_shape: Any = (), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw steps that are differentiable by the parameters, mu + L noise: sample_shape + (..., D)."""
        noise = normal(torch.Size(sample_shape) + self.loc.shape, self.loc, generator)
        return self.loc + scaled_noise(self.scale, self.loc, noise)

    def cdf(self, value: Tensor) -> Tensor:
        """P(X_i <= x_i) of each value by itself, shape (..., D)."""
        return torch.special.ndtr((value - self.loc) / self.stddev)

    def quantile(self, probability: float) -> Tensor:
        """Of each value by itself, shape (..., D)."""
        z = torch.special.ndtri(torch.tensor(probability, dtype=self.loc.dtype, device=self.loc.device))
        return self.loc + z * self.stddev

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score of each value, (..., D): E|X - x| - 1/2 E|X - X'|.

        In closed form, in the unit of the values, lower is better (Gneiting & Raftery 2007, equation 21).

        Example:
            >>> MultivariateGaussian(torch.zeros(1), torch.ones(1)).crps(torch.zeros(1))
            tensor([0.2337])
        """
        deviation = self.stddev
        return mean_absolute(value - self.loc, deviation) - deviation / math.sqrt(math.pi)


class Gaussian(nn.Module):
    """Output layer: mean and scale of a Gaussian from numbers affine in the hidden state; see `NormalMap`.

    Its curvature is the Fisher information of the observed values: J^T H J with H the Hessian of -log p by
    the normal's natural parameters, which here are no affine function of the hidden state.

    Args:
        hidden_size: H.
        visible_size: D.
        covariance: "full", or "diagonal": the values of a step are independent given the state; or "unit":
            and their variances are 1, so that `nll` is half the squared error but for a constant.
        scales: lowest and highest standard deviation of a value given those before it in the step; the
            density is finite for that. For standardised data, at which the default is aimed.
        generator: source of randomness for the weights (PyTorch's uniform draw for a linear layer).

    Example:
        >>> output = Gaussian(5, 3, generator=torch.Generator().manual_seed(0))
        >>> output(torch.zeros(7, 2, 5)).log_prob(torch.zeros(7, 2, 3)).shape
        torch.Size([7, 2])
    """

    def __init__(
        self,
        hidden_size: int,
        visible_size: int,
        covariance: str = "full",
        *,
        scales: tuple[float, float] = SCALES,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.hidden_size, self.visible_size = hidden_size, visible_size
        self.normal = NormalMap(visible_size, covariance, scales)
        bound = 1 / math.sqrt(hidden_size)
        weight = torch.empty(self.normal.count, hidden_size, device=device, dtype=dtype)
        self.weight = nn.Parameter(weight.uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(self.normal.count, device=device, dtype=dtype))
        self.initialize_bias_(torch.zeros(visible_size), torch.ones(visible_size))

    def forward(self, hidden: Tensor) -> MultivariateGaussian:
        """The distribution of the next step for every state (..., H)."""
        raw = affine(hidden, self.weight, self.bias).to(self.weight.dtype)
        return MultivariateGaussian.of_layer(*self.normal(raw))

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Sum over steps of -log p(targets | hidden) in nats.

        hidden (N, H), targets (N, D); a NaN is missing, and the others are scored without it.
        """
        return -self(hidden)._log_prob(targets).sum()

    def linearize(self, hidden: Tensor, targets: Tensor) -> AffineCurvature:
        """The curvature of `nll` at these states (N, H): the Fisher information of what was observed."""
        raw = F.linear(hidden, self.weight, self.bias)
        return AffineCurvature(hidden, self.weight, self.normal.fisher(raw, ~targets.isnan()))

    def initialize_bias_(self, means: Tensor, deviations: Tensor) -> None:
        """Set the biases so that a state of zero gives independent values with these moments, each (D,)."""
        with torch.no_grad():
            self.bias.copy_(self.normal.inverse(means.to(self.bias), deviations.to(self.bias)))

    def extra_repr(self) -> str:
        """The sizes and the covariance."""
        return f"{self.hidden_size}, {self.visible_size}, covariance={self.normal.covariance!r}"
