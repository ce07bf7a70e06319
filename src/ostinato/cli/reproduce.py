"""`ostinato reproduce`: the paper's tables, or one cell, trained and set beside the paper's figures."""

from __future__ import annotations

import dataclasses
import json as codec
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ostinato.cli.options import Quiet
from ostinato.cli.output import human, print_json, print_table, say
from ostinato.cli.settings import CELL, Overrides, given_settings
from ostinato.cli.stopping import stop_signals
from ostinato.errors import UserError, check_installed
from ostinato.evaluation.numbers import number
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.files import FileLock, atomic_write
from ostinato.reproduce.cells import find_cells

if TYPE_CHECKING:
    from ostinato.reproduce.table import Row
    from ostinato.reproduce.training import Job

TRIALS = 20
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def reproduce(
    what: str,
    /,
    *,
    settings: Annotated[Overrides | None, Parameter(name="*")] = None,
    shipped: bool = False,
    trials: int | None = None,
    datasets: Annotated[list[str] | None, Parameter(consume_multiple=1)] = None,
    rows: Annotated[list[str] | None, Parameter(consume_multiple=1)] = None,
    seeds: int = 1,
    budget: str | None = None,
    workers: int = 1,
    folder: Path | None = None,
    quiet: Quiet = False,
    json: bool = False,
) -> int:
    """Train the cells of table1 or table2, or one cell (table1/jsb/rnn-SGD+CL), and print the table.

    Stop it whenever you like, even with kill -9: the same command goes on, and ends with the same table.

    Parameters
    ----------
    what
        table1 (music), table2 (words and characters), or the name of one cell.
    shipped
        Train each cell once, with the best settings known, which the package brings along; else search.
    trials
        Without --shipped: settings to try by random search for each cell [default: 20, or as many as it has];
        more than it has extend it.
    datasets
        Only these data sets of table 1, or words or chars of table 2.
    rows
        Only these rows, as the paper names them.
    seeds
        Trainings of each cell, with seeds 0 and up.
    budget
        Time for this command, such as 30m or 8h; then it stops at a checkpoint and prints what there is.
    workers
        Processes, each training one cell on one thread.
    folder
        Where the runs and the table are kept; reproductions/TABLE by default.
    quiet
        No progress.
    json
        Print one JSON object.
    """
    from ostinato.reproduce.table import markdown, rows_of, to_dict
    from ostinato.reproduce.training import jobs_of

    if shipped and trials is not None:
        raise UserError("expected --shipped or --trials, found both; --shipped does not search")
    for name, value in {"seeds": seeds, "workers": workers, "trials": trials or 1}.items():
        if value < 1:
            raise UserError(f"expected --{name} of at least 1, found {value}")
    deadline = time.monotonic() + parse_time(budget) if budget else float("inf")
    cells = find_cells(what, datasets or (), rows or ())
    folder = folder or Path("reproductions") / cells[0].table
    searched = None if shipped else (trials or TRIALS)
    if searched is not None:
        check_installed("search", "optuna")
    jobs = jobs_of(cells, folder, seeds=seeds, trials=searched, overrides=_overrides(settings))
    jobs = [_with_its_trials(job, trials) for job in jobs]
    code = _train(jobs, folder, workers, deadline, quiet=quiet)
    found = rows_of(jobs)
    atomic_write(folder / f"{cells[0].table}.md", markdown(found))
    atomic_write(folder / f"{cells[0].table}.json", codec.dumps(to_dict(found), indent=1) + "\n")
    if json:
        print_json(to_dict(found))
    else:
        print_table(_table(found, what))
        say(f"table: {folder / cells[0].table}.md  (and .json; runs beside it)")
    return code


def parse_time(text: str) -> float:
    """Seconds of '90s', '30m', '8h', '2d', or '1h30m'; a plain number is minutes.

    Example:
        >>> parse_time("90s"), parse_time("1h30m"), parse_time("5")
        (90.0, 5400.0, 300.0)
    """
    import re

    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text) * 60
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UserError(f"expected a time such as 90s, 30m or 1h30m, found {text!r}")
    return float(sum(float(number) * UNITS[unit] for number, unit in parts))


def _overrides(settings: Any) -> dict[str, Any]:
    given = given_settings(settings)
    for name in CELL:
        if name in given:
            raise UserError(
                f"expected settings that leave a cell what it is, found --{name}; choose cells with --rows "
                "and --datasets, and seeds with --seeds"
            )
    return given


def _with_its_trials(job: Job, trials: int | None) -> Job:
    """The job with as many trials as were asked for, but not fewer than its search has."""
    has, _ = job.begun_trials
    if has == 0 or (trials is not None and trials >= has):
        return job
    if trials is not None:
        human().print(
            f"{job.name}: the search has {has} trials already; --trials {trials} takes none away: it goes "
            f"on to {has}",
            markup=False,
        )
    return dataclasses.replace(job, trials=has)


def _train(jobs: list[Job], folder: Path, workers: int, deadline: float, *, quiet: bool) -> int:
    """Run what is not finished; the exit code: 0, or 128 and the signal that stopped it."""
    from ostinato.cli.job_watch import Watch
    from ostinato.cli.workboard import Board
    from ostinato.reproduce.training import OUT_OF_TIME, run_jobs
    from ostinato.training.monitor import Interrupted

    console = human()

    def done(job: Job) -> None:
        board.say(f"{job.cell.name}, seed {job.seed}: done{_score_of(job)}")

    counted = [(job.trials or 1, _done_of(job)) for job in jobs]
    total, begun = (sum(column) for column in zip(*counted, strict=True))
    unit = "trainings" if jobs[0].trials is None else "trials"
    board = Board(console, workers, unit, begun, total, quiet=quiet)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        with stop_signals() as asked, board:
            run_jobs(
                jobs,
                watch=Watch(board, quiet=quiet),
                workers=workers,
                deadline=deadline,
                stop_requested=asked,
                done=done,
            )
    except Interrupted as interruption:
        finished = sum(job.finished for job in jobs)
        why = "out of time" if interruption.signal == OUT_OF_TIME else "stopped"
        console.print(f"{why}: {finished} of {len(jobs)} trainings done; the same command goes on")
        return 0 if interruption.signal == OUT_OF_TIME else 128 + interruption.signal
    finally:
        lock.release()
    return 0


def _done_of(job: Job) -> int:
    """How many of the job's trials, or trainings, have come to something."""
    return job.begun_trials[1] if job.trials is not None else int(job.finished)


def _score_of(job: Job) -> str:
    """The validation score that a finished job has come to, to end a line with."""
    scores = job.summary()["results"]["model"].get("valid", {})
    return "".join(f", validation {number(s['value'], s['unit'])} {s['unit']}" for s in scores.values())


def _table(rows: list[Row], what: str) -> Table:
    from ostinato.reproduce.table import cells_of, headers, notes

    first, second, *others = headers(rows[0].cell.table)
    columns = number_columns(*(header.replace(" ", "\n", 1) for header in others))
    name = Column(f"{first}, {second}", text=True)
    table = Table([name, *columns], f"{what}, paper and ours", notes(rows))
    for row in rows:
        data, model, *figures = cells_of(row)
        table.add(f"{data} {model}", *(figure.replace(" [", "\n[") for figure in figures))
    return table
