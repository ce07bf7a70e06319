"""Series in commands: `generate` forecasts, and `score` says how surprising each step was."""

import math
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.sequences import Sequence
from ostinato.domains.answer import Answer, Asked, Notice, Part
from ostinato.domains.seed import seeded
from ostinato.domains.series import pictures
from ostinato.domains.series.forecast import Forecast, forecast, write_forecast
from ostinato.domains.series.memory import values_of
from ostinato.domains.series.options import GenerateOptions, ScoreOptions
from ostinato.domains.series.predictor import SeriesModel
from ostinato.domains.series.reading import read_series
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import select
from ostinato.domains.series.surprise import Surprise, surprise, write_surprise
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, check_installed
from ostinato.evaluation.numbers import counted, number
from ostinato.evaluation.numbers import setting as shown
from ostinato.evaluation.tables import Table, number_columns, table_of
from ostinato.files import check_apart, numbered
from ostinato.nn.devices import find_device
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

TABLE = ".csv"
# Median and central 90%, as printed.
Q = (0.05, 0.5, 0.95)
# Of a forecast, so many steps are printed.
_STEPS = 10


@dataclass(frozen=True)
class Opened:
    """A run's model, and how its series are read."""

    predictor: SeriesModel
    scaling: Scaling
    columns: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, device: str) -> "Opened":
        """Of the run in a folder."""
        find_device(device)
        return cls.of_trained(load_model(Run.open(folder), device=device))

    @classmethod
    def of_trained(cls, trained: TrainedModel) -> "Opened":
        """Of a model that has been read."""
        details = trained.data["details"]
        scaling = Scaling.from_dict(details["scaling"])
        return cls(SeriesModel(trained.model, details["missing"]), scaling, tuple(details["columns"]))

    def read(self, path: Path) -> tuple[tuple[Sequence, ...], list[Notice]]:
        """The series of a file or a folder: the run's columns of them, and what was noticed."""
        read = read_series(path)
        left_out = [name for name in read.columns if name not in self.columns]
        notices = [Notice(f"{path}: {notice}") for notice in read.notices]
        if left_out:
            names = ", ".join(map(repr, left_out))
            notices.append(Notice(f"{path}: left out, for the model does not know them: {names}"))
        series = select(read, self.columns).series
        if not self.predictor.with_mask and any(np.isnan(one.values).any() for one in series):
            notices.append(
                Notice(
                    f"{path}: missing values are read as training's mean: the model was trained without any"
                )
            )
        return series, notices

    def history(self, prime: Any) -> tuple[np.ndarray, str, list[Notice]]:
        """What has been, (P, D), and what it is called: nothing, one file, or what a program has."""
        if prime is None:
            return np.empty((0, len(self.columns))), "nothing: a series' beginning", []
        if not isinstance(prime, str | Path):
            values = values_of(prime, str(argument("prime")), self.columns)
            return values, counted(len(values), "step"), []
        series, notices = self.read(Path(prime))
        if len(series) != 1:
            raise UserError(f"expected one series to continue in {prime}, found {len(series)}; name one file")
        return series[0].values, f"{series[0].name}, {counted(len(series[0]), 'step')}", notices


def forecast_file(run: Path, asked: Asked, own: GenerateOptions) -> Answer:
    """Forecast the steps after a series, or after none, and write them into files."""
    paths = own.out or [Path(f"{run.resolve().name}-{asked.seed}{ending}") for ending in (TABLE, ".png")]
    for path in paths:
        check_writable(path, *pictures.FORMATS)
    check_apart(paths, asked.prime)
    check_counts(own)
    opened = Opened.of(run, asked.device)
    history, after, notices = opened.history(asked.prime)
    made = forecasted(opened, history, asked.seed, own)
    write_forecasts(made, history, paths, title=f"{run.resolve().name} after {after}")
    files = [str(path) for path in paths]

    def record() -> dict[str, Any]:
        return {
            "files": files,
            "steps": own.horizon,
            "samples": own.samples,
            "prime": None if asked.prime is None else {"steps": len(history)},
            "columns": list(made.columns),
            "mean": made.mean.tolist(),
            "quantiles": {str(q): row.tolist() for q, row in zip(Q, made.quantiles(Q), strict=True)},
        }

    def parts() -> Iterator[Part]:
        yield _forecast_table(made, f"forecast after {after}")
        yield f"{', '.join(files)}: {counted(own.horizon, 'step')}, from {counted(own.samples, 'drawn path')}"

    return Answer(record, parts(), notices)


def check_counts(own: GenerateOptions) -> None:
    """A `UserError` where nothing would be forecast."""
    for name, value in (("horizon", own.horizon), ("samples", own.samples)):
        if value < 1:
            raise UserError(f"expected {argument(name)} of at least 1, found {value}")


def forecasted(opened: Opened, history: np.ndarray, seed: int, own: GenerateOptions) -> Forecast:
    """The steps after what has been, (P, D)."""
    drawn = seeded(seed)
    return forecast(
        opened.predictor, history, own.horizon, opened.scaling, paths=own.samples, generator=drawn
    )


