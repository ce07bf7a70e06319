"""Tables of scores of language models."""

from collections.abc import Callable
from typing import Any

from ostinato.cli.output import results_table, show
from ostinato.cli.tables import Column, Table, number_columns
from ostinato.cli.task_output import task_table
from ostinato.data.sequences import SPLITS
from ostinato.domains.delays.problems import TaskData
from ostinato.domains.domain import Data
from ostinato.domains.text.reading.data_sets import TextData
from ostinato.runs.results import Results

NAMES = {
    "perplexity": "perplexity",
    "perplexity_known": "without unknown words",
    "bits_per_character": "bits per character",
}


def table_of(data: Data) -> Callable[[Results, str], Table]:
    """The function that makes a table of results for this kind of data."""
    if isinstance(data, TaskData):
        return task_table
    return text_table if isinstance(data, TextData) else results_table


def text_table(results: Results, title: str) -> Table:
    """Systems against splits; under it, what was counted."""
    splits = [split for split in SPLITS if any(split in by for by in results.scores.values())]
    table = Table([Column("", text=True), *number_columns(*splits)], title)
    for system, by_split in results.scores.items():
        for name, label in NAMES.items():
            if any(name in by_split[split] for split in splits):
                cells = [show(by_split[split].get(name)) for split in splits]
                table.add(f"{system}: {label}", *cells, bold=system == "model")
    table.notes = ["± standard error over sentences", *(_counted(results, split) for split in splits)]
    return table


def _counted(results: Results, split: str) -> str:
    scores: dict[str, Any] = next(iter(results.scores.values()))[split]
    return f"{split}: {scores['log_likelihood'].convention}"
