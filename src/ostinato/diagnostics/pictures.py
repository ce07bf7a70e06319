"""Pictures of a diagnosis: each measurement is one, drawn from the record alone."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ostinato.errors import needs

_MAIN, _OTHERS, _BAND = "#0b6e99", ("#c8452c", "#3a9460", "#b1569b", "#857a22", "#6b74d6"), "#9fc5d8"
# What is below this share of the largest value is drawn at the edge: a logarithm has no zero.
_LEAST = 1e-12
# Where numbers end that a logarithmic axis has ticks for.
_MOST = 1e100


def drawn(record: Mapping[str, Any], kind: str = "png", *, title: str = "") -> bytes:
    """All measurements of a record (`Diagnosis.record`) as one picture; `kind` is png, svg or pdf.

    Raises:
        MissingExtra: the extra [pictures] is not installed.

    Example:
        >>> drawn({"gradient_norms": {"norms": [1.0, 2.0], "threshold": 1.5}})[1:4]
        b'PNG'
    """
    with needs("pictures"):
        from matplotlib.figure import Figure

    panels = [(name, draw) for name, draw in PANELS.items() if _has(record, name)]
    panels += [(name, draw) for name, draws in MORE.items() if _has(record, name) for draw in draws]
    rows = max(1, math.ceil(len(panels) / 2))
    figure = Figure(figsize=(11, 3.4 * rows), layout="constrained")
    for place, (name, draw) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, 2, place)
        draw(axes, record[name], record)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small", framealpha=0.85, edgecolor="none")
    if title:
        figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110)
    return buffer.getvalue()


def replayed(found: Mapping[str, Any], kind: str, title: str) -> bytes:
    """The losses of a replayed step's frames, the gradient going back, and the norms up to the step.

    Raises:
        MissingExtra: the extra [pictures] is not installed.
    """
    with needs("pictures"):
        from matplotlib.figure import Figure

    blame, last = found["blame"], found["last"]
    figure = Figure(figsize=(11, 7), layout="constrained")
    rows = (
        (blame["losses"], "loss", "nats", "frame"),
        (blame["back"], "gradient at the states, going back from the end", "norm", "frame"),
        (last["losses"], "losses of the updates up to this one", "nats a step", "update"),
        (last["norms"], "gradient norms of the updates up to this one", "norm", "update"),
    )
    for place, (values, name, unit, along) in enumerate(rows, start=1):
        axes = figure.add_subplot(2, 2, place)
        _course(axes, [_number(value) for value in values])
        if along == "frame" and values:
            axes.axvline(blame["frame"], color=_OTHERS[0], linestyle="--", linewidth=1)
        axes.set(xlabel=along, ylabel=unit, title=name)
        axes.grid(alpha=0.25)
    figure.suptitle(f"{title}\n{blame['sentence']}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=110)
    return buffer.getvalue()


def _number(value: Any) -> float:
    """A number of a record, where one that is not finite is a word."""
    return float(value) if isinstance(value, int | float) else math.nan


def _course(axes: Any, values: Sequence[float]) -> None:
    """Values one after the other; those that are not finite are marked at the upper edge."""
    if not values:
        axes.text(0.5, 0.5, "none: states or losses are not finite", ha="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    shown = [min(v, _MOST) if math.isfinite(v) and v > 0 else math.nan for v in values]
    axes.plot(range(len(shown)), shown, color=_MAIN, marker="." if len(shown) < 40 else "")
    _log(axes, shown)
    bad = [at for at, value in enumerate(values) if not math.isfinite(value)]
    if bad:
        high = axes.get_xaxis_transform()
        axes.plot(bad, [0.98] * len(bad), "x", color=_OTHERS[0], transform=high, label="not finite")
        axes.legend(fontsize="small", framealpha=0.85, edgecolor="none")


def _has(record: Mapping[str, Any], name: str) -> bool:
    return bool(record.get(name))


def _positive(values: Sequence[float | None]) -> list[float]:
    """For a logarithmic axis: gaps where there is nothing to draw."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    least = _LEAST * min(max(known, default=1.0), _MOST)
    return [min(v, _MOST) if v is not None and math.isfinite(v) and v > least else math.nan for v in values]


def _log(axes: Any, values: Sequence[float]) -> None:
    if not any(v is not None and math.isfinite(v) and v > 0 for v in values):
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()  # of all that is drawn there
    if low > 0 and high < 10 * low:  # of less than a decade there would be ticks that all read alike
        middle = math.sqrt(low * high)
        axes.set_ylim(middle / 4, middle * 4)


