"""What a checkpoint says besides tensors: where training stands, and what the numbers depend on."""

import math
import platform
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import ostinato
from ostinato.errors import UserError, argument
from ostinato.recipe import Recipe


@dataclass
class EpochSums:
    """Running sums of the epoch under way."""

    nll: float = 0.0
    frames: int = 0
    norms: float = 0.0
    updates: int = 0
    clipped: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0


@dataclass
class Progress:
    """Where training stands: everything but tensors that the next step depends on."""

    epoch: int = 0
    segment: int = 0
    best_score: float = -math.inf
    best_epoch: int = -1
    clip_threshold: float | None = None
    stopped_because: str = ""
    seconds: float = 0.0
    sums: EpochSums = field(default_factory=EpochSums)


def check_same_run(recipe: Recipe, data_identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Refuse to continue a checkpoint with other settings or other data than it was made with."""
    # through Recipe: a run of an older version lacks settings that are at their defaults since
    saved, wanted = Recipe.from_dict(state["recipe"]).to_dict(), recipe.to_dict()
    changed = [
        f"{argument(name)} = {wanted.get(name)!r} (the run has {saved.get(name)!r})"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if changed:
        raise UserError(
            f"expected the settings the run was started with, found {', '.join(changed)}; "
            "leave them out to resume, or start a new run"
        )
    if state["data"]["version"] != data_identity["version"]:
        raise UserError(
            f"expected the data the run was started with (version {state['data']['version'][:12]}), found "
            f"version {data_identity['version'][:12]} of {data_identity['name']}; "
            "put the files back, or start a new run"
        )


def environment() -> dict[str, str]:
    """The versions a run's numbers depend on."""
    return {
        "ostinato": ostinato.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
