"""Tables of how many sequences go wrong, and what a problem is."""

from collections.abc import Iterator
from typing import Any

from ostinato.domains.answer import Part
from ostinato.domains.delays.declared import MOST_ERRORS
from ostinato.domains.domain import Scores
from ostinato.evaluation.numbers import counted, number
from ostinato.evaluation.tables import Table, show, table_of

# A sequence is shown up to so many steps.
_STEPS = 60


def errors_table(scores: Scores, title: str) -> Table:
    """Systems against splits: how many sequences go wrong; under it, whether the problem is solved."""
    table = table_of("", *(f"{split}\nwrong sequences\n%" for split in ("valid", "test")), title=title)
    for system, by_split in scores.items():
        cells = [show(by_split[split]["error"]) for split in ("valid", "test")]
        table.add(system, *cells, bold=system == "model")
    table.notes = ["± standard error over sequences"]
    if "model" in scores:
        error = scores["model"]["test"]["error"]
        verdict = "solved" if error.value < 100 * MOST_ERRORS else "not solved"
        table.notes.append(
            f"{verdict}: the criterion is fewer than {100 * MOST_ERRORS:g}% wrong of {error.count:,} fresh "
            "sequences"
        )
        if "off" in scores["model"]["test"]:
            off = scores["model"]["test"]["off"]
            table.notes.append(f"{number(off.value, '%')}% of test answers are off by more than 0.04")
    return table


def described(found: dict[str, Any]) -> Iterator[Part]:
    """What `problems.describe` found."""
    yield found["about"]
    yield f"{counted(found['steps'], 'step')} of {found['told']}"
    table = table_of("split", "sequences")
    for split, own in found["splits"].items():
        table.add(split, f"{own['sequences']:,}")
    yield table
    yield "those of train are drawn anew for each epoch"
    inputs, judged = found["sample"]["inputs"], found["judged_steps"]
    more = f" ... ({len(inputs) - _STEPS:,} more)" if len(inputs) > _STEPS else ""
    yield f"a sequence: {' '.join(map(_symbol, inputs[:_STEPS]))}{more}"
    first, last = f"{judged[0] + 1:,}", f"{judged[-1] + 1:,}"
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    yield f"its answer, at {steps}: {' '.join(map(_symbol, found['sample']['targets']))}"


def _symbol(given: Any) -> str:
    """A symbol, or a number with its mark."""
    return ":".join(f"{value:g}" for value in given) if isinstance(given, list) else str(given)
