"""A training run before it is begun: what it would do, and what it would take."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.conclusion import AnyData
from ostinato.domain import domain_of
from ostinato.planning.rehearsal import Rehearsal, rehearse
from ostinato.recipe import Recipe
from ostinato.training_state import Progress


@dataclass(frozen=True)
class Plan:
    """What a run would be.

    Arguments:
        recipe: its settings.
        changed: those that are not what the letters give for this data and output: here, and there.
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
                "upper_bound": self.recipe.hessian_free,
            },
            "bytes": sizes | {"update": each.update_bytes, "all": sum(sizes.values()) + each.update_bytes},
        }


def make_plan(
    recipe: Recipe,
    data: AnyData,
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
    usual = usual_recipe(recipe)
    settings, others = asdict(recipe), asdict(usual)
    changed = {name: (value, others[name]) for name, value in settings.items() if value != others[name]}
    domain = domain_of(data)
    identity = domain.identity()
    begun = progress or Progress()
    return Plan(
        recipe,
        changed,
        {"name": identity["name"], "version": identity["version"]} | domain.summary(),
        folder,
        str(device),
        torch.get_num_threads(),
        begun.epoch,
        begun.stopped_because,
        recipe.clip == "auto" and begun.clip_threshold is None,
        rehearse(recipe, data, device),
    )


def usual_recipe(recipe: Recipe) -> Recipe:
    """What the recipe's letters give for its kind of data, data and output, if nothing else is said.

    Example:
        >>> usual_recipe(Recipe.parse("SGD+CM", output="nade", hidden_size=7)).hidden_size
        200
    """
    asked = {"task": recipe.task, "data": recipe.data}
    alike = Recipe.parse(recipe.recipe, **asked)
    if alike.output != recipe.output:
        return Recipe.parse(recipe.recipe, **asked, output=recipe.output)
    return alike
