"""What a command says when it is asked to stop, and when it is asked twice."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from ostinato.cli.boundary import NO_READER

if TYPE_CHECKING:
    from ostinato.cli.streams import Piped

_SHOW_CURSOR = "\x1b[?25h"


def saying(resume: str, *, quiet: bool = False) -> Callable[[int, bool], None]:
    """For `training.stopping.stop_signals`: answers every signal at once, on standard error.

    Args:
        resume: the command that continues.
        quiet: say nothing: another process does.
    """

    def say(_: int, last: bool) -> None:
        if quiet:
            return
        # the bar of a terminal has hidden the cursor, and nobody is left to show it
        cursor = _SHOW_CURSOR if last and sys.stderr.isatty() else ""
        if last:
            text = f"ended at once, as of the last checkpoint; continue with: {resume}"
        else:
            text = "stopping at the end of this step, with a checkpoint; a second Ctrl-C ends at once"
        sys.stderr.write(f"{cursor}\n{text}\n")
        sys.stderr.flush()

    return say


def or_unread(asked: Callable[[], int], *consoles: "Piped | None") -> Callable[[], int]:
    """What asks to stop, or once nobody reads what a patient console writes: as a signal that says so would.

    Args:
        asked: the number of a signal, or 0.
        consoles: of `ostinato.cli.output.human`; None for none.
    """

    def ask() -> int:
        unread = any(console is not None and console.gone for console in consoles)
        return asked() or (NO_READER - 128 if unread else 0)

    return ask
