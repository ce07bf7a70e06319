"""The recipe's settings as command-line options: every field of `Recipe`, each of them optional."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from ostinato.data import music, text
from ostinato.recipe import Recipe
from ostinato.shipped_defaults import OUTPUT_DEFAULTS, TASK_DEFAULTS

DEFAULT_RECIPE = "SGD+CL"
TEXT_RECIPE = "SGD+CLR"
TASK_RECIPE = "HF"

GROUPS = {
    name: Group(name, sort_key=place)
    for place, name in enumerate(
        ("Recipe", "Data", "Text", "Model", "Output", "Optimization", "Hessian-free", "Training"), start=1
    )
}


def _options() -> type:
    fields = [
        (
            field.name,
            Annotated[
                field.type | None,  # type: ignore[operator]
                Parameter(
                    help=_help(field),
                    group=GROUPS[field.metadata["group"]],
                    negative=f"--no-{field.name}" if field.type is bool else (),
                ),
            ],
            None,
        )
        for field in dataclasses.fields(Recipe)
        if field.name != "task"  # the command's first word
    ]
    options = dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True)
    options.__module__ = __name__  # where cyclopts looks up the annotations
    return options


def _help(field: dataclasses.Field[Any]) -> str:
    if field.name == "recipe":
        return (
            f"{field.metadata['help']} [default: {DEFAULT_RECIPE}; words and chars: {TEXT_RECIPE}; "
            f"task: {TASK_RECIPE}]"
        )
    special = [
        f"{name}: {defaults[field.name]}"
        for name, defaults in (TASK_DEFAULTS | OUTPUT_DEFAULTS).items()
        if defaults.get(field.name, field.default) != field.default
    ]
    default = "; ".join(([] if field.default is None else [str(field.default)]) + special)
    return field.metadata["help"] + (f" [default: {default}]" if default else "")


Options: Any = _options()


def recipe_from(options: Any, config: Path | None, task: str | None = None) -> Recipe:
    """The recipe asked for: the letters' settings, over them the config file's, over them the options given.

    Letters given as an option take back what the config file says about the settings they stand for.
    """
    given = given_settings(options)
    settings = {} if config is None else Recipe.read_settings(config)
    if "recipe" in given:
        taken_back = Recipe.letter_settings(given["recipe"], settings.get("recipe", ""))
        settings = {k: v for k, v in settings.items() if k not in taken_back}
    settings |= given | ({} if task is None else {"task": task})
    defaults = {"music": DEFAULT_RECIPE, "task": TASK_RECIPE}
    letters = settings.pop("recipe", defaults.get(settings.get("task", "music"), TEXT_RECIPE))
    return Recipe.parse(letters, **settings)


def given_settings(options: Any) -> dict[str, Any]:
    """The options given, by name; a folder of scores by its absolute path, to be found on resume."""
    given = {} if options is None else dataclasses.asdict(options)
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("data", "valid_data", "test_data"):
        if name in given:
            given[name] = _found_again(given[name])
    return given


def _found_again(data: str) -> str:
    """A data set's name as it is; files, several separated by commas, by their absolute paths."""
    if data in (*music.names(), *text.names()):
        return data
    if Path(data).exists():
        return str(Path(data).resolve())
    parts = [Path(part.strip()) for part in data.split(",")]
    return ",".join(str(part.resolve()) for part in parts) if all(p.exists() for p in parts) else data
