"""`ostinato generate`: what a run's model makes: new music, new text, forecasts of a series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ostinato.cli.output import present
from ostinato.cli.own_options import asked, own_options
from ostinato.domains.answer import Asked

Own: Any = own_options("generate")


def generate(
    run: Path,
    *,
    seed: int = 0,
    prime: str | None = None,
    device: str = "cpu",
    json: bool = False,
    own: Own = None,
) -> int:
    """Let a trained model compose music, write text, or forecast a series.

    Pieces of music are in C major or C minor, as the model's data were; a piece that continues --prime is
    moved back to the key of that file. Text is printed as it comes. A forecast is what many drawn paths say
    of each step: its mean, its median and intervals.

    Parameters
    ----------
    run
        The run's folder.
    seed
        Another number, another piece, text or forecast.
    prime
        What to continue: of music a MIDI, MusicXML, ABC or kern file and of text a beginning, which are part
        of what is written; of series a CSV, NPY or NPZ file.
    device
        Where the model computes: cpu, cuda, cuda:1 or auto; a seed draws the same numbers on each.
    json
        Print one JSON object.
    """
    declared, options = asked(run, "generate", own)
    answer = declared.commands["generate"].load()(run, Asked(seed, prime, device), options)
    present(answer, json=json)
    return 0
