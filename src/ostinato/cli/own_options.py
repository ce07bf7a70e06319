"""Options that depend on the kind of data a run was trained on: each domain declares its own.

A command takes those of every domain, in its help under a heading for each; a run's domain is given its own,
and another's is a mistake.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter
from docstring_parser import parse

from ostinato.domains.declared import DomainDeclared
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.older import renewed
from ostinato.runs.folder import Run

# The command that takes what outputs say of their scores, too.
SCORES = "evaluate"

# After the options that a command has in any domain.
_FIRST_PLACE = 2


def option(name: str) -> str:
    """How an option is typed.

    Example:
        >>> option("per_song")
        '--per-song'
    """
    return "--" + name.replace("_", "-")


def own_options(command: str) -> Any:
    """The type of the parameter of a command that takes every domain's options.

    It is a dataclass in which None stands for what was not given. What several domains call the same is one
    option, under the headings of all of them.

    Raises:
        ValueError: two domains declare an option of one name with two types.

    Example:
        >>> fields = [field.name for field in dataclasses.fields(_merged("score"))]
        >>> fields.count("top"), "per_token" in fields
        (1, True)
    """
    return Annotated[_merged(command) | None, Parameter(name="*")]


def _merged(command: str) -> Any:
    found: dict[str, dict[str, dataclasses.Field[Any]]] = {}
    helps: dict[str, dict[str, str]] = {}
    kinds: dict[str, Any] = {}
    for heading, kind in _by_heading(command).items():
        hints, told = get_type_hints(kind), _helps(kind)
        for own in dataclasses.fields(kind):
            found.setdefault(own.name, {})[heading] = own
            helps.setdefault(own.name, {})[heading] = told.get(own.name, "")
            if kinds.setdefault(own.name, hints[own.name]) != hints[own.name]:
                raise ValueError(f"expected one type of {option(own.name)}, found two in {command}")
    groups = _groups([tuple(by) for by in found.values()])
    fields: list[tuple[str, Any, None]] = []
    for name, by in found.items():
        defaults = list(dict.fromkeys(own.default for own in by.values()))
        fields.append(
            (
                name,
                Annotated[
                    _or_none(kinds[name]),
                    Parameter(
                        help=_help(helps[name]),
                        group=groups[tuple(by)],
                        negative=option(f"no_{name}") if _is_on(defaults) else (),
                        show_default=_default(defaults),
                    ),
                ],
                None,
            )
        )
    merged = dataclasses.make_dataclass(f"{command.title()}Options", fields, frozen=True, kw_only=True)
    merged.__module__ = __name__  # where cyclopts looks up the annotations
    return merged


def _by_heading(command: str) -> dict[str, type]:
    found = {
        declared.heading: declared.commands[command].options
        for declared in DOMAINS.entries()
        if command in declared.commands
    }
    return found | (_of_outputs() if command == SCORES else {})


def _of_outputs() -> dict[str, type]:
    """The settings of outputs that decide how scores are estimated, as options."""
    found = {}
    for declared in OUTPUTS.entries():
        own = [setting for setting in declared.settings if setting.name in declared.evaluated_by]
        if own:
            fields = [(setting.name, _or_none(setting.kind), None) for setting in own]
            kind = dataclasses.make_dataclass(f"{declared.name.title()}Options", fields)
            told = "".join(f"{s.name}\n    {s.help[:1].upper()}{s.help[1:]}.\n" for s in own)
            kind.__doc__ = f"Of {declared.name}.\n\nParameters\n----------\n{told}"
            found[f"Output {declared.name}"] = kind
    return found


def output_options(own: Any, output: str, found: str) -> dict[str, Any]:
    """What was given of the options that decide how an output's scores are estimated.

    Args:
        own: what `own_options` made of the command line.
        output: of the run; "" where there is none.
        found: what was found, for a message.

    Raises:
        UserError: one is for other outputs.
    """
    wanted = {
        name: value for name, value in given_options(own).items() if name in _owners_of_output_options()
    }
    for name in wanted:
        owners = _owners_of_output_options()[name]
        if output not in owners:
            raise UserError(
                f"{option(name)} is for runs of output {_or(owners)}, found {found}; leave it out"
            )
    return wanted


def _owners_of_output_options() -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for declared in OUTPUTS.entries():
        for name in declared.evaluated_by:
            owners.setdefault(name, []).append(declared.name)
    return owners


def _helps(kind: type) -> dict[str, str]:
    """What a dataclass's docstring says of each option, in one line."""
    told = parse(kind.__doc__ or "").params
    return {each.arg_name: " ".join((each.description or "").split()) for each in told}


