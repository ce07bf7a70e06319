"""The learning curve of a run, as a picture."""

from pathlib import Path
from typing import Any

from ostinato.files import atomic_write
from ostinato.report.records import WATCHED, watched_score


def learning_curve(
    records: list[dict[str, Any]],
    path: Path,
    *,
    title: str,
    baselines: dict[str, float] | None = None,
    unit: str = "frame",
) -> None:
    """Draw the score that training watched against epochs, to a PNG, SVG or PDF file.

    Log-likelihoods have the baselines beside them as lines; a stand-in has not, since they do not compare.

    Args:
        records: a run's metrics; those of epochs are drawn.
        path: where to; the ending decides the format.
        title: over the picture.
        baselines: validation log-likelihood by name.
        unit: what the likelihood is a mean over.
    """
    import io

    from matplotlib.figure import Figure

    epochs = [record for record in records if watched_score(record)]
    name = (watched_score(epochs[0]) if epochs else None) or WATCHED[0]
    train, valid = f"train_{name}", f"valid_{name}"
    baselines = baselines if name == WATCHED[0] else None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    at = [record["epoch"] + 1 for record in epochs]
    for key, label, color in (
        (train, "train, while learning", "#8a8a8a"),
        (valid, "validation", "#0b6e99"),
    ):
        axes.plot(at, [r[key] for r in epochs], label=label, color=color, marker="." if len(at) < 40 else "")
    scored = [r for r in epochs if r[valid] is not None]  # infinity and NaN are null in a run's metrics
    if scored:
        best = max(scored, key=lambda r: r[valid])
        axes.plot(best["epoch"] + 1, best[valid], "o", color="#c8452c", label="best validation")
        # One early, wild epoch must not flatten the rest of the curve.
        lowest = min(min(r[valid] for r in scored), *(baselines or {"": 0.0}).values())
        axes.set_ylim(bottom=lowest - 0.5)
    for (name, value), style in zip((baselines or {}).items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color="#555555", linestyle=style, linewidth=1, label=f"{name} baseline")
    axes.set(xlabel="epoch", ylabel=f"{name.replace('_', '-')} (nats per {unit})", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."), dpi=144)
    atomic_write(path, buffer.getvalue())
