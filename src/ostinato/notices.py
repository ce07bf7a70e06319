"""What a recipe's settings do that is not plain from what was given: the command line says it in a line each.

A setting may have no effect in this recipe, may take others with it, or may undo one of the recipe's letters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ostinato.effective import unmet_need
from ostinato.errors import argument
from ostinato.recipe import Recipe
from ostinato.shipped_defaults import LETTERS

# The setting that says whether a letter's technique is used at all.
SWITCHES = {"C": "clip", "L": "leak_fraction", "R": "nonlinearity", "M": "momentum"}


def notices(recipe: Recipe, given: Mapping[str, Any], file: Mapping[str, Any] | None = None) -> list[str]:
    """A sentence for each thing that `given`, and what else a file of settings says, do or leave undone.

    The sentences name settings with `errors.argument`, as the messages of UserErrors do.

    Example:
        >>> from ostinato.errors import without_marks
        >>> given = {"leak_fraction": 0.5}
        >>> print(without_marks(notices(Recipe.parse("SGD+C", **given), given)[0]))
        leak_fraction without L takes leak_low = 0.8, leak_high = 0.98, as L means them
    """
    everything = {**(file or {}), **given}
    return [
        *_undone(recipe, everything),
        *_without_letters(recipe, everything),
        *_without_effect(recipe, given),
    ]


def _undone(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """A letter that a setting takes back."""
    letters = recipe.recipe.partition("+")[2]
    return [
        f"{recipe.recipe} has {letter}, and {argument(switch)} {getattr(recipe, switch)} takes it back"
        for letter, switch in SWITCHES.items()
        if letter in letters and switch in given and getattr(recipe, switch) == _off(switch)
    ]


def _without_letters(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """A technique that is used without its letter: what comes with it, and what does not."""
    letters = recipe.recipe.partition("+")[2]
    said = []
    for letter, switch in SWITCHES.items():
        value = getattr(recipe, switch)
        on = value == LETTERS[letter][switch] if isinstance(value, str) else value != _off(switch)
        if letter in letters or switch not in given or not on:
            continue
        meant = Recipe.meaning(letter, recipe.task, recipe.output)
        others = {name: meant[name] for name in meant if name != switch and name not in given}
        if recipe.hessian_free:
            others.pop("learning_rate", None)
        taken = [name for name in others if getattr(recipe, name) == others[name]]
        left = [name for name in others if getattr(recipe, name) != others[name]]
        sentence = f"{argument(switch)} without {letter}"
        if taken:
            sentence += (
                f" takes {_listed(recipe, taken)}, as {letter} means {'them' if len(taken) > 1 else 'it'}"
            )
        if left:
            would = ", ".join(str(others[name]) for name in left)
            sentence += f"{' and' if taken else ''} keeps {_listed(recipe, left)} ({letter} means {would})"
        if taken or left:
            said.append(sentence)
    return said


def _without_effect(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """Settings given that nothing asks for in this recipe."""
    said = []
    for name in given:
        if unmet := unmet_need(recipe, name):
            other, wanted = unmet
            use = " or ".join(wanted) if wanted else "larger values"
            value = getattr(recipe, other)
            said.append(f"{argument(name)} has no effect with {argument(other)} {value}: it is for {use}")
    return said


def _listed(recipe: Recipe, names: list[str]) -> str:
    return ", ".join(f"{argument(name)} = {getattr(recipe, name)}" for name in names)


def _off(name: str) -> Any:
    """A setting's value where nobody says anything."""
    (default,) = (field.default for field in dataclasses.fields(Recipe) if field.name == name)
    return default
