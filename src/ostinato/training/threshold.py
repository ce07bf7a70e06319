"""The clipping threshold of a recipe, and the pass that finds one."""

from collections.abc import Callable

import torch

from ostinato.data.placement import moved
from ostinato.domains.domain import Segments
from ostinato.errors import argument
from ostinato.evaluation.numbers import counted
from ostinato.nn.cells.state import State, finite
from ostinato.nn.outputs.base import Objective
from ostinato.optim import (
    AverageNorm,
    FixedThreshold,
    PassAverage,
    RunningQuantile,
    Threshold,
)
from ostinato.recipe.recipe import Recipe
from ostinato.training.updates import Batch, Updates, clips_streams


def build_threshold(recipe: Recipe) -> Threshold:
    """The threshold that a recipe's `clip` names; that of "auto" has no value before `first_pass`.

    Example:
        >>> build_threshold(Recipe.parse("SGD", clip=3)).value
        3.0
    """
    clip = recipe.get("clip", "none")
    if clip == "quantile":
        return RunningQuantile(recipe.clip_quantile, recipe.clip_window, recipe.clip_factor)
    if clip == "average":
        return PassAverage(recipe.clip_factor)
    return FixedThreshold(clip if isinstance(clip, float) else None)


def asks_for_a_pass(recipe: Recipe) -> bool:
    """Whether a pass through the data finds the threshold before training begins."""
    return recipe.get("clip", "none") == "auto"


def first_pass(
    updates: Updates,
    objective: Objective,
    streams: Segments,
    *,
    carries_state: bool,
    device: torch.device,
    before_each: Callable[[], None] = lambda: None,
) -> AverageNorm:
    """The average norm of the gradient over one pass that trains a twin of the model.

    The twin is clipped at the average so far, since the norms at the initial weights alone say little about
    those that training meets; it is then thrown away.

    Args:
        updates: of the twin, a model as training begins with.
        objective: what it is trained on.
        streams: the training data.
        carries_state: whether the state at a segment's end is where the next one begins.
        device: where the twin is.
        before_each: called before every update; it may raise.
    """
    average = AverageNorm()
    states: State | None = None
    for index, here in enumerate(streams):
        before_each()
        clip_at = average.value if average.total > 0 else None
        update = updates(Batch(moved(here, device), states, objective, 0, index, clip_at, lambda *_: None))
        states = finite(update.states) if carries_state else None
        for norm in update.norms:
            average.add(norm)
    return average


def found_threshold(recipe: Recipe, value: float, gradients: int) -> str:
    """What to say of a threshold that a first pass has found.

    Example:
        >>> found_threshold(Recipe.parse("SGD", clip="auto"), 1.5, 9)
        'clipping gradients at norm 1.5, the average over a first pass (9 updates)'
    """
    times = "" if recipe.clip_factor == 1 else f"{recipe.clip_factor:g} times "
    return (
        f"clipping gradients at norm {value:.4g}, {times}the average over a first pass "
        f"({counted(gradients, 'stream' if clips_streams(recipe) else 'update')})"
    )


def mostly_clipped(recipe: Recipe, share: float, threshold: float | None) -> str:
    """What to say where more than half of an epoch's updates were clipped; "" where not.

    Example:
        >>> mostly_clipped(Recipe.parse("SGD", clip=1.0), 0.5, 1.0)
        ''
        >>> from ostinato.errors import without_marks
        >>> print(without_marks(mostly_clipped(Recipe.parse("SGD", clip=1.0), 0.75, 1.0))[:51])
        75 % of this epoch's updates were clipped to norm 1
    """
    if threshold is None or share <= 0.5:
        return ""
    if recipe.clip == "quantile":
        remedy = (
            f"norms grow faster than the quantile follows; a smaller {argument('clip_window')} clips fewer"
        )
    else:
        remedy = f"set {argument('clip')} quantile, or a larger number, to clip few"
    return (
        f"{100 * share:.0f} % of this epoch's updates were clipped to norm {threshold:.4g}: their length is "
        f"then the threshold's and no longer the gradient's, as if {argument('learning_rate')} were smaller; "
        f"{remedy}"
    )
