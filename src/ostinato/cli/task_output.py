"""The table of scores of a task with long delays."""

from ostinato.cli.output import show
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.domains.delays.problems import MOST_ERRORS
from ostinato.runs.results import Results


def task_table(results: Results, title: str) -> Table:
    """Systems against splits: how many sequences go wrong; under it, whether the task is solved."""
    headings = (f"{split}\nwrong sequences\n%" for split in ("valid", "test"))
    table = Table([Column("", text=True), *number_columns(*headings)], title)
    for system, by_split in results.scores.items():
        cells = [show(by_split[split]["error"]) for split in ("valid", "test")]
        table.add(system, *cells, bold=system == "model")
    error = results.scores["model"]["test"]["error"]
    verdict = "solved" if error.value < 100 * MOST_ERRORS else "not solved"
    table.notes = [
        "± standard error over sequences",
        f"{verdict}: the criterion is fewer than {100 * MOST_ERRORS:g}% wrong of {error.count:,} fresh "
        "sequences",
    ]
    return table
