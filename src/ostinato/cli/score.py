"""`ostinato score`: how likely pieces, sentences or series are under a run's model, and what surprises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ostinato.cli.output import present
from ostinato.cli.own_options import asked, own_options

Own: Any = own_options("score")


def score(run: Path, files: list[Path], *, json: bool = False, own: Own = None) -> int:
    """Rank pieces or series by likelihood, with what surprises most in them; or score sentences of a text.

    A piece that cannot be read does not stop the others: it is listed at the end, and the exit code is 2.

    Parameters
    ----------
    run
        The run's folder; for text also an ARPA file.
    files
        MIDI, MusicXML, ABC or kern files, folders of them, a tune of a book (book.abc#3); or one text,
        UTF-8, one sentence a line; or CSV, NPY or NPZ files of series.
    json
        Print one JSON object.
    """
    declared, options = asked(run, "score", own)
    answer = declared.commands["score"].load()(run, files, options)
    present(answer, json=json)
    return 0 if answer.complete else 2
