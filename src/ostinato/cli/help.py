"""Help pages: plain text that fits any terminal, with the defaults that the recipe in question gives."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError

from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.owned import REGISTRIES, every_setting, owners
from ostinato.recipe.recipe import Recipe
from ostinato.recipe.setting import Setting

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

HELP_FLAGS = ("--help", "-h")

# From this width on, descriptions stand beside the names, in a column that begins here.
_WIDE, _COLUMN = 64, 28
_KINDS = {"INT": "N", "FLOAT": "X", "STR": "TEXT", "FLOAT|CHOICE": "X|CHOICE"}


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a help page shows of an option.

    Arguments:
        default: its value where it is not given; None where that is not said.
        use: what it is for, where it is not for everything.
        choices: of its values, those that can be given here; None for all.
    """

    default: str | None = None
    use: str = ""
    choices: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True)
class PlainHelp:
    """How cyclopts is to print a help page.

    Arguments:
        options: what is shown of options, by option; None for those that are left out.
        about: what is said about the defaults.
    """

    options: Mapping[str, Shown | None] = dataclasses.field(default_factory=dict)
    about: str = ""

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """The first line."""
        if usage:
            words = str(usage).strip().removeprefix("Usage:").strip()
            _print(console, _wrapped(f"Usage: {words}", console.width, "", "  "), "bold")
            console.print()

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """The command's docstring, and what is shown as defaults."""
        for paragraph in [*_plain(description).split("\n\n"), self.about]:
            if paragraph.strip():
                _print(console, _wrapped(paragraph, console.width, "", ""))
                console.print()

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """One group of options or commands."""
        entries = [entry for entry in panel.entries if self.options.get(_option(entry), _ALL) is not None]
        if not entries:
            return
        _print(console, [str(panel.title)], "bold")
        if about := _plain(panel.description).strip():
            _print(console, _wrapped(about, console.width, "  ", "  "))
        wide = console.width >= _WIDE
        column = _COLUMN if panel.format == "parameter" else 2 + max(len(_label(e)) for e in entries) + 2
        for entry in entries:
            label, text = _label(entry), self._text(entry)
            if not wide:
                _print(console, _wrapped(label, console.width, "  ", "      "), "cyan")
                _print(console, _wrapped(text, console.width, "    ", "    "))
                continue
            lines = _wrapped(text, console.width, " " * column, " " * column)
            if lines and len(label) + 4 <= column:
                _print_row(console, f"  {label}", lines.pop(0)[len(label) + 2 :])
            else:
                _print(console, _wrapped(label, console.width, "  ", "      "), "cyan")
            _print(console, lines)
        console.print()

    def _text(self, entry: HelpEntry) -> str:
        """The description of an entry, its choices and its default."""
        text = [_plain(entry.description).strip()]
        shown = self.options.get(_option(entry)) or _ALL
        if shown.use:
            text.append(f"[for {shown.use}]")
        if choices := shown.choices or entry.choices:
            text.append(f"[choices: {', '.join(choices)}]")
        default = entry.default if shown.default is None else shown.default
        if default == "False" and not entry.negative_names:
            default = None  # a flag
        if default is not None:
            default = {"True": "yes", "False": "no"}.get(default, default)
            text.append(f"[default: {default}]")
        if entry.required:
            text.append("[required]")
        return " ".join(filter(None, text))


_ALL = Shown()


def _option(entry: HelpEntry) -> str:
    return next(iter(entry.positive_names), "")


def _label(entry: HelpEntry) -> str:
    """`--epochs -e N`, or the name of an argument or command."""
    if entry.positional_label:
        return entry.positional_label
    kind = entry.metavar or ""
    words = [*entry.all_options, "|".join(_KINDS.get(part, part) for part in kind.split("|"))]
    return " ".join(filter(None, words))


def _plain(description: Any) -> str:
    """The text that cyclopts wraps in renderables."""
    inner = getattr(description, "primary_renderable", description)
    return getattr(inner, "plain", inner if isinstance(inner, str) else "")


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """Lines of at most `width` characters, broken at spaces only, as long as a word fits."""
    fitting = textwrap.TextWrapper(
        width=max(width, 20),
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=True,
    )
    return fitting.wrap(" ".join(text.split()))


def _print(console: Console, lines: Sequence[str], style: str | None = None) -> None:
    for line in lines:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _print_row(console: Console, label: str, rest: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((label, "cyan"), rest), soft_wrap=True)


