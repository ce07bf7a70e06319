"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ostinato.cli.tables import Column, Table, number_columns, print_table, say
from ostinato.cli.visible import visible
from ostinato.evaluation.numbers import recorded

if TYPE_CHECKING:
    from ostinato.domains.domain import Data
    from ostinato.evaluation.scores import Score
    from ostinato.runs.results import Results

SCORE_NAMES = {
    "log_likelihood": "log-likelihood\n(nats/frame)",
    "accuracy_bay": "accuracy\n(a) %",
    "accuracy_per_frame": "accuracy\n(b) %",
}
SCORES_NOTE = (
    "± standard error over songs. Log-likelihood: pooled over all frames, first frame of each song included. "
    "Accuracy, expected: (a) pooled TP/(TP+FP+FN), Bay et al. 2009; (b) per frame TP/max(|predicted|, "
    "|true|), mean over frames."
)
ESTIMATE_NOTE = (
    "≈ an estimate, with an interval for the exact value: accuracies from drawn frames, 2 sampling errors to "
    "each side; log-likelihoods by annealed importance sampling, too high in expectation, the interval down "
    "to reverse annealing's (an estimate too), 2 errors wider."
)

__all__ = [
    "data_text",
    "human",
    "list_skipped",
    "print_json",
    "print_table",
    "results_table",
    "say",
    "show",
]


class _Plain(Console):
    """A console that takes no text for markup and shows control characters, but for line breaks."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts as they are."""
        shown = (visible(each, keep="\n") if isinstance(each, str) else each for each in objects)
        super().print(*shown, **{"markup": False, **options})


def human() -> Console:
    """The console for people: standard error; its lines are folded by the terminal."""
    return _Plain(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


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


def show(score: Score | None) -> str:
    r"""A score with its standard error; an estimate is marked, and has its interval on a second line.

    Example:
        >>> from ostinato.evaluation.scores import Score
        >>> show(Score(-8.654321, "nats/frame", "pooled", 4725, 77, 0.0789))
        '-8.654 ± 0.079'
        >>> show(Score(-6.8, "nats/frame", "pooled", 9, 3, 0.08, True, 0.01, (-6.85, -6.78)))
        '≈ -6.800 ± 0.080\n[-6.850, -6.780]'
    """
    return recorded(None if score is None else score.to_dict())


def results_table(results: Results, title: str, splits: tuple[str, ...] = ("valid", "test")) -> Table:
    """Systems against splits: log-likelihood on each, expected accuracies on the last."""
    splits = tuple(s for s in splits if any(s in by_split for by_split in results.scores.values()))
    accuracies = ("accuracy_bay", "accuracy_per_frame")
    headings = [f"{split}\n{SCORE_NAMES['log_likelihood']}" for split in splits]
    headings += [f"{splits[-1]}\n{SCORE_NAMES[name]}" for name in accuracies]
    table = Table([Column("", text=True), *number_columns(*headings)], title, [SCORES_NOTE])
    for system, by_split in results.scores.items():
        last = by_split.get(splits[-1], {})
        cells = [show(by_split.get(split, {}).get("log_likelihood")) for split in splits]
        cells += [show(last.get(name)) for name in accuracies]
        table.add(system, *cells, bold=system == "model")
    scores = [s for by_split in results.scores.values() for own in by_split.values() for s in own.values()]
    if any(score.estimate for score in scores):
        table.notes.append(ESTIMATE_NOTE)
    return table


def list_skipped(data: Data, console: Console) -> None:
    """The files that could not be used, with reasons."""
    if data.skipped:
        console.print(
            f"skipped {len(data.skipped)} file{'s' if len(data.skipped) > 1 else ''}:", style="yellow"
        )
        for skipped in data.skipped:
            console.print(f"  {skipped}")
