"""Plotly figures of runs, as plain JSON specifications; the page colours text and grids by its theme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.report.numbers import signed
from ostinato.report.records import WATCHED, RunRecord

# Middle tones: at least 3 to 1 against both the light and the dark page; the order alternates warm and cool.
PALETTE = ("#2f7fb5", "#c9632b", "#3a9460", "#b1569b", "#857a22", "#6b74d6", "#cf4d55", "#259494")
QUIET = "#84888f"
_DASHES = ("solid", "dash", "dot", "dashdot")

MOST_POINTS = 1000


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


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title that leaves room for its numbers."""
    return {"title": {"text": title, "standoff": 8}, "automargin": True, "zeroline": False, **more}


def log_axis(title: str, values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """A logarithmic axis with every number written out: powers of ten, and over a small span 2 and 5 too."""
    positive = [value for value in values if value is not None and value > 0] or [1.0]
    low, high = (math.log10(bound) for bound in (min(positive), max(positive)))
    steps = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return axis(title, type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], **more)


def learning_curves(runs: Sequence[RunRecord], key: str, unit: str, looks: Looks) -> Chart:
    """Validation (solid) and training (dotted) score of every run against epochs, with the baselines.

    Args:
        runs: of the same data, watched by the same score.
        key: of the chart.
        unit: of the score.
        looks: of every run's lines.
    """
    watched = runs[0].watched
    data, said = [], []
    for run in runs:
        look = looks[run.name]
        epochs = thinned(run.epochs)
        at = [record["epoch"] + 1 for record in epochs]
        best, valid = run.best, f"valid_{watched}"
        data.append(
            line(
                f"{run.name}: train",
                at,
                [record.get(f"train_{watched}") for record in epochs],
                {"color": look["color"], "dash": "dot", "width": 1.2},
                legendgroup=run.name,
                showlegend=len(runs) == 1,
            )
        )
        data.append(line(run.name, at, [r.get(valid) for r in epochs], look, legendgroup=run.name))
        data.append(_point(best["epoch"] + 1, best[valid], look["color"], run.name))
        last = run.epochs[-1]["epoch"] + 1
        said.append(
            f"{run.name}: no finite validation score in the epochs up to {last}"
            if best[valid] is None
            else f"{run.name}: best validation {signed(best[valid], 3)} in epoch {best['epoch'] + 1} "
            f"of {last}"
        )
    levels = _baselines(runs) if watched == WATCHED[0] else {}
    layout = {
        "xaxis": axis("epoch", rangemode="tozero"),
        "yaxis": axis(f"{watched.replace('_', '-')} ({unit})", range=_window(runs, levels)),
    }
    layout |= _levels(levels)
    summary = "; ".join(said) + ". Solid: validation, with its best epoch as a dot; dotted: training."
    if levels:
        values = ", ".join(f"{name} {signed(value, 3)}" for name, value in levels.items())
        summary += f" Lines across: validation of the baselines, {values}."
    if watched != WATCHED[0]:
        summary += " A stand-in for the log-likelihood, which is not comparable with it."
    title = f"Learning curves: {runs[0].data_name}"
    title += " (pseudo-likelihood)" if watched != WATCHED[0] else ""
    return Chart(key, title, summary, {"data": data, "layout": layout}, 420)


