"""What a checkpoint says besides tensors: where training stands, and what the numbers depend on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted
from ostinato.optim import TrainingOptimizer
from ostinato.optim.averaging import AVERAGE_PREFIX
from ostinato.optim.schedules import END_WITH_TRAINING
from ostinato.recipe.owned import places_of_data
from ostinato.recipe.recipe import Recipe
from ostinato.training.pretraining import pretraining_epochs

if TYPE_CHECKING:
    from ostinato.training.updates import Update

# Why a run ended, where more epochs or more patience would let it go on.
ALL_DONE, NO_BETTER = "all epochs done", "no better validation score"

OPTIMIZER_PREFIX = "optimizer."

# Settings that say when a run ends, and nothing else.
ENDS = ("epochs", "patience")


@dataclass
class EpochSums:
    """Running sums of the epoch under way."""

    nll: float = 0.0
    frames: int = 0
    norms: float = 0.0
    updates: int = 0
    clipped: float = 0
    skipped: int = 0
    skipped_in_a_row: int = 0

    def add(self, update: "Update", lost: float = 0.0) -> None:
        """Count an update that was made; `lost` is what scaled data lose of their likelihood."""
        self.nll += update.nll + lost
        self.frames += update.frames
        self.norms += update.norm
        self.updates += 1
        self.clipped += update.clipped
        self.skipped_in_a_row = 0

    def record(self) -> dict[str, float]:
        """What an epoch's record says of its updates."""
        updates = max(self.updates, 1)
        return {
            "gradient_norm": self.norms / updates,
            "clipped": self.clipped / updates,
            "skipped": self.skipped,
        }


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
    budget_seconds: float = 0.0
    budget_reserve: float = 0.0
    sums: EpochSums = field(default_factory=EpochSums)

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Progress":
        """As a checkpoint holds it."""
        return cls(**(saved | {"sums": EpochSums(**saved["sums"])}))

    def since_best(self, recipe: Recipe) -> int:
        """Whole epochs since the best validation score, or since pre-training: what patience limits."""
        return self.epoch - 1 - max(self.best_epoch, pretraining_epochs(recipe) - 1)


