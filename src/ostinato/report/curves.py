"""The learning curve of a run, as a picture."""

from pathlib import Path
from typing import Any

from ostinato.files import atomic_write


def learning_curve(
    records: list[dict[str, Any]],
    path: Path,
    *,
    title: str,
    baselines: dict[str, float] | None = None,
    unit: str = "frame",
) -> None:
    """Draw log-likelihood against epochs, with baselines as lines, to a PNG, SVG or PDF file.

    Args:
        records: a run's metrics; those of epochs are drawn.
        path: where to; the ending decides the format.
        title: over the picture.
        baselines: validation log-likelihood by name.
        unit: what the likelihood is a mean over.
    """
    import io

    from matplotlib.figure import Figure

    epochs = [record for record in records if "valid_log_likelihood" in record]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    at = [record["epoch"] + 1 for record in epochs]
    for key, label, color in (
        ("train_log_likelihood", "train, while learning", "#8a8a8a"),
        ("valid_log_likelihood", "validation", "#0b6e99"),
    ):
        axes.plot(at, [r[key] for r in epochs], label=label, color=color, marker="." if len(at) < 40 else "")
    if epochs:
        best = max(epochs, key=lambda r: r["valid_log_likelihood"])
        axes.plot(
            best["epoch"] + 1, best["valid_log_likelihood"], "o", color="#c8452c", label="best validation"
        )
        # One early, wild epoch must not flatten the rest of the curve.
        lowest = min(min(r["valid_log_likelihood"] for r in epochs), *(baselines or {"": 0.0}).values())
        axes.set_ylim(bottom=lowest - 0.5)
    for (name, value), style in zip((baselines or {}).items(), ("--", ":", "-."), strict=False):
        axes.axhline(value, color="#555555", linestyle=style, linewidth=1, label=f"{name} baseline")
    axes.set(xlabel="epoch", ylabel=f"log-likelihood (nats per {unit})", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."), dpi=144)
    atomic_write(path, buffer.getvalue())
