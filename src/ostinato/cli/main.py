"""The `ostinato` command: finds the subcommand; turns a foreseen mistake into one line and exit code 2."""

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

import ostinato
from ostinato.cli.kinds import with_kind
from ostinato.cli.visible import visible
from ostinato.errors import UserError

app = App(
    name="ostinato",
    help="Train recurrent networks on music and text, and score them honestly.",
    version=ostinato.__version__,
    default_parameter=Parameter(negative=()),
)
# Named as text, so that a command imports only what it needs itself.
app.command("ostinato.cli.train:train", name="train")
app.command("ostinato.cli.search:search", name="search")
app.command("ostinato.cli.evaluate:evaluate", name="evaluate")
app.command("ostinato.cli.compare:compare", name="compare")
app.command("ostinato.cli.generate:generate", name="generate")
app.command("ostinato.cli.harmonize:harmonize", name="harmonize")
app.command("ostinato.cli.score:score", name="score")
app.command("ostinato.cli.data:app", name="data")
app.command("ostinato.cli.reproduce:reproduce", name="reproduce")
app.command("ostinato.cli.rescore:rescore_list", name="rescore")
app.command("ostinato.cli.generate_text:generate_text", name="generate-text")
app.command("ostinato.cli.score_text:score_text_file", name="score-text")
app.command("ostinato.cli.report:report", name="report")
app.command("ostinato.cli.doctor:doctor", name="doctor")


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    try:
        code = app(with_kind(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (UserError, CycloptsError) as error:
        print(f"ostinato: {visible(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ostinato: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # the reader of our output has gone; nothing is left to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code if isinstance(code, int) else 0


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
