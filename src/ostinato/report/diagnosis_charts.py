"""What `ostinato train --diagnose-every` wrote down of epochs, as charts of the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.report.charts import Chart, Looks, axis, count_axis, hover, line, log_axis, thinned
from ostinato.report.numbers import brief
from ostinato.report.records import RunRecord


@dataclass(frozen=True)
class _Together:
    """Figures that are drawn in one chart, with what they are."""

    key: str
    title: str
    unit: str
    names: dict[str, str]
    logarithmic: bool = False


_CHARTS = (
    _Together("memory", "Memory horizon", "steps", {"memory_horizon": "horizon"}),
    _Together(
        "gradients",
        "Gradients over lags",
        "share, or factor",
        {
            "gradient_left": "left at the largest lag",
            "singular_value": "singular value of Jacobians",
            "norm_spread": "largest norm over the median",
            "state_growth": "growth of states",
        },
        logarithmic=True,
    ),
    _Together(
        "units",
        "Units",
        "share",
        {
            "silent_units": "silent",
            "saturated_slopes": "saturated slopes",
            "zero_gradients": "gradients that are zero",
            "gradient_symmetry": "symmetry",
            "short_terms": "short terms",
        },
    ),
)
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def diagnosis_charts(runs: Sequence[RunRecord], key: str, looks: Looks) -> list[Chart]:
    """A chart for each group of figures that any run has."""
    found = [_chart(runs, key, looks, one) for one in _CHARTS]
    return [chart for chart in found if chart is not None]


def _chart(runs: Sequence[RunRecord], key: str, looks: Looks, figures: _Together) -> Chart | None:
    data: list[dict[str, Any]] = []
    parts = []
    for run in runs:
        for (name, told), dash in zip(figures.names.items(), _DASHES, strict=False):
            epochs = thinned([r for r in run.epochs if isinstance(r.get(name), int | float)])
            if not epochs:
                continue
            at, values = [r["epoch"] + 1 for r in epochs], [r[name] for r in epochs]
            look = {"color": looks[run.name]["color"], "dash": dash}
            label = run.name if len(figures.names) == 1 else f"{run.name}: {told}"
            text = hover(label, "epoch %{x}: %{y:.4~g}")
            data.append(line(label, at, values, look, legendgroup=run.name, **text))
            parts.append(f"{label} {brief(values[0])} at first, {brief(values[-1])} at last")
    if not data:
        return None
    most = max(len(run.epochs) for run in runs)
    values = [value for trace in data for value in trace["y"]]
    positive = figures.logarithmic and all(value > 0 for value in values)
    layout = {
        "xaxis": count_axis("epoch", most, rangemode="tozero"),
        "yaxis": log_axis(figures.unit, values) if positive else axis(figures.unit, rangemode="tozero"),
    }
    title = f"{figures.title}: {runs[0].data_title}"
    return Chart(f"{key}-{figures.key}", title, "; ".join(parts) + ".", {"data": data, "layout": layout})
