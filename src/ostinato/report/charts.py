"""Plotly figures of runs, as plain JSON specifications; the page colours text and grids by its theme."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.evaluation.measure import Measure
from ostinato.evaluation.numbers import counted
from ostinato.report.measures import NOT_DRAWN, log_ticks, window
from ostinato.report.numbers import brief, number, recorded, score
from ostinato.report.records import RunRecord

# Middle tones: at least 3 to 1 against both the light and the dark page; the order alternates warm and cool.
PALETTE = ("#2f7fb5", "#c9632b", "#3a9460", "#b1569b", "#857a22", "#6b74d6", "#cf4d55", "#259494")
QUIET = "#84888f"
_DASHES = ("solid", "dash", "dot", "dashdot")

MOST_POINTS = 1000
# Characters of an upright title that find room beside the lowest chart.
_LONGEST = 30
# Up to so many steps an axis of epochs or trials names each of them: there is no epoch 1.5.
_NAMED = 12


@dataclass(frozen=True)
class Chart:
    """A figure and what it shows in words.

    Arguments:
        key: its id in the page.
        title: its heading.
        summary: what it shows, for those who do not see it.
        figure: Plotly's data and layout.
        height: in pixels.
        width: in pixels at least; on a narrower page the chart is scrolled.
    """

    key: str
    title: str
    summary: str
    figure: dict[str, Any]
    height: int = 380
    width: int = 0


Looks = dict[str, dict[str, str]]


def looks_of(runs: Sequence[RunRecord]) -> Looks:
    """Colour and dash of each run's lines by its name, the same in every chart; 32 runs look different."""
    return {
        run.name: {
            "color": PALETTE[number % len(PALETTE)],
            "dash": _DASHES[number // len(PALETTE) % len(_DASHES)],
        }
        for number, run in enumerate(runs)
    }


def thinned(records: Sequence[Any], most: int = MOST_POINTS) -> list[Any]:
    """Every n-th record, so that at most `most` and the last are left.

    Example:
        >>> thinned(range(10), 4)
        [0, 3, 6, 9]
        >>> thinned([1, 2], 4)
        [1, 2]
    """
    every = max(1, math.ceil(len(records) / most))
    kept = list(records[::every])
    return kept if (len(records) - 1) % every == 0 else [*kept, records[-1]]


def line(name: str, x: list[Any], y: list[Any], look: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Plotly line; numbers are rounded to what can be seen."""
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(x) == 1 else "lines",
        "name": escaped(name),
        "x": x,
        "y": [None if value is None else float(f"{value:.6g}") for value in y],
        "line": {"width": 2} | look,
        **more,
    }


def escaped(text: str) -> str:
    """Text for a label: Plotly reads a little HTML there, and names are to be shown as they are.

    Example:
        >>> escaped("<b>a&b")
        '&lt;b&gt;a&amp;b'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wrapped(text: str, width: int = 44) -> str:
    """Text for a label, escaped, in lines that fit a narrow page.

    Example:
        >>> wrapped("a <b> of c", 8)
        'a &lt;b&gt; of<br>c'
    """
    return "<br>".join(map(escaped, textwrap.wrap(text, width)))


def hover(who: str, what: str) -> dict[str, str]:
    """The label at each point of a line: its whole name, and what a template of Plotly's says of the point.

    Example:
        >>> hover("a long name", "epoch %{x}")
        {'hovertemplate': 'a long name<br>epoch %{x}<extra></extra>'}
    """
    # a brace with a percent sign in a name would be read as a place to fill in
    return {"hovertemplate": f"{wrapped(who).replace('%{', '%&#123;')}<br>{what}<extra></extra>"}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title that leaves room for its numbers; a long title has two lines.

    Example:
        >>> axis("validation log-likelihood (nats/frame)")["title"]["text"]
        'validation log-likelihood<br>(nats/frame)'
    """
    title = "<br>".join(textwrap.wrap(title, _LONGEST, break_on_hyphens=False))
    return {"title": {"text": title, "standoff": 8}, "automargin": True, "zeroline": False, **more}


def count_axis(title: str, most: int, **more: Any) -> dict[str, Any]:
    """An axis of whole numbers up to `most`.

    Example:
        >>> count_axis("epoch", 3)["dtick"], "dtick" in count_axis("epoch", 300)
        (1, False)
    """
    return axis(title, **({"dtick": 1} if most <= _NAMED else {}), **more)


def log_axis(title: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """A logarithmic axis with every number written out, from the smallest to the largest of the values."""
    positive = [value for value in values if value is not None and value > 0] or [1.0]
    low, high = min(positive), max(positive)
    margin = (high / low) ** 0.05 if high > low else 1.5
    return _log(title, low / margin, high * margin, **more)


def _log(title: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    ticks = log_ticks(low, high)
    ends = [math.log10(low), math.log10(high)]
    named = {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    return axis(title, type="log", range=ends, **named, **more)


def learning_curves(runs: Sequence[RunRecord], key: str, looks: Looks) -> Chart:
    """Validation (solid) and training (dotted) score of every run against epochs, with the baselines.

    Args:
        runs: of the same data, watched by the same score.
        key: of the chart.
        looks: of every run's lines.
    """
    measure = runs[0].measure
    data, parts = [], []
    for run in runs:
        data += _curve(run, looks[run.name], alone=len(runs) == 1)
        best, last = run.best, run.epochs[-1]["epoch"] + 1
        told = (
            f"best validation {measure.told(_with_error(run, best))} in epoch {best['epoch'] + 1} of {last}"
        )
        if measure.of(best, "valid") is None:
            told = f"no finite validation score in the epochs up to {last}"
        parts.append(f"{run.name}: {told}")
    levels = _baselines(runs)
    values = {name: level["value"] for name, level in levels.items()}
    bars = [end for trace in data if "error_y" in trace for end in _ends(trace)]
    low, high = window(measure, [run.epochs for run in runs], [*values.values(), *bars])
    layout = {
        "xaxis": count_axis("epoch", max(len(run.epochs) for run in runs), rangemode="tozero"),
        "yaxis": _log(measure.axis, low, high) if measure.log else axis(measure.axis, range=[low, high]),
        **_levels(values, log=measure.log),
    }
    drawn = {trace["legendgroup"] for trace in data if trace.get("line", {}).get("dash") == "dot"}
    summary = "; ".join(parts) + ". Solid: validation, with its best epoch as a dot"
    summary += "; dotted: training." if drawn else "."
    if any("error_y" in trace for trace in data):
        summary += " ± and the bar at a dot: one standard error."
    if levels:
        told = ", ".join(f"{name} {recorded(level)}" for name, level in levels.items())
        summary += f" Lines across: validation of the baselines, {told}."
    title = f"Learning curves: {runs[0].data_title}"
    if measure.stand_in:
        summary += " A stand-in for the log-likelihood, which is not comparable with it."
        title += f" ({measure.label})"
    return Chart(key, title, summary, {"data": data, "layout": layout}, 420)


def _curve(run: RunRecord, look: dict[str, str], *, alone: bool) -> list[dict[str, Any]]:
    """A run's training and validation, and the point of its best epoch; training where it is recorded."""
    measure, epochs, traces = run.measure, thinned(run.epochs), []
    at = [record["epoch"] + 1 for record in epochs]
    train, valid = ([measure.of(record, split) for record in epochs] for split in ("train", "valid"))
    if any(value is not None for value in train):
        quiet = {"color": look["color"], "dash": "dot", "width": 1.2}
        more: dict[str, Any] = {"legendgroup": run.name, "showlegend": alone}
        more |= hover(f"{run.name}, train", "epoch %{x}: %{text}")
        more["text"] = value_texts(measure, train)
        traces.append(line(f"{run.name}: train", at, train, quiet, **more))
    more = {"legendgroup": run.name, "text": value_texts(measure, valid)}
    more |= hover(f"{run.name}, validation", "epoch %{x}: %{text}")
    traces.append(line(run.name, at, valid, look, **more))
    best = run.best
    value = measure.of(best, "valid")
    if value is not None:
        text = (
            f"{run.name}, best validation, epoch {best['epoch'] + 1}: {measure.told(_with_error(run, best))}"
        )
        error = (run.score("valid", measure.name) or {}).get("standard_error")
        traces.append(_point(best["epoch"] + 1, value, error, look["color"], run.name, text))
    return traces


def value_texts(measure: Measure, values: Sequence[float | None]) -> list[str]:
    """The values of a line for its labels: Plotly's own lack the decimals and the minus sign."""
    return [number(value, measure.unit) for value in values]


def _with_error(run: RunRecord, best: dict[str, Any]) -> str:
    """The best validation with the standard error that scoring the kept model has found."""
    final = None if run.measure.stand_in else run.score("valid", run.measure.name)
    value = run.measure.of(best, "valid")
    return score(value, run.measure.unit, (final or {}).get("standard_error"))


def gradient_norms(runs: Sequence[RunRecord], key: str, looks: Looks) -> Chart | None:
    """Mean gradient norm of every epoch, and each run's clip threshold; None if no run recorded any."""
    data: list[dict[str, Any]] = []
    parts = []
    for run in runs:
        epochs = thinned([r for r in run.epochs if isinstance(r.get("gradient_norm"), int | float)])
        if not epochs:
            continue
        look = looks[run.name]
        at = [record["epoch"] + 1 for record in epochs]
        norms = [record["gradient_norm"] for record in epochs]
        shares = [100 * record.get("clipped", 0.0) for record in epochs]
        text = hover(run.name, "epoch %{x}: norm %{y:.4~g}<br>%{customdata:.0f}% of updates clipped")
        data.append(line(run.name, at, norms, look, legendgroup=run.name, customdata=shares, **text))
        part = f"{run.name}: {brief(norms[0])} in the first epoch, {brief(norms[-1])} in the last"
        thresholds = _thresholds(run, epochs)
        if any(value is not None for value in thresholds):
            across = {"color": look["color"], "dash": "longdash", "width": 1.2}
            kept, last = len(set(thresholds)) == 1, thresholds[-1]
            label = f"{run.name}: threshold {brief(last) if kept else 'of each epoch'}"
            where, levels = ([1, max(at[-1], 2)], [last] * 2) if kept else (at, thresholds)
            more = {"legendgroup": run.name, "showlegend": len(runs) == 1, "hoverinfo": "skip"}
            data.append(line(label, where, levels, across, **more))
            clipped = sum(shares) / len(shares)
            part += f", clip threshold {_span(thresholds)}, {clipped:.0f}% of updates clipped"
        parts.append(part)
    if not data:
        return None
    layout = {
        "xaxis": count_axis("epoch", max(len(run.epochs) for run in runs), rangemode="tozero"),
        "yaxis": log_axis("gradient norm", [value for trace in data for value in trace["y"]]),
    }
    summary = "; ".join(parts) + ". Mean over an epoch's updates, before clipping"
    clips = any(value is not None for run in runs for value in _thresholds(run, run.epochs))
    summary += "; long dashes: clip threshold." if clips else "."
    return Chart(key, f"Gradient norms: {runs[0].data_title}", summary, {"data": data, "layout": layout})


def _thresholds(run: RunRecord, epochs: Sequence[dict[str, Any]]) -> list[float | None]:
    """The clip threshold at the end of each epoch; before epochs said it, a run had one for all."""
    return [record.get("clip_threshold", run.training.get("clip_threshold")) for record in epochs]


def _span(thresholds: Sequence[float | None]) -> str:
    known = [value for value in thresholds if value is not None]
    low, high = brief(min(known)), brief(max(known))
    return low if low == high else f"{low} to {high}"


def hessian_free(runs: Sequence[RunRecord], key: str, looks: Looks) -> Chart | None:
    """Damping and conjugate-gradient iterations of every Hessian-free update; None if there were none."""
    data, parts = [], []
    for run in runs:
        if not run.updates:
            continue
        updates = thinned(list(enumerate(run.updates, 1)))
        look = looks[run.name] | {"width": 1.4}
        at = [index for index, _ in updates]
        damping, iterations = ([u.get(name) for _, u in updates] for name in ("damping", "iterations"))
        text = hover(run.name, "update %{x}: damping %{y:.4~g}")
        data.append(line(run.name, at, damping, look, legendgroup=run.name, **text))
        more = {"legendgroup": run.name, "showlegend": False, "yaxis": "y2"}
        more |= hover(run.name, "update %{x}: %{y} conjugate-gradient iterations")
        data.append(line(run.name, at, iterations, look, **more))
        rejected = sum(not update.get("accepted", True) for update in run.updates)
        spent = sum(update.get("iterations") or 0 for update in run.updates)
        parts.append(
            f"{run.name}: {counted(len(run.updates), 'update')}, {rejected} rejected, "
            f"{counted(spent, 'conjugate-gradient iteration')}, damping {brief(damping[0])} at first "
            f"and {brief(damping[-1])} at last"
        )
    if not data:
        return None
    layout = {
        "xaxis": count_axis("update", max(len(run.updates) for run in runs), anchor="y2"),
        "yaxis": log_axis("damping λ", [u["damping"] for r in runs for u in r.updates], domain=[0.54, 1]),
        "yaxis2": axis("CG iterations", domain=[0, 0.46], rangemode="tozero"),
    }
    return Chart(
        key,
        f"Hessian-free updates: {runs[0].data_title}",
        "; ".join(parts) + ". Above: damping; below: conjugate-gradient iterations of each update.",
        {"data": data, "layout": layout},
        440,
    )


def _point(x: float, y: float, error: float | None, color: str, group: str, text: str) -> dict[str, Any]:
    bar = {"error_y": {"array": [error], "color": color, "thickness": 1.5, "width": 4}} if error else {}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [y],
        "marker": {"color": color, "size": 9, "line": {"width": 1.5, "color": "#ffffff"}},
        "legendgroup": group,
        "showlegend": False,
        "name": escaped(f"{group}: best"),
        "text": [wrapped(text)],
        "hoverinfo": "text",
        **bar,
    }


def _baselines(runs: Sequence[RunRecord]) -> dict[str, dict[str, Any]]:
    """Validation scores of the baselines; the one far below every model is left out."""
    levels: dict[str, dict[str, Any]] = {}
    if runs[0].measure.stand_in:
        return levels
    for run in runs:
        for system in run.baselines:
            found = run.score("valid", run.measure.name, system)
            if system not in NOT_DRAWN and found:
                levels.setdefault(system, found)
    return levels


def _ends(trace: dict[str, Any]) -> list[float]:
    """Where the bar of a standard error ends."""
    (value,), (error,) = trace["y"], trace["error_y"]["array"]
    return [value - error, value + error]


def _levels(levels: dict[str, float], *, log: bool = False) -> dict[str, Any]:
    """Lines across the whole figure, named at their right end."""
    return {
        "shapes": [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": value,
                "y1": value,
                "line": {"color": QUIET, "width": 1.2, "dash": "dash"},
                "layer": "below",
            }
            for value in levels.values()
        ],
        "annotations": [
            {
                "text": escaped(name),
                "xref": "paper",
                "x": 1,
                # of a logarithmic axis Plotly wants the logarithm here, and the value itself above
                "y": math.log10(value) if log else value,
                "xanchor": "right",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11},
            }
            for name, value in levels.items()
        ],
    }
