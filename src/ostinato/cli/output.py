"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from ostinato.cli.streams import Piped
from ostinato.cli.tables import PIPED_WIDTH, print_table, say
from ostinato.cli.visible import visible
from ostinato.domains.answer import Answer, Notice, Part, Raw
from ostinato.evaluation.numbers import counted
from ostinato.evaluation.tables import Table, show

if TYPE_CHECKING:
    from rich.console import Console

    from ostinato.domains.domain import Data

__all__ = [
    "data_text",
    "human",
    "list_skipped",
    "present",
    "print_json",
    "print_part",
    "print_table",
    "say",
    "show",
]


class Plain(Piped):
    """A console that takes no text for markup and shows control characters, but for line breaks."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts as they are."""
        shown = (visible(each, keep="\n") if isinstance(each, str) else each for each in objects)
        super().print(*shown, **{"markup": False, **options})


def human(*, patient: bool = False) -> Plain:
    """The console for people: standard error; its lines are folded by the terminal.

    Args:
        patient: see `Piped`.
    """
    return Plain(patient=patient, stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def print_json(value: dict[str, Any]) -> None:
    """One strict JSON object on standard output."""
    print(json.dumps(_plain(value), allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def data_text(text: str) -> str:
    """A text for standard output as it is, but on a terminal without control characters at work."""
    return visible(text, keep="\n\t") if sys.stdout.isatty() else text


def list_skipped(data: Data, console: Console) -> None:
    """What a user should know of how data were read: notices, and the files that could not be used."""
    for notice in data.details.get("notices", ()):
        console.print(f"{data.name}: {notice}", style="yellow")
    if data.skipped:
        console.print(f"skipped {counted(len(data.skipped), 'file')}:", style="yellow")
        for skipped in data.skipped:
            console.print(f"  {skipped}")


def present(answer: Answer, *, json: bool) -> None:
    """Print a domain's answer to a command, for people or as one JSON object."""
    for notice in answer.notices:
        human().print(notice.text)
    if json:
        print_json(answer.record())
        return
    for part in answer.parts:
        print_part(part)


def print_part(part: Part, *, piped: int = PIPED_WIDTH) -> None:
    """A part of an answer, where it belongs; `piped` is a table's width where there is no terminal."""
    match part:
        case Table():
            print_table(part, piped=piped)
        case Notice():
            human().print(part.text)
        case Raw():
            sys.stdout.write(data_text(part.text))
            sys.stdout.flush()
        case str():
            say(part)
