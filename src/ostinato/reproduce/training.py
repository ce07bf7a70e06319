"""Training a cell: once with the settings shipped, or by the protocol, with a search and several seeds."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ostinato.domains.domain import Data, domain_named, load_data
from ostinato.errors import UserError
from ostinato.evaluation.numbers import number
from ostinato.recipe.recipe import Recipe
from ostinato.reproduce.cells import Cell, check_overrides
from ostinato.reproduce.evidence import Evidence, grouped
from ostinato.reproduce.pool import JobWatch
from ostinato.reproduce.protocol import CONDITIONS, PLAIN, Protocol
from ostinato.reproduce.tuning import Clock, Tuner, averaging_of, effective
from ostinato.runs.finish import RESULTS, conclude, train_in
from ostinato.runs.folder import CONFIG, Run
from ostinato.runs.results import taken_apart
from ostinato.runs.summary import read_summary
from ostinato.runs.trained import load_model


@dataclass(frozen=True)
class Training:
    """A cell with one seed, trained in a run's folder.

    Arguments:
        cell: of a table.
        seed: of the training.
        recipe: the settings.
        folder: the run's.
    """

    cell: Cell
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def name(self) -> str:
        """The cell, and the seed where it is not the first."""
        return f"{self.cell.name}, seed {self.seed}" if self.seed else self.cell.name

    @property
    def finished(self) -> bool:
        """Whether the folder holds the results of these settings."""
        if not (self.folder / CONFIG).is_file():
            return False
        run = Run(self.folder)
        return run.holds(RESULTS) and Recipe.from_dict(run.config()) == self.recipe

    @property
    def steps(self) -> tuple[int, int]:
        """Trainings done, of one."""
        return int(self.finished), 1

    def summary(self) -> dict[str, Any]:
        """What the finished training has come to: its results.json."""
        found = read_summary(self.folder)
        if found is None:
            raise UserError(f"expected {RESULTS} in {self.folder}, found it removed; put it back from a copy")
        return found

    def run(self, watch: JobWatch, stop_requested: Callable[[], int] = lambda: 0) -> None:
        """Train and score, or go on with what is there.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
            UserError: see `train_in`.
        """
        if self.finished:
            return
        torch.set_num_threads(1)
        self.train(load_data(self.recipe, progress=False), watch, stop_requested)
        watch.ended("")

    def train(self, data: Data, watch: JobWatch, stop_requested: Callable[[], int]) -> None:
        """The same with data that are there already; whoever calls says that it has ended."""
        monitor = watch.training(self.name, self.recipe, shown_settings(self.cell, self.recipe))
        train_in(self.folder, self.recipe, data, monitor, stop_requested=stop_requested)
        conclude(Run.open(self.folder), data, notice=monitor.notice)


def trainings_of(
    cells: Iterable[Cell],
    folder: Path,
    *,
    seeds: int = 1,
    condition: str = CONDITIONS[0],
    overrides: Mapping[str, Any] | None = None,
) -> list[Training]:
    """Every cell with every seed, 0 and up, with the settings shipped; seed after seed, so that early ends
    leave whole columns.

    Args:
        cells: what to train.
        folder: where to.
        seeds: how many.
        condition: of those shipped; see `ostinato.reproduce.protocol`.
        overrides: settings that are other for all cells that have them.

    Raises:
        UserError: a setting is none that any of the cells has.
    """
    given, cells = dict(overrides or {}), list(cells)
    check_overrides(cells, given)
    return [
        Training(
            cell,
            seed,
            cell.recipe(condition=condition, overrides=given | {"seed": seed}),
            folder_of(cell, folder, seed),
        )
        for seed in range(seeds)
        for cell in cells
    ]


def folder_of(cell: Cell, folder: Path, seed: int) -> Path:
    """FOLDER/COLUMN/MODEL, a run's folder; further seeds have their own beside it."""
    _, column, model = cell.name.split("/")
    return folder / column / (model if seed == 0 else f"{model}-seed{seed}")