def _help(by_heading: Mapping[str, str]) -> str:
    """One text; where headings say different things, each for itself."""
    if len(set(by_heading.values())) == 1:
        return next(iter(by_heading.values()))
    return " ".join(f"{heading}: {text}" for heading, text in by_heading.items())


def _groups(owners: list[tuple[str, ...]]) -> dict[tuple[str, ...], Group]:
    """A group for each heading, and after them one for each set of headings that share options."""
    distinct = sorted(dict.fromkeys(owners), key=len)
    return {
        headings: Group(_together(headings), sort_key=place)
        for place, headings in enumerate(distinct, start=_FIRST_PLACE)
    }


def _together(headings: tuple[str, ...]) -> str:
    """Such as "Music, text and series".

    Example:
        >>> _together(("Music",)), _together(("Music", "Text"))
        ('Music', 'Music and text')
    """
    first, *others = headings
    *middle, last = [first, *(heading.lower() for heading in others)]
    return f"{', '.join(middle)} and {last}" if middle else last


def _is_on(defaults: list[Any]) -> bool:
    return any(default is True for default in defaults)


def _default(defaults: list[Any]) -> str | bool:
    """What help shows; nothing for None, for a flag, and where domains differ."""
    (value, *others) = defaults
    if others or value is None or value is False or value == ():
        return False
    return str(value)


def _or_none(kind: Any) -> Any:
    parts = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return kind if type(None) in parts else kind | None


def domain_of(run: Path) -> DomainDeclared:
    """The declared domain of a run, or of a model's file that is named in place of one.

    Raises:
        UserError: there is no run.

    Example:
        >>> domain_of(Path("trigrams.arpa")).name
        'words'
    """
    for declared in DOMAINS.entries():
        if run.name.endswith(declared.models) and declared.models:
            return declared
    return DOMAINS[str(renewed(Run.open(run).config()).get("domain", DOMAINS.default))]


def given_options(own: Any) -> dict[str, Any]:
    """The options that were given, by name."""
    values = (
        {} if own is None else {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
    )
    return {name: value for name, value in values.items() if value is not None}


def options_for(declared: DomainDeclared, command: str, own: Any, found: str) -> Any:
    """The options of a domain, as it has declared them, with what was given.

    Args:
        declared: the domain.
        command: the command.
        own: what `own_options` made of the command line.
        found: what was found, for a message, such as "one on words: runs/a".

    Raises:
        UserError: an option is for other domains.
    """
    apart = _owners_of_output_options() if command == SCORES else {}
    given = {name: value for name, value in given_options(own).items() if name not in apart}
    for name in given:
        owners = [entry.name for entry in DOMAINS.entries() if name in option_names(entry, command)]
        if declared.name not in owners:
            raise UserError(f"{option(name)} is for runs on {_or(owners)}, found {found}; leave it out")
    return declared.commands[command].options(**given) if command in declared.commands else None


def option_names(declared: DomainDeclared, command: str) -> list[str]:
    """What a domain calls its options of a command."""
    own = declared.commands.get(command)
    return [] if own is None else [field.name for field in dataclasses.fields(own.options)]


def asked(run: Path, command: str, own: Any) -> tuple[DomainDeclared, Any]:
    """The domain of a run, and its options of a command.

    Raises:
        UserError: the command is not for the run's domain, or an option is for others.
    """
    declared = domain_of(run)
    if command not in declared.commands:
        having = [entry.name for entry in DOMAINS.entries() if command in entry.commands]
        raise UserError(f"expected a run on {_or(having)}, found one on {declared.name}: {run}")
    return declared, options_for(declared, command, own, f"one on {declared.name}: {run}")


def _or(names: list[str]) -> str:
    """Such as "music, words or chars".

    Example:
        >>> _or(["music"]), _or(["music", "words", "chars"])
        ('music', 'music, words or chars')
    """
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
