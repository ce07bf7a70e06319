"""The learning curve of a run, as a picture."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import needs
from ostinato.evaluation.measure import WATCHED, Measure
from ostinato.files import atomic_write
from ostinato.report.measures import (
    NOT_DRAWN,
    kept_epoch,
    log_ticks,
    measure_of,
    watched_score,
    window,
)
from ostinato.report.numbers import recorded, score

Scores = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]

_TRAIN, _VALID, _BEST, _LEVEL = "#8a8a8a", "#0b6e99", "#c8452c", "#555555"


def learning_curve(
    records: list[dict[str, Any]],
    path: Path,
    *,
    title: str,
    domain: str = DOMAINS.default,
    scores: Scores | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Draw the score that training watched against epochs, to a PNG, SVG or PDF file.

    The best epoch has its standard error, and the baselines are lines with theirs. A stand-in has no
    baselines beside it, since they do not compare; the score of the kept model is then in the title.

    Args:
        records: a run's metrics; those of epochs are drawn.
        path: where to; the ending decides the format.
        title: over the picture.
        domain: the kind of data, which decides what the curve shows.
        scores: those of results.json, by system ("model", then baselines), split and name.
        settings: of the run, some of which decide what a domain's curve shows.

    Raises:
        MissingExtra: the extra [pictures] is not installed.
    """
    kind = path.suffix.removeprefix(".")
    picture = drawn(records, kind, title=title, domain=domain, scores=scores, settings=settings)
    atomic_write(path, picture)


def drawn(
    records: list[dict[str, Any]],
    kind: str,
    *,
    title: str,
    domain: str = DOMAINS.default,
    scores: Scores | None = None,
    settings: Mapping[str, Any] | None = None,
) -> bytes:
    """What `learning_curve` writes; `kind` is the format: png, svg or pdf."""
    import io

    with needs("pictures"):
        from matplotlib.figure import Figure

    epochs = [record for record in records if watched_score(record)]
    measure = measure_of(domain, (watched_score(epochs[0]) if epochs else None) or WATCHED[0], settings)
    final, levels = _validation(measure, scores or {})
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    at = [record["epoch"] + 1 for record in epochs]
    for split, label, color in (("train", "train, while learning", _TRAIN), ("valid", "validation", _VALID)):
        # infinity and NaN are null in a run's metrics: a gap
        values = [math.nan if (y := measure.of(record, split)) is None else y for record in epochs]
        if not all(map(math.isnan, values)):
            axes.plot(at, values, label=label, color=color, marker="." if len(at) < 40 else "")
    if epochs:
        _mark_best(axes, measure, kept_epoch(epochs), final)
    for (name, level), style in zip(levels.items(), ("--", ":", "-."), strict=False):
        label = f"{name} baseline: {recorded(level)}"
        axes.axhline(level["value"], color=_LEVEL, linestyle=style, linewidth=1, label=label)
    bar = [final["value"] + side * (final.get("standard_error") or 0.0) for side in (-1, 1)] if final else []
    _scale(axes, measure, epochs, [*(level["value"] for level in levels.values()), *bar])
    if measure.stand_in and (likelihood := _of(scores or {}, "model", WATCHED[0])):
        title += "\nvalidation log-likelihood: " + recorded(likelihood).replace("\n", " ")
    axes.set(xlabel="epoch", ylabel=measure.axis, title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=144)
    return buffer.getvalue()


def _of(scores: Scores, system: str, name: str) -> dict[str, Any] | None:
    """A system's validation score, if it has one."""
    found = dict(scores.get(system, {}).get("valid", {}).get(name, {}))
    return found if found.get("value") is not None else None


def _validation(measure: Measure, scores: Scores) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any]]]:
    """The validation scores of the kept model and of the baselines, as far as the curve's unit has them."""
    if measure.stand_in:
        return None, {}
    found = {system: _of(scores, system, measure.name) for system in scores if system not in NOT_DRAWN}
    levels = {system: level for system, level in found.items() if level is not None}
    return _of(scores, "model", measure.name), levels


def _mark_best(axes: Any, measure: Measure, best: dict[str, Any], final: dict[str, Any] | None) -> None:
    """The kept epoch as a point, with the standard error that the final score has."""
    value = measure.of(best, "valid")
    if value is None:
        return
    error = (final or {}).get("standard_error")
    label = f"best validation: {score(value, measure.unit, error)}"
    axes.errorbar(
        best["epoch"] + 1, value, yerr=error, fmt="o", capsize=3, color=_BEST, label=label, zorder=3
    )


def _legend(axes: Any) -> None:
    """Training, validation and its best epoch, then the baselines; over lines, on a ground of its own."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: "baseline" in labels[i])
    if labels:
        shown = [handles[i] for i in order], [labels[i] for i in order]
        axes.legend(*shown, fontsize="small", framealpha=0.85, edgecolor="none")


def _scale(axes: Any, measure: Measure, epochs: list[dict[str, Any]], levels: list[float]) -> None:
    with needs("pictures"):
        from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    low, high = window(measure, [epochs], levels)
    if measure.log:
        axes.set_yscale("log")
        ticks = log_ticks(low, high)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.set_ylim(low, high)
