"""What commands can be told of series alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    """Of `ostinato generate`, which forecasts.

    Parameters
    ----------
    horizon
        Steps to forecast.
    samples
        Paths that are drawn: means and quantiles are theirs.
    out
        A file to write: .csv with mean and quantiles of every step, or a picture, .png, .svg or .pdf; can be
        given several times. By default RUN-SEED.csv and .png in the current folder.
    """

    horizon: int = 100
    samples: int = 1000
    out: list[Path] | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Of `ostinato score`.

    Parameters
    ----------
    top
        How many surprising steps of each series to list.
    out
        Write every step's surprise to this file (.csv), or draw it (.png, .svg or .pdf); numbered if several
        series are scored.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto.
    """

    top: int = 10
    out: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Of `ostinato evaluate`.

    Parameters
    ----------
    per_series
        List the log-likelihood of each series of a split.
    """

    per_series: Literal["train", "valid", "test"] | None = None


@dataclass(frozen=True, kw_only=True)
class ShowOptions:
    """Of `ostinato data show`.

    Parameters
    ----------
    out
        Draw the first training series to this file (.png, .svg or .pdf).
    split_seed
        Deals whole series to train, valid and test.
    """

    out: Path | None = None
    split_seed: int = 0
