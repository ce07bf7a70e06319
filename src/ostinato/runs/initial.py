"""A new run that starts from the trained weights of another one: what it takes from that run.

The weights are those of the best validation score. What they are the weights of, such as the cell, the sizes
and the vocabulary, is the run's and stays; how training goes on is the run's unless something else is given;
where the data are is never taken.
"""

from pathlib import Path
from typing import Any

from ostinato.errors import UserError, argument
from ostinato.recipe.effective import idle_settings
from ostinato.recipe.owned import places_of_data
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run


def recipe_of(folder: str | Path) -> Recipe:
    """The recipe of a run whose weights can be started from.

    Raises:
        UserError: there is no run, or it has no trained model yet.
    """
    run = Run.open(folder)
    if not run.has_checkpoint("best"):
        raise UserError(
            f"expected a run with a trained model as {argument('init_from')}, found none yet in {run.folder}"
        )
    return Recipe.from_dict(run.config())


def settings_taken(before: Recipe) -> dict[str, Any]:
    """The settings that a new run takes from the one it starts from: all but where data are.

    Example:
        >>> taken = settings_taken(Recipe.parse("SGD+C", hidden_size=50, data="jsb"))
        >>> taken["hidden_size"], "data" in taken
        (50, False)
    """
    return {name: value for name, value in before.to_dict().items() if name not in places_of_data()}


def decided(before: Recipe) -> list[str]:
    """The settings that a run's weights decide, by name.

    Example:
        >>> names = decided(Recipe())
        >>> "hidden_size" in names, "learning_rate" in names, "l1" in names
        (True, False, False)
    """
    return [name for name, setting in before.settings().items() if setting.of_weights]


def check_taken(recipe: Recipe, before: Recipe, folder: str | Path) -> None:
    """Refuse a recipe of other weights than those it is to start from.

    Raises:
        UserError: says which settings differ.

    Example:
        >>> check_taken(Recipe(hidden_size=9), Recipe(hidden_size=50), "runs/a")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected hidden_size 50, as the weights of runs/a are, found 9; leave ...
    """
    names = decided(before)
    names += [name for name, setting in recipe.settings().items() if setting.of_weights and name not in names]
    other = [name for name in names if recipe.get(name) != before.get(name)]
    if not other:
        return
    wanted = ", ".join(f"{argument(name)} {before.get(name, 'none')}" for name in other)
    found = ", ".join(f"{recipe.get(name, 'none')}" for name in other)
    raise UserError(
        f"expected {wanted}, as the weights of {folder} are, found {found}; leave "
        f"{'it' if len(other) == 1 else 'them'} out"
    )


def told(recipe: Recipe, before: Recipe, folder: str | Path) -> str:
    """What a person should know of the settings that came with the weights, where a new run has others.

    Example:
        >>> from ostinato.errors import without_marks
        >>> before = Recipe.parse("SGD", hidden_size=50)
        >>> print(without_marks(told(before.replace(epochs=3), before, "runs/a"))[:88])
        the weights of runs/a decide domain music, output bernoulli, cell rnn, hidden_size 50, n
    """
    usual, idle = Recipe.parse(None, domain=before.domain, data=recipe.data), idle_settings(before)
    fixed = [name for name in decided(before) if before.get(name) is not None and name not in idle]
    free = [name for name in settings_taken(before) if not before.settings()[name].of_weights]
    kept = [name for name in free if recipe.get(name) == before.get(name) != usual.get(name)]
    fixed_told, kept_told = (
        ", ".join(f"{argument(name)} {before.get(name)}" for name in names) for names in (fixed, kept)
    )
    as_well = f"; taken from it as well: {kept_told}" if kept else ""
    return f"the weights of {folder} decide {fixed_told}{as_well}"
