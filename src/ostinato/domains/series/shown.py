"""Tables of what models of series come to, and of what is in their data."""

from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from typing import Any

from ostinato.domains.answer import Part
from ostinato.domains.domain import Each, Scores
from ostinato.domains.series.evaluation import score_steps
from ostinato.domains.series.predictor import SeriesPredictor
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part as SeriesPart
from ostinato.evaluation.numbers import number
from ostinato.evaluation.numbers import setting as shown
from ostinato.evaluation.tables import Table, show, table_of

# Of all columns together, on the last split.
ERRORS = {
    "rmse": "RMSE\n(training sd)",
    "crps": "CRPS\n(training sd)",
    "coverage_90": "inside 90%\n%",
}
# Columns whose errors have rows of their own.
MOST_COLUMNS = 8


def series_table(scores: Scores, title: str, splits: tuple[str, ...] = ("valid", "test")) -> Table:
    """Systems against splits: log-likelihood on each, errors on the last; under it, what they are."""
    splits = tuple(s for s in splits if any(s in by_split for by_split in scores.values()))
    last = splits[-1]
    headings = [f"{split}\nlog-likelihood\n(nats/step)" for split in splits]
    headings += [f"{last}\n{heading}" for heading in ERRORS.values()]
    table = table_of("", *headings, title=title)
    for system, by_split in scores.items():
        cells = [show(by_split.get(split, {}).get("log_likelihood")) for split in splits]
        cells += [show(by_split.get(last, {}).get(name)) for name in ERRORS]
        table.add(system, *cells, bold=system == "model")
    first = next(iter(scores.values()))[last]["log_likelihood"]
    table.notes = [
        f"{first.convention}. RMSE and CRPS: of all observed values, standardised by training; lower is "
        "better. Inside 90%: observed values within their central 90% interval."
    ]
    table.notes += _by_column(scores, last)
    return table


def _by_column(scores: Scores, split: str) -> list[str]:
    """The root mean square errors in the columns' own units, where they are few enough to be read."""
    model = scores.get("model", {}).get(split, {})
    names = [name for name in model if name.startswith("rmse/")]
    if not names or len(names) > MOST_COLUMNS:
        return []
    each = ", ".join(f"{name.removeprefix('rmse/')} {shown(model[name].value)}" for name in names)
    return [f"the model's RMSE on {split} in each column's own unit: {each}"]


def each_series(predictor: SeriesPredictor, parts: SequenceOf[SeriesPart], scaling: Scaling) -> Each:
    """Log-likelihood and RMSE of each series of a split, the least likely first in the table."""
    records: list[dict[str, Any]] = []
    for part in parts:
        if part.scored <= 0:
            continue
        steps = score_steps(predictor, [part], scaling)
        values = int(steps.observed.sum())
        records.append(
            {
                "name": part.name,
                "steps": len(steps.log_prob),
                "log_likelihood": float(steps.own_log_prob(scaling).mean()),
                "rmse": float((steps.squared.sum() / values) ** 0.5) if values else None,
            }
        )
    title = "log-likelihood of each series (nats/step), and RMSE (training sd)"
    table = table_of("series", "steps", "log-likelihood", "RMSE", title=title)
    for one in sorted(records, key=lambda s: s["log_likelihood"]):
        likelihood, rmse = number(one["log_likelihood"], "nats/step"), number(one["rmse"], "")
        table.add(one["name"], f"{one['steps']:,}", likelihood, rmse)
    return Each("series", records, table)


def described(found: dict[str, Any]) -> Iterator[Part]:
    """What `data_sets.describe` found."""
    yield f"split {found['details']['split']}"
    table = table_of("split", "series", "steps", "missing values")
    for split, own in found["splits"].items():
        table.add(split, f"{own['series']:,}", f"{own['steps']:,}", f"{own['missing']:.2%}")
    yield table
    columns = table_of("column", "mean", "standard deviation", "least", "greatest")
    columns.title = "columns, over the observed values of train"
    for name, own in found["columns"].items():
        columns.add(name, *(shown(own[what]) for what in ("mean", "sd", "least", "greatest")))
    yield columns
    yield from found["details"]["notices"]
