"""Plotly figures of a study: how the search went, what mattered, and which settings went together."""

import math
from typing import Any

from ostinato.evaluation.numbers import counted
from ostinato.report.charts import (
    PALETTE,
    QUIET,
    Chart,
    axis,
    count_axis,
    escaped,
    hover,
    line,
    value_texts,
    wrapped,
)
from ostinato.report.importance import (
    METHOD,
    direction,
    importances,
    in_words,
    is_logarithmic,
    is_numeric,
)
from ostinato.report.numbers import brief, number
from ostinato.report.records import StudyRecord

_STATES = {"complete": PALETTE[0], "pruned": PALETTE[4], "failed": PALETTE[6], "running": PALETTE[7]}
# From poor to good: one hue, so that it reads without telling red from green; seen on light and on dark.
_SCALE = ((0x9A, 0xA3, 0xAD), (0x5B, 0x93, 0xBD), (0xC9, 0x63, 0x2B))


def study_charts(study: StudyRecord, key: str) -> list[Chart]:
    """Every chart that the study's trials suffice for."""
    charts = [history(study, f"{key}-history"), importance(study, f"{key}-importance")]
    charts.append(parallel_coordinates(study, f"{key}-parallel"))
    return [chart for chart in charts if chart is not None]


def history(study: StudyRecord, key: str) -> Chart | None:
    """The value of every trial, and the best one so far."""
    trials = [trial for trial in study.trials if isinstance(trial["value"], int | float)]
    if not study.complete:
        return None
    better = min if direction(study) == "minimize" else max
    measure = study.measure
    place = "trial %{x}: %{text}"
    data: list[dict[str, Any]] = []
    for state, color in _STATES.items():
        own = [trial for trial in trials if trial["state"] == state]
        if own:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": state,
                    "x": [trial["number"] for trial in own],
                    "y": [trial["value"] for trial in own],
                    "marker": {"color": color, "size": 8, "symbol": "circle" if state == "complete" else "x"},
                    "text": value_texts(measure, [trial["value"] for trial in own]),
                    **hover(state, place),
                }
            )
    at: list[int] = []
    best: list[float] = []
    for trial in sorted(study.complete, key=lambda trial: trial["number"]):
        at.append(trial["number"])
        best.append(better([trial["value"], *best[-1:]]))
    more = {"text": value_texts(measure, best), **hover("best so far", place)}
    data.append(line("best so far", at, best, {"color": PALETTE[1], "shape": "hv"}, **more))
    layout = {
        "xaxis": count_axis("trial", len(study.trials)),
        "yaxis": axis(f"validation {measure.axis}", range=_window(study)),
    }
    found = better(study.complete, key=lambda trial: trial["value"])
    summary = (
        f"{len(study.complete)} of {counted(len(study.trials), 'trial')} complete; the best is trial "
        f"{found['number']} with {measure.told(study.score_of(found))}. "
        "Very poor trials lie outside the picture."
    )
    if measure.stand_in:
        summary += " A stand-in for the log-likelihood, which is not comparable with it."
    return Chart(key, "Course of the search", summary, {"data": data, "layout": layout}, 340)


def importance(study: StudyRecord, key: str) -> Chart | None:
    """A bar for each setting's importance with its interval, the largest on top; grey where none is sure."""
    found = importances(study)
    if found is None:
        return None
    told, title = f"{in_words(found)}.", "Importance of the settings"
    if not found.settings:
        note = {
            "text": wrapped(told),
            "showarrow": False,
            "xref": "paper",
            "yref": "paper",
            "x": 0.5,
            "y": 0.5,
        }
        hidden: dict[str, Any] = {"visible": False}
        layout = {"xaxis": hidden, "yaxis": hidden, "annotations": [note]}
        return Chart(key, title, told, {"data": [], "layout": layout}, 110)
    upwards = found.settings[::-1]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [escaped(own.name) for own in upwards],
        "x": [own.share for own in upwards],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [own.high - own.share for own in upwards],
            "arrayminus": [own.share - own.low for own in upwards],
            "color": QUIET,
        },
        "customdata": [[own.low, own.high] for own in upwards],
        "marker": {"color": PALETTE[0] if found.sure else QUIET, "opacity": 1.0 if found.sure else 0.5},
        "showlegend": False,
        "hovertemplate": "%{y}: %{x:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>",
    }
    layout = {
        "xaxis": axis("share of the variance", range=[0, 1.03]),
        "yaxis": axis("", type="category"),
    }
    parts = ", ".join(f"{own.name} {own.share:.2f} [{own.low:.2f}, {own.high:.2f}]" for own in found.settings)
    figure = {"data": [bars], "layout": layout}
    return Chart(key, title, f"{told} {parts}. {METHOD}", figure, 130 + 34 * len(found.settings))


