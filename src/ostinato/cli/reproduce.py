"""`ostinato reproduce`: the paper's tables, or one cell, trained and set beside the paper's figures."""

from __future__ import annotations

import dataclasses
import json as codec
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ostinato.cli.options import Quiet
from ostinato.cli.output import human, print_json, print_table, say
from ostinato.cli.settings import CELL, Overrides, given_settings
from ostinato.cli.stopping import or_unread, saying
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.files import FileLock, atomic_write
from ostinato.reproduce.cells import find_cells
from ostinato.training.stopping import stop_signals

if TYPE_CHECKING:
    from ostinato.reproduce.cells import Cell
    from ostinato.reproduce.pool import J
    from ostinato.reproduce.table import Row

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def reproduce(
    what: str,
    /,
    *,
    settings: Annotated[Overrides | None, Parameter(name="*")] = None,
    shipped: bool = False,
    averaged: bool = False,
    show: bool = False,
    results: Path | None = None,
    protocol: Path | None = None,
    trials: int | None = None,
    datasets: Annotated[list[str] | None, Parameter(consume_multiple=1)] = None,
    rows: Annotated[list[str] | None, Parameter(consume_multiple=1)] = None,
    seeds: int | None = None,
    budget: str | None = None,
    workers: int = 1,
    folder: Path | None = None,
    quiet: Quiet = False,
    json: bool = False,
) -> int:
    """Train the cells of table1 or table2, or one cell (table1/jsb/rnn-SGD+CL), and print the table; or
    compare methods on problems with long delays.

    Stop it whenever you like, even with kill -9: the same command goes on, and ends with the same table.

    Parameters
    ----------
    what
        table1 (music), table2 (words and characters), delays (problems with long delays), or the name of one
        cell.
    shipped
        Train each cell with the settings chosen for it, which the package brings along; else by the protocol:
        tune it by a search, then train it with several seeds, and again with an average of weights and L2.
    averaged
        With --shipped: with an average of the weights and L2, as in the second of the protocol's tables.
    show
        Train nothing: print what the results have.
    results
        Without --shipped: the folder that keeps what cells have come to; results by default.
    protocol
        Without --shipped: a TOML file with another protocol than the package's.
    trials
        Without --shipped: settings to try for each cell [default: the protocol's].
    datasets
        Only these data sets of table 1, or words or chars of table 2; of delays these problems, such as
        addition or addition-50.
    rows
        Only these rows, as the paper names them; of delays these methods.
    seeds
        Trainings of each cell, with seeds 0 and up [default: 1 with --shipped, else the protocol's].
    budget
        Time for this command, such as 30m or 8h; then it stops at a checkpoint and prints what there is.
    workers
        Processes, each training one cell on one thread.
    folder
        Where the runs are kept; reproductions/TABLE by default, with --averaged TABLE-averaged.
    quiet
        No progress.
    json
        Print one JSON object.
    """
    for name, value in {"seeds": seeds, "workers": workers, "trials": trials}.items():
        if value is not None and value < 1:
            raise UserError(f"expected --{name} of at least 1, found {value}")
    for name, one in {"trials": trials, "show": show, "results": results, "protocol": protocol}.items():
        if shipped and one:
            raise UserError(f"expected --shipped or --{name}, found both; --shipped trains what was chosen")
    deadline = time.monotonic() + parse_time(budget) if budget else float("inf")
    if what.partition("/")[0] == "delays":
        order = Order(what, workers, deadline, quiet=quiet, json=json)
        if shipped or averaged or _overrides(settings):
            raise UserError(
                "expected delays without --shipped, --averaged and settings; --protocol FILE says how"
            )
        where = (folder or Path("reproductions") / "delays", results or Path("results"), protocol)
        return _delays(order, (datasets or [], rows or []), where, (trials, seeds), show=show)
    cells = find_cells(what, datasets or (), rows or ())
    folder = folder or Path("reproductions") / f"{cells[0].table}{'-averaged' if averaged else ''}"
    overrides = _overrides(settings)
    order = Order(what, workers, deadline, quiet=quiet, json=json)
    if shipped:
        condition = "averaged" if averaged else "plain"
        return _train_shipped(order, cells, folder, seeds or 1, condition, overrides)
    if averaged:
        raise UserError("expected --shipped with --averaged, found none; the protocol trains both")
    asked = {"trials": trials, "seeds": seeds, "seeds_of_short_runs": seeds, "overrides": overrides}
    given = {name: value for name, value in asked.items() if value}
    return _by_protocol(order, cells, folder, results or Path("results"), protocol, given, show=show)


@dataclasses.dataclass(frozen=True)
class Order:
    """How the command is to go about it.

    Args:
        what: as it was asked for.
        workers: processes.
        deadline: of `time.monotonic`.
        quiet: no progress.
        json: print JSON.
    """

    what: str
    workers: int
    deadline: float
    quiet: bool
    json: bool


def _train_shipped(
    order: Order, cells: list[Cell], folder: Path, seeds: int, condition: str, overrides: dict[str, Any]
) -> int:
    from ostinato.reproduce.table import markdown, rows_of_trainings, to_dict
    from ostinato.reproduce.training import score_of, trainings_of

    trainings = trainings_of(cells, folder, seeds=seeds, condition=condition, overrides=overrides)
    folder.mkdir(parents=True, exist_ok=True)
    code = _run(
        trainings, folder, order, "trainings", lambda job: f"seed {job.seed}: done{score_of(job.summary())}"
    )
    found = rows_of_trainings(trainings)
    atomic_write(folder / f"{cells[0].table}.md", markdown(found))
    atomic_write(folder / f"{cells[0].table}.json", codec.dumps(to_dict(found), indent=1) + "\n")
    if order.json:
        print_json(to_dict(found))
    else:
        print_table(_table(found, f"{order.what}, paper and ours"))
        say(f"table: {folder / cells[0].table}.md  (and .json; runs beside it)")
    return code


