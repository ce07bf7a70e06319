"""Pictures of series: a forecast after its history, surprise below its series; a panel for each column.

Shapes: P steps of history, H steps to come, T steps, D columns.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.domains.series.forecast import QUANTILES, Forecast
from ostinato.domains.series.surprise import Surprise
from ostinato.errors import UserError, needs
from ostinato.files import atomic_write

FORMATS = (".png", ".svg", ".pdf")
MOST_COLUMNS = 12  # in one picture
_LINEAR_UP_TO = 30.0  # nats; beyond, the axis of surprise is logarithmic
_INK, _GRID, _FORECAST, _ALARM = "#22333b", "#d9d4cc", "#b5542d", "#9b2226"


def forecast_picture(
    made: Forecast, history: np.ndarray, path: str | Path, *, shown: int | None = None, title: str = ""
) -> None:
    """Draw the median and the central 50% and 90% of a forecast after the end of its history.

    Args:
        made: the forecast.
        history: (P, D) in own units.
        path: PNG, SVG or PDF, written in one step.
        shown: steps of history that are drawn; by default twice the horizon.
        title: written above.

    Raises:
        UserError: another ending, or no such folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "forecast.png"
        >>> forecast_picture(Forecast(("x",), np.zeros((5, 3, 1)), 4), np.zeros((4, 1)), path)
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    path = _checked(path)
    horizon = made.paths.shape[1]
    shown = 2 * horizon if shown is None else shown
    past = history[max(0, len(history) - shown) :]
    figure, panels = _panels(made.columns, title)
    low, lower, median, upper, high = made.quantiles(QUANTILES)
    then = np.arange(made.begin, made.begin + horizon)
    for k, axes in enumerate(panels):
        axes.plot(made.begin - len(past) + np.arange(len(past)), past[:, k], color=_INK, lw=1.0)
        outer = {"color": _FORECAST, "lw": 0}
        axes.fill_between(then, low[:, k], high[:, k], alpha=0.18, label="90%", **outer)
        axes.fill_between(then, lower[:, k], upper[:, k], alpha=0.35, label="50%", **outer)
        axes.plot(then, median[:, k], color=_FORECAST, lw=1.2, label="median")
    panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, ncols=3)
    panels[-1].set_xlabel("step")
    _save(figure, path)


def surprise_picture(
    found: Surprise, values: np.ndarray, path: str | Path, *, most: int = 5, title: str = ""
) -> None:
    """Draw a series, its most surprising steps marked, and the surprise of every step below.

    Args:
        found: the surprise.
        values: the series (T, D) in own units.
        path: PNG, SVG or PDF, written in one step.
        most: steps that are marked.
        title: written above.

    Raises:
        UserError: another ending, or no such folder.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "surprise.svg"
        >>> found = Surprise(("x",), np.zeros(4), np.zeros((4, 1)), np.zeros((4, 1)))
        >>> surprise_picture(found, np.zeros((4, 1)), path)
        >>> path.read_text()[:5]
        '<?xml'
    """
    path = _checked(path)
    figure, panels = _panels(found.columns, title, "surprise [nats]")
    steps = np.arange(len(found.steps))
    marked = found.most(most)
    for axes, series in zip(panels, [*values.T[:MOST_COLUMNS], found.steps], strict=True):
        axes.plot(steps, series, color=_INK, lw=0.8)
        for k in marked:
            axes.axvline(k, color=_ALARM, lw=0.8, alpha=0.5, zorder=0)
    _scale_surprise(panels[-1], found.steps)
    panels[-1].set_xlabel("step")
    _save(figure, path)


def series_picture(
    columns: tuple[str, ...], values: np.ndarray, path: str | Path, *, title: str = ""
) -> None:
    """Draw a series.

    Args:
        columns: their names.
        values: the series (T, D) in own units.
        path: PNG, SVG or PDF, written in one step.
        title: written above.

    Raises:
        UserError: another ending, or no such folder.
    """
    path = _checked(path)
    figure, panels = _panels(columns, title)
    for axes, series in zip(panels, values.T, strict=False):
        axes.plot(np.arange(len(series)), series, color=_INK, lw=0.8)
    panels[-1].set_xlabel("step")
    _save(figure, path)


def _scale_surprise(axes: Any, steps: np.ndarray) -> None:
    """A logarithmic axis beyond some nats: one step may be a million times as surprising as the others."""
    lowest, highest = np.nanmin(steps, initial=0.0), np.nanmax(steps, initial=0.0)
    if max(highest, -lowest) <= _LINEAR_UP_TO:
        return
    axes.set_yscale("symlog", linthresh=_LINEAR_UP_TO)
    axes.set_ylim(1.5 * lowest - 3, 2 * highest + 3)
    powers = 10.0 ** np.arange(2, 20)
    ticks = [*-powers[powers <= -lowest][::-1], 0, *powers[powers <= 2 * highest]]
    axes.set_yticks(ticks, [f"{tick:,.0f}" if abs(tick) < 1e6 else f"{tick:.0e}" for tick in ticks])
    axes.minorticks_off()


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"expected a file name ending in {', '.join(FORMATS)}, found {path.name}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"expected a folder to write {path.name} in, found none at {path.parent}")
    return path


def _panels(columns: tuple[str, ...], title: str, *more: str) -> tuple[Any, list[Any]]:
    """A figure with one panel below another: of each column, as far as they have room, and more."""
    with needs("series"):
        from matplotlib.figure import Figure

    if len(columns) > MOST_COLUMNS:
        title = f"{title} (first {MOST_COLUMNS} of {len(columns):,} columns)".strip()
    names = [*columns[:MOST_COLUMNS], *more]
    figure = Figure(figsize=(9, 1.2 + 1.7 * len(names)), layout="constrained")
    panels = list(figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0])
    for axes, name in zip(panels, names, strict=True):
        axes.set_ylabel(name)
        axes.grid(color=_GRID, lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure, panels


def _save(figure: Any, path: Path) -> None:
    with needs("series"):
        from matplotlib import rc_context

    data = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    # no date and no random names in the file: the same numbers make the same picture
    dateless = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with rc_context({"svg.hashsalt": "ostinato"}):
        figure.savefig(data, format=kind, dpi=150, metadata=dateless)
    atomic_write(path, data.getvalue())
