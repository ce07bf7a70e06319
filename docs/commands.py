"""The page of commands, made from the command line itself whenever the pages are built."""

import re
from collections.abc import Iterator

from cyclopts import App
from cyclopts.docs.markdown import generate_markdown_docs
from sphinx.application import Sphinx

from ostinato.cli.help import shown_options
from ostinato.cli.main import app as command_line
from ostinato.cli.settings import asked_for
from ostinato.domains.registry import DOMAINS

PAGE = "reference/commands"
SECTION = re.compile(r"^## (.+)")
OPTION = re.compile(r"^\* `(--[a-z0-9-]+)")


def commands_page(app: App, defaults: dict[str, dict[str, str]] | None = None) -> str:
    """What `--help` says of every command, in Markdown.

    Args:
        app: the command line.
        defaults: of options by the title of a command, where what runs is not what is declared.

    Example:
        >>> def play(song: str, *, times: int | None = None):
        ...     "Play a song."
        >>> app = App(name="player", help="Play.")
        >>> _ = app.command(play)
        >>> page = commands_page(app, {"player play": {"--times": "1"}})
        >>> "## player play" in page, "* `--times INT`: *[default: 1]*" in page
        (True, True)
    """
    page = generate_markdown_docs(app, heading_level=1, generate_toc=False)
    _, _, body = page.partition("\n")  # the page has a title of its own
    return "\n".join(_with_defaults(body.splitlines(), defaults or {}))


def _with_defaults(lines: list[str], defaults: dict[str, dict[str, str]]) -> Iterator[str]:
    own: dict[str, str] = {}
    for line in lines:
        if section := SECTION.match(line):
            own = defaults.get(section[1], {})
        option = OPTION.match(line)
        yield f"{line} *[default: {own[option[1]]}]*" if option and option[1] in own else line


def _page() -> str:
    defaults = {}
    for name in command_line:
        command = command_line[name]
        if command.default_command is not None:
            command.help = None  # the line of the list; its docstring says more
        if name in ("train", "search"):
            defaults[f"ostinato {name}"] = _defaults()
    return commands_page(command_line, defaults)


def _defaults() -> dict[str, str]:
    """The defaults of the settings; of those that some kinds of data do not have, with the first that has."""
    found: dict[str, str] = {}
    for domain in DOMAINS:
        recipe, _ = asked_for(None, None, domain)
        for option, shown in shown_options(recipe).items():
            if shown is not None and shown.default is not None:
                own = shown.default if domain == DOMAINS.default else f"{shown.default}, for {domain}"
                found.setdefault(option, own)
    return found


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    if name == PAGE:
        source[0] += _page()


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the page when it is read, and read it at every build."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", lambda *_: [PAGE])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