def gradient_norms(runs: Sequence[RunRecord], key: str, looks: Looks) -> Chart | None:
    """Mean gradient norm of every epoch, and each run's clip threshold; None if no run recorded any."""
    data: list[dict[str, Any]] = []
    said = []
    for run in runs:
        epochs = thinned([r for r in run.epochs if isinstance(r.get("gradient_norm"), int | float)])
        if not epochs:
            continue
        look = looks[run.name]
        at = [record["epoch"] + 1 for record in epochs]
        norms = [record["gradient_norm"] for record in epochs]
        shares = [100 * record.get("clipped", 0.0) for record in epochs]
        hover = "epoch %{x}: norm %{y:.3g}, %{customdata:.0f}% of updates clipped"
        data.append(
            line(run.name, at, norms, look, legendgroup=run.name, customdata=shares, hovertemplate=hover)
        )
        part = f"{run.name}: {norms[0]:.3g} in the first epoch, {norms[-1]:.3g} in the last"
        threshold = run.training.get("clip_threshold")
        if threshold is not None:
            across = {"color": look["color"], "dash": "longdash", "width": 1.2}
            ends = [1, max(at[-1], 2)]
            data.append(
                line(
                    f"{run.name}: threshold {threshold:.3g}", ends, [threshold] * 2, across,
                    legendgroup=run.name, showlegend=len(runs) == 1,
                )
            )  # fmt: skip
            clipped = sum(shares) / len(shares)
            part += f", clip threshold {threshold:.3g}, {clipped:.0f}% of updates clipped"
        said.append(part)
    if not data:
        return None
    layout = {
        "xaxis": axis("epoch", rangemode="tozero"),
        "yaxis": log_axis("gradient norm", [value for trace in data for value in trace["y"]]),
    }
    summary = (
        "; ".join(said) + ". Mean over an epoch's updates, before clipping; long dashes: clip threshold."
    )
    return Chart(key, f"Gradient norms: {runs[0].data_name}", summary, {"data": data, "layout": layout})


def hessian_free(runs: Sequence[RunRecord], key: str, looks: Looks) -> Chart | None:
    """Damping and conjugate-gradient iterations of every Hessian-free update; None if there were none."""
    data, said = [], []
    for run in runs:
        if not run.updates:
            continue
        updates = thinned(list(enumerate(run.updates, 1)))
        look = looks[run.name] | {"width": 1.4}
        at = [index for index, _ in updates]
        damping, iterations = ([u.get(name) for _, u in updates] for name in ("damping", "iterations"))
        data.append(line(run.name, at, damping, look, legendgroup=run.name))
        data.append(line(run.name, at, iterations, look, legendgroup=run.name, showlegend=False, yaxis="y2"))
        rejected = sum(not update.get("accepted", True) for update in run.updates)
        spent = sum(update.get("iterations") or 0 for update in run.updates)
        said.append(
            f"{run.name}: {len(run.updates)} updates, {rejected} rejected, {spent:,} conjugate-gradient "
            f"iterations, damping {damping[0]:.3g} at first and {damping[-1]:.3g} at last"
        )
    if not data:
        return None
    layout = {
        "xaxis": axis("update", anchor="y2"),
        "yaxis": log_axis("damping λ", [u["damping"] for r in runs for u in r.updates], domain=[0.54, 1]),
        "yaxis2": axis("CG iterations", domain=[0, 0.46], rangemode="tozero"),
    }
    return Chart(
        key,
        f"Hessian-free updates: {runs[0].data_name}",
        "; ".join(said) + ". Above: damping; below: conjugate-gradient iterations of each update.",
        {"data": data, "layout": layout},
        440,
    )


def _point(x: float, y: float, color: str, group: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x],
        "y": [y],
        "marker": {"color": color, "size": 9, "line": {"width": 1.5, "color": "#ffffff"}},
        "legendgroup": group,
        "showlegend": False,
        "name": escaped(f"{group}: best"),
    }


def _baselines(runs: Sequence[RunRecord]) -> dict[str, float]:
    """Validation log-likelihood of the baselines; the one far below every model is left out."""
    levels: dict[str, float] = {}
    for run in runs:
        for name, splits in run.scores.items():
            score = splits.get("valid", {}).get("log_likelihood")
            if name not in ("model", "iid") and score and score["value"] is not None:
                levels.setdefault(name, score["value"])
    return levels


def _window(runs: Sequence[RunRecord], levels: dict[str, float]) -> list[float]:
    """The range of the scores' axis: one early, wild epoch does not flatten the rest of the curves."""
    watched = runs[0].watched
    shown = [*levels.values()]
    for run in runs:
        for split in ("valid", "train"):
            own = [r[f"{split}_{watched}"] for r in run.epochs if r.get(f"{split}_{watched}") is not None]
            # the lowest tenth is mostly the first epochs
            shown += [max(own), sorted(own)[len(own) // 10]] if own else []
    margin = 0.05 * (max(shown) - min(shown)) or 0.5
    return [min(shown) - margin, max(shown) + margin]


def _levels(levels: dict[str, float]) -> dict[str, Any]:
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
                "y": value,
                "xanchor": "right",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 11},
            }
            for name, value in levels.items()
        ],
    }