def _lags(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    whole = found["relative_norm"]
    at = range(len(whole["median"]))
    low, high = _positive(whole["p10"]), _positive(whole["p90"])
    axes.fill_between(at, low, high, color=_BAND, alpha=0.6, label="10 to 90 %")
    axes.plot(at, _positive(whole["median"]), color=_MAIN, label="median")
    for (name, group), color in zip(found["groups"].items(), _OTHERS, strict=False):
        axes.plot(at, _positive(group["median"]), color=color, linewidth=1, label=name)
    axes.axhline(0.01, color="#555555", linestyle=":", linewidth=1)
    if found["horizon"] is not None:
        axes.axvline(found["horizon"], color="#555555", linestyle="--", linewidth=1)
    horizon = "beyond it" if found["horizon"] is None else f"{found['horizon']:.1f} steps"
    _log(axes, whole["median"])
    axes.set(xlabel="lag", ylabel="gradient, relative to lag 0", title=f"memory horizon: {horizon}")


def _spans(axes: Any, found: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> None:
    names = [_name(span) for span in found]
    colors = [_MAIN if span["share"] >= 0 else _OTHERS[0] for span in found]
    axes.bar(names, [span["share"] for span in found], color=colors)
    axes.set(xlabel="lag", ylabel="share of the gradient", title="short and long terms")


def _name(span: Mapping[str, Any]) -> str:
    first, last = span["first_lag"], span["last_lag"]
    return f"{first}" if first == last else f"{first}-{last}"


def _products(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    for k in range(len(found["singular_values"][0])):
        values = _positive([row[k] for row in found["singular_values"]])
        axes.plot(found["lags"], values, marker=".", color=_MAIN, alpha=1 - 0.2 * k, label=f"value {k + 1}")
    _log(axes, found["largest"])
    axes.set(xlabel="steps", ylabel="singular value", title="products of Jacobians")


def _lyapunov(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    values = found["exponents"] or []
    errors = [0.0 if e is None or not math.isfinite(e) else e for e in found.get("standard_error", [])]
    if values:
        axes.errorbar(range(1, len(values) + 1), values, yerr=errors, fmt="o", color=_MAIN, capsize=3)
    axes.axhline(0, color="#555555", linewidth=1)
    axes.set(xlabel="exponent", ylabel="nats a step", title="Lyapunov exponents")


def _norms(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    norms = [norm for norm in found["norms"] if norm is not None and math.isfinite(norm)]
    if norms:
        axes.hist(norms, bins=min(20, max(3, len(norms) // 2)), color=_BAND, edgecolor=_MAIN)
    if found.get("threshold"):
        label = f"average: {found['threshold']:.3g}"
        axes.axvline(found["threshold"], color=_OTHERS[0], linestyle="--", label=label)
    axes.set(xlabel="gradient norm", ylabel="segments", title="gradient norms and the paper's threshold")


def _back(axes: Any, found: Sequence[float], record: Mapping[str, Any]) -> None:
    axes.plot(range(1, len(found) + 1), _positive(found), color=_MAIN)
    _log(axes, found)
    axes.set(xlabel="step", ylabel="norm", title="gradient at the states, going back from the end")


def _states(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    norms = _positive(found["norms"])
    axes.plot(range(1, len(norms) + 1), norms, color=_MAIN, label="over a segment's steps")
    if found.get("carried"):
        carried = _positive(found["carried"])
        axes.plot(
            range(1, len(carried) + 1), carried, color=_OTHERS[0], marker=".", label="after each segment"
        )
    _log(axes, norms)
    axes.set(xlabel="step or segment", ylabel="root mean square", title="states")


def _units(axes: Any, found: Mapping[str, Mapping[str, Any]], record: Mapping[str, Any]) -> None:
    kinds = ("silent", "rarely_active", "active", "saturated")
    width = 0.8 / len(found)
    for k, (layer, own) in enumerate(found.items()):
        shares = {kind.replace("_", " "): own[kind] or 0.0 for kind in kinds}
        for gate, ends in (own.get("gates") or {}).items():
            shares |= {f"{gate} {end}": share for end, share in ends.items()}
        at = [place + k * width for place in range(len(shares))]
        axes.bar(at, list(shares.values()), width, color=(_MAIN, *_OTHERS)[k % 6], label=layer)
    many = len(shares) > len(kinds)
    axes.set_xticks(
        range(len(shares)), list(shares), rotation=40 if many else 0, ha="right" if many else "center"
    )
    axes.set(ylabel="share", ylim=(0, 1), title="units")


def _surface(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    filled = axes.contourf(found["along"], found["across"], found["loss"], levels=20, cmap="Blues_r")
    axes.figure.colorbar(filled, ax=axes, label="training loss")
    for name, color, mark in (("step", _OTHERS[0], "x"), ("clipped", _OTHERS[1], "o")):
        if found[name] is not None:
            x, y = found[name]
            axes.plot([0, x], [0, y], color=color, marker=mark, markevery=[1], label=name)
    axes.plot(0, 0, "k.", label="model")
    axes.set(xlabel="along the gradient", ylabel="largest curvature", title="loss around the model")


def _across(axes: Any, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    line = found["line"]
    for name, color in (("first", _MAIN), ("second", _OTHERS[0])):
        values = _positive([abs(v) for v in line[name]])
        axes.plot(line["at"], values, color=color, label=f"{name} derivative")
    _log(axes, [abs(v) for v in line["first"]])
    axes.set(xlabel="along the gradient", ylabel="absolute value", title="derivatives of the loss")


Draw = Callable[[Any, Any, Mapping[str, Any]], None]

PANELS: dict[str, Draw] = {
    "gradient_over_lag": _lags,
    "spans": _spans,
    "products": _products,
    "lyapunov": _lyapunov,
    "gradient_norms": _norms,
    "gradient_at_states": _back,
    "states": _states,
    "units": _units,
}
# of the surface there are two
MORE: dict[str, tuple[Draw, ...]] = {"surface": (_surface, _across)}
