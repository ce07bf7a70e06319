"""Problems with long delays: which methods solve them, with how many seeds, at what cost.

`shipped/delays.toml` says how. What has come of it is kept in RESULTS/delays/PROBLEM-LENGTH/METHOD.json: the
trials of the search, its choice, and the trainings with the seeds from 1 on.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import torch

from ostinato import foreign
from ostinato.domains.domain import Data, load_data
from ostinato.errors import UserError, near_names
from ostinato.evaluation.tables import Column, Table, number_columns
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.effective import with_draws
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.attempt import Attempt
from ostinato.reproduce.kept import read_record, write_record
from ostinato.reproduce.pool import JobWatch
from ostinato.runs.folder import Run
from ostinato.runs.results import score_run
from ostinato.search.space import Space
from ostinato.shapes import both, mapping, number, optional, record, sequence, text, truth

NAME = "delays"

_MADE = record(
    {"solved": truth, "cost": number, "cpu_seconds": number, "valid_log_likelihood": optional(number)},
    {"valid_error": optional(number), "test_error": optional(number), "reason": text},
)
_RECORD = record(
    {
        "trials": sequence(both(_MADE, record({"settings": mapping()}))),
        "seeds": mapping(both(_MADE, record({"recipe": mapping()}))),
    },
    {"chosen": mapping()},
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and how; see the comments in `shipped/delays.toml`.

    Args:
        problems, lengths: each with each, by every method.
        further: problems with their length, as "addition-200", and the methods that are tried on them.
        trials, tuning_budget: settings tried of each method, and what each may cost.
        seeds, budget: trainings of each method, and what each may cost.
        settings: of every method.
        methods: by name, a recipe, its further settings and the space that is searched.
    """

    problems: Sequence[str]
    lengths: Sequence[int]
    trials: int
    tuning_budget: float
    seeds: int
    budget: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    further: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """That of a TOML file; the one that comes along where there is no path.

        Raises:
            UserError: the file cannot be read, or is none.

        Example:
            >>> sorted(Comparison.read().methods)
            ['CLRM', 'CM', 'HF', 'SGD', 'adam-CL', 'regulariser']
        """
        place = files("ostinato") / "shipped" / "delays.toml"
        try:
            found = foreign.parsed(place.read_bytes()) if path is None else foreign.settings(path)
        except OSError as error:
            raise UserError(f"expected a comparison in TOML, cannot read {path}: {error.strerror}") from None
        known = {each.name for each in fields(cls)}
        for name in found:
            if name not in known:
                raise UserError(f"unknown {name!r} in a comparison of delays: {near_names(name, known)}")
        try:
            made = cls(**found)
            made.cells()
        except (TypeError, AttributeError) as error:
            raise UserError(f"expected a whole comparison of delays in {path}: {error}") from None
        return made

    def cells(self, columns: Sequence[str] = (), rows: Sequence[str] = ()) -> list["DelayCell"]:
        """Every problem, length and method, or those of some names.

        Args:
            columns: of problems with their length, or without: "addition-50", "addition".
            rows: of methods.

        Raises:
            UserError: there is none of a name.

        Example:
            >>> [cell.name for cell in Comparison.read().cells(["addition-50"], ["CM", "HF"])]
            ['delays/addition-50/CM', 'delays/addition-50/HF']
        """
        every = [DelayCell(p, n, m) for p in self.problems for n in self.lengths for m in self.methods]
        for column, methods in self.further.items():
            problem, _, length = column.rpartition("-")
            if (
                problem not in self.problems
                or not length.isdecimal()
                or not {*methods} <= self.methods.keys()
            ):
                raise UserError(
                    f'expected further problems as "addition-200" = ["CM"], of {", ".join(self.problems)} '
                    f"and {', '.join(self.methods)}, found {column!r} = {list(methods)!r}"
                )
            every += [DelayCell(problem, int(length), method) for method in methods]
        for asked, known in (
            (columns, {cell.column for cell in every} | set(self.problems)),
            (rows, set(self.methods)),
        ):
            for name in asked:
                if name not in known:
                    raise UserError(f"delays has no {name!r}: {near_names(name, known)}")
        return [
            cell
            for cell in every
            if (not columns or {cell.column, cell.problem} & {*columns}) and (not rows or cell.method in rows)
        ]

    def base(self, cell: "DelayCell") -> Recipe:
        """What every training of a method on a problem has in common."""
        own = {k: value for k, value in self.methods[cell.method].items() if k not in ("recipe", "space")}
        given = {"domain": "delays", "data": cell.problem, "length": cell.length, **self.settings, **own}
        if cell.problem == "memorization" and not OPTIMIZERS[_optimizer(self, cell)].curvature:
            given["streams"] = 32
        return Recipe.parse(self.methods[cell.method]["recipe"], **given, epochs=100_000)

    def draws(self, cell: "DelayCell", number: int) -> dict[str, Any]:
        """The settings of a trial, a function of its number alone."""
        space = Space.from_toml(dict(self.methods[cell.method].get("space", {})))
        return space.sample(0, number)

    def to_dict(self) -> dict[str, Any]:
        """As it is kept beside the results."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return found


def _optimizer(comparison: Comparison, cell: "DelayCell") -> str:
    letters = comparison.methods[cell.method]["recipe"]
    return Recipe.parse(letters, domain="delays", data=cell.problem).optimizer


@dataclass(frozen=True)
class DelayCell:
    """A method on a problem of a length.

    Example:
        >>> DelayCell("addition", 50, "HF").name
        'delays/addition-50/HF'
    """

    problem: str
    length: int
    method: str

    @property
    def column(self) -> str:
        """PROBLEM-LENGTH."""
        return f"{self.problem}-{self.length}"

    @property
    def name(self) -> str:
        """delays/PROBLEM-LENGTH/METHOD."""
        return f"{NAME}/{self.column}/{self.method}"


@dataclass(frozen=True)
class DelayExperiment:
    """A method on a problem: a search, then trainings with several seeds; see `ostinato.reproduce.pool.Job`.

    Arguments:
        cell: which.
        comparison: how.
        results: the folder that keeps what has come of it.
        folder: of the runs.
    """

    cell: DelayCell
    comparison: Comparison
    results: Path
    folder: Path

    @property
    def name(self) -> str:
        """The cell's."""
        return self.cell.name

    @property
    def _place(self) -> Path:
        return self.results / NAME / self.cell.column / f"{self.cell.method}.json"

    @property
    def record(self) -> dict[str, Any]:
        """What there is."""
        if not self._place.is_file():
            return {"trials": [], "seeds": {}}
        found: dict[str, Any] = read_record(self._place, _RECORD)
        return found

    @property
    def steps(self) -> tuple[int, int]:
        """Trials and trainings done, and all of them."""
        found, how = self.record, self.comparison
        return len(found["trials"]) + len(found["seeds"]), how.trials + how.seeds

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        done, total = self.steps
        return done >= total

    def run(self, watch: JobWatch, stop_requested: Callable[[], int] = lambda: 0) -> None:
        """Do what is left.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
        """
        torch.set_num_threads(1)
        how, base = self.comparison, self.comparison.base(self.cell)
        data, runs = load_data(base, progress=False), self.folder / self.cell.name
        while len(self.record["trials"]) < how.trials:
            number = len(self.record["trials"])
            draws = how.draws(self.cell, number)
            attempt = Attempt(with_draws(base, draws), runs / f"trial-{number}", how.tuning_budget)
            made = self._made(attempt, data, watch, f"trial {number}", draws, stop_requested)
            write_record(
                self._place, {**self.record, "trials": [*self.record["trials"], {"settings": draws, **made}]}
            )
        chosen = chosen_of(self.record["trials"])
        for seed in range(1, how.seeds + 1):
            if str(seed) not in self.record["seeds"]:
                recipe = with_draws(base, chosen).replace(seed=seed)
                attempt = Attempt(recipe, runs / f"seed-{seed}", how.budget)
                made = self._made(attempt, data, watch, f"seed {seed}", chosen, stop_requested)
                seeds = {**self.record["seeds"], str(seed): {"recipe": recipe.to_dict(), **made}}
                write_record(self._place, {**self.record, "chosen": chosen, "seeds": seeds})

    def _made(
        self,
        attempt: Attempt,
        data: Data,
        watch: JobWatch,
        label: str,
        settings: dict[str, Any],
        stop: Callable[[], int],
    ) -> dict[str, Any]:
        monitor = watch.training(f"{self.name}, {label}", attempt.recipe, settings)
        made = attempt.run(data, monitor, stop)
        if made["solved"] and label.startswith("seed"):
            scores = score_run(Run.open(attempt.folder), data, ("test",)).scores["model"]["test"]
            made = {**made, "test_error": scores["error"].value}
        watch.ended(f"{self.name}, {label}: {'solved' if made['solved'] else 'not solved'}")
        return made


