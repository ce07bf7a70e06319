"""`ostinato compare`: runs against each other on the same songs, sentences or series."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ostinato.cli.output import print_json, print_table, show
from ostinato.errors import UserError
from ostinato.evaluation.numbers import NONE, UNTOLD, number
from ostinato.evaluation.numbers import score as shown
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.runs.folder import Run

if TYPE_CHECKING:
    from ostinato.runs.compare import Comparison, Scored


def compare(
    *runs: Path,
    split: Literal["train", "valid", "test"] = "test",
    over_seeds: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Compare runs with the first one, by a paired bootstrap over songs, sentences or series.

    Scores that do not compare (other data, another convention) are refused.

    Parameters
    ----------
    runs
        The runs' folders, two or more; differences are taken from the first.
    split
        The songs, sentences or series to compare on.
    over_seeds
        Take runs that differ by their seed alone as one, and say which way of training is better whatever
        the seed.
    resamples
        Resamples of the bootstrap.
    seed
        Of the bootstrap.
    json
        Print one JSON object.
    """
    from ostinato.runs.compare import compare_runs

    if resamples < 2:
        raise UserError(f"expected --resamples of at least 2, found {resamples}")
    opened = [Run.open(run) for run in runs]
    comparison = compare_runs(opened, split, over_seeds=over_seeds, resamples=resamples, seed=seed)
    if json:
        print_json(comparison.to_dict())
    else:
        print_table(_table(comparison))
    return 0


ESTIMATES_NOTE = (
    "≥ a lower bound of a likelihood that is estimated, its 99% interval under it; a difference's interval "
    "and p are for the worst in these. cannot tell: the estimate did not settle; ostinato evaluate RUN says "
    "why"
)


def _table(comparison: Comparison) -> Table:
    first = comparison.scored[0]
    score, songs = first.score, comparison.differences[0].songs
    what, name = comparison.of, first.run.folder.name
    headings = ("log-likelihood", *_other_unit(first), f"minus {name}", "95% interval", "p")
    table = Table(
        [Column("run", text=True), *number_columns(*headings)],
        f"log-likelihood on {comparison.split} ({score.unit})",
        [
            score.convention,
            f"± standard error over {what}; difference, interval and two-sided p by a paired bootstrap over "
            f"{songs:,} {what}: positive is better than {name}",
            *_seeds(comparison),
        ],
    )
    for place, scored in enumerate(comparison.scored):
        more = f" and {len(scored.runs) - 1} more" if len(scored.runs) > 1 else ""
        cells = [f"{scored.run.folder}{more}", show(scored.score), *_in_other_unit(scored)]
        if place:
            d = comparison.differences[place - 1]
            floor = "≤ " if d.p_value <= 1 / d.resamples else ""
            low, high = (number(bound, score.unit, plus=True) for bound in d.interval)
            difference = number(d.value, score.unit, plus=True)
            told = not math.isnan(d.value)
            cells += [
                f"{difference} ± {number(d.standard_error, score.unit)}" if told else UNTOLD,
                f"[{low}, {high}]",
                f"{floor}{d.p_value:.2g}" if told else NONE,
            ]
        else:
            cells += [NONE, NONE, NONE]
        table.add(*cells)
    if any(scored.score.estimate for scored in comparison.scored):
        table.notes.append(ESTIMATES_NOTE)
    return table


def _seeds(comparison: Comparison) -> list[str]:
    """What is to be said of seeds, where runs with several are taken together."""
    several = [scored for scored in comparison.scored if scored.spread is not None]
    if not several:
        return []
    spreads = ", ".join(
        f"{scored.run.folder} {number(scored.spread, scored.score.unit)} ({len(scored.runs)} seeds)"
        for scored in several
    )
    lines = [f"standard deviation over seeds: {spreads}"]
    if all(comparison.over_seeds):
        lines.append("differences are over seeds too, by Student's t")
    else:
        lines.append("a single run says nothing of its seed: differences from or to one are not over seeds")
    return lines


def _other_unit(scored: Scored) -> list[str]:
    return [] if scored.measure is None else [scored.measure.unit]


def _in_other_unit(scored: Scored) -> list[str]:
    """What people quote instead of a log-likelihood: perplexity of words, bits per character."""
    measure, score = scored.measure, scored.score
    if measure is None:
        return []
    value = measure.converted(score.value)
    if value is None:
        return [NONE]
    # by the delta method: the logarithm of such a score is a line, or the score itself is
    further = measure.converted(score.value + score.standard_error)
    error = value * score.standard_error if measure.log else abs((further or value) - value)
    return [shown(value, measure.unit, error)]
