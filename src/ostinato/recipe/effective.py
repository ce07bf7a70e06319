"""What settings amount to: draws in their right order, and which settings a recipe has no use for.

A search draws every setting by itself. The two ends of the leak's range come in any order, and a leak is
drawn for a recipe without leaky units too; what is shown of a trial is what it trained with.
"""

from collections.abc import Mapping
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.recipe.owned import every_setting, owned_settings
from ostinato.recipe.recipe import Recipe


def idle_settings(recipe: Recipe) -> frozenset[str]:
    """The settings of a recipe that change nothing about its run.

    Example:
        >>> sorted(idle_settings(Recipe.parse("SGD+C")))
        ['clip_by', 'copy_gates', 'leak_high', 'leak_low', 'minutes_of', 'spectral_radius', 'warmup']
    """
    values = recipe.to_dict()
    idle = {name for name, setting in recipe.settings().items() if setting.idle(values) is not None}
    if "leak_fraction" in recipe and round(recipe.leak_fraction * recipe.hidden_size) == 0:
        idle |= {"leak_low", "leak_high"}  # a share that comes to no unit
    return frozenset(idle | {*DOMAINS[recipe.domain].unused})


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


def with_draws(base: Recipe, draws: Mapping[str, Any]) -> Recipe:
    """The recipe of a trial: the base with its draws, but for those that it has no use for.

    Where outputs are searched over, say, a draw may be for another output than the one that was drawn.

    Raises:
        UserError: the draws do not go together.

    Example:
        >>> with_draws(Recipe.parse("SGD"), {"output": "rbm", "nade_size": 5, "rbm_size": 7}).rbm_size
        7
    """
    settings = ordered(draws)
    known, owned = every_setting(), owned_settings(base.to_dict() | settings)
    return base.replace(**{n: value for n, value in settings.items() if n in owned or n not in known})


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
        recipe = with_draws(base, settings)
    except UserError:
        return settings
    idle = idle_settings(recipe)
    return {name: None if name in idle else recipe.get(name) for name in settings}