def chosen_of(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings that solved the problem at the least cost, else those with the best log-likelihood.

    Raises:
        UserError: no trial has come to a score.

    Example:
        >>> trial = {"settings": {}, "solved": False, "cost": 9, "valid_log_likelihood": -1.0}
        >>> better = trial | {"settings": {"learning_rate": 0.1}, "valid_log_likelihood": -0.5}
        >>> chosen_of([trial, better]), chosen_of([better, trial | {"solved": True}])
        ({'learning_rate': 0.1}, {})
    """
    solved = [trial for trial in trials if trial["solved"]]
    if solved:
        return dict(min(solved, key=lambda trial: trial["cost"])["settings"])
    scored = [trial for trial in trials if trial["valid_log_likelihood"] is not None]
    if not scored:
        raise UserError("expected a trial with a score, found none: every one of them diverged")
    return dict(max(scored, key=lambda trial: trial["valid_log_likelihood"])["settings"])


def experiments(
    comparison: Comparison, cells: Sequence[DelayCell], results: Path, folder: Path
) -> list[DelayExperiment]:
    """One of each cell; the comparison is kept beside the results.

    Raises:
        UserError: the results there were made in another way.
    """
    place, now = results / NAME / "comparison.json", comparison.to_dict()
    if place.is_file() and read_record(place, mapping()) != now:
        raise UserError(
            f"expected the comparison that the results in {place.parent} were made with, found another; "
            "keep these results elsewhere"
        )
    if not place.is_file():
        write_record(place, now)
    return [DelayExperiment(cell, comparison, results, folder) for cell in cells]


def every(comparison: Comparison, results: Path) -> list[DelayExperiment]:
    """An experiment of each cell, to look at."""
    return [DelayExperiment(cell, comparison, results, Path()) for cell in comparison.cells()]


def lines_of(found: Sequence[DelayExperiment]) -> list[list[str]]:
    """For each experiment: problem and length, method, seeds that solved it, and the medians of what these
    cost, in gradients and in seconds of one core.
    """
    lines = []
    for each in found:
        seeds = list(each.record["seeds"].values())
        solved = [one for one in seeds if one["solved"]]
        costs = "-"
        seconds = "-"
        if solved:
            costs = f"{statistics.median(one['cost'] for one in solved):,.0f}"
            seconds = f"{statistics.median(one['cpu_seconds'] for one in solved):,.0f}"
        lines.append([each.cell.column, each.cell.method, f"{len(solved)} of {len(seeds)}", costs, seconds])
    return lines


def table(found: Sequence[DelayExperiment]) -> Table:
    """`lines_of` as a table, to print."""
    names = [Column("problem", text=True), Column("method", text=True)]
    made = Table(names + number_columns("solved", "gradients\nto solve it", "CPU\nseconds"), "long delays")
    for line in lines_of(found):
        made.add(*line)
    made.notes = [
        "solved: fewer than 1% of 10,000 fresh sequences wrong; of seeds; costs are medians of those that did"
    ]
    return made


def markdown(found: Sequence[DelayExperiment]) -> str:
    """`lines_of` as a table in Markdown; those that have no seeds yet are left out."""
    lines = ["| problem | method | solved, of seeds | gradients to solve it | CPU seconds |"]
    lines.append("| --- | --- | ---: | ---: | ---: |")
    lines += [
        f"| {' | '.join(line)} |" for line in lines_of([each for each in found if each.record["seeds"]])
    ]
    return "\n".join(lines) + "\n"
