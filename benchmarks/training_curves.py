"""Validation loss of runs against wall time and against gradient-equivalents, in one picture.

    python benchmarks/training_curves.py OUT.svg NAME=RUN [NAME=RUN ...]

A gradient-equivalent is one gradient on the whole training set: what an epoch of SGD costs. A Hessian-free
update costs 1 for its gradient, a third for each loss, and for each curvature product the share of the
streams it is taken on, all times the update's share of the epoch. Wall times compare only where the runs
were made on the same, equally busy machine.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from ostinato.recipe.recipe import Recipe
from ostinato.report.measures import likelihood_of
from ostinato.runs.folder import Run

COLORS = ("#8a8a8a", "#0b6e99", "#e0a030", "#c8452c", "#5a8f3c", "#7a4e9c")


def curve(run: Run) -> tuple[list[float], list[float], list[float]]:
    """Seconds, gradient-equivalents and validation losses after each epoch."""
    recipe = Recipe.from_dict(run.config())
    seconds, costs, losses = [], [], []
    total, updates = 0.0, []
    for record in run.metrics():
        if record.get("event") == "hessian-free update":
            updates.append(1 + record["losses"] / 3 + recipe.curvature_share * record["products"])
        elif "valid_log_likelihood" in record:
            total += sum(updates) / len(updates) if updates else 1.0
            updates = []
            seconds.append(record["seconds"])
            costs.append(total)
            losses.append(-record["valid_log_likelihood"])
    return seconds, costs, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    options = parser.parse_args()
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    lowest, highest = float("inf"), 0.0
    units = set()
    for number, text in enumerate(options.runs):
        name, _, folder = text.partition("=")
        run, color = Run.open(folder), COLORS[number % len(COLORS)]
        units.add(likelihood_of(Recipe.from_dict(run.config()).domain).unit)
        seconds, costs, losses = curve(run)
        if not losses:
            parser.error(
                f"expected runs that watch a log-likelihood, found another score, or none, in {folder}"
            )
        for axes, x in ((left, seconds), (right, costs)):
            axes.plot(x, losses, label=name, color=color, linewidth=1.4)
            best = min(range(len(losses)), key=losses.__getitem__)
            axes.plot(x[best], losses[best], "o", color=color, markersize=4)
        lowest, highest = min(lowest, *losses), max(highest, losses[0])
    if len(units) > 1:
        parser.error(f"expected runs whose losses compare, found {' and '.join(sorted(units))}")
    left.set(xlabel="wall time (s)", ylabel=f"validation loss ({units.pop()})")
    right.set(xlabel="gradient-equivalents (passes)", ylim=(lowest - 0.1, min(highest, lowest + 2.5)))
    for axes in (left, right):
        axes.set_xscale("log")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize="small")
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