def check_same_run(recipe: Recipe, data_identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Refuse to continue a checkpoint with other settings or other data than it was made with."""
    # through Recipe: a run of an older version lacks settings that are at their defaults since
    check_same_settings(recipe, Recipe.from_dict(state["recipe"]), known_data=True)
    if state["data"]["version"] != data_identity["version"]:
        raise UserError(
            f"expected the data the run was started with (version {state['data']['version'][:12]}), found "
            f"version {data_identity['version'][:12]} of {data_identity['name']}; "
            "put the files back, or start a new run"
        )


def check_same_settings(recipe: Recipe, of_run: Recipe, *, known_data: bool = False) -> None:
    """Refuse to continue a run with other settings than its own, but for those that say when it ends.

    Args:
        recipe: the settings.
        of_run: the run's.
        known_data: whether the data are compared by what is in them: then they may be elsewhere.
    """
    may_differ = {*ENDS, *(places_of_data() if known_data else ())}
    saved, wanted = of_run.to_dict(), recipe.to_dict()
    changed = [
        f"{argument(name)} = {wanted.get(name)!r} (the run has {saved.get(name)!r})"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name) and name not in may_differ
    ]
    if changed:
        raise UserError(
            f"expected the settings the run was started with, found {', '.join(changed)}; "
            "leave them out to resume, or start a new run"
        )


def go_on(progress: Progress, saved: Recipe, recipe: Recipe) -> None:
    """Let a run go on to other epochs, or with another patience; where it does, it has not stopped any more.

    No step depends on either setting, so the run ends as one that had them from the start. What would need
    the past to be another one is refused, as other epochs are under a rule of the rate that ends with them.

    Args:
        progress: where the run stands; `stopped_because` is taken back where the run goes on.
        saved: the recipe that brought it there.
        recipe: the recipe now, the same but for epochs and patience.

    Raises:
        UserError: the run has come further than the epochs or the patience allow, or it has stopped for a
            reason that they do not change.

    Example:
        >>> progress = Progress(epoch=3, best_epoch=2, stopped_because=ALL_DONE)
        >>> go_on(progress, Recipe(epochs=3), Recipe(epochs=6))
        >>> progress.stopped_because
        ''
    """
    if all(getattr(saved, name) == getattr(recipe, name) for name in ENDS):
        return
    rule = recipe.get("learning_rate_rule")
    if recipe.epochs != saved.epochs and rule in END_WITH_TRAINING:
        raise UserError(
            f"{argument('learning_rate_rule')} {rule} ends with the last epoch, so that a run of "
            f"{saved.epochs} cannot go on to {recipe.epochs}; start a new run"
        )
    begun, since = progress.epoch + (progress.segment > 0), progress.since_best(recipe)
    if recipe.epochs < begun:
        stands = (
            f"is in its epoch {begun}" if progress.segment > 0 else f"has trained {counted(begun, 'epoch')}"
        )
        raise UserError(
            f"expected {argument('epochs')} of at least {begun}, since the run {stands}, found "
            f"{recipe.epochs}; for fewer start a new run"
        )
    patient = recipe.patience != saved.patience
    if patient and recipe.patience <= since:
        raise UserError(
            f"expected {argument('patience')} of at least {since + 1}, since the best validation score is "
            f"{counted(since, 'epoch')} ago, found {recipe.patience}; for less start a new run"
        )
    stopped = progress.stopped_because
    if stopped.startswith(NO_BETTER) and not patient:
        raise UserError(
            f"expected a run that ended for want of epochs, found one that stopped for patience after epoch "
            f"{progress.epoch}: {stopped} (the best was epoch {progress.best_epoch + 1}); to go on, give "
            f"{argument('patience')} of at least {since + 1} too"
        )
    if stopped and stopped != ALL_DONE and not stopped.startswith(NO_BETTER):
        raise UserError(
            f"expected a run that more epochs or patience would let go on, found one that stopped after "
            f"epoch {progress.epoch}: {stopped}; start a new run with other settings"
        )
    progress.stopped_because = ""


def learned(model: nn.Module, prefix: str, optimizer: TrainingOptimizer | None = None) -> dict[str, Tensor]:
    """Copies of the weights, and of the tensors of an optimizer, under names with a prefix."""
    tensors = {f"{prefix}{name}": x.detach().clone() for name, x in model.state_dict().items()}
    if optimizer is not None:
        own, _ = optimizer.flat_state(list(model.parameters()))
        tensors |= {f"{prefix}{OPTIMIZER_PREFIX}{name}": value for name, value in own.items()}
    return tensors


def says_turned(names: list[str]) -> str:
    """What a person should know where `take_learned` has turned parameters into another form."""
    return (
        f"the run is of a version that trained {', '.join(names)} in another form: the model is the same, "
        "but what the optimizer and an average knew of them starts anew, so that it will not end as it "
        "would have"
    )


def averages_anew(model: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """Averages of these parameters, for `WeightAverage.restore`, that start at their present values."""
    own = dict(model.named_parameters())
    return {f"{AVERAGE_PREFIX}{name}": own[name].detach().clone() for name in names}


def take_learned(
    tensors: dict[str, Tensor],
    prefix: str,
    model: nn.Module,
    optimizer: TrainingOptimizer,
    state: Mapping[str, Any],
) -> list[str]:
    """The reverse of `learned`, from tensors on any device; `state` is the rest of the optimizer's.

    Returns:
        The parameters that an older version held in another form, which the model has turned into theirs.
        What the optimizer knows of the other form is not taken.
    """
    own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    weights = {k: v for k, v in own.items() if not k.startswith(OPTIMIZER_PREFIX)}
    model.load_state_dict(weights)
    names = [name for name, _ in model.named_parameters()]
    turned = [name for name in names if name not in weights]
    gone = {str(names.index(name)) for name in turned}

    def kept(entries: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in entries.items() if name.partition(".")[0] not in gone}

    velocities = {
        k.removeprefix(OPTIMIZER_PREFIX): v for k, v in own.items() if k.startswith(OPTIMIZER_PREFIX)
    }
    values = {"values": kept(state["values"])} if gone and "values" in state else {}
    optimizer.load_flat_state(list(model.parameters()), kept(velocities), {**state, **values})
    return turned
