"""The settings of a recipe as command-line options: those of every domain, output, cell and optimizer.

The parser takes them all, and a recipe says which it has no use for; a help page shows those that can matter
where it is asked for (`cli.help`).
"""

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from ostinato import seal
from ostinato.cli.options import MOST_USED
from ostinato.cli.output import human
from ostinato.cli.own_options import option
from ostinato.cli.spelling import spelled
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument
from ostinato.recipe.declared import Registry
from ostinato.recipe.letters import MEANT_TOGETHER, with_optimizer
from ostinato.recipe.meanings import letter_settings
from ostinato.recipe.notices import notices
from ostinato.recipe.owned import REGISTRIES, every_setting
from ostinato.recipe.recipe import Recipe
from ostinato.recipe.setting import Setting
from ostinato.runs import initial
from ostinato.runs.folder import CONFIG, Run

# The settings that most people need.
_MOST_USED = ("recipe", "data", "output", "hidden_size", "learning_rate", "epochs", "seed")
# The order of the groups; those that a declaration brings besides come last.
_GROUPS = ("Recipe", "Data", "Text", "Model", "Output", "Optimization", "Hessian-free", "Training")
# An option of earlier versions, and the setting whose value it gave.
_FORMER = {"momentum_kind": ("optimizer", ("nesterov", "classical"))}


def choice(registry: Registry[Any]) -> Any:
    """The type of an option that names an entry of a registry, or an alias of one."""

    def named(kind: Any, tokens: Any) -> str:
        if registry is DOMAINS and tokens[0].value == "/dev/stdin":  # what - has become
            raise UserError(
                "expected a kind of data, found standard input; name both: ostinato train words --data -"
            )
        return registry.name(tokens[0].value)

    return Annotated[Literal[tuple(registry)] | None, Parameter(converter=named)]


def _options(name: str, *, hidden: Iterable[str] = (), former: Iterable[str] = ()) -> type:
    """A dataclass of every setting as an option.

    Args:
        name: of the class.
        hidden: settings that are understood, but not in the help.
        former: options of earlier versions, which are not in the help either.
    """
    every = every_setting()
    del every["domain"]  # the command's first word
    found = [*(setting.group for setting in every.values() if setting.group not in _GROUPS)]
    groups = {
        title: Group(title, sort_key=place)
        for place, title in enumerate(dict.fromkeys((*_GROUPS, *found)), start=2)
    }
    ordered = [every.pop(most_used) for most_used in _MOST_USED] + [*every.values()]
    fields: list[tuple[str, Any, None]] = [
        (
            setting.name,
            Annotated[
                _kind(setting),
                Parameter(
                    help=setting.help,
                    group=MOST_USED if setting.name in _MOST_USED else groups[setting.group],
                    negative=option(f"no_{setting.name}") if setting.kind in (bool, bool | None) else (),
                    show=setting.name not in hidden,
                ),
            ],
            None,
        )
        for setting in ordered
    ]
    fields += [
        (own, Annotated[Literal[_FORMER[own][1]] | None, Parameter(show=False)], None) for own in former
    ]
    options = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    options.__module__ = __name__  # where cyclopts looks up the annotations
    return options


def _kind(setting: Setting) -> Any:
    registry = REGISTRIES.get(setting.name)
    return setting.kind | None if registry is None else choice(registry)


# What makes a cell of a table another cell: `reproduce` says so where it is given.
CELL = ("recipe", "output", "data", "seed")

# What comes with the package, and what was registered before a command is run.
Domain: Any = choice(DOMAINS)
Options: Any = _options("Options", former=_FORMER)
Overrides: Any = _options("Overrides", hidden=CELL)


def recipe_from(options: Any, config: Path | None, domain: str | None = None) -> Recipe:
    """The recipe asked for, as `asked_for` puts it together; what is not plain about it is printed."""
    recipe, messages = asked_for(options, config, domain)
    for line in messages:
        human().print(f"note: {spelled(line)}", markup=False)
    return recipe


