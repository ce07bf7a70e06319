"""From a recipe and a folder to a finished run with its results; and those results as a file."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

import torch

from ostinato.data.sequences import SPLITS
from ostinato.domains.domain import Data
from ostinato.errors import MissingExtra
from ostinato.recipe.recipe import Recipe
from ostinato.report.curves import drawn
from ostinato.runs.folder import CONFIG, CURVE, RESULTS, Run
from ostinato.runs.results import Results, score_run
from ostinato.training.loop import Conditions, Trainer
from ostinato.training.monitor import Monitor
from ostinato.training.progress import Progress


def train_in(
    folder: Path, recipe: Recipe, data: Data, monitor: Monitor | None = None, **conditions: Unpack[Conditions]
) -> Progress:
    """Train in a folder: a new run, or the one there, from its last checkpoint; nothing where it is done.

    For the arguments see `Trainer`.

    Raises:
        Interrupted: a stop was requested; the same call goes on.
        UserError: the folder holds a run with other settings, or something else; or training diverged.
    """
    run = Run.open(folder) if (folder / CONFIG).is_file() else Run.create(folder, recipe.to_dict())
    with run:
        return fit(run, recipe, data, monitor, **conditions)


def fit(
    run: Run, recipe: Recipe, data: Data, monitor: Monitor | None = None, **conditions: Unpack[Conditions]
) -> Progress:
    """Train in a run that is open, from its last checkpoint; see `train_in`."""
    return Trainer(recipe, data, run, monitor, **conditions).fit()


def conclude(
    run: Run,
    data: Data,
    splits: tuple[str, ...] = SPLITS,
    *,
    device: torch.device | str = "cpu",
    notice: Callable[[str], None] = warnings.warn,
) -> dict[str, Any]:
    """Score a run's best model beside the baselines, write results.json and the learning curve; return what
    results.json holds. For `notice` see `write_results`.
    """
    return write_results(run, data, score_run(run, data, splits, device=device), notice=notice)


def write_results(
    run: Run, data: Data, results: Results, *, notice: Callable[[str], None] = warnings.warn
) -> dict[str, Any]:
    """Write what a run has come to, with everything that it depends on, to results.json, and its picture.

    Args:
        run: the run.
        data: what it was trained on.
        results: its scores.
        notice: is told where there is no picture, for want of the extra [pictures].
    """
    _, state = run.load_checkpoint("last")
    recipe, progress = Recipe.from_dict(state["recipe"]), state["progress"]
    environments = state.get("environments", [])
    summary: dict[str, Any] = {
        "run": str(run.folder),
        "data": {"name": data.name, "version": data.version, "details": data.details},
        "recipe": recipe.to_dict(),
        "results": results.to_dict(),
        "skipped": [{"path": s.path, "reason": s.reason} for s in data.skipped],
        "training": {
            "epochs": progress["epoch"],
            "best_epoch": progress["best_epoch"] + 1,
            "stopped_because": progress["stopped_because"],
            "clip_threshold": progress["clip_threshold"],
            "seconds": progress["seconds"],
            "threads": state["threads"],
            "devices": state.get("devices", ["cpu"]),
            "environment": state["environment"],
            **({"environments": environments} if len(environments) > 1 else {}),
        },
    }
    run.write_text(RESULTS, json.dumps(summary, indent=1) + "\n")
    try:
        picture = drawn(
            run.metrics(),
            Path(CURVE).suffix.removeprefix("."),
            title=f"{recipe.name} on {data.name}",
            domain=recipe.domain,
            scores=summary["results"],
            settings=recipe.to_dict(),
        )
        run.write_bytes(CURVE, picture)
    except MissingExtra as error:
        notice(f"no {CURVE}: {error}")
    return summary
