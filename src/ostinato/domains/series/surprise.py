"""How surprising each step was, given those before it: -log p, to find what is unlike the training series.

Shapes: T steps, D columns.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.domains.series.forecast import table_csv
from ostinato.domains.series.predictor import SeriesPredictor, walk
from ostinato.domains.series.scaling import Scaling
from ostinato.errors import UserError
from ostinato.files import atomic_write


@dataclass(frozen=True)
class Surprise:
    """Surprise in nats, in the data's own units (so it may be negative); NaN where nothing was observed.

    Arguments:
        columns: their names.
        steps: of each step's observed values together, (T,).
        values: of each value by itself, given the steps before, (T, D); with a full covariance they do not
            add up to that of the step.
        quantiles: where each value lies in what was predicted of it, from 0 to 1, (T, D).
    """

    columns: tuple[str, ...]
    steps: np.ndarray
    values: np.ndarray
    quantiles: np.ndarray

    def most(self, count: int) -> list[int]:
        """The numbers of the most surprising steps, the first the most.

        Example:
            >>> Surprise((), np.array([1.0, np.nan, 5.0, 2.0]), np.zeros(0), np.zeros(0)).most(2)
            [2, 3]
        """
        order = np.argsort(-np.nan_to_num(self.steps, nan=-np.inf), kind="stable")
        return [int(k) for k in order[:count] if not np.isnan(self.steps[k])]


def surprise(predictor: SeriesPredictor, values: np.ndarray, scaling: Scaling) -> Surprise:
    """Read a series (T, D) in its own units, and say of every step how surprising it was.

    Raises:
        UserError: no steps, or other columns than training's.

    Example:
        >>> from ostinato.domains.series.baselines import fit_persistence
        >>> from ostinato.domains.series.splits import Part
        >>> series = np.cumsum(np.random.default_rng(0).standard_normal((500, 1)), 0)
        >>> scaling = Scaling.fit(("x",), [series])
        >>> fitted = fit_persistence([Part("a", series)], scaling)
        >>> series[300] += 20
        >>> sorted(surprise(fitted, series, scaling).most(2))  # there, and back
        [300, 301]
    """
    if values.ndim != 2 or values.shape[1] != len(scaling.columns) or len(values) == 0:
        raise UserError(
            f"expected steps of the columns {', '.join(scaling.columns)}, found shape {values.shape}"
        )
    steps, each, chances = [], [], []
    for distribution, scaled, _ in walk(predictor, values, scaling):
        steps.append(-distribution.log_prob(scaled).squeeze(1).double().cpu().numpy())
        each.append(-distribution.value_log_probs(scaled).squeeze(1).double().cpu().numpy())
        chances.append(distribution.cdf(scaled).squeeze(1).double().cpu().numpy())
    observed = ~np.isnan(values)
    total = np.concatenate(steps) + scaling.log_scale(observed)
    alone = np.concatenate(each) + np.log(scaling.scale)
    return Surprise(
        scaling.columns,
        np.where(observed.any(1), total, np.nan),
        np.where(observed, alone, np.nan),
        np.where(observed, np.concatenate(chances), np.nan),
    )


def write_surprise(found: Surprise, path: str | Path) -> None:
    """Write a CSV, in one step: of each step its number and surprise, and of each value both as well.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "surprise.csv"
        >>> write_surprise(Surprise(("x",), np.array([1.5]), np.array([[1.5]]), np.array([[0.9]])), path)
        >>> print(path.read_text())
        step,nats,x nats,x quantile
        0,1.5,1.5,0.9
        <BLANKLINE>
    """
    header = ["step", "nats", *(f"{c} {what}" for c in found.columns for what in ("nats", "quantile"))]
    both = np.stack([found.values, found.quantiles], -1).reshape(len(found.steps), -1)
    table = np.column_stack([found.steps, both])
    rows: list[list[float | int | None]] = [
        [k, *(None if np.isnan(x) else x for x in row)] for k, row in enumerate(table.tolist())
    ]
    atomic_write(path, table_csv(header, rows))