def asked_for(options: Any, config: Path | None, domain: str | None = None) -> tuple[Recipe, list[str]]:
    """The letters' settings, over them the config file's, over them the options given; and notices about it.

    Letters given as an option take back what the config file says about the settings they stand for; a
    technique given as an option takes back what the file, which does without it, says of its details.
    """
    given = given_settings(options) | ({} if domain is None else {"domain": domain})
    start = given.get("init_from")
    before = None if start is None else _first_recipe(str(start), given, config)
    file = {} if config is None else _settings_of(config, domain)
    if before is not None:
        file = initial.settings_taken(before)
    kept = _kept(file, given)
    settings = kept | given
    letters = settings.pop("recipe", None)
    if letters and "recipe" not in given and "optimizer" in given:
        letters = with_optimizer(letters, given["optimizer"])
    usual = DOMAINS[settings.get("domain", DOMAINS.default)].recipe
    former, messages = _former(options, letters or usual, settings)
    recipe = Recipe.parse(letters, kept | former, **{n: v for n, v in given.items() if n != "recipe"})
    if before is not None:
        initial.check_taken(recipe, before, str(start))
        messages.append(initial.told(recipe, before, str(start)))
    messages += notices(recipe, given, kept)
    lost = [
        name for name in file if name not in settings and name in recipe and file[name] != recipe.get(name)
    ]
    if "recipe" in given and (lost := [name for name in lost if name != "recipe"]):
        taken = ", ".join(f"{name} = {file[name]}" for name in lost)
        messages.append(f"{recipe.name} takes back what {config or start} says: {taken}")
    return recipe, messages


def _first_recipe(folder: str, given: Mapping[str, Any], config: Path | None) -> Recipe:
    """The recipe of the run that training is to start from, whose kind of data is kept."""
    if config is not None:
        raise UserError(
            f"expected {argument('init_from')} or {argument('config')}, found both; a run brings its settings"
        )
    if "data" not in given:
        raise UserError(
            f"expected {argument('data')} with {argument('init_from')}, found it alone; name what to train on"
        )
    before = initial.recipe_of(folder)
    if given.get("domain", before.domain) != before.domain:
        raise UserError(
            f"expected a run on {given['domain']}, found one on {before.domain}: {folder}; leave "
            f"{given['domain']} out"
        )
    return before


def _settings_of(config: Path, domain: str | None) -> dict[str, Any]:
    """A file's settings, which may be for another kind of data only if that has the same outputs."""
    if config.name == CONFIG:
        with suppress(FileNotFoundError):
            seal.read(config.parent, CONFIG)  # that of a run, perhaps, is as the run's
    file = Recipe.read_settings(config)
    found = DOMAINS.name(file.get("domain", DOMAINS.default))
    if domain is not None and "output" in file and DOMAINS[found].targets != DOMAINS[domain].targets:
        raise UserError(
            f"expected settings for {domain}, found some for {found} in {config}; leave {domain} out"
        )
    return file


def resumed(folder: Path, options: Any, domain: str | None = None) -> Recipe:
    """A run's recipe, with the options given.

    Raises:
        UserError: an option is none that this recipe has, or the run is on another kind of data.
    """
    given = given_settings(options)
    before = Recipe.from_dict(Run.open(folder).config())
    if domain not in (None, before.domain):
        raise UserError(
            f"expected a run on {domain}, found one on {before.domain}: {folder}; leave {domain} out"
        )
    for name, (setting, _) in _FORMER.items():
        if getattr(options, name, None) is not None:
            given[setting] = getattr(options, name)
    return before.replace(moved=True, **given)


def _former(options: Any, letters: str, settings: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What options of earlier versions set, as a file of theirs would; and where they set nothing."""
    found, messages = {}, []
    for name, (setting, _) in _FORMER.items():
        value = getattr(options, name, None)
        if value is None:
            continue
        base, _, rest = letters.upper().partition("+")
        if base == "HF" or not ("M" in rest or settings.get("momentum")):
            messages.append(f"{argument(name)} has no effect without momentum")
        else:
            found[setting] = value
    return found, messages


def _kept(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What of a file's settings stands beside the options given."""
    taken_back: set[str] = set()
    if "recipe" in given:
        taken_back = letter_settings(given["recipe"], file.get("recipe", ""))
    for switch, details in MEANT_TOGETHER.values():
        if given.get(switch) and not file.get(switch):
            # a complete file without the technique holds what its details are where they have no effect
            taken_back |= set(details)
    return {name: value for name, value in file.items() if name not in taken_back}


def given_settings(options: Any) -> dict[str, Any]:
    """The options given, by name; files by their absolute paths, to be found on resume."""
    from ostinato.domains.catalogue import found_again

    given = {} if options is None else dataclasses.asdict(options)
    given = {name: value for name, value in given.items() if value is not None and name not in _FORMER}
    every = every_setting()
    return {name: found_again(value) if every[name].files else value for name, value in given.items()}