@dataclass(frozen=True)
class Experiment:
    """A cell by the protocol: a search, then trainings with several seeds, plain and averaged.

    Arguments:
        cell: of a table.
        protocol: how.
        evidence: where results are kept; what is there is not done again.
        folder: of the runs.
    """

    cell: Cell
    protocol: Protocol
    evidence: Evidence
    folder: Path

    @property
    def name(self) -> str:
        """The cell's."""
        return self.cell.name

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        done, total = self.steps
        return done == total

    @property
    def steps(self) -> tuple[int, int]:
        """Trials and trainings done, and all of them."""
        done = len(self._tuner.trials) if self._tuner.chosen is None else self.protocol.trials
        wanted = self.wanted_seeds
        # a folder may hold more seeds than are wanted now
        done += sum(seed < wanted for condition in CONDITIONS for seed in self.seeds(condition))
        return done, self.protocol.trials + len(CONDITIONS) * wanted

    @property
    def wanted_seeds(self) -> int:
        """How many seeds: more where one takes little time."""
        first = self.seeds(CONDITIONS[0]).get(0)
        short = first is not None and first["cpu_seconds"] < self.protocol.short_run_seconds
        return self.protocol.seeds_of_short_runs if short else self.protocol.seeds

    def seeds(self, condition: str) -> dict[int, dict[str, Any]]:
        """What the trainings with the seeds from 0 on have come to."""
        return self.evidence.seeds(self.cell, condition)

    @property
    def _tuner(self) -> Tuner:
        return Tuner(self.cell, self.protocol, self.evidence, self.folder / self.cell.name / "tuning")

    def run(self, watch: JobWatch, stop_requested: Callable[[], int] = lambda: 0) -> None:
        """Do what is left.

        Raises:
            Interrupted: a stop was requested; the same call goes on.
            UserError: no trial of the search has come to a score.
        """
        torch.set_num_threads(1)
        data = load_data(self.protocol.tuning_recipe(self.cell), progress=False)
        chosen = self._tuner.tune(
            data,
            lambda label, recipe, settings: watch.training(f"{self.name}, {label}", recipe, settings),
            stop_requested,
            lambda line: watch.ended(f"{self.name}, {line}"),
        )
        for condition in CONDITIONS:
            seed = 0
            while seed < self.wanted_seeds:  # which the first seed's time may change
                if seed not in self.seeds(condition):
                    self._train(condition, seed, chosen[condition], data, watch, stop_requested)
                seed += 1

    def _train(
        self,
        condition: str,
        seed: int,
        chosen: Mapping[str, Any],
        data: Data,
        watch: JobWatch,
        stop_requested: Callable[[], int],
    ) -> None:
        averaging = averaging_of(self.protocol.final_recipe(self.cell, chosen, PLAIN, seed), data)
        recipe = self.protocol.final_recipe(self.cell, chosen, condition, seed, averaging)
        folder = self.folder / self.cell.name / f"{condition}-{seed}"
        training, clock = Training(self.cell, seed, recipe, folder), Clock(folder)
        with clock:
            training.train(data, watch, stop_requested)
            content = record_of(training.summary(), Run.open(folder), data, baselines=seed == 0)
        self.evidence.write_seed(
            self.cell, condition, seed, content | {"cpu_seconds": round(clock.seconds, 1)}
        )
        watch.ended(f"{self.name}, {condition}, seed {seed}{score_of(content)}")


def record_of(summary: Mapping[str, Any], run: Run, data: Data, *, baselines: bool = True) -> dict[str, Any]:
    """What is kept of a training: settings, scores, totals of the test sequences, and what it ran on.

    Args:
        summary: its results.json.
        run: its run.
        data: what it was trained on.
        baselines: keep theirs too; they are the same for every seed.
    """
    trained = load_model(run)
    domain = domain_named(trained.recipe.domain)
    totals = domain.totals(trained.model, data, "test")
    overlap = domain.overlap(data, "test")
    apart = {} if overlap is None else {"overlap": taken_apart("test", totals, overlap).to_dict()}
    return apart | {
        "recipe": summary["recipe"],
        "results": {
            name: system for name, system in summary["results"].items() if name == "model" or baselines
        },
        "training": summary["training"],
        "data": summary["data"]["version"],
        "test_totals": {"of": totals.of, "ordered": totals.ordered} | grouped(totals.log_prob, totals.counts),
    }


def shown_settings(cell: Cell, recipe: Recipe) -> dict[str, Any]:
    """Those of a training's settings that the protocol searches."""
    names = Protocol.read().space_for(cell).ranges
    return effective(recipe, {name: recipe.get(name) for name in names})


def score_of(summary: Mapping[str, Any]) -> str:
    """The validation score that a training has come to, to end a line with."""
    scores = summary["results"]["model"].get("valid", {})
    return "".join(f", validation {number(s['value'], s['unit'])} {s['unit']}" for s in scores.values())


def experiments_of(
    cells: Sequence[Cell], folder: Path, evidence: Evidence, protocol: Protocol
) -> list[Experiment]:
    """Every cell by the protocol.

    Raises:
        UserError: the protocol has no use for the cells, or the results were made with another one.
    """
    protocol.check(list(cells))
    evidence.begin(protocol)
    return [Experiment(cell, protocol, evidence, folder) for cell in cells]
