"""A training run before it is begun: what it would do, and what it would take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.domains.domain import Data, domain_named
from ostinato.optim.declared import OPTIMIZERS
from ostinato.planning.rehearsal import Rehearsal, rehearse
from ostinato.recipe.owned import REGISTRIES
from ostinato.recipe.recipe import Recipe
from ostinato.training.progress import Progress
from ostinato.training.threshold import asks_for_a_pass


@dataclass(frozen=True)
class Plan:
    """What a run would be.

    Arguments:
        recipe: its settings.
        changed: those that are not what the letters give for this data: here, and there.
        data: name, version, and what each split holds.
        folder: where it would be.
        device, threads: what it would compute on.
        epochs_done: of a run that would go on.
        ended: why that run has ended and would not go on; empty where it would.
        finds_threshold: whether a pass to find the clipping threshold comes first.
        rehearsal: what was measured.
    """

    recipe: Recipe
    changed: dict[str, tuple[Any, Any]]
    data: dict[str, Any]
    folder: Path
    device: str
    threads: int
    epochs_done: int
    ended: str
    finds_threshold: bool
    rehearsal: Rehearsal

    @property
    def epochs(self) -> int:
        """Left, if validation goes on improving."""
        return 0 if self.ended else max(self.recipe.epochs - self.epochs_done, 0)

    @property
    def seconds(self) -> float:
        """Of all these epochs and the pass before them; final scores come on top."""
        each = self.rehearsal
        first = each.updates_per_epoch * each.update_seconds if self.finds_threshold else 0.0
        return first + self.epochs * each.epoch_seconds

    def to_dict(self) -> dict[str, Any]:
        """All of it by name; can be written as JSON."""
        each = self.rehearsal
        sizes = {"parameters": each.parameter_bytes, "optimizer": each.optimizer_bytes}
        return {
            "folder": str(self.folder),
            "recipe": self.recipe.to_dict(),
            "changed": {name: {"here": here, "usual": usual} for name, (here, usual) in self.changed.items()},
            "data": self.data,
            "device": self.device,
            "threads": self.threads,
            "parameters": {
                "total": sum(number for *_, number in each.parameters),
                "each": {name: {"shape": shape, "number": n} for name, shape, n in each.parameters},
            },
            "epochs": {"done": self.epochs_done, "left": self.epochs, "ended": self.ended},
            "seconds": {
                "update": each.update_seconds,
                "validation": each.validation_seconds,
                "epoch": each.epoch_seconds,
                "all": self.seconds,
                "updates_measured": each.updates,
                "updates_per_epoch": each.updates_per_epoch,
                "validation_measured": each.validation_measured,
                "upper_bound": OPTIMIZERS[self.recipe.optimizer].curvature,
            },
            "bytes": sizes | {"update": each.update_bytes, "all": sum(sizes.values()) + each.update_bytes},
        }


def make_plan(
    recipe: Recipe,
    data: Data,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Plan:
    """The plan of a run, from a few updates on a copy that leaves nothing behind.

    Args:
        recipe: the settings.
        data: what it would train on.
        folder: where it would be; not looked at, and not made.
        device: where it would compute.
        progress: where a run stands that would go on.
    """
    settings, others = recipe.to_dict(), usual_settings(recipe)
    changed = {n: (value, others.get(n)) for n, value in settings.items() if value != others.get(n)}
    domain = domain_named(recipe.domain)
    identity = domain.identity(data)
    begun = progress or Progress()
    return Plan(
        recipe,
        changed,
        {"name": identity["name"], "version": identity["version"]} | domain.summary(data),
        folder,
        str(device),
        torch.get_num_threads(),
        begun.epoch,
        begun.stopped_because,
        asks_for_a_pass(recipe) and begun.clip_threshold is None,
        rehearse(recipe, data, device),
    )


def usual_settings(recipe: Recipe) -> dict[str, Any]:
    """What the recipe's letters give for its kind of data and its data, if nothing else is said.

    The settings of another output, cell or optimizer than the letters give are as they usually are with it.

    Example:
        >>> usual = usual_settings(Recipe.parse("SGD+CM", output="nade", hidden_size=7))
        >>> usual["hidden_size"], usual["output"], usual["learning_rate"]
        (200, 'bernoulli', 0.3)
    """
    asked = {"domain": recipe.domain, "data": recipe.data}
    alike = Recipe.parse(recipe.name, **asked)
    chosen = {n: getattr(alike, n) for n in REGISTRIES}
    asked |= {n: getattr(recipe, n) for n in ("output", "cell") if chosen[n] != getattr(recipe, n)}
    if alike.optimizer != recipe.optimizer and "M" not in recipe.letters:
        asked["optimizer"] = recipe.optimizer
    return Recipe.parse(recipe.name, **asked).to_dict() | chosen
