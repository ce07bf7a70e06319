"""Hessian-free against plain gradient descent on tasks with long delays: who solves them, at what cost.

    python benchmarks/long_delays.py FOLDER [--length 50] [--seeds 3] [--tasks temporal-order memorization]

Cost is counted in sequence gradients: one gradient on one sequence is 1, a curvature product on one is 1
too (measured: 1.0 to 1.4, see hessian_free.py), a loss a third. Plain SGD gets `--budget` of them, its
learning rate is the best of `--rates` after a fifth of the budget with seed 0, by validation log-likelihood.
Runs are kept in FOLDER: what is there already is not run again.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from ostinato.domains.domain import load_data
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.results import score_run
from ostinato.training.loop import Trainer


def recipe_for(method: str, task: str, length: int, **settings: Any) -> Recipe:
    return Recipe.parse(method, domain="delays", data=task, length=length, patience=100_000, **settings)


def trained(folder: Path, recipe: Recipe) -> Run:
    if folder.exists():
        run = Run.open(folder)
        return run if run.has_checkpoint("last") and finished(run) else fit(run, recipe)
    return fit(Run.create(folder, recipe.to_dict()), recipe)


def fit(run: Run, recipe: Recipe) -> Run:
    Trainer(recipe, load_data(recipe), run).fit()
    run.close()
    return run


def finished(run: Run) -> bool:
    return bool(run.load_checkpoint("last")[1]["progress"]["stopped_because"])


def cost(run: Run, recipe: Recipe) -> float:
    """Sequence gradients."""
    records = run.metrics()
    if "curvature_share" not in recipe:
        return sum(10_000 for r in records if "valid_log_likelihood" in r)
    total, batch = 0.0, recipe.streams
    for r in records:
        if r.get("event") == "hessian-free update":
            total += batch * (1 + r["losses"] / 3 + recipe.curvature_share * r["products"])
    return total


def best_rate(options: argparse.Namespace, task: str) -> float:
    scores = {}
    for rate in options.rates:
        recipe = recipe_for(
            "SGD", task, options.length, learning_rate=rate, epochs=max(1, options.budget // 50_000)
        )
        run = trained(options.folder / f"{task}-SGD-rate{rate:g}", recipe)
        scores[rate] = max(r["valid_log_likelihood"] for r in run.metrics() if "solved" in r)
    return max(scores, key=scores.__getitem__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=600_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.03, 0.01])
    parser.add_argument("--tasks", nargs="+", default=["temporal-order", "memorization"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    print("| task | method | seed | wrong of 10,000 fresh | solved | updates | sequence gradients |")
    print("|---|---|---|---|---|---|---|")
    for task in options.tasks:
        rate = best_rate(options, task)
        methods = {
            "HF": recipe_for("HF", task, options.length, epochs=20),
            f"SGD, rate {rate:g}": recipe_for(
                "SGD", task, options.length, learning_rate=rate, epochs=options.budget // 10_000
            ),
        }
        for method, recipe in methods.items():
            for seed in range(options.seeds):
                seeded = Recipe.from_dict(recipe.to_dict() | {"seed": seed})
                run = trained(options.folder / f"{task}-{recipe.name}-{seed}", seeded)
                error = score_run(run, load_data(seeded)).scores["model"]["test"]["error"].value
                updates = [r["updates"] for r in run.metrics() if "updates" in r][-1]
                row = (task, method, seed, f"{error:.2f}%", "yes" if error < 1 else "no", updates)
                print("|", " | ".join(map(str, row)), f"| {cost(run, seeded):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
