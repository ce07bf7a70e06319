"""Standardisation by what the training series are, and the way back to the data's own units.

Shapes: T steps, D columns.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ostinato.errors import UserError

# Standard deviations beyond which a squared distance is no single-precision number at the smallest scale.
FARTHEST = 1e12


@dataclass(frozen=True)
class Scaling:
    """Each column's mean and standard deviation over the observed values of training.

        z = (x - mean) / scale,   log p(x) = log p(z) - sum over observed columns of log scale

    The scale of a column that is constant in training is 1: it is only shifted. (`split` leaves such out.)

    Arguments:
        columns: their names.
        mean: (D,).
        scale: (D,), above 0.

    Example:
        >>> scaling = Scaling.fit(("x",), [np.array([[1.0], [3.0], [np.nan]])])
        >>> scaling.mean.tolist(), scaling.scale.tolist(), scaling.apply(np.array([[5.0]])).tolist()
        ([2.0], [1.0], [[3.0]])
        >>> Scaling.from_dict(scaling.to_dict()).mean.tolist()
        [2.0]
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, columns: tuple[str, ...], series: Iterable[np.ndarray]) -> "Scaling":
        """From the training series, each (T, D) with NaN where a value is missing.

        Raises:
            UserError: a column has no value at all, or values too large to be squared.
        """
        values = np.concatenate([*series])
        observed = ~np.isnan(values)
        for name, count in zip(columns, observed.sum(0).tolist(), strict=True):
            if count == 0:
                raise UserError(
                    f"expected values in column {name!r} of the training series, found none; "
                    "remove the column"
                )
        with np.errstate(over="ignore", invalid="ignore"):
            # around the first value: a large offset costs no digits
            first = values[observed.argmax(0), np.arange(values.shape[1])]
            shifted = values - first
            mean, scale = np.nanmean(shifted, 0), np.nanstd(shifted, 0)
        usable = np.isfinite(mean) & np.isfinite(scale)
        for name, fine in zip(columns, usable.tolist(), strict=True):
            if not fine:
                raise UserError(
                    f"expected numbers that can be squared in column {name!r}, found some too large; "
                    "divide the column by a power of ten"
                )
        # of a constant it is 0 to the bit: around the first value all are 0
        return cls(columns, first + mean, np.where(scale == 0, 1.0, scale))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values (..., D) standardised; NaN stays.

        Raises:
            UserError: a value is so far from the training series that its density has no number.
        """
        with np.errstate(over="ignore"):
            scaled = (values - self.mean) / self.scale
        if (far := np.argwhere(np.abs(scaled) > FARTHEST)).size:
            place = tuple(far[0].tolist())
            raise UserError(
                f"expected values like those of training in column {self.columns[place[-1]]!r}, found "
                f"{values[place]:g}, where the mean is {self.mean[place[-1]]:g} and the standard deviation "
                f"{self.scale[place[-1]]:g}; check its unit"
            )
        return np.asarray(scaled)

    def invert(self, values: np.ndarray) -> np.ndarray:
        """Standardised values (..., D) in the data's own units."""
        return values * self.scale + self.mean

    def log_scale(self, observed: np.ndarray) -> np.ndarray:
        """The sum of log scale over the observed columns, (...): what a density loses in the own units.

        Args:
            observed: boolean (..., D), or how many values of each column.
        """
        return observed @ np.log(self.scale)

    def to_dict(self) -> dict[str, Any]:
        """The fields, as JSON can hold them; numbers come back to the bit."""
        return {
            "columns": list(self.columns),
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Scaling":
        """From the fields as `to_dict` gives them.

        Raises:
            UserError: they are none: a file was changed by hand.
        """
        try:
            columns = tuple(fields["columns"])
            mean, scale = (np.array(fields[name], dtype=np.float64) for name in ("mean", "scale"))
            fine = mean.shape == scale.shape == (len(columns),)
            fine = fine and all(math.isfinite(x) for x in mean) and all(0 < x < math.inf for x in scale)
        except (KeyError, TypeError, ValueError):
            fine = False
        if not fine:
            raise UserError("expected columns with a mean and a scale above 0 each, found other settings")
        return cls(columns, mean, scale)