def parallel_coordinates(study: StudyRecord, key: str) -> Chart | None:
    """Each trial a line over one axis for each setting and one for its value; the best on top.

    Drawn from ordinary lines, since Plotly's own parallel coordinates need WebGL, which not every browser
    has, and can be read neither on a phone nor on paper.
    """
    ordered = sorted(study.complete, key=lambda trial: trial["value"], reverse=direction(study) == "minimize")
    if len(ordered) < 2 or not study.parameters:
        return None
    unit = study.measure.unit
    rows = [{_VALUE: trial["value"]} | trial["settings"] for trial in ordered]
    columns = [_Column(name, [row.get(name) for row in rows], unit) for name in (*study.parameters, _VALUE)]
    low, high = _window(study)
    data = []
    for trial, row in zip(ordered, rows, strict=True):
        quality = min(max((trial["value"] - low) / ((high - low) or 1.0), 0.0), 1.0)
        quality = 1 - quality if direction(study) == "minimize" else quality
        told = [f"trial {trial['number']}: {study.score_of(trial)}", *_told(row)]
        best = trial is ordered[-1]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": list(range(len(columns))),
                "y": [column.height(row.get(column.name)) for column in columns],
                "line": {"color": _color(quality, 1.0 if best else 0.55), "width": 3.5 if best else 1.3},
                "text": ["<br>".join(map(wrapped, told))] * len(columns),
                "hoverinfo": "text",
                "showlegend": False,
            }
        )
    summary = (
        f"One line for each of {len(ordered)} complete trials, from grey (poor) over blue to orange (good); "
        f"the thick line is the best, trial {ordered[-1]['number']}: {', '.join(_told(rows[-1]))}."
    )
    if any(column.unused for column in columns):
        summary += " Unused: the trial had no use for the setting."
    figure = {"data": data, "layout": _axes(columns)}
    return Chart(key, "Settings that went together", summary, figure, 420, 92 * len(columns))


# The axis of the score itself, beside those of the settings.
_VALUE = "validation"
# Where a line passes an axis whose setting the trial had no use for.
_BELOW = -0.09


def _told(row: dict[str, Any]) -> list[str]:
    """The settings that a trial used, each with its value."""
    return [f"{name} {brief(value)}" for name, value in row.items() if name != _VALUE and value is not None]


class _Column:
    """One of the upright axes: where its values stand, between 0 and 1."""

    def __init__(self, name: str, values: list[Any], unit: str) -> None:
        self.name, self.unit = name, unit
        known = [value for value in values if value is not None]
        self.unused = len(known) < len(values)
        self.numeric = is_numeric(known) and len(set(known)) > 3
        self.log = self.numeric and is_logarithmic(known)
        if self.numeric:
            self.low, self.high = min(map(self._scaled, known)), max(map(self._scaled, known))
        else:
            key = (lambda value: value) if is_numeric(known) else str
            self.choices = sorted({repr(v): v for v in known}.values(), key=key)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.log else float(value)

    def height(self, value: Any) -> float:
        if value is None:
            return _BELOW
        if self.numeric:
            return round((self._scaled(value) - self.low) / ((self.high - self.low) or 1.0), 4)
        places = [repr(choice) for choice in self.choices]
        return round((places.index(repr(value)) + 0.5) / len(places), 4)

    def ticks(self) -> list[tuple[float, str]]:
        """Height and label of what is written beside the axis."""
        below = [(_BELOW, "unused")] if self.unused else []
        if not self.numeric:
            return below + [(self.height(choice), brief(choice)) for choice in self.choices]
        steps = [self.low + part * (self.high - self.low) for part in (0, 0.5, 1)]
        values = [math.exp(step) if self.log else step for step in steps]
        labels = [number(v, self.unit) if self.name == _VALUE else brief(float(f"{v:.3g}")) for v in values]
        return [*below, *zip((0.0, 0.5, 1.0), labels, strict=True)]


def _axes(columns: list[_Column]) -> dict[str, Any]:
    shapes, notes = [], []
    for place, column in enumerate(columns):
        ends = {"x0": place, "x1": place, "y0": 0, "y1": 1}
        shapes.append({"type": "line", **ends, "line": {"color": QUIET, "width": 1}})
        last = place == len(columns) - 1
        for height, label in column.ticks():
            notes.append(
                {
                    "x": place,
                    "y": height,
                    "text": escaped(label),
                    "showarrow": False,
                    "xanchor": "right" if last else "left",
                    "xshift": -3 if last else 3,
                    "font": {"size": 10},
                }
            )
    labels = [escaped(column.name).replace("_", "<br>") for column in columns]
    reach = [-0.4, len(columns) - 0.6]
    bare: dict[str, Any] = {"showgrid": False, "zeroline": False, "automargin": True}
    return {
        "xaxis": bare
        | {"tickvals": list(range(len(columns))), "ticktext": labels, "tickangle": 0, "range": reach},
        "yaxis": bare | {"showticklabels": False, "range": [_BELOW - 0.07, 1.06]},
        "shapes": shapes,
        "annotations": notes,
        "hovermode": "closest",
    }


def _window(study: StudyRecord) -> list[float]:
    """The range in which the better three quarters of the trials lie, with a margin."""
    values = sorted(trial["value"] for trial in study.complete)
    quarter = len(values) // 4
    kept = values[: len(values) - quarter] if direction(study) == "minimize" else values[quarter:]
    margin = 0.08 * (kept[-1] - kept[0]) or 0.1
    return [kept[0] - margin, kept[-1] + margin]


def _color(share: float, opacity: float) -> str:
    """A colour of the scale, mixed from its neighbours.

    Opacity is part of the colour: as a property of many overlapping lines, it leaves stains in Chromium.

    Example:
        >>> _color(0.0, 1.0), _color(0.25, 0.5), _color(1.0, 1.0)
        ('rgba(154,163,173,1.0)', 'rgba(122,155,181,0.5)', 'rgba(201,99,43,1.0)')
    """
    place = share * (len(_SCALE) - 1)
    left = min(int(place), len(_SCALE) - 2)
    pairs = zip(_SCALE[left], _SCALE[left + 1], strict=True)
    mixed = (str(int(low + (place - left) * (high - low))) for low, high in pairs)
    return f"rgba({','.join(mixed)},{opacity})"
