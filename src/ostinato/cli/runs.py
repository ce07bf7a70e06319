"""`ostinato runs`: list the runs of a folder, tell what differs between runs, remove some."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.table import Table

from ostinato.cli.options import OPTIONS
from ostinato.cli.output import print_json, print_table
from ostinato.errors import UserError
from ostinato.report.listing import (
    Listed,
    check_removable,
    differences,
    foreign_files,
    list_runs,
    read_listed,
    remove_run,
)

app = App(name="runs", group_commands="Commands", group_parameters=OPTIONS)

Sort = Literal["name", "data", "recipe", "output", "epochs", "validation", "test", "state", "date"]

MEASURES = {
    "log_likelihood": "log-likelihood",
    "pseudo_log_likelihood": "pseudo-log-likelihood",
    "bits_per_character": "bits per character",
    "error": "% wrong",
}
_KINDS = {"music": "", "task": "task "}

# How rows are ordered: what is unknown comes last.
_KEYS: dict[str, Callable[[Listed], Any]] = {
    "name": lambda run: run.name,
    "data": lambda run: (run.kind, run.data),
    "recipe": lambda run: run.recipe,
    "output": lambda run: run.output,
    "epochs": lambda run: -run.epochs,
    "validation": lambda run: -(run.log_likelihood if run.log_likelihood is not None else -1e300),
    "test": lambda run: _test_key(run),
    "state": lambda run: run.state,
    "date": lambda run: -run.changed,
}


@app.default
def runs(folder: Path = Path("runs"), *, sort: Sort = "name", json: bool = False) -> int:
    """List the runs of a folder: what was trained, how far it came, and its scores.

    Parameters
    ----------
    folder
        The folder that the runs are in.
    sort
        Order by this column: best scores, most epochs and latest dates come first. Validation is ordered by
        log-likelihood, whatever is shown.
    json
        Print one JSON object.
    """
    found = list_runs(folder)
    found.sort(key=lambda run: (not run.is_run, _KEYS[sort](run)))
    if json:
        print_json({"folder": str(folder), "runs": [run.to_dict() for run in found]})
        return 0
    listed = [run for run in found if run.is_run]
    if listed:
        print_table(_table(listed, folder))
    else:
        print(f"no runs in {folder}; ostinato train makes one")
    for run in found:
        if not run.is_run:
            print(f"{run.name}: {run.state}")
    return 0


@app.command
def diff(*folders: Annotated[Path, Parameter(name="RUN")], json: bool = False) -> int:
    """Show in which settings and scores runs differ.

    Parameters
    ----------
    folders
        The runs' folders, two or more.
    json
        Print one JSON object.
    """
    if len(folders) < 2:
        raise UserError(f"expected two or more runs, found {len(folders)}; see ostinato runs diff --help")
    found = [_run_in(folder) for folder in folders]
    rows = differences(found)
    if json:
        print_json({"runs": [run.to_dict() for run in found], "differences": rows})
        return 0
    table = Table(title="what differs", title_justify="left")
    table.add_column("")
    for run in found:
        table.add_column(str(run.folder), justify="right", overflow="fold")
    for name, values in rows.items():
        table.add_row(name, *("-" if value is None else str(value) for value in values))
    table.add_section()
    for label, cell in _SCORES.items():
        table.add_row(label, *(cell(run) for run in found))
    print_table(table)
    if not rows:
        print("no setting differs")
    return 0


@app.command
def remove(*folders: Annotated[Path, Parameter(name="RUN")], yes: bool = False) -> int:
    """Remove runs, for good, after a question.

    Parameters
    ----------
    folders
        The runs' folders.
    yes
        Do not ask.
    """
    if not folders:
        raise UserError("expected runs to remove, found none; see ostinato runs remove --help")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError("expected every run once, found one of them twice; leave it out")
    found = [check_removable(folder) for folder in folders]  # all, before any is removed
    if not yes and not _agreed(found):
        print("nothing removed")
        return 1
    for run in found:
        remove_run(run.folder)
        print(f"removed {run.folder}")
    return 0


def _run_in(folder: Path) -> Listed:
    from ostinato.runs import Run

    Run.open(folder)
    found = read_listed(folder)
    if not found.is_run:
        raise UserError(f"expected a run at {folder}, found {found.state}")
    return found


def _agreed(found: list[Listed]) -> bool:
    """Whether the person at the terminal wants these runs removed."""
    if not sys.stdin.isatty():
        raise UserError("expected a terminal to ask at, found none; give --yes to remove without a question")
    for run in found:
        size = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
        other = foreign_files(run.folder)
        also = f", and of yours: {', '.join(other)}" if other else ""
        print(f"{run.folder}: {run.recipe} on {run.data}, {run.epochs} epochs, {size / 1e6:.1f} MB{also}")
    what = "this run" if len(found) == 1 else f"these {len(found)} runs"
    try:
        return input(f"remove {what} for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _table(found: list[Listed], folder: Path) -> Table:
    table = Table(title=f"runs in {folder}", title_justify="left", caption_justify="left")
    for column in ("run", "data", "recipe", "output"):
        table.add_column(column, overflow="fold")
    for column in ("epochs", "validation", "test"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("score", "state", "date"):
        table.add_column(column, overflow="fold")
    for run in found:
        data = _KINDS.get(run.kind, f"{run.kind} ") + _short(run.data)
        table.add_row(
            run.name,
            data,
            run.recipe,
            run.output,
            str(run.epochs),
            *(cell(run) for cell in _SCORES.values()),
            run.state,
            datetime.fromtimestamp(run.changed).strftime("%Y-%m-%d"),
        )
    return table


def _short(data: str) -> str:
    """Files by their names alone: their folders would fill the table.

    Example:
        >>> _short("/home/me/songs"), _short("jsb"), _short("/a/b.txt,/a/c.txt")
        ('songs', 'jsb', 'b.txt, c.txt')
    """
    return ", ".join(Path(part).name for part in data.split(","))


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"


_SCORES: dict[str, Callable[[Listed], str]] = {
    "validation": lambda run: _number(run.validation),
    "test": lambda run: _test(run),
    "score": lambda run: _name(run.measure),
}


def _test(run: Listed) -> str:
    """The test score; with its name where it is another than validation's."""
    other = "" if run.test_measure in ("", run.measure) else f" ({_name(run.test_measure)})"
    return _number(run.test) + other


def _name(measure: str) -> str:
    return MEASURES.get(measure, measure) or "-"


def _test_key(run: Listed) -> tuple[str, float]:
    """By measure, the best first: of a likelihood the highest, of anything else the lowest."""
    if run.test is None:
        return ("~", 0.0)
    higher_is_better = run.test_measure.endswith("log_likelihood")
    return (run.test_measure, -run.test if higher_is_better else run.test)
