"""How surprising each step was, given those before it: -log p, to find what is unlike the training series.

Shapes: T steps, D columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostinato.data.batches import padded
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
    (found,) = surprise_together(predictor, [values], scaling)
    return found


def surprise_together(
    predictor: SeriesPredictor, series: Sequence[np.ndarray], scaling: Scaling
) -> list[Surprise]:
    """`surprise` of several series at once, each by itself; the shorter ones are padded at their ends."""
    steps, each, chances = [], [], []
    for distribution, scaled, _ in walk(predictor, padded(series), scaling):
        steps.append(-distribution.log_prob(scaled).double().cpu().numpy())
        each.append(-distribution.value_log_probs(scaled).double().cpu().numpy())
        chances.append(distribution.cdf(scaled).double().cpu().numpy())
    whole, alone, chance = (np.concatenate(column) for column in (steps, each, chances))
    return [
        _of_one(values, whole[: len(values), b], alone[: len(values), b], chance[: len(values), b], scaling)
        for b, values in enumerate(series)
    ]


def _of_one(
    values: np.ndarray, steps: np.ndarray, each: np.ndarray, chances: np.ndarray, scaling: Scaling
) -> Surprise:
    """In the series' own units, and NaN where nothing was observed."""
    observed = ~np.isnan(values)
    return Surprise(
        scaling.columns,
        np.where(observed.any(1), steps + scaling.log_scale(observed), np.nan),
        np.where(observed, each + np.log(scaling.scale), np.nan),
        np.where(observed, chances, np.nan),
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
