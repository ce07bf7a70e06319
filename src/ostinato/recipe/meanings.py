"""What the paper's letters, a file of settings and single settings come to, with what declarations say."""

from collections.abc import Mapping
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument
from ostinato.nn.cells.registry import CELLS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.core import CHOOSERS
from ostinato.recipe.letters import (
    BASES,
    LETTERS,
    MEANT_TOGETHER,
    SWITCHES,
    base_settings,
    base_with,
    canonical,
)
from ostinato.recipe.older import renewed
from ostinato.recipe.owned import REGISTRIES, check_names, declared_by, owned_settings, owners
from ostinato.recipe.setting import Setting

# A run's file of settings has all of them: where one is not there, its runs had none of it.
_OF_A_RUN = {"data", "dtype", "epochs", "patience", "seed", "segment_length", "streams"}


def settings_meant(
    letters: str | None, stored: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings that letters, a file and what is given besides come to: see `Recipe.parse`.

    Args:
        letters: such as "SGD+CRM" or "adam+C"; None: those of the domain.
        stored: settings of a file.
        settings: those given.

    Raises:
        UserError: a letter does not go with the optimizer or the cell, or a name is no setting.
    """
    stored = renewed(stored)
    check_names(stored)
    domain = DOMAINS[{**stored, **settings}.get("domain", DOMAINS.default)]
    together = {**stored, **settings}
    canon = _usual_letters(domain.recipe, together) if letters is None else letters
    canon = canonical(canon)
    base, _, rest = canon.partition("+")
    _check_contradictions(base, rest, settings)
    chosen = _choices(base, rest, together)
    meant = defaults_of(chosen)
    if not together.keys() >= _OF_A_RUN:
        meant |= domain.anew(chosen)
    meant |= base_settings(base)
    if base == "HF":
        for declared in declared_by(chosen):
            meant |= declared.hessian_free
        meant |= DOMAINS[chosen["domain"]].by_data.get(chosen["data"], {})
    # a run's own settings say all that its letters meant to it: what has come since is not in them
    whole = stored.keys() >= _OF_A_RUN and stored.get("recipe") == canon
    whole = whole and all(stored.get(name, value) == value for name, value in chosen.items())
    for letter in rest:
        means = meaning(letter, chosen)
        kept = {name: value for name, value in means.items() if name in stored}
        # of a letter that is asked for anew nothing is stored
        meant |= kept if whole and kept else means
    for letter, (switch, companions) in MEANT_TOGETHER.items():
        if letter not in rest and together.get(switch):
            means = meaning(letter, chosen)
            meant |= {name: means[name] for name in companions if name in means}
    meant |= chosen
    owned = owned_settings(chosen)
    _check_letters(rest, owned, chosen)
    below = {name: value for name, value in (meant | dict(stored)).items() if name in owned}
    return below | chosen | dict(settings) | {"recipe": canon}


def defaults_of(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What is other than the settings' own defaults for a domain, output, cell and optimizer."""
    found: dict[str, Any] = {}
    for declared in declared_by(chosen):
        found |= declared.defaults
    return {**found, **DOMAINS[chosen["domain"]].data_defaults.get(chosen["data"], {})}


def meaning(letter: str, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings that one letter stands for, for a domain and an output.

    Example:
        >>> meaning("C")
        {'clip': 'quantile'}
        >>> meaning("C", {"domain": "chars", "output": "softmax", "cell": CELLS.default, "optimizer": "sgd"})
        {'clip': 0.5}
    """
    meant = dict(LETTERS[letter])
    if chosen is not None:
        for name in ("output", "cell", "optimizer", "domain"):
            meant |= REGISTRIES[name][chosen[name]].letters.get(letter, {})
    return meant


def letter_settings(*recipes: str) -> set[str]:
    """The names of the settings that the letters stand for; with HF's, if one of the recipes has it."""
    every = [declared for registry in REGISTRIES.values() for declared in registry.entries()]
    names = {name for table in (LETTERS, *(d.letters for d in every)) for s in table.values() for name in s}
    if any(recipe.upper().startswith("HF") for recipe in recipes):
        names |= {name for d in every for name in d.hessian_free} | set(BASES["HF"])
    return names


def _choices(base: str, letters: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Domain, data, output, cell and optimizer: as given, or as the letters and the domain have it."""
    domain = DOMAINS[settings.get("domain", DOMAINS.default)]
    optimizer = base_settings(base).get("optimizer", OPTIMIZERS.default)
    for letter, (switch, _) in MEANT_TOGETHER.items():
        if letter in letters or (base == "SGD" and settings.get(switch)):
            optimizer = LETTERS[letter].get("optimizer", optimizer)
    data = settings.get("data", domain.defaults.get("data", ""))
    defaults = {**domain.defaults, **domain.data_defaults.get(data, {})}
    chosen = {"output": "", "cell": CELLS.default, "optimizer": optimizer, "data": "", **defaults}
    chosen = {name: chosen[name] for name in ("data", *CHOOSERS) if name != "domain"}
    chosen |= {name: settings[name] for name in chosen if name in settings}
    return {"domain": domain.name, **chosen}


def _usual_letters(letters: str, settings: Mapping[str, Any]) -> str:
    """A domain's own letters, but for those that a cell or an optimizer that was asked for has no use for.

    Example:
        >>> _usual_letters("SGD+CLR", {"cell": "lstm"}), _usual_letters("HF", {"optimizer": "adam"})
        ('SGD+CL', 'adam')
    """
    base, _, rest = letters.partition("+")
    usual = base_settings(base).get("optimizer", OPTIMIZERS.default)
    optimizer = settings.get("optimizer", usual)
    if optimizer != usual:
        base = base_with(optimizer)
    owned = {setting.name for setting in CELLS[settings.get("cell", CELLS.default)].settings}
    owned |= {setting.name for setting in OPTIMIZERS[optimizer].settings}
    kept = [letter for letter in rest if SWITCHES[letter] in owned]
    return f"{base}+{''.join(kept)}" if kept else base


def _check_contradictions(base: str, letters: str, settings: Mapping[str, Any]) -> None:
    given = settings.get("optimizer")
    if given is None:
        return
    given = OPTIMIZERS.name(given)
    meant = base_settings(base).get("optimizer")
    if given != meant and (meant is not None or given == BASES["HF"]["optimizer"]):
        wanted = meant or given
        raise UserError(
            f"expected {argument('optimizer')} {wanted} and {argument('recipe')} {OPTIMIZERS[wanted].base} "
            f"together, found {given} and {base}; leave {argument('optimizer')} out"
        )
    if "M" in letters and given != LETTERS["M"]["optimizer"]:
        raise UserError(
            f"M is Nesterov momentum, found {argument('optimizer')} {given}; leave one of them out"
        )


def _check_letters(letters: str, owned: Mapping[str, Setting], chosen: Mapping[str, Any]) -> None:
    """A letter whose technique this cell or optimizer does not have is refused."""
    for letter in letters:
        switch = SWITCHES[letter]
        if switch not in owned:
            chooser, having = owners(switch)
            raise UserError(
                f"{letter} sets {argument(switch)}, which is for {argument(chooser)} {' or '.join(having)}, "
                f"found {argument(chooser)} {chosen[chooser]}; leave the letter out"
            )
