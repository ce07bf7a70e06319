"""The table of scores of a task with long delays."""

from rich.table import Table

from ostinato.cli.output import show
from ostinato.data.tasks import MOST_ERRORS
from ostinato.results import Results


def task_table(results: Results, title: str) -> Table:
    """Systems against splits: how many sequences go wrong; under it, whether the task is solved."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("", no_wrap=True)
    for split in ("valid", "test"):
        table.add_column(f"{split}\nwrong sequences", justify="right", no_wrap=True)
    for system, by_split in results.scores.items():
        cells = [show(by_split[split]["error"]) for split in ("valid", "test")]
        table.add_row(system, *cells, style="bold" if system == "model" else None)
    error = results.scores["model"]["test"]["error"]
    verdict = "solved" if error.value < 100 * MOST_ERRORS else "not solved"
    table.caption = f"{verdict}: the criterion is fewer than 1% wrong of {error.count:,} fresh sequences"
    return table
