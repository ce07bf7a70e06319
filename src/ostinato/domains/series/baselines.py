"""What any model of series has to beat: persistence, and a vector autoregression of the best order.

Both are fitted on standardised training series, and predict with a Gaussian whose covariance is that of their
residuals. Shapes: T time, B streams, D columns, p order, N rows.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.series.evaluation import score_steps
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part
from ostinato.nn.outputs import MultivariateGaussian
from ostinato.nn.outputs.normal import SCALES

BASELINES = {
    "persistence": "the value before, with the covariance of training's differences",
    "var": "a vector autoregression on the values before; its order is the best in validation",
}

# Orders that are tried, and rows that are needed for each number to be fitted.
ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_ROWS_EACH = 3

# Rows decomposed at a time.
_CHUNK = 10_000


@dataclass(frozen=True)
class LinearPredictor:
    """A Gaussian around a linear function of the p values before; a `SeriesPredictor`.

        x_t ~ N(c + sum_k A_k x_{t-k}, R R^T)

    A missing value counts as the last one observed in its column, or as 0, the mean, before there is one. The
    first p steps of a series, which have not enough before them, are predicted as any step of training:
    N(m, S S^T).

    Arguments:
        intercept: c, (D,).
        coefficients: A, (p, D, D).
        factor: R, lower triangular, (D, D).
        start_mean: m, (D,).
        start_factor: S, (D, D).
    """

    intercept: Tensor
    coefficients: Tensor
    factor: Tensor
    start_mean: Tensor
    start_factor: Tensor
    with_mask: bool = True
    dtype: torch.dtype = torch.float64

    @property
    def order(self) -> int:
        """p."""
        return len(self.coefficients)

    @property
    def device(self) -> torch.device:
        """Of its inputs."""
        return self.intercept.device

    def __call__(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[MultivariateGaussian, Tensor]:
        """See `SeriesPredictor`; states (p + 1, B, D): the p values before, and how many there were."""
        size, order, steps = len(self.intercept), self.order, len(inputs)
        values, observed = inputs[..., :size], inputs[..., size:].bool()
        before = inputs.new_zeros(order + 1, inputs.shape[1], size) if states is None else states
        place = torch.arange(steps, device=inputs.device).view(-1, 1, 1)
        start = torch.zeros_like(observed[..., :1]) if starts is None else starts.unsqueeze(-1)
        # the last value of each column, here or before; a start is one, of 0
        known = torch.where(observed | start, place, -1).cummax(0).values
        filled = torch.where(known >= 0, values.gather(0, known.clamp_min(0)), before[-2])
        line = torch.cat([before[:-1], filled])
        lags = line.unfold(0, order, 1)[1:]
        mean = self.intercept + torch.einsum("tbjk,kij->tbi", lags, self.coefficients.flip(0))
        begun = torch.where(start, place, -1).cummax(0).values
        count = torch.where(begun >= 0, place - begun, before[-1] + place + 1)
        early = count[..., :1] < order
        after = torch.cat([line[-order:], count[-1:].to(line.dtype)])
        scale = torch.where(early.unsqueeze(-1), self.start_factor, self.factor)
        return MultivariateGaussian(torch.where(early, self.start_mean, mean), scale), after


def fit_persistence(parts: SequenceOf[Part], scaling: Scaling) -> LinearPredictor:
    """x_t ~ N(x_{t-1}, S), S the covariance of the differences between steps of training.

    Example:
        >>> walk = Part("a", np.cumsum(np.ones((9, 1)), 0))
        >>> scaling = Scaling.fit(("x",), [walk.values])
        >>> fit_persistence([walk], scaling).coefficients.tolist()
        [[[1.0]]]
    """
    series = [scaling.apply(part.values) for part in parts]
    size = len(scaling.mean)
    differences = np.concatenate([np.diff(x, axis=0) for x in series])
    # around no change: the mean square, not the variance
    return _predictor(np.zeros(size), np.eye(size)[np.newaxis], _factor(_mean_square(differences)), series)


def fit_var(parts: SequenceOf[Part], scaling: Scaling, order: int) -> LinearPredictor:
    """The autoregression of an order by least squares; rows with a missing value in them are left out.

    Where the rows do not determine it, a small ridge does.

    Example:
        >>> ramp = Part("a", np.arange(50.0).reshape(-1, 1))
        >>> fitted = fit_var([ramp], Scaling.fit(("x",), [ramp.values]), 1)
        >>> fitted.coefficients.round(decimals=6).tolist()
        [[[1.0]]]
    """
    series = [scaling.apply(part.values) for part in parts]
    size = len(scaling.mean)
    rows, triangle = 0, np.zeros((0, size * (order + 1) + 1))
    for x in series:
        for begin in range(order, len(x), _CHUNK):
            block = _rows(x[begin - order : begin + _CHUNK], order)
            rows += len(block)
            triangle = np.asarray(np.linalg.qr(np.concatenate([triangle, block]), "r"))
    inner = 1 + size * order
    if rows < inner:
        raise ValueError(f"expected at least {inner} complete rows for order {order}, found {rows}")
    design, target = triangle[:inner, :inner], triangle[:inner, inner:]
    diagonal = np.abs(np.diag(design))
    if diagonal.min() < 1e-10 * diagonal.max():
        ridge = 1e-6 * diagonal.max() * np.eye(inner)
        solution = np.linalg.lstsq(
            np.concatenate([design, ridge]), np.concatenate([target, np.zeros((inner, size))])
        )[0]
    else:
        solution = np.linalg.solve(design, target)
    # what is left of the targets, to a rotation of the rows
    left = triangle[:, inner:] - triangle[:, :inner] @ solution
    factor = _factor(left.T @ left / rows)
    coefficients = solution[1:].reshape(order, size, size).transpose(0, 2, 1)
    return _predictor(solution[0], coefficients, factor, series)


def fit_baselines(
    train: SequenceOf[Part], valid: SequenceOf[Part], scaling: Scaling
) -> dict[str, LinearPredictor]:
    """The `BASELINES` by name; without "var" where training has not three complete rows for each number.

    Example:
        >>> from ostinato.domains.series.generated import autoregression
        >>> parts = [Part(str(k), autoregression(500, k).reshape(-1, 1)) for k in range(2)]
        >>> scaling = Scaling.fit(("x",), [part.values for part in parts])
        >>> fitted = fit_baselines(parts, parts, scaling)
        >>> list(fitted), fitted["var"].coefficients[0].round(decimals=1).tolist()
        (['persistence', 'var'], [[0.8]])
    """
    fitted = {"persistence": fit_persistence(train, scaling)}
    best = -np.inf
    for order in usable_orders(train, len(scaling.mean)):
        candidate = fit_var(train, scaling, order)
        score = score_steps(candidate, valid, scaling).log_prob.sum()
        if score > best:
            best, fitted["var"] = score, candidate
    return fitted


def usable_orders(parts: SequenceOf[Part], size: int) -> list[int]:
    """Those of `ORDERS` for which there are rows enough, at least 1.

    Example:
        >>> usable_orders([Part("a", np.zeros((40, 2)))], 2)
        [1, 2, 3, 4]
    """

    def fits(order: int) -> bool:
        rows = sum(int(not_missing(part.values, order).sum()) for part in parts if len(part) > order)
        return rows >= _ROWS_EACH * (1 + size * order)

    return [order for order in ORDERS if fits(order)]


def not_missing(values: np.ndarray, order: int) -> np.ndarray:
    """For every step after the first `order`, whether it and these before it are complete, boolean.

    Example:
        >>> not_missing(np.array([[1.0], [np.nan], [1.0], [1.0]]), 1)
        array([False, False,  True])
    """
    complete = ~np.isnan(values).any(1)
    steps = len(values) - order
    return np.logical_and.reduce([complete[k : k + steps] for k in range(order + 1)])


def _rows(values: np.ndarray, order: int) -> np.ndarray:
    """[1, x_{t-1}, ..., x_{t-p}, x_t] for every step t >= p that has them all, (N, 1 + D p + D)."""
    steps = len(values) - order
    lags = [values[order - k : order - k + steps] for k in range(1, order + 1)]
    return np.hstack([np.ones((steps, 1)), *lags, values[order:]])[not_missing(values, order)]


def _mean_square(residuals: np.ndarray) -> np.ndarray:
    """Of residuals (N, D), (D, D): from complete rows, or where these are few of each column by itself."""
    size = residuals.shape[1]
    complete = residuals[~np.isnan(residuals).any(1)]
    if len(complete) > 2 * size:
        return np.asarray(complete.T @ complete / len(complete))
    counts = np.maximum((~np.isnan(residuals)).sum(0), 1)
    return np.diag(np.nansum(residuals**2, 0) / counts)


def _factor(square: np.ndarray) -> np.ndarray:
    """A lower triangular factor of a covariance (D, D), no scale in it below the lowest of the outputs."""
    values, vectors = np.linalg.eigh(square)
    root = vectors * np.sqrt(np.maximum(values, SCALES[0] ** 2))
    triangle: np.ndarray = np.asarray(np.linalg.qr(root.T, "r")).T
    return np.asarray(triangle * np.sign(np.diag(triangle)))


def _predictor(
    intercept: np.ndarray, coefficients: np.ndarray, factor: np.ndarray, series: list[np.ndarray]
) -> LinearPredictor:
    values = np.concatenate(series)
    mean = np.nanmean(values, 0)
    arrays = (intercept, coefficients, factor, mean, _factor(_mean_square(values - mean)))
    tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
    return LinearPredictor(*tensors)  # type: ignore[arg-type]
