"""The recipe's settings as command-line options: every field of `Recipe`, each of them optional."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from ostinato.cli.options import MOST_USED
from ostinato.cli.output import human
from ostinato.cli.spelling import spelled
from ostinato.recipe.letters import MEANT_TOGETHER
from ostinato.recipe.notices import notices
from ostinato.recipe.recipe import Recipe

DEFAULT_RECIPE = "SGD+CL"
TEXT_RECIPE = "SGD+CLR"
TASK_RECIPE = "HF"

# The settings that most people need.
_MOST_USED = ("recipe", "data", "output", "hidden_size", "learning_rate", "epochs", "seed")

GROUPS = {
    name: Group(name, sort_key=place)
    for place, name in enumerate(
        ("Recipe", "Data", "Text", "Model", "Output", "Optimization", "Hessian-free", "Training"), start=2
    )
}

# What a setting that is None stands for.
UNSET = {
    "frames_per_beat": "the data set's own",
    "valid_data": "held out of the data",
    "test_data": "held out of the data",
}


def _options(name: str, *, hidden: Iterable[str] = ()) -> type:
    """A dataclass of every setting as an option; `hidden` are understood, but not in the help."""
    every = {field.name: field for field in dataclasses.fields(Recipe)}
    first = [every.pop(most_used) for most_used in _MOST_USED]
    fields = [
        (
            field.name,
            Annotated[
                field.type | None,  # type: ignore[operator]
                Parameter(
                    help=field.metadata["help"],
                    group=MOST_USED if field.name in _MOST_USED else GROUPS[field.metadata["group"]],
                    negative=f"--no-{field.name}" if field.type is bool else (),
                    show=field.name not in hidden,
                ),
            ],
            None,
        )
        for field in (*first, *every.values())
        if field.name != "task"  # the command's first word
    ]
    options = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    options.__module__ = __name__  # where cyclopts looks up the annotations
    return options


Options: Any = _options("Options")
# What makes a cell of a table another cell: `reproduce` says so where it is given.
CELL = ("recipe", "output", "data", "seed")
Overrides: Any = _options("Overrides", hidden=CELL)


def recipe_from(options: Any, config: Path | None, task: str | None = None) -> Recipe:
    """The recipe asked for, as `asked_for` puts it together; what is not plain about it is printed."""
    recipe, said = asked_for(options, config, task)
    for line in said:
        human().print(f"note: {spelled(line)}", markup=False)
    return recipe


def asked_for(options: Any, config: Path | None, task: str | None = None) -> tuple[Recipe, list[str]]:
    """The letters' settings, over them the config file's, over them the options given; and notices about it.

    Letters given as an option take back what the config file says about the settings they stand for; a
    technique given as an option takes back what the file, which does without it, says of its details.
    """
    given = given_settings(options) | ({} if task is None else {"task": task})
    file = {} if config is None else Recipe.read_settings(config)
    kept = _kept(file, given)
    settings = kept | given
    defaults = {"music": DEFAULT_RECIPE, "task": TASK_RECIPE}
    letters = settings.pop("recipe", defaults.get(settings.get("task", "music"), TEXT_RECIPE))
    recipe = Recipe.parse(letters, **settings)
    said = notices(recipe, given, kept)
    lost = [name for name in file if name not in settings and file[name] != getattr(recipe, name)]
    if "recipe" in given and (lost := [name for name in lost if name != "recipe"]):
        taken = ", ".join(f"{name} = {file[name]}" for name in lost)
        said.append(f"{recipe.recipe} takes back what {config} says: {taken}")
    return recipe, said


def _kept(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What of a file's settings stands beside the options given."""
    taken_back: set[str] = set()
    if "recipe" in given:
        taken_back = Recipe.letter_settings(given["recipe"], file.get("recipe", ""))
    for switch, details in MEANT_TOGETHER.values():
        if given.get(switch) and not file.get(switch):
            # a complete file without the technique holds what its details are where they have no effect
            taken_back |= set(details)
    return {name: value for name, value in file.items() if name not in taken_back}


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
    from ostinato.domains.music.reading import data_sets as music
    from ostinato.domains.text.reading import data_sets as text

    if data in (*music.names(), *text.names()):
        return data
    if Path(data).exists():
        return str(Path(data).resolve())
    parts = [Path(part.strip()) for part in data.split(",")]
    return ",".join(str(part.resolve()) for part in parts) if all(p.exists() for p in parts) else data
