"""The recipe's settings as command-line options: every field of `Recipe`, each of them optional."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from ostinato.data import music
from ostinato.recipe import Recipe

DEFAULT_RECIPE = "SGD+CL"

GROUPS = {
    name: Group(name, sort_key=place)
    for place, name in enumerate(("Recipe", "Data", "Model", "Output", "Optimization", "Training"), start=1)
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
    ]
    options = dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True)
    options.__module__ = __name__  # where cyclopts looks up the annotations
    return options


def _help(field: dataclasses.Field[Any]) -> str:
    default = DEFAULT_RECIPE if field.name == "recipe" else field.default
    others = Recipe.output_defaults(field.name)
    own = "".join(f"; {value} for {output}" for output, value in others.items())
    return field.metadata["help"] + ("" if default is None else f" [default: {default}{own}]")


Options: Any = _options()


def recipe_from(options: Any, config: Path | None) -> Recipe:
    """The recipe asked for: the letters' settings, over them the config file's, over them the options given.

    Letters given as an option take back what the config file says about the settings they stand for.
    """
    given = given_settings(options)
    settings = {} if config is None else Recipe.read_settings(config)
    if "recipe" in given:
        settings = {k: v for k, v in settings.items() if k not in Recipe.letter_settings()}
    settings |= given
    letters = settings.pop("recipe", DEFAULT_RECIPE)
    return Recipe.parse(letters, **settings)


def given_settings(options: Any) -> dict[str, Any]:
    """The options given, by name; a folder of scores by its absolute path, to be found on resume."""
    given = {} if options is None else dataclasses.asdict(options)
    given = {name: value for name, value in given.items() if value is not None}
    if "data" in given and given["data"] not in music.names() and Path(given["data"]).exists():
        given["data"] = str(Path(given["data"]).resolve())
    return given
