"""`ostinato runs`: list the runs of a folder, tell what differs between runs, remove some."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from ostinato.cli.options import OPTIONS
from ostinato.cli.output import print_json, print_table, say
from ostinato.cli.visible import visible
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted, number, recorded, unit_of
from ostinato.evaluation.tables import Column, Table
from ostinato.report.listing import (
    Listed,
    check_removable,
    differences,
    foreign_files,
    list_runs,
    read_listed,
    remove_run,
)
from ostinato.report.records import short_names
from ostinato.seal import telling

app = App(name="runs", group_commands="Commands", group_parameters=OPTIONS)

Sort = Literal["name", "data", "recipe", "output", "epochs", "valid", "test", "state", "date"]

_NAMES = {"error": "% of sequences wrong"}
_UNITS = {"log_likelihood": " in nats", "pseudo_log_likelihood": " in nats"}

# How rows are ordered: what is unknown comes last.
_KEYS: dict[str, Callable[[Listed], Any]] = {
    "name": lambda run: run.name,
    "data": lambda run: (run.kind, run.data),
    "recipe": lambda run: run.recipe,
    "output": lambda run: run.output,
    "epochs": lambda run: -run.epochs,
    "valid": lambda run: -(run.log_likelihood if run.log_likelihood is not None else -1e300),
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
        Order by this column: best scores, most epochs and latest dates come first. Validation scores (valid)
        are ordered by log-likelihood, whatever is shown.
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
        say(f"no runs in {folder}; ostinato train makes one")
    for run in found:
        if not run.is_run:
            say(f"{run.name}: {run.state}")
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
    table = Table([Column(""), *map(Column, short_names(folders))], "what differs")
    for name, values in rows.items():
        table.add(name, *("-" if value is None else visible(str(value)) for value in values))
    for label, cell in _SCORES.items():
        table.add(label, *(cell(run) for run in found))
    table.notes += _measures(found)
    print_table(table)
    if not rows:
        say("no setting differs")
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
        say("nothing removed")
        return 1
    for run in found:
        remove_run(run.folder)
        say(f"removed {run.folder}")
    return 0


def _run_in(folder: Path) -> Listed:
    from ostinato.runs.folder import Run

    with telling(lambda _: None):
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
        say(
            f"{run.folder}: {run.recipe} on {run.data}, {counted(run.epochs, 'epoch')}, "
            f"{size / 1e6:.1f} MB{also}"
        )
    what = "this run" if len(found) == 1 else f"these {len(found)} runs"
    try:
        return input(f"remove {what} for good? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _table(found: list[Listed], folder: Path) -> Table:
    headings = ("data", "recipe", "output", "epochs", *_SCORES, "state", "date")
    table = Table([Column("run", text=True), *map(Column, headings)], f"runs in {folder}")
    for run in found:
        table.add(
            run.name,
            ("" if run.kind == DOMAINS.default else f"{run.kind} ") + _short(run.data),
            run.recipe,
            run.output,
            str(run.epochs),
            *(cell(run) for cell in _SCORES.values()),
            run.state,
            datetime.fromtimestamp(run.changed).strftime("%Y-%m-%d"),
        )
    table.notes += _measures(found)
    return table


def _measures(found: list[Listed]) -> list[str]:
    """What the scores of each kind of data are."""
    kinds = {run.kind: "" for run in found if run.measure}
    measures = {kind: dict.fromkeys(run.measure for run in found if run.kind == kind) for kind in kinds}
    parts = [
        f"{kind}: {' or '.join(_name(measure) + _UNITS.get(measure, '') for measure in own if measure)}"
        for kind, own in measures.items()
    ]
    about = "valid: of the best epoch; test: ± standard error. Scores of"
    return [f"{about} {'; '.join(parts)}"] if parts else []


def _short(data: str) -> str:
    """Files by their names alone: their folders would fill the table.

    Example:
        >>> _short("/home/me/songs"), _short("jsb"), _short("/a/b.txt,/a/c.txt")
        ('songs', 'jsb', 'b.txt, c.txt')
    """
    return ", ".join(Path(part).name for part in data.split(","))


def _name(measure: str) -> str:
    """A score's name in words.

    Example:
        >>> _name("log_likelihood"), _name("bits_per_character"), _name("error")
        ('log likelihood', 'bits per character', '% of sequences wrong')
    """
    return _NAMES.get(measure, measure.replace("_", " "))


def _test(run: Listed) -> str:
    """The test score; with its name where it is another than validation's."""
    other = "" if run.test_measure in ("", run.measure) else f"\n({_name(run.test_measure)})"
    return recorded(run.test_score) + other


_SCORES: dict[str, Callable[[Listed], str]] = {
    "valid": lambda run: number(run.validation, unit_of(run.measure)),
    "test": _test,
}


def _test_key(run: Listed) -> tuple[str, float]:
    """By measure, the best first: of a likelihood the highest, of anything else the lowest."""
    if run.test is None:
        return ("~", 0.0)
    higher_is_better = run.test_measure.endswith("log_likelihood")
    return (run.test_measure, -run.test if higher_is_better else run.test)
