"""`ostinato compare`: runs against each other on the same songs or sentences."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from ostinato.cli.output import print_json, print_table, show
from ostinato.errors import UserError
from ostinato.runs import Run

if TYPE_CHECKING:
    from ostinato.comparison import Comparison, Scored


def compare(
    *runs: Path,
    split: Literal["train", "valid", "test"] = "test",
    resamples: int = 10_000,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Compare runs with the first one, by a paired bootstrap over songs or sentences.

    Scores that do not compare (other data, another convention) are refused.

    Parameters
    ----------
    runs
        The runs' folders, two or more; differences are taken from the first.
    split
        The songs or sentences to compare on.
    resamples
        Resamples of the bootstrap.
    seed
        Of the bootstrap.
    json
        Print one JSON object.
    """
    from ostinato.comparison import compare_runs

    if resamples < 2:
        raise UserError(f"expected --resamples of at least 2, found {resamples}")
    comparison = compare_runs([Run.open(run) for run in runs], split, resamples=resamples, seed=seed)
    if json:
        print_json(comparison.to_dict())
    else:
        print_table(_table(comparison))
    return 0


def _table(comparison: Comparison) -> Table:
    first = comparison.scored[0]
    score, songs = first.score, comparison.differences[0].songs
    what = "songs" if score.unit == "nats/frame" else "sentences"
    table = Table(title=f"log-likelihood on {comparison.split} ({score.unit})", title_justify="left")
    table.add_column("run", overflow="fold")
    for column in (
        "log-likelihood",
        *_other_unit(first),
        f"minus {first.run.folder.name}",
        "95% interval",
        "p",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for place, scored in enumerate(comparison.scored):
        cells = [str(scored.run.folder), show(scored.score), *_in_other_unit(scored)]
        if place:
            d = comparison.differences[place - 1]
            floor = "≤ " if d.p_value <= 1 / d.resamples else ""
            low, high = d.interval
            cells += [
                f"{d.value:+.3f} ± {d.standard_error:.3f}",
                f"[{low:+.3f}, {high:+.3f}]",
                f"{floor}{d.p_value:.2g}",
            ]
        table.add_row(*cells)
    table.caption_justify = "left"
    table.caption = (
        f"{score.convention}\n± standard error over {what}; difference, interval and two-sided p by a paired "
        f"bootstrap over {songs:,} {what}: positive is better than {first.run.folder.name}"
    )
    return table


def _other_unit(scored: Scored) -> list[str]:
    if scored.score.unit == "nats/frame":
        return []
    return ["bits/character" if "characters" in scored.score.convention else "perplexity"]


def _in_other_unit(scored: Scored) -> list[str]:
    """What people quote of a text: perplexity of words, bits per character of characters."""
    nats = -scored.score.value
    values = {"perplexity": f"{math.exp(min(nats, 700)):.1f}", "bits/character": f"{nats / math.log(2):.3f}"}
    return [values[name] for name in _other_unit(scored)]
