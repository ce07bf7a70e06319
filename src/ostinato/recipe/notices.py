"""What a recipe's settings do that is not plain from what was given: the command line says it in a line each.

A setting may have no effect in this recipe, may take others with it, or may undo one of the recipe's letters.
"""

from collections.abc import Mapping
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import argument, flag
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.letters import LETTERS, SWITCHES, canonical
from ostinato.recipe.meanings import meaning
from ostinato.recipe.owned import every_setting, owners
from ostinato.recipe.recipe import Recipe
from ostinato.recipe.setting import Unless


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
        *_replaced(recipe, given),
        *_undone(recipe, everything),
        *_without_letters(recipe, everything),
        *_without_effect(recipe, given),
        *_left_out(recipe, file or {}),
    ]


def _replaced(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """Another optimizer than the letters say."""
    said = canonical(given["recipe"]).partition("+")[0] if "recipe" in given else recipe.base
    if said == recipe.base:
        return []
    return [f"{argument('optimizer')} {recipe.optimizer} takes the place of {said}: {recipe.name}"]


def _undone(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """A letter that a setting takes back."""
    return [
        f"{recipe.name} has {letter}, and {argument(switch)} {recipe.get(switch)} takes it back"
        for letter, switch in SWITCHES.items()
        if letter in recipe.letters and switch in given and recipe.get(switch) == _off(switch)
    ]


def _without_letters(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """A technique that is used without its letter: what comes with it, and what does not."""
    sentences = []
    for letter, switch in SWITCHES.items():
        value = recipe.get(switch, _off(switch))
        on = value == LETTERS[letter][switch] if isinstance(value, str) else value != _off(switch)
        if letter in recipe.letters or switch not in given or not on:
            continue
        meant = meaning(letter, recipe.to_dict())
        if OPTIMIZERS[meant.get("optimizer", recipe.optimizer)].base != recipe.base:
            continue  # a letter that does not go with this optimizer
        others = {n: meant[n] for n in meant if n not in (switch, *given) and n in recipe}
        taken = [name for name in others if recipe.get(name) == others[name]]
        left = [name for name in others if recipe.get(name) != others[name]]
        sentence = f"{argument(switch)} without {letter}"
        if taken:
            sentence += (
                f" takes {_listed(recipe, taken)}, as {letter} means {'them' if len(taken) > 1 else 'it'}"
            )
        if left:
            would = ", ".join(str(others[name]) for name in left)
            sentence += f"{', and' if taken else ''} keeps {_listed(recipe, left)} ({letter} means {would})"
        if taken or left:
            sentences.append(sentence)
    return sentences


def _without_effect(recipe: Recipe, given: Mapping[str, Any]) -> list[str]:
    """Settings given that nothing asks for in this recipe."""
    sentences = []
    settings, values = recipe.settings(), recipe.to_dict()
    unused = DOMAINS[recipe.domain].unused
    for name in (name for name in given if name in settings):
        idle = settings[name].idle(values)
        if name in unused:
            sentences.append(f"{argument(name)} has no effect on {recipe.domain}")
        elif idle is not None and idle[0] not in recipe:
            chooser, _ = owners(idle[0])
            having = f"{argument(chooser)} {recipe.get(chooser)}, which has no {argument(idle[0])}"
            sentences.append(f"{argument(name)} has no effect with {having}")
        elif idle is not None and idle[1] in ((True,), (False,)):
            sentences.append(f"{argument(name)} has no effect without {flag(idle[0], idle[1][0])}")
        elif idle is not None:
            other, wanted = idle
            use = " or ".join(map(str, wanted)) if wanted else "larger"
            use = f"other than {use}" if isinstance(wanted, Unless) else use
            sentences.append(
                f"{argument(name)} has no effect with {argument(other)} {recipe.get(other)}: it is for {use}"
            )
    return sentences


def _left_out(recipe: Recipe, file: Mapping[str, Any]) -> list[str]:
    """Settings of a file that this recipe does not have, where the file says something by them."""
    lost = [n for n, value in file.items() if n not in recipe and value not in (None, _off(n))]
    if not lost:
        return []
    named = ", ".join(f"{argument(name)} = {file[name]}" for name in lost)
    return [
        f"{recipe.name} on {recipe.domain} with {argument('output')} {recipe.output} has no use for {named}"
    ]


def _listed(recipe: Recipe, names: list[str]) -> str:
    return ", ".join(f"{argument(name)} = {recipe.get(name)}" for name in names)


def _off(name: str) -> Any:
    """A setting's value where nobody says anything."""
    return every_setting()[name].default
