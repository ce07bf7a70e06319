"""What people read of the results: a table in Markdown, verdicts on claims, the plan and its state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ostinato.evaluation.numbers import number
from ostinato.files import atomic_write
from ostinato.reproduce.cells import find_cells
from ostinato.reproduce.claims import CLAIMS, Verdict, verdicts
from ostinato.reproduce.evidence import Evidence
from ostinato.reproduce.protocol import CONDITIONS, Protocol
from ostinato.reproduce.table import markdown, rows_of
from ostinato.reproduce.training import Experiment

HEADINGS = {
    "plain": "Without an average of the weights and without L2",
    "averaged": "With an average of the weights and L2",
}


def write_table(evidence: Evidence, table: str) -> Path:
    """Write TABLE.md into the folder of the results: both conditions, and what became of the claims."""
    path = evidence.folder / f"{table}.md"
    atomic_write(path, table_text(evidence, table))
    return path


def table_text(evidence: Evidence, table: str) -> str:
    """The table under both conditions with the verdicts on its claims."""
    parts = []
    for condition in CONDITIONS:
        rows = rows_of({cell: evidence.seeds(cell, condition) for cell in find_cells(table)})
        parts.append(f"## {HEADINGS[condition]}\n\n{markdown(rows)}")
    claims = [claim for claim in CLAIMS if claim.table == table]
    for condition in CONDITIONS:
        parts.append(f"## Claims, {condition}\n\n{claims_text(verdicts(evidence, condition, claims))}")
    return "\n".join(parts)


def claims_text(found: Sequence[Verdict]) -> str:
    """A table of verdicts in Markdown."""
    lines = ["| claim | better | than | data | difference, nats | 95% | seeds | verdict |"]
    lines.append("| --- | --- | --- | --- | ---: | ---: | ---: | --- |")
    for each in found:
        value, interval = "-", "-"
        if each.difference is not None:
            value = number(each.difference.value, "nats", plus=True)
            interval = " to ".join(number(end, "nats", plus=True) for end in each.difference.interval)
        parts = (each.claim.text, each.claim.better, each.claim.worse, each.column, value, interval)
        lines.append(f"| {' | '.join(parts)} | {each.seeds[0]}, {each.seeds[1]} | {each.word} |")
    below = (
        "The difference is in nats per frame or token of test data, positive where the claim is right; the "
        "interval is over songs or sentences (bootstrap) and seeds (Student's t) together."
    )
    return "\n".join([*lines, "", below, ""])


def write_plan(evidence: Evidence, protocol: Protocol) -> Path:
    """Write PLAN.md into the folder of the results: what is done, what it took, what is left."""
    path = evidence.folder / "PLAN.md"
    atomic_write(path, plan_text(evidence, protocol))
    return path


def plan_text(evidence: Evidence, protocol: Protocol) -> str:
    """Every cell with its state."""
    cells = [*find_cells("table1"), *find_cells("table2")]
    experiments = [Experiment(cell, protocol, evidence, Path()) for cell in cells]
    done, total = (
        sum(column) for column in zip(*(experiment.steps for experiment in experiments), strict=True)
    )
    hours = sum(evidence.cpu_seconds(cell) for cell in cells) / 3600
    lines = [
        "# Plan of the results, and its state",
        "",
        "Written by `ostinato reproduce`. Every cell: a search, then trainings plain and averaged.",
        f"Done: {sum(each.finished for each in experiments)} of {len(cells)} cells, {done} of {total} "
        f"trainings, in {hours:.1f} hours of processor time.",
        "",
        "| cell | trials | plain | averaged | CPU hours | state |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([*lines, *(_plan_line(experiment) for experiment in experiments), ""])


def _plan_line(experiment: Experiment) -> str:
    tuning = experiment.evidence.tuning(experiment.cell) or {"trials": []}
    counts = [len(experiment.seeds(condition)) for condition in CONDITIONS]
    state = (
        "done"
        if experiment.finished
        else "tuned"
        if "chosen" in tuning
        else "begun"
        if tuning["trials"]
        else "open"
    )
    wanted = experiment.wanted_seeds
    parts = [
        f"{len(tuning['trials'])}/{experiment.protocol.trials}",
        *(f"{count}/{wanted}" for count in counts),
    ]
    hours = experiment.evidence.cpu_seconds(experiment.cell) / 3600
    return f"| {experiment.name} | {' | '.join(parts)} | {hours:.2f} | {state} |"


def tuned_settings(evidence: Evidence) -> dict[str, dict[str, dict[str, Any]]]:
    """What each cell was trained with, by condition, as `shipped/tuned.toml` has it: what is other than the
    letters' defaults. Cells with both conditions alone.
    """
    found = {}
    for cell in [*find_cells("table1"), *find_cells("table2")]:
        usual = cell.recipe(shipped=False).to_dict()
        runs = {condition: evidence.seeds(cell, condition).get(0) for condition in CONDITIONS}
        if all(runs.values()):
            found[cell.name] = {
                condition: {n: value for n, value in run["recipe"].items() if value != usual.get(n)}
                for condition, run in runs.items()
                if run is not None
            }
    return found