def write_forecasts(made: Forecast, history: np.ndarray, paths: SequenceOf[Path], title: str) -> None:
    """Into files: tables and pictures."""
    for path in paths:
        if path.suffix.lower() == TABLE:
            write_forecast(made, path)
        else:
            pictures.forecast_picture(made, history, path, title=title)


def _forecast_table(made: Forecast, title: str) -> Table:
    """The first steps: the median of each column, and its central 90%."""
    low, middle, high = made.quantiles(Q)
    some = min(_STEPS, len(middle))
    table = Table(number_columns("step", *(f"{name}\nmedian [90%]" for name in made.columns)), title)
    for k in range(some):
        cells = (
            f"{shown(float(m))} [{shown(float(a))}, {shown(float(b))}]"
            for a, m, b in zip(low[k], middle[k], high[k], strict=True)
        )
        table.add(f"{made.begin + k:,}", *cells)
    if some < len(middle):
        table.notes = [f"{len(middle) - some:,} more steps are in the files"]
    return table


def score_files(run: Path, files: list[Path], own: ScoreOptions) -> Answer:
    """The surprise of every step of the series in some files; written into files where that is asked for."""
    if own.top < 0:
        raise UserError(f"expected {argument('top')} of at least 0, found {own.top}")
    if own.out is not None:
        check_writable(own.out, *pictures.FORMATS)
        for read in files:
            check_apart([own.out], read)
    opened = Opened.of(run, own.device)
    series: list[Sequence] = []
    notices: list[Notice] = []
    for file in files:
        found, more = opened.read(file)
        series, notices = [*series, *found], notices + more
    scored = [surprise(opened.predictor, one.values, opened.scaling) for one in series]
    written = []
    for place, (one, surprises) in enumerate(zip(series, scored, strict=True), start=1):
        if own.out is not None:
            path = numbered(own.out, place, len(series))
            _write(one, surprises, path, own.top)
            written.append(str(path))

    def record() -> dict[str, Any]:
        rows = [_record(one, found) for one, found in zip(series, scored, strict=True)]
        return {"series": rows, "files": written}

    def parts() -> Iterator[Part]:
        yield _ranking(series, scored)
        for one, found in zip(series, scored, strict=True):
            if own.top:
                yield ""
                yield _most(one, found, own.top)
        yield from (Notice(f"written: {path}") for path in written)

    return Answer(record, parts(), notices)


def _record(one: Sequence, found: Surprise) -> dict[str, Any]:
    observed = ~np.isnan(found.steps)
    return {
        "name": one.name,
        "steps": int(observed.sum()),
        "log_likelihood": float(-found.steps[observed].mean()) if observed.any() else None,
        "surprise": {
            "unit": "nats",
            "convention": "-log p of a step's observed values, in the data's own units",
            "steps": [None if np.isnan(value) else float(value) for value in found.steps],
        },
    }


def _ranking(series: list[Sequence], scored: list[Surprise]) -> Table:
    title = "most likely first" if len(series) > 1 else "log-likelihood"
    table = table_of("series", "steps", "log-likelihood\n(nats/step)", title=title)
    rows = [_record(one, found) for one, found in zip(series, scored, strict=True)]
    for row in sorted(rows, key=_rank):
        table.add(row["name"], f"{row['steps']:,}", number(row["log_likelihood"], "nats/step"))
    table.notes = [
        "log-likelihood: mean over steps with a value, of their observed values, in the data's own units; "
        "the first predicted from zeros"
    ]
    return table


def _rank(row: dict[str, Any]) -> float:
    likelihood = row["log_likelihood"]
    return math.inf if likelihood is None else -likelihood


def _most(one: Sequence, found: Surprise, top: int) -> Table:
    """The most surprising steps: of each the surprise, and the column that surprises most."""
    headings = ("step", "surprise (nats)", "column", "value", "quantile")
    table = Table(number_columns(*headings), f"{one.name}: most surprising steps")
    for k in found.most(top):
        column = int(np.nanargmax(np.abs(found.quantiles[k] - 0.5)))
        table.add(
            f"{k:,}",
            number(float(found.steps[k]), "nats"),
            found.columns[column],
            shown(float(one.values[k, column])),
            shown(float(found.quantiles[k, column])),
        )
    table.notes = [
        "surprise: -log p of the step's values; column: the one that lies farthest out in what was predicted "
        "of it; quantile: where, from 0 to 1. Steps are counted from 0, as in a file."
    ]
    return table


def _write(one: Sequence, found: Surprise, path: Path, top: int) -> None:
    if path.suffix.lower() == TABLE:
        write_surprise(found, path)
    else:
        pictures.surprise_picture(found, one.values, path, most=top, title=one.name)


def check_writable(path: Path, *endings: str) -> None:
    """A UserError where a file cannot be written: before anything is computed."""
    if path.suffix.lower() not in (TABLE, *endings):
        raise UserError(f"expected a file name ending in {', '.join((TABLE, *endings))}, found {path.name}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"expected a folder to write {path.name} in, found none at {path.parent}")
    if path.suffix.lower() in pictures.FORMATS:
        check_installed("series", "matplotlib.figure")
