"""What settings amount to: draws in their right order, and which settings a recipe has no use for.

A search draws every setting by itself. The two ends of the leak's range come in any order, and a leak is
drawn for a recipe without leaky units too; what is shown of a trial is what it trained with.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ostinato.errors import UserError
from ostinato.recipe import Recipe

_LANGUAGE = ("words", "chars")

# Settings, and when they change nothing about a run.
_IDLE: tuple[tuple[tuple[str, ...], Callable[[Recipe], bool]], ...] = (
    (("leak_low", "leak_high"), lambda r: round(r.leak_fraction * r.hidden_size) == 0),
    (("spectral_radius",), lambda r: r.initialization != "echo-state"),
    (("learning_rate", "learning_rate_rule", "momentum", "clip"), lambda r: r.hessian_free),
    (("momentum_schedule", "momentum_kind"), lambda r: r.hessian_free or r.momentum == 0),
    (
        (
            "damping",
            "damping_floor",
            "structural_damping",
            "cg_iterations",
            "cg_decay",
            "curvature_share",
            "preconditioner",
        ),
        lambda r: not r.hessian_free,
    ),
    (("nade_size", "nade_order"), lambda r: r.output != "nade"),
    (
        (
            "rbm_size",
            "cd_steps",
            "persistent_chains",
            "pretrain_frames",
            "pretrain_rnn",
            "ais_steps",
            "ais_chains",
        ),
        lambda r: r.output != "rbm",
    ),
    (("state_scale", "accuracy_samples"), lambda r: r.output not in ("nade", "rbm")),
    (("classes",), lambda r: r.output != "class-softmax"),
    (("within_class_rate",), lambda r: r.output != "class-softmax" or r.hessian_free),
    (("embedding_scale", "direct"), lambda r: r.task not in _LANGUAGE),
    (("embedding_rate",), lambda r: r.task not in _LANGUAGE or r.hessian_free),
    (("direct_order",), lambda r: r.task not in _LANGUAGE or r.direct == 0),
    (("segment_length",), lambda r: r.task == "task"),
    (("length", "epoch_sequences"), lambda r: r.task != "task"),
)


def idle_settings(recipe: Recipe) -> frozenset[str]:
    """The settings that change nothing about a run of this recipe.

    Example:
        >>> sorted(idle_settings(Recipe.parse("SGD+L")) & {"leak_low", "momentum_schedule", "cg_decay"})
        ['cg_decay', 'momentum_schedule']
    """
    return frozenset(name for names, idle in _IDLE if idle(recipe) for name in names)


def ordered(draws: Mapping[str, Any]) -> dict[str, Any]:
    """Draws with the ends of the leak's range in their order: each is drawn by itself.

    Example:
        >>> ordered({"leak_low": 0.19, "leak_high": 0.06})
        {'leak_low': 0.06, 'leak_high': 0.19}
    """
    settings = dict(draws)
    if "leak_low" in settings and "leak_high" in settings:
        settings["leak_low"], settings["leak_high"] = sorted((settings["leak_low"], settings["leak_high"]))
    return settings


def effective_settings(base: Recipe, draws: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial of a search trained with: each searched setting's value; None for one without effect.

    Args:
        base: what every trial of the search has in common.
        draws: the trial's own draws by name. Draws that make no recipe are given back in their order, since
            nothing was trained with them.

    Example:
        >>> base = Recipe.parse("SGD+L")
        >>> effective_settings(base, {"leak_fraction": 0.25, "leak_low": 0.19, "leak_high": 0.06})
        {'leak_fraction': 0.25, 'leak_low': 0.06, 'leak_high': 0.19}
        >>> effective_settings(base, {"leak_fraction": 0.0, "leak_low": 0.19, "leak_high": 0.06})
        {'leak_fraction': 0.0, 'leak_low': None, 'leak_high': None}
    """
    settings = ordered(draws)
    try:
        recipe = dataclasses.replace(base, **settings)
    except (TypeError, UserError):
        return settings
    idle = idle_settings(recipe)
    return {name: None if name in idle else getattr(recipe, name) for name in settings}
