"""A score: a number with its unit, convention, count and standard error. Letters: S songs."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Score:
    """One number and everything needed to compare it with another.

    Arguments:
        value: the score.
        unit: what it is measured in.
        convention: how it was taken, in words; scores of different conventions are not comparable.
        count: frames (or songs) it is a mean over.
        songs: songs it was taken from.
        standard_error: over songs; NaN where there is only one.
        estimate: whether the value is itself an estimate, by sampling.
        sampling_error: standard error of the estimate, from the sampling alone; NaN where the value is exact.
        interval: where the exact value is to be expected, given the sampling; None where the value is exact.
            Its convention says what it is made of.
        basis: the convention without how the value was estimated; empty where that is nothing.
        bound: whether the value is a lower bound in expectation, not the middle of what is known.
        effort: how an estimate was come by: steps, agreement, and the like; can be written as JSON.

    An estimate that failed has the value NaN, and its interval: nothing else can be told.
    """

    value: float
    unit: str
    convention: str
    count: int
    songs: int
    standard_error: float
    estimate: bool = False
    sampling_error: float = math.nan
    interval: tuple[float, float] | None = None
    basis: str = ""
    bound: bool = False
    effort: dict[str, Any] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; a value or an error that does not exist is None."""
        numbers = {name: getattr(self, name) for name in ("value", "standard_error", "sampling_error")}
        fields = asdict(self) | {name: None if math.isnan(x) else x for name, x in numbers.items()}
        if not self.estimate:  # what only estimates have
            for name in ("basis", "bound", "effort"):
                del fields[name]
        return fields

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Score":
        """The score that `to_dict` gave, also from JSON, where None stands for a number that is not finite.

        Example:
            >>> score = Score(-7.0, "nats/frame", "pooled", 9, 3, 0.1)
            >>> Score.from_dict(score.to_dict()).to_dict() == score.to_dict()
            True
        """
        numbers = ("value", "standard_error", "sampling_error")
        interval = fields["interval"]
        return cls(
            **fields
            | {name: math.nan if fields[name] is None else fields[name] for name in numbers}
            | {"interval": None if interval is None else tuple(interval)}
        )

    def times(self, factor: float, unit: str) -> "Score":
        """The same score in another unit, with its errors and interval; how it was come by is said once.

        Example:
            >>> frame = Score(-4.0, "nats/frame", "pooled", 9, 3, 0.1)
            >>> frame.times(2, "nats/quarter").standard_error
            0.2
        """
        ends = self.interval
        return replace(
            self,
            value=self.value * factor,
            standard_error=self.standard_error * factor,
            sampling_error=self.sampling_error * factor,
            interval=None if ends is None else (ends[0] * factor, ends[1] * factor),
            unit=unit,
            effort={},
        )

    def estimated(
        self,
        sampling_error: float,
        interval: tuple[float, float],
        how: str,
        *,
        told: bool = True,
        bound: bool = False,
        effort: dict[str, Any] | None = None,
    ) -> "Score":
        """The same score marked as an estimate, with its error and interval; `how` joins its convention.

        Args:
            sampling_error: standard error, from the sampling alone.
            interval: for the exact value.
            how: it was estimated.
            told: whether there is an estimate; without one the value is NaN.
            bound: whether the value is a lower bound.
            effort: how it was come by.

        Example:
            >>> score = Score(-7.0, "nats/frame", "pooled", 9, 3, 0.1)
            >>> score.estimated(0.01, (-7.02, -6.98), "by sampling").convention
            'pooled; by sampling'
            >>> score.estimated(0.01, (-9.0, -5.0), "by sampling", told=False).told
            False
        """
        return replace(
            self,
            value=self.value if told else math.nan,
            convention=f"{self.convention}; {how}",
            basis=self.convention,
            estimate=True,
            sampling_error=sampling_error,
            interval=interval,
            bound=bound,
            effort=effort or {},
        )


def pooled_score(
    sums: np.ndarray, counts: np.ndarray, unit: str, convention: str, *, estimate: bool = False
) -> Score:
    """Ratio of totals r = sum_s x_s / sum_s n_s, with its standard error over songs.

        se^2 = S / (S - 1) * sum_s (x_s - r n_s)^2 / (sum_s n_s)^2

    The linearised variance of a ratio with songs as clusters (Cochran, Sampling Techniques, 1977, 6.13):
    frames of one song depend on each other, songs do not.

    Args:
        sums: x, totals of each song, shape (S,).
        counts: n, what each total is divided by, shape (S,).
        unit: of the score.
        convention: of the score.
        estimate: whether the totals are estimates.

    Example:
        >>> score = pooled_score(np.array([-8.0, -4.0]), np.array([2.0, 1.0]), "nats/frame", "pooled")
        >>> score.value, score.standard_error, score.count
        (-4.0, 0.0, 3)
    """
    sums, counts = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    total, songs = counts.sum(), len(sums)
    value = sums.sum() / total if total > 0 else math.nan
    error = math.nan
    if songs > 1 and total > 0 and math.isfinite(value):
        error = math.sqrt(songs / (songs - 1) * np.square(sums - value * counts).sum()) / total
    return Score(float(value), unit, convention, round(float(total)), songs, float(error), estimate)
