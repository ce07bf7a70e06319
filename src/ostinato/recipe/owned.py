"""Whose a setting is: all recipes' own, or a domain's, an output's, a cell's or an optimizer's."""

from collections.abc import Iterator, Mapping
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument, near_names
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.core import CHOOSERS, CORE
from ostinato.recipe.declared import Declared, Registry
from ostinato.recipe.setting import Setting

REGISTRIES: dict[str, Registry[Any]] = {
    "domain": DOMAINS,
    "output": OUTPUTS,
    "cell": CELLS,
    "optimizer": OPTIMIZERS,
}


def declared_by(values: Mapping[str, Any]) -> Iterator[Declared]:
    """The declarations that these settings choose, in the order of `core.CHOOSERS`."""
    return (REGISTRIES[name][values[name]] for name in CHOOSERS)


def owned_settings(values: Mapping[str, Any]) -> dict[str, Setting]:
    """The settings of a recipe with this domain, output, cell and optimizer.

    Example:
        >>> chosen = {"domain": "words", "output": "softmax", "cell": CELLS.default, "optimizer": "sgd"}
        >>> "vocabulary_size" in owned_settings(chosen), "rbm_size" in owned_settings(chosen)
        (True, False)
    """
    owned = {setting.name: setting for setting in CORE}
    for declared in declared_by(values):
        owned |= {setting.name: setting for setting in declared.settings}
    return owned


def places_of_data() -> frozenset[str]:
    """The settings that say where data are, and not what is in them.

    Example:
        >>> "data" in places_of_data(), "seed" in places_of_data()
        (True, False)
    """
    return frozenset(name for name, setting in every_setting().items() if setting.files)


def every_setting() -> dict[str, Setting]:
    """Every setting that some recipe has, by name."""
    found = {setting.name: setting for setting in CORE}
    for registry in REGISTRIES.values():
        for declared in registry.entries():
            for setting in declared.settings:
                found.setdefault(setting.name, setting)
    return found


def owners(name: str) -> tuple[str, list[str]]:
    """Whose setting this is: what chooses it, and its values that have it.

    Example:
        >>> owners("nade_size"), owners("seed")
        (('output', ['nade']), ('', []))
    """
    for chooser, registry in REGISTRIES.items():
        having = [e.name for e in registry.entries() if any(s.name == name for s in e.settings)]
        if having:
            return chooser, having
    return "", []


def check_names(settings: Mapping[str, Any], where: str = "") -> None:
    """A UserError where a name is no setting of any recipe."""
    known = every_setting()
    for name in settings:
        if name not in known:
            raise UserError(f"unknown setting {name!r}{where}: {near_names(name, known)}")


def check_setting(name: str, value: Any) -> Any:
    """The value in its setting's type, as a Recipe would hold it.

    Raises:
        UserError: a Recipe would refuse it.

    Example:
        >>> check_setting("learning_rate", 1)
        1.0
    """
    check_names([name])  # type: ignore[arg-type]
    return every_setting()[name].checked(value)


def not_owned(name: str, chosen: Mapping[str, Any]) -> UserError:
    """Why a recipe does not have a setting that was given."""
    check_names([name])  # type: ignore[arg-type]
    chooser, having = owners(name)
    return UserError(
        f"{argument(name)} is for {argument(chooser)} {' or '.join(having)}, found {argument(chooser)} "
        f"{chosen[chooser]}; leave it out"
    )
