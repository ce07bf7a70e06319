"""What settings amount to: draws in their right order, and which settings a recipe has no use for.

A search draws every setting by itself. The two ends of the leak's range come in any order, and a leak is
drawn for a recipe without leaky units too; what is shown of a trial is what it trained with.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ostinato.errors import UserError
from ostinato.recipe import Recipe

Needs = dict[str, tuple[str, ...]]
_STREAMED: Needs = {"task": ("music", "words", "chars")}
_MUSIC: Needs = {"task": ("music",)}
_TEXT: Needs = {"task": ("words", "chars")}
_TASK: Needs = {"task": ("task",)}
_NADE: Needs = {"output": ("nade",)}
_RBM: Needs = {"output": ("rbm",)}
_NADE_RBM: Needs = {"output": ("nade", "rbm")}
_CLASSES: Needs = {"output": ("class-softmax",)}
_HF: Needs = {"recipe": ("HF",)}
_SGD: Needs = {"recipe": ("SGD",)}
_MOMENTUM: Needs = {"momentum": ()}
_LEAKS: Needs = {"leak_fraction": ()}

# With which values of other settings a setting has an effect: an empty tuple stands for any number above 0;
# of `recipe` the word before the letters counts, of `leak_fraction` how many units leak. What is not listed
# always has one.
NEEDS: dict[str, Needs] = {
    "frames_per_beat": _MUSIC,
    "transpose": _MUSIC,
    "length": _TASK,
    "epoch_sequences": _TASK,
    "valid_data": _TEXT,
    "test_data": _TEXT,
    "vocabulary_size": _TEXT,
    "classes": _CLASSES,
    "direct": _TEXT,
    "direct_order": _TEXT | {"direct": ()},
    "nade_size": _NADE,
    "nade_order": _NADE,
    "state_scale": _NADE_RBM,
    "accuracy_samples": _NADE_RBM,
    "rbm_size": _RBM,
    "cd_steps": _RBM,
    "pretrain_frames": _RBM,
    "pretrain_rnn": _RBM,
    "persistent_chains": _RBM,
    "ais_steps": _RBM,
    "ais_chains": _RBM,
    "spectral_radius": {"initialization": ("echo-state",)},
    "embedding_scale": _TEXT,
    "leak_low": _LEAKS,
    "leak_high": _LEAKS,
    "segment_length": _STREAMED,
    "learning_rate": _SGD,
    "learning_rate_rule": _SGD,
    "momentum": _SGD,
    "clip": _SGD,
    "embedding_rate": _SGD | _TEXT,
    "within_class_rate": _SGD | _CLASSES,
    "momentum_schedule": _MOMENTUM,
    "momentum_kind": _MOMENTUM,
    "damping": _HF,
    "damping_floor": _HF,
    "structural_damping": _HF,
    "cg_iterations": _HF,
    "cg_decay": _HF,
    "curvature_share": _HF,
    "preconditioner": _HF,
}


def unmet_need(recipe: Recipe, name: str) -> tuple[str, tuple[str, ...]] | None:
    """The setting for whose value this one has no effect, and the values it is for; None where it has one.

    Example:
        >>> unmet_need(Recipe.parse("SGD+L"), "nade_size"), unmet_need(Recipe.parse("SGD+L"), "leak_low")
        (('output', ('nade',)), None)
    """
    for other, wanted in NEEDS.get(name, {}).items():
        value = getattr(recipe, other)
        if other == "recipe":
            value = value.partition("+")[0]
        elif other == "leak_fraction":
            value = round(value * recipe.hidden_size)
        if value not in wanted and (wanted or value <= 0):
            return other, wanted
    return None


def idle_settings(recipe: Recipe) -> frozenset[str]:
    """The settings that change nothing about a run of this recipe.

    Example:
        >>> sorted(idle_settings(Recipe.parse("SGD+L")) & {"leak_low", "momentum_schedule", "cg_decay"})
        ['cg_decay', 'momentum_schedule']
    """
    return frozenset(name for name in NEEDS if unmet_need(recipe, name))


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
