"""Help pages: plain text that fits any terminal, with the defaults that the recipe in question gives."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, CycloptsError

from ostinato.cli.settings import UNSET, Options, asked_for
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

HELP_FLAGS = ("--help", "-h")

# From this width on, descriptions stand beside the names, in a column that begins here.
_WIDE, _COLUMN = 64, 28
_KINDS = {"INT": "N", "FLOAT": "X", "STR": "TEXT", "FLOAT|CHOICE": "X|CHOICE"}


@dataclasses.dataclass(frozen=True)
class PlainHelp:
    """How cyclopts is to print a help page: `defaults` by option, and what to say about them."""

    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)
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
        if not panel.entries:
            return
        _print(console, [str(panel.title)], "bold")
        if about := _plain(panel.description).strip():
            _print(console, _wrapped(about, console.width, "  ", "  "))
        wide = console.width >= _WIDE
        column = (
            _COLUMN if panel.format == "parameter" else 2 + max(len(_label(e)) for e in panel.entries) + 2
        )
        for entry in panel.entries:
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
        if entry.choices:
            text.append(f"[choices: {', '.join(entry.choices)}]")
        option = next(iter(entry.positive_names), "")
        default = self.defaults.get(option, entry.default)
        if default == "False" and not entry.negative_names:
            default = None  # a flag
        if default is not None:
            default = {"True": "yes", "False": "no"}.get(default, default)
            text.append(f"[default: {default}]")
        if entry.required:
            text.append("[required]")
        return " ".join(filter(None, text))


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
    command.help_formatter = PlainHelp(shown_defaults(recipe), about)


def _recipe_of(app: App, arguments: Sequence[str]) -> tuple[Recipe, str]:
    """The recipe that a command line gives, and a sentence about it."""
    _, bound, _, _ = app.parse_known_args(arguments)
    given = bound.arguments
    if resumed := given.get("resume"):
        from ostinato.runs.folder import Run

        settings = Run.open(resumed).config()
        return Recipe.from_dict(settings), f"Defaults shown: the settings of {resumed}."
    config: Path | None = given.get("config")
    recipe, _ = asked_for(given.get("settings"), config, given.get("task"))
    of = f" with {config}" if config else ""
    kind = {"music": "music", "task": "a task"}.get(recipe.task, recipe.task)
    return recipe, (
        f"Defaults shown: those of {recipe.recipe} on {kind} (data {recipe.data}, output {recipe.output})"
        f"{of}; for others, add --help to the options that you want to give."
    )


def shown_defaults(recipe: Recipe) -> dict[str, str]:
    """What help shows as the default of each option, for a recipe.

    Example:
        >>> defaults = shown_defaults(Recipe.parse("SGD+CL", output="nade"))
        >>> defaults["--learning-rate"], defaults["--clip"], defaults["--frames-per-beat"]
        ('0.3', '1.0', "the data set's own")
    """
    return dict(_defaults(recipe))


def _defaults(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(Options):
        value = getattr(recipe, field.name)
        said = UNSET[field.name] if value is None else str(value)
        yield "--" + field.name.replace("_", "-"), {"True": "yes", "False": "no"}.get(said, said)
