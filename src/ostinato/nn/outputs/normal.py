"""What Gaussian outputs and their mixtures share: bounded scales, densities with missing values, curvature.

A missing value is NaN in the observation. Its normal density is that of the values that were observed,

    log p(x_o) = log N(x_o; mu_o, Sigma_oo),

exactly: no value is put in its place. Where nothing was observed it is 0.

Shapes: any leading shape (N steps, or N steps and K components), D values in a step, P parameters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from ostinato.nn.kernels.operator import eager

# Standard deviations that an output can express, where its data have been standardised.
SCALES = (1e-4, 1e2)

COVARIANCES = ("full", "diagonal", "unit")


def scale_constraint(mean: Tensor, scale: Tensor) -> constraints.Constraint:
    """What a scale has to be: lower triangular with a positive diagonal, or such a diagonal alone.

    Raises:
        ValueError: it has neither shape.
    """
    if scale.shape == mean.shape:
        return constraints.independent(constraints.positive, 1)
    if scale.shape == (*mean.shape, mean.shape[-1]):
        return constraints.lower_cholesky
    raise ValueError(
        f"expected a scale of shape {tuple(mean.shape)} or {(*mean.shape, mean.shape[-1])}, "
        f"found {tuple(scale.shape)}"
    )


class _RealOrMissing(constraints.Constraint):
    """Real numbers, NaN for those that are missing."""

    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        """True for whatever holds numbers."""
        return torch.ones_like(value[..., 0], dtype=torch.bool)


REAL_OR_MISSING = _RealOrMissing()


@dataclass(frozen=True)
class NormalMap:
    """From P unbounded numbers, affine in the hidden state, to a mean and a scale matrix L: Sigma = L L^T.

        L_ii = exp(m + r tanh((u_i - m) / r)),   L_ij = b tanh(v_ij / b)  for j < i

    with m and r such that a = lowest < L_ii < highest = b. A value's standard deviation given those before it
    in the step is L_ii, so the density is finite whatever the data: also on a column that is constant, or
    that repeats another one. Its own standard deviation lies between a and b sqrt(D). Both maps are smooth,
    and nearly the identity of u and v well within the bounds.

    Arguments:
        size: D.
        covariance: "full", or "diagonal": L is, and is kept as its diagonal; or "unit": L = I, whatever the
            state, and -log p is half the squared error but for a constant.
        scales: a and b.

    Example:
        >>> normal = NormalMap(2, "full", (0.01, 100.0))
        >>> mean, scale = normal(torch.tensor([1.0, 2.0, 0.0, 1.0, 3.0]))
        >>> mean, scale.round(decimals=2)
        (tensor([1., 2.]), tensor([[1.0000, 0.0000],
                [3.0000, 2.6800]]))
    """

    size: int
    covariance: str
    scales: tuple[float, float] = SCALES

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if self.covariance not in COVARIANCES:
            raise ValueError(f"covariance must be one of {', '.join(COVARIANCES)}, got {self.covariance!r}")
        lowest, highest = self.scales
        if not 0 < lowest < highest < math.inf:
            raise ValueError(f"scales must be two numbers, 0 < lowest < highest, got {self.scales}")

    @property
    def full(self) -> bool:
        """Whether L is a matrix: with one value there is nothing below its diagonal."""
        return self.covariance == "full" and self.size > 1

    @property
    def count(self) -> int:
        """P: D means, D scales, and for a full covariance D (D - 1) / 2 numbers below the diagonal; D means
        alone where the covariance is the unit matrix.
        """
        if self.covariance == "unit":
            return self.size
        return 2 * self.size + (self.size * (self.size - 1) // 2 if self.full else 0)

    def __call__(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The mean (..., D) and L, (..., D, D) or its diagonal (..., D), of parameters (..., P)."""
        mean, diagonal, below = self._split(raw)
        if self.covariance == "unit":
            return mean, torch.ones_like(mean)
        entries = self._scale(diagonal)[0]
        if self.full:
            return mean, self._matrix(entries, self._bounded(below)[0])
        return mean, entries

    def inverse(self, mean: Tensor, deviations: Tensor) -> Tensor:
        """Parameters (P,) of independent values with these means and standard deviations, each (D,).

        Deviations beyond the bounds are moved just within them; where all are 1 they have no parameter.
        """
        if self.covariance == "unit":
            return mean.clone()
        middle, reach = self._middle()
        place = ((deviations.log() - middle) / reach).clamp(-0.99, 0.99)
        below = mean.new_zeros(self.count - 2 * self.size)
        return torch.cat([mean, middle + reach * torch.atanh(place), below])

    def fisher(self, raw: Tensor, observed: Tensor) -> Callable[[Tensor], Tensor]:
        """The Fisher information of the observed values, as a map of changes of the parameters (N, P).

            F = (d mu_o)^T S (d mu_o) + 1/2 tr(S dSigma_oo S dSigma_oo),   S = Sigma_oo^-1

        It is J^T H J with J the derivative of the normal's natural parameters by `raw`, and H the Hessian of
        -log p by those, which the value itself is not in: positive semi-definite.

        Args:
            raw: parameters (N, P).
            observed: boolean (N, D).
        """
        if self.covariance == "unit":
            return observed.to(raw.dtype).mul
        _, diagonal, below = self._split(raw)
        entries, slopes = self._scale(diagonal)
        if not self.full:
            of_mean, of_scale = observed / entries.square(), 2 * observed * slopes.square()
            return torch.cat([of_mean, of_scale], -1).mul
        off, off_slopes = self._bounded(below)
        factor = self._matrix(entries, off)
        whitening = torch.linalg.solve_triangular(
            observed_factor(factor, observed), torch.diag_embed(observed.to(raw.dtype)), upper=False
        )
        white, steps = whitening @ factor, entries * slopes
        rows, columns = self._below(raw.device)

        def product(change: Tensor) -> Tensor:
            mean, diagonal, below = self._split(change)
            moved = whitening @ self._matrix(diagonal * steps, below * off_slopes)
            inner = moved @ white.mT
            curved = whitening.mT @ (inner + inner.mT) @ white
            of_mean = (whitening.mT @ (whitening @ mean.unsqueeze(-1))).squeeze(-1)
            of_diagonal = torch.diagonal(curved, dim1=-2, dim2=-1) * steps
            return torch.cat([of_mean, of_diagonal, curved[..., rows, columns] * off_slopes], -1)

        return product

    def _split(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = self.size
        return raw[..., :size], raw[..., size : 2 * size], raw[..., 2 * size :]

    def _middle(self) -> tuple[float, float]:
        low, high = (math.log(scale) for scale in self.scales)
        return (low + high) / 2, (high - low) / 2

    def _scale(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """The diagonal of L, and the derivative of its logarithm."""
        middle, reach = self._middle()
        bent = torch.tanh((u - middle) / reach)
        return torch.exp(middle + reach * bent), 1 - bent.square()

    def _bounded(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """The entries below the diagonal, and their derivative."""
        bent = torch.tanh(v / self.scales[1])
        return self.scales[1] * bent, 1 - bent.square()

    def _below(self, device: torch.device) -> tuple[Tensor, Tensor]:
        rows, columns = torch.tril_indices(self.size, self.size, -1, device=device)
        return rows, columns

    def _matrix(self, diagonal: Tensor, below: Tensor) -> Tensor:
        """(..., D, D) from the diagonal (..., D) and what is below it, row by row."""
        size = self.size
        rows, columns = self._below(diagonal.device)
        # where each entry of the matrix is found in [diagonal, below, 0]
        place = torch.full((size, size), self.count - size, device=diagonal.device)
        place.fill_diagonal_(0).add_(torch.diag(torch.arange(size, device=diagonal.device)))
        place[rows, columns] = size + torch.arange(len(rows), device=diagonal.device)
        values = torch.cat([diagonal, below, torch.zeros_like(diagonal[..., :1])], -1)
        return values[..., place.flatten()].unflatten(-1, (size, size))


def observed_factor(factor: Tensor, observed: Tensor) -> Tensor:
    """A triangular R with R R^T = Sigma between observed values, the identity between missing ones.

    By QR of [L_o, I_m]^T, which squares nothing: Sigma itself would lose the small scales to rounding.

    Args:
        factor: L, lower triangular, (N, D, D).
        observed: boolean (N, D).

    Returns:
        R, lower triangular, (N, D, D): L itself where nothing is missing; else its diagonal may be negative.

    Example:
        >>> factor, observed = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]]), torch.tensor([[False, True]])
        >>> observed_factor(factor, observed).abs()
        tensor([[[1., 0.],
                 [0., 5.]]])
    """
    missing = (~observed).any(-1)
    if not eager(factor, observed):
        # every row by QR, also those that the result does not have
        return torch.where(missing[..., None, None], _triangle(factor, observed), factor)
    rows = missing.nonzero().squeeze(-1)
    if len(rows) == 0:
        return factor
    triangle = _triangle(factor.index_select(0, rows), observed.index_select(0, rows))
    return factor.index_copy(0, rows, triangle)


def _triangle(factor: Tensor, observed: Tensor) -> Tensor:
    kept = factor * observed.unsqueeze(-1)
    both = torch.cat([kept, torch.diag_embed((~observed).to(factor.dtype))], -1)
    return torch.linalg.qr(both.mT).R.mT


def log_density(mean: Tensor, scale: Tensor, value: Tensor) -> Tensor:
    """log N(x_o; mu_o, Sigma_oo) of the observed values of each step, in nats, (...).

    Args:
        mean: mu, (..., D).
        scale: L, (..., D, D), or its diagonal (..., D).
        value: x, broadcast with mean; NaN where it is missing.

    Example:
        >>> log_density(torch.zeros(2), torch.ones(2), torch.tensor([0.0, math.nan]))
        tensor(-0.9189)
    """
    shape = torch.broadcast_shapes(mean.shape, value.shape)
    value = value.to(mean.dtype).expand(shape)
    observed = ~value.isnan()
    residual = (torch.nan_to_num(value) - mean) * observed
    constant = math.log(2 * math.pi) * observed.sum(-1, dtype=mean.dtype)
    if scale.dim() == mean.dim():
        spread = (observed * scale.log()).sum(-1)
        return -0.5 * ((residual / scale).square().sum(-1) + constant) - spread
    size = shape[-1]
    factor = scale.expand(*shape, size).reshape(-1, size, size)
    factor = observed_factor(factor, observed.reshape(-1, size))
    white = torch.linalg.solve_triangular(factor, residual.reshape(-1, size, 1), upper=False)
    spread = torch.diagonal(factor, dim1=-2, dim2=-1).abs().log().sum(-1)
    return -0.5 * (white.square().sum((-2, -1)).reshape(shape[:-1]) + constant) - spread.reshape(shape[:-1])


def deviations(scale: Tensor, mean: Tensor) -> Tensor:
    """The standard deviation of every value, (..., D), of scales as in `log_density`."""
    return scale if scale.dim() == mean.dim() else torch.linalg.vector_norm(scale, dim=-1)


def scaled_noise(scale: Tensor, mean: Tensor, noise: Tensor) -> Tensor:
    """L times standard normal noise (..., D)."""
    return scale * noise if scale.dim() == mean.dim() else (scale @ noise.unsqueeze(-1)).squeeze(-1)


def mean_absolute(mean: Tensor, deviation: Tensor) -> Tensor:
    """E|X| of X ~ N(mean, deviation^2): 2 sigma phi(z) + mu (2 Phi(z) - 1), z = mu / sigma.

    Example:
        >>> mean_absolute(torch.tensor(0.0), torch.tensor(1.0))
        tensor(0.7979)
    """
    z = mean / deviation
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return 2 * deviation * density + mean * torch.erf(z / math.sqrt(2))
