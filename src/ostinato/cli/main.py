"""The `ostinato` command: finds the subcommand; turns a foreseen mistake into one line and exit code 2."""

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from cyclopts import App, Group, Parameter

import ostinato
from ostinato.cli.boundary import guarded
from ostinato.cli.help import HELP_FLAGS, PlainHelp, show_defaults
from ostinato.cli.options import OPTIONS
from ostinato.cli.regions import with_whole_regions
from ostinato.cli.spelling import forget_options, note_options
from ostinato.cli.streams import Piped
from ostinato.cli.visible import visible
from ostinato.recipe.extensions import load_extensions
from ostinato.seal import telling

# Where each command is, and what `ostinato --help` says of it: named as text, so that help and every command
# import only what they need themselves.
COMMANDS = {
    "Train": {
        "train": ("train:train", "Train a recurrent network on music, text, series or long delays."),
        "search": ("search:search", "Search for settings, and choose by validation."),
        "reproduce": ("reproduce:reproduce", "Train the cells of the paper's tables, or one of them."),
    },
    "Judge": {
        "evaluate": ("evaluate:evaluate", "Score a run on its data, beside the baselines."),
        "compare": ("compare:compare", "Compare runs on the same songs, sentences or series."),
        "report": ("report:report", "Write a page about runs and studies."),
        "diagnose": ("diagnose:diagnose", "Say what keeps a run from learning."),
        "replay": ("replay:replay", "Make again the step where training went wrong."),
    },
    "Use": {
        "generate": ("generate:generate", "Compose music, write text, or forecast a series."),
        "harmonize": ("harmonize:harmonize", "Add voices to a melody, or fill a gap in a piece."),
        "score": ("score:score", "Say how likely pieces, sentences or series are."),
        "rescore": ("rescore:rescore_list", "Choose among the hypotheses of an n-best list."),
        "export": ("export:export", "Write a model of text for decoders in other languages."),
    },
    "Keep house": {
        "data": ("data:app", "List, fetch and show data sets."),
        "runs": ("runs:app", "List runs, tell what differs between them, remove some."),
        "check": ("check:check", "Find damage in a run, a study or the cache."),
        "doctor": ("doctor:doctor", "Print what this installation runs on."),
        "completion": ("completion:completion", "Print a script that completes commands in your shell."),
    },
}

app = App(
    name="ostinato",
    help="Train recurrent networks on music, text and series, and score them honestly.",
    version=ostinato.__version__,
    version_flags=("--version", "-V"),
    help_flags=HELP_FLAGS,
    help_format="plaintext",
    help_formatter=PlainHelp(),
    help_epilogue="ostinato COMMAND --help says more of a command.",
    group_parameters=OPTIONS,
    group_commands=Group("Help", sort_key=len(COMMANDS)),
    # a path that begins with a bracket is no list in JSON
    default_parameter=Parameter(negative=(), json_list=False, json_dict=False),
    config=note_options,
)
LINES = {name: line for commands in COMMANDS.values() for name, (_, line) in commands.items()}
for place, (title, commands) in enumerate(COMMANDS.items()):
    group = Group(title, sort_key=place)
    for order, (name, (where, line)) in enumerate(commands.items()):
        app.command(f"ostinato.cli.{where}", name=name, help=line, group=group, sort_key=order)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    return guarded(_run, arguments)


def _run(arguments: Sequence[str]) -> int:
    forget_options()
    # a lone - is standard input; cyclopts would take it for an option
    arguments = ["/dev/stdin" if argument == "-" else argument for argument in arguments]
    arguments = with_whole_regions(arguments)
    load_extensions()
    with telling(_tell), _own_help(arguments):
        how: dict[str, Any] = {"exit_on_error": False, "print_error": False, "result_action": "return_value"}
        code = app(arguments, console=Piped(), **how)
    return code if isinstance(code, int) else 0


def _tell(text: str) -> None:
    """A notice, on standard error."""
    print(f"note: {visible(text)}", file=sys.stderr)


@contextmanager
def _own_help(arguments: Sequence[str]) -> Iterator[None]:
    """Give the command that is asked for its own help in place of the line that `ostinato --help` shows."""
    if not arguments or arguments[0] not in LINES:
        yield
        return
    command = app[arguments[0]]
    command.help_epilogue = ""
    if command.default_command is not None:
        command.help = None  # its docstring
    show_defaults(app, arguments)
    try:
        yield
    finally:
        command.help = LINES[arguments[0]]


def main() -> None:
    """Entry point of the installed command."""
    # a sign that the terminal's encoding lacks is written as an escape; it is no reason to end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # a width of 0, or none, is no width: rich would print nothing
    if not os.environ.get("COLUMNS", "").strip("0").isdecimal():
        os.environ.pop("COLUMNS", None)
    sys.exit(run(sys.argv[1:]))
