"""The page of commands, made from the command line itself whenever the pages are built."""

import re

from cyclopts import App
from cyclopts.docs.markdown import generate_markdown_docs
from sphinx.application import Sphinx

from ostinato.cli.main import app as command_line

PAGE = "reference/commands"
# Forms of `generate` and `score` that nobody types.
NOT_TYPED = ["generate-text", "score-text"]


def commands_page(app: App) -> str:
    """What `--help` says of every command, in Markdown.

    Example:
        >>> def play(song: str, *, times: int = 1):
        ...     "Play a song."
        >>> app = App(name="player", help="Play.")
        >>> _ = app.command(play)
        >>> page = commands_page(app)
        >>> "## player play" in page, "--times INT" in page
        (True, True)
    """
    page = generate_markdown_docs(app, heading_level=1, generate_toc=False, exclude_commands=NOT_TYPED)
    _, _, body = page.partition("\n")  # the page has a title of its own
    # Options that a group repeats for many commands are one list each: let none be taken for a link.
    return re.sub(r"\[default: ([^\]*]+)\](?!\*)", r"*[default: \1]*", body)


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    if name == PAGE:
        source[0] += commands_page(command_line)


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the page when it is read, and read it at every build."""
    app.connect("source-read", _fill)
    app.connect("env-get-outdated", lambda *_: [PAGE])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
