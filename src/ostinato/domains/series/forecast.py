"""Forecasts: sample paths from what a series was, and what they say of each step to come.

Shapes: P steps of history, H steps to come (the horizon), K paths, D columns, Q quantiles.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostinato.domains.series.predictor import SeriesPredictor, walk
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.streams import encode
from ostinato.errors import UserError
from ostinato.files import atomic_write
from ostinato.nn.cells.state import repeat

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Forecast:
    """Paths that a series may take, in its own units.

    Arguments:
        columns: their names.
        paths: (K, H, D).
        begin: the number of the first step to come: P, steps being counted from 0.

    Example:
        >>> forecast = Forecast(("x",), np.arange(6.0).reshape(3, 2, 1), 10)
        >>> forecast.mean.ravel().tolist(), forecast.quantiles((0.5,)).ravel().tolist()
        ([2.0, 3.0], [2.0, 3.0])
    """

    columns: tuple[str, ...]
    paths: np.ndarray
    begin: int = 0

    @property
    def mean(self) -> np.ndarray:
        """Over paths, (H, D)."""
        return np.asarray(self.paths.mean(0))

    def quantiles(self, of: tuple[float, ...] = QUANTILES) -> np.ndarray:
        """Of each value by itself, over paths, (Q, H, D)."""
        return np.asarray(np.quantile(self.paths, of, axis=0))


def forecast(
    predictor: SeriesPredictor,
    history: np.ndarray,
    horizon: int,
    scaling: Scaling,
    *,
    paths: int = 1000,
    generator: torch.Generator,
) -> Forecast:
    """Draw paths: x_t ~ p(x_t | x_1 ... x_{t-1}), each step drawn whole, and read by the next.

    Args:
        predictor: a `SeriesModel` in evaluation mode, or a baseline.
        history: what has been, (P, D) in own units, NaN where a value is missing; may be empty.
        horizon: H.
        scaling: that of training.
        paths: K.
        generator: source of randomness.

    Raises:
        UserError: no step or path asked for, other columns than training's, or paths that grow without end.

    Example:
        >>> from ostinato.domains.series.baselines import fit_persistence
        >>> from ostinato.domains.series.splits import Part
        >>> walk = np.cumsum(np.random.default_rng(0).standard_normal((500, 1)), 0)
        >>> scaling = Scaling.fit(("x",), [walk])
        >>> drawn = torch.Generator().manual_seed(0)
        >>> made = forecast(fit_persistence([Part("a", walk)], scaling), walk, 16, scaling, generator=drawn)
        >>> made.paths.shape, made.paths[:, [0, 15], 0].std(0).round()  # a walk: spread as the root of time
        ((1000, 16, 1), array([1., 4.]))
    """
    size = len(scaling.columns)
    if horizon < 1 or paths < 1:
        raise UserError(f"expected at least 1 step and 1 path to forecast, found {horizon} and {paths}")
    if history.ndim != 2 or history.shape[1] != size:
        raise UserError(
            f"expected a history of the columns {', '.join(scaling.columns)}, found shape {history.shape}"
        )
    states: Any = None
    for _, _, after in walk(predictor, history, scaling):
        states = after
    if states is not None:
        states = repeat(states, paths)
    last = scaling.apply(history[-1]) if len(history) else np.full(size, np.nan)
    previous = torch.from_numpy(last).to(predictor.device, predictor.dtype).expand(1, paths, size)
    drawn = np.empty((horizon, paths, size))
    for step in range(horizon):
        starts = torch.full((1, paths), len(history) + step == 0, device=predictor.device)
        inputs = encode(previous, starts, with_mask=predictor.with_mask)
        with torch.no_grad():
            distribution, states = predictor(inputs, states, starts)
        previous = distribution.sample(generator=generator)
        if not bool(previous.isfinite().all()):
            raise UserError(
                f"expected paths that stay finite, found one that does not at step {step + 1} of {horizon}; "
                "forecast fewer steps, or train with a bounded nonlinearity"
            )
        drawn[step] = previous[0].double().cpu().numpy()
    return Forecast(scaling.columns, scaling.invert(drawn.transpose(1, 0, 2)), len(history))


def forecast_csv(made: Forecast) -> str:
    """A row for each step: its number, and of each column the mean and the quantiles.

    Example:
        >>> print(forecast_csv(Forecast(("x",), np.zeros((3, 1, 1)), 10)))
        step,x mean,x 5%,x 25%,x 50%,x 75%,x 95%
        10,0.0,0.0,0.0,0.0,0.0,0.0
        <BLANKLINE>
    """
    names = ("mean", *(f"{100 * q:g}%" for q in QUANTILES))
    table = np.concatenate([made.mean[np.newaxis], made.quantiles()])
    rows = table.transpose(1, 2, 0).reshape(table.shape[1], -1).tolist()
    header = ["step", *(f"{column} {name}" for column in made.columns for name in names)]
    return table_csv(header, [[made.begin + k, *row] for k, row in enumerate(rows)])


def table_csv(header: list[str], rows: list[list[float | int | None]]) -> str:
    """A CSV text whose numbers come back to the bit; None is an empty cell.

    Example:
        >>> table_csv(["a", "b"], [[1, None], [2, 0.1]])
        'a,b\\n1,\\n2,0.1\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def write_forecast(made: Forecast, path: str | Path) -> None:
    """Write `forecast_csv` to a file, in one step."""
    atomic_write(path, forecast_csv(made))