def _by_protocol(
    order: Order,
    cells: list[Cell],
    folder: Path,
    results: Path,
    path: Path | None,
    given: dict[str, Any],
    *,
    show: bool,
) -> int:
    from ostinato.reproduce.document import write_plan, write_table
    from ostinato.reproduce.evidence import Evidence
    from ostinato.reproduce.protocol import CONDITIONS, Protocol
    from ostinato.reproduce.table import rows_of, to_dict
    from ostinato.reproduce.training import experiments_of

    protocol = dataclasses.replace(Protocol.read(path), **given)
    evidence = Evidence(results)
    if show and not results.is_dir():
        raise UserError(f"expected a folder with results at {results}, found none; choose it with --results")
    code = 0
    if not show:
        experiments = experiments_of(cells, folder, evidence, protocol)
        folder.mkdir(parents=True, exist_ok=True)
        code = _run(experiments, folder, order, "trainings", lambda job: "done")
        write_table(evidence, cells[0].table)
        write_plan(evidence, protocol)
    found = {c: rows_of({cell: evidence.seeds(cell, c) for cell in cells}) for c in CONDITIONS}
    if order.json:
        print_json({condition: to_dict(rows) for condition, rows in found.items()})
        return code
    for condition, rows in found.items():
        print_table(_table(rows, f"{order.what}, paper and ours, {condition}"))
    say(f"results: {results}")
    return code


def _delays(
    order: Order,
    asked: tuple[list[str], list[str]],
    where: tuple[Path, Path, Path | None],
    numbers: tuple[int | None, int | None],
    *,
    show: bool,
) -> int:
    from ostinato.reproduce import delays

    folder, results, path = where
    comparison = delays.Comparison.read(path)
    comparison = dataclasses.replace(
        comparison,
        trials=numbers[0] or comparison.trials,
        seeds=numbers[1] or comparison.seeds,
    )
    problems, methods = asked
    _, *named = order.what.split("/")
    if named:
        if len(named) != 2 or problems or methods:
            raise UserError(f"expected delays, or delays/PROBLEM-LENGTH/METHOD alone, found {order.what!r}")
        problems, methods = [named[0]], [named[1]]
    cells, code = comparison.cells(problems, methods), 0
    if show and not results.is_dir():
        raise UserError(f"expected a folder with results at {results}, found none; choose it with --results")
    if show:
        found = [delays.DelayExperiment(cell, comparison, results, folder) for cell in cells]
    else:
        found = delays.experiments(comparison, cells, results, folder)
        folder.mkdir(parents=True, exist_ok=True)
        code = _run(found, folder, order, "trainings", lambda job: "done")
        atomic_write(results / "delays.md", delays.markdown(delays.every(comparison, results)))
    if order.json:
        print_json({each.name: each.record for each in found})
    else:
        print_table(delays.table(found))
        say(f"results: {results}")
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


def _run(jobs: list[J], folder: Path, order: Order, unit: str, ended: Callable[[J], str]) -> int:
    """Run what is not finished; the exit code: 0, or 128 and the signal that stopped it."""
    from ostinato.cli.job_watch import Watch
    from ostinato.cli.workboard import Board
    from ostinato.reproduce.pool import OUT_OF_TIME, run_jobs
    from ostinato.training.monitor import Interrupted

    console = human(patient=True)
    begun, total = (sum(column) for column in zip(*(job.steps for job in jobs), strict=True))
    board = Board(console, order.workers, unit, begun, total, quiet=order.quiet)
    watch = Watch(board, quiet=order.quiet)
    lock = FileLock(folder / ".lock")
    try:
        with stop_signals(ends=saying("the same command")) as asked, board:
            run_jobs(
                jobs,
                watch=watch,
                workers=order.workers,
                deadline=order.deadline,
                stop_requested=lambda: or_unread(asked, console, watch.console)(),
                done=lambda job: board.say(f"{job.cell.name}, {ended(job)}"),
            )
    except Interrupted as interruption:
        done, total = (sum(column) for column in zip(*(job.steps for job in jobs), strict=True))
        why = "out of time" if interruption.signal == OUT_OF_TIME else "stopped"
        of_all = counted(total, unit.removesuffix("s"))
        console.print(f"{why}: {done} of {of_all} done; the same command goes on")
        return 0 if interruption.signal == OUT_OF_TIME else 128 + interruption.signal
    finally:
        lock.release()
    return 0


def _table(rows: list[Row], title: str) -> Table:
    from ostinato.reproduce.table import cells_of, headers, notes

    first, second, *others = headers(rows[0].cell.table)
    columns = number_columns(*(header.replace(" ", "\n", 1) for header in others))
    name = Column(f"{first}, {second}", text=True)
    table = Table([name, *columns], title, notes(rows))
    for row in rows:
        data, model, *figures = cells_of(row)
        table.add(f"{data} {model}", *(figure.replace(" [", "\n[") for figure in figures))
    return table
