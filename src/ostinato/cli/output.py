"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ostinato.data.sequences import Splits
    from ostinato.data.tasks import TaskData
    from ostinato.data.text import TextData
    from ostinato.evaluation.scores import Score
    from ostinato.results import Results

# Wide enough that a file's reader is not served tables folded at 80 columns.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 110

SCORE_NAMES = {
    "log_likelihood": "log-likelihood\n(nats/frame)",
    "accuracy_bay": "accuracy\n(a) %",
    "accuracy_per_frame": "accuracy\n(b) %",
}


def human() -> Console:
    """The console for people: standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


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


def print_table(table: Table) -> None:
    """A table on standard output."""
    Console(width=_WIDTH, highlight=False).print(table)


def show(score: Score | None) -> str:
    r"""A score with its standard error; an estimate is marked, and has its interval on a second line.

    Example:
        >>> show(Score(-8.654321, "nats/frame", "pooled", 4725, 77, 0.0789))
        '-8.654 ± 0.079'
        >>> show(Score(-6.8, "nats/frame", "pooled", 9, 3, 0.08, True, 0.01, (-6.85, -6.78)))
        '≈ -6.800 ± 0.080\n[-6.850, -6.780]'
    """
    if score is None:
        return "-"
    mark = "≈ " if score.estimate else ""
    digits = 2 if score.unit == "%" else 3
    error = "" if math.isnan(score.standard_error) else f" ± {score.standard_error:.{digits}f}"
    interval = "" if score.interval is None else "\n[{:.{d}f}, {:.{d}f}]".format(*score.interval, d=digits)
    return f"{mark}{score.value:.{digits}f}{error}{interval}"


def results_table(results: Results, title: str, splits: tuple[str, ...] = ("valid", "test")) -> Table:
    """Systems against splits: log-likelihood on each, expected accuracies on the last."""
    splits = tuple(s for s in splits if any(s in by_split for by_split in results.scores.values()))
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("", no_wrap=True)
    for split in splits:
        table.add_column(f"{split}\n{SCORE_NAMES['log_likelihood']}", justify="right", no_wrap=True)
    for name in ("accuracy_bay", "accuracy_per_frame"):
        table.add_column(f"{splits[-1]}\n{SCORE_NAMES[name]}", justify="right", no_wrap=True)
    for system, by_split in results.scores.items():
        last = by_split.get(splits[-1], {})
        cells = [show(by_split.get(split, {}).get("log_likelihood")) for split in splits]
        cells += [show(last.get(name)) for name in ("accuracy_bay", "accuracy_per_frame")]
        cells = [cell.replace(" [", "\n[") for cell in cells]  # intervals on a line of their own
        table.add_row(system, *cells, style="bold" if system == "model" else None)
    table.caption = (
        "± standard error over songs. Log-likelihood: pooled over all frames, first frame of each song "
        "included. Accuracy, expected: (a) pooled TP/(TP+FP+FN), Bay et al. 2009; (b) per frame "
        "TP/max(|predicted|, |true|), mean over frames."
    )
    scores = [s for by_split in results.scores.values() for own in by_split.values() for s in own.values()]
    if any(score.estimate for score in scores):
        table.caption += (
            "\n≈ an estimate, with an interval for the exact value: accuracies from drawn frames, 2 "
            "sampling errors to each side; log-likelihoods by annealed importance sampling, too high in "
            "expectation, the interval down to reverse annealing's (an estimate too), 2 errors wider."
        )
    return table


def list_skipped(data: Splits | TextData | TaskData, console: Console) -> None:
    """The files that could not be used, with reasons."""
    if data.skipped:
        console.print(
            f"skipped {len(data.skipped)} file{'s' if len(data.skipped) > 1 else ''}:", style="yellow"
        )
        for skipped in data.skipped:
            console.print(f"  {skipped}", markup=False)