# The defaults of a recipe


def show_defaults(app: App, arguments: Sequence[str]) -> None:
    """Before a help page: have the defaults shown that the options beside --help give.

    Where these cannot be understood, a line on standard error says why, and the general defaults are shown.
    """
    rest = [word for word in arguments if word not in HELP_FLAGS]
    if len(rest) == len(arguments) or not rest or rest[0] not in ("train", "search"):
        return
    command = app[rest[0]]
    try:
        recipe, about = _recipe_of(app, rest)
    except (CycloptsError, UserError) as error:
        from ostinato.cli.mistakes import one_line
        from ostinato.cli.output import human

        human().print(f"ostinato: {one_line(error)}", markup=False)
        recipe, about = _recipe_of(app, rest[:1])
    command.help_formatter = PlainHelp(shown_options(recipe), about)


def _recipe_of(app: App, arguments: Sequence[str]) -> tuple[Recipe, str]:
    """The recipe that a command line gives, and a sentence about it."""
    from ostinato.cli.settings import asked_for, resumed

    _, bound, _, _ = app.parse_known_args(arguments)
    given = bound.arguments
    if folder := given.get("resume"):
        from ostinato.runs.folder import Run

        run = Run.open(folder)
        return resumed(run.folder, None), f"Defaults shown: the settings of {folder}."
    config: Path | None = given.get("config")
    recipe, _ = asked_for(given.get("settings"), config, given.get("domain"))
    of = f" with {config}" if config else ""
    return recipe, (
        f"Defaults shown: those of {recipe.name} on {recipe.domain} (data {recipe.data}, output "
        f"{recipe.output}){of}; for others, add --help to the options that you want to give."
    )


def shown_options(recipe: Recipe) -> dict[str, Shown | None]:
    """What help shows of each setting's option: those that a recipe on the same kind of data may have.

    These are the settings that every run has, those of the kind of data, of the outputs that fit it, of the
    cells and of the optimizers. None stands for every other one.

    Example:
        >>> shown = shown_options(Recipe.parse("SGD+CL", output="nade"))
        >>> shown["--learning-rate"].default, shown["--frames-per-beat"].default, shown["--direct"]
        ('0.3', "the data set's own", None)
        >>> shown["--rbm-size"]
        Shown(default='150', use='output rbm', choices=None)
    """
    shown: dict[str, Shown | None] = {}
    for name, setting in every_setting().items():
        if name == "domain":
            continue
        chooser, having = owners(name)
        fitting = _fitting(chooser, recipe)
        own = [entry for entry in having if entry in fitting]
        if (chooser and not own) or name in DOMAINS[recipe.domain].unused:
            shown[setting.option] = None
            continue
        value = recipe.get(name) if name in recipe else _value_with(recipe, chooser, own[0], setting)
        shown[setting.option] = Shown(
            default=setting.unset if value is None else written(value),
            use=_use(chooser, own, fitting),
            choices=tuple(_fitting(name, recipe)) if name in REGISTRIES else None,
        )
    return shown


def _fitting(chooser: str, recipe: Recipe) -> list[str]:
    """The outputs, say, that a recipe on this kind of data can have; of the kinds of data, its own."""
    if chooser == "domain":
        return [recipe.domain]
    if chooser == "output":
        targets = DOMAINS[recipe.domain].targets_of(recipe.data)
        return [entry.name for entry in OUTPUTS.entries() if entry.targets == targets]
    return [*REGISTRIES.get(chooser, ())]


def _use(chooser: str, own: Sequence[str], fitting: Sequence[str]) -> str:
    """Which outputs, say, an option is for; "" where it is for all that fit."""
    others = [name for name in fitting if name not in own]
    if not others:
        return ""
    return (
        f"{chooser} {_or(own)}" if len(own) <= max(2, len(others)) else f"every {chooser} but {_or(others)}"
    )


def _or(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def _value_with(recipe: Recipe, chooser: str, name: str, setting: Setting) -> Any:
    """The default of a setting that the recipe does not have, with the first output, say, that has it."""
    for letters in ("SGD", "HF"):
        try:
            other = Recipe.parse(letters, domain=recipe.domain, **{chooser: name})
        except UserError:  # an optimizer that goes with HF alone, say
            continue
        return other.get(setting.name, setting.default)
    return setting.default


def written(value: Any) -> str:
    """A setting's value as an option takes it.

    Example:
        >>> written(True), written(0.5)
        ('yes', '0.5')
    """
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
