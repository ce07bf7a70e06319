"""The paper's table with our figures beside it: as data, and as Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from ostinato.domains.paper import PAPER
from ostinato.errors import UserError
from ostinato.evaluation.measure import WATCHED
from ostinato.evaluation.numbers import UNTOLD, number, score, unit_of
from ostinato.reproduce.cells import Cell
from ostinato.reproduce.training import Training


@dataclass(frozen=True)
class Figure:
    """A score over seeds.

    Arguments:
        value: mean over seeds; None where the score of a seed could not be told.
        standard_error: over songs or sentences, the root mean square of the seeds'; None where unknown.
        spread: standard deviation over seeds; None for one seed.
        estimate: whether it is itself estimated.
        interval: widest of the seeds', of an estimate.
        convention: how it was taken.
        bound: whether it is a lower bound.
    """

    value: float | None
    standard_error: float | None
    spread: float | None
    estimate: bool
    interval: tuple[float, float] | None
    convention: str
    bound: bool = False

    def show(self, unit: str, *, error: bool = False, interval: bool = False) -> str:
        """The value, marked where it is an estimate; with its standard error and interval, if asked for."""
        text = score(
            self.value,
            unit,
            self.standard_error if error else None,
            estimate=self.estimate,
            bound=self.bound,
            interval=self.interval if interval or self.value is None else None,
        )
        return text.replace("\n", " ")


@dataclass(frozen=True)
class Row:
    """A cell with what was measured: train, valid, test, for music accuracy; empty where not finished.

    `baselines` are figures on test by name.
    """

    cell: Cell
    figures: dict[str, Figure]
    seeds: tuple[int, ...]
    settings: dict[str, Any]
    baselines: dict[str, Figure]

    @property
    def unit(self) -> str:
        """Of all figures but the accuracy."""
        return unit_of(_measure(self.cell))

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, on test."""
        ours = self.figures["test"].value if "test" in self.figures else None
        paper = self.paper("test")
        return None if ours is None or paper is None else ours - paper

    def paper(self, what: str) -> float | None:
        """What the paper prints."""
        if self.cell.table == "table1":
            return getattr(self.cell.paper, what, None)
        return dict(zip(("train", "test"), self.cell.paper, strict=True)).get(what)


def rows_of(found: Mapping[Cell, Mapping[int, Mapping[str, Any]]]) -> list[Row]:
    """One row a cell, from what its finished trainings have come to, by seed."""
    return [_row(cell, summaries) for cell, summaries in found.items()]


def rows_of_trainings(trainings: Sequence[Training]) -> list[Row]:
    """One row a cell, from those of its trainings that are finished, in the order of the trainings."""
    found: dict[Cell, dict[int, dict[str, Any]]] = {training.cell: {} for training in trainings}
    for training in trainings:
        if training.finished:
            found[training.cell][training.seed] = training.summary()
    return rows_of(found)


def _row(cell: Cell, by_seed: Mapping[int, Mapping[str, Any]]) -> Row:
    summaries = list(by_seed.values())
    models = [summary["results"]["model"] for summary in summaries]
    figures: dict[str, Figure] = {}
    if models:
        measure = _measure(cell)
        splits = ("train", "valid", "test")
        figures = {s: _figure([_score(cell, m, s, measure) for m in models]) for s in splits}
        if cell.table == "table1":
            accuracies = [_score(cell, m, "test", "accuracy_per_frame") for m in models]
            figures["accuracy"] = _figure(accuracies)
    settings = dict(summaries[0]["recipe"]) if summaries else {}
    return Row(cell, figures, tuple(by_seed), settings, _baselines(cell, summaries))


def _score(cell: Cell, system: Mapping[str, Any], split: str, name: str) -> dict[str, Any]:
    """A score of a system, by split and name.

    Raises:
        UserError: it has none, as nothing that this version wrote.
    """
    found: dict[str, Any] | None = system.get(split, {}).get(name)
    if found is None:
        raise UserError(
            f"expected {name} on {split} in the results of {cell.name}, found none; put them back from a "
            "copy, or remove them to have them made again"
        )
    return found


def _baselines(cell: Cell, summaries: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Of the first seed: baselines have none."""
    systems = summaries[0]["results"] if summaries else {}
    return {
        name: _figure([_score(cell, splits, "test", _measure(cell))])
        for name, splits in systems.items()
        if name != "model"
    }


def _measure(cell: Cell) -> str:
    """What the table compares: log-likelihoods of music, perplexities of words, bits of characters."""
    measure = cell.domain.measure
    return WATCHED[0] if measure is None else measure.name


def _figure(scores: list[dict[str, Any]]) -> Figure:
    values = [score["value"] for score in scores]
    told = None not in values
    errors = [score["standard_error"] for score in scores]
    intervals = [found for score in scores if (found := score.get("interval")) is not None]
    return Figure(
        value=fmean(values) if told else None,
        standard_error=None if None in errors else math.sqrt(fmean(e * e for e in errors)),
        spread=stdev(values) if told and len(values) > 1 else None,
        estimate=any(score["estimate"] for score in scores),
        interval=(min(i[0] for i in intervals), max(i[1] for i in intervals)) if intervals else None,
        convention=scores[0]["convention"],
        bound=any(score.get("bound") for score in scores),
    )


def headers(table: str) -> list[str]:
    """The names of the columns."""
    names = ["data", "model"] if table == "table1" else ["text", "model"]
    names += [f"{split} {whose}" for split in ("train", "test") for whose in ("paper", "ours")]
    names[-2:-2] = ["valid ours"]
    names += ["test difference"]
    return names + (["ACC paper", "ACC ours"] if table == "table1" else []) + ["seeds"]


def cells_of(row: Row) -> list[str]:
    """A row's texts, one for every header; a dash where there is nothing."""
    unit = row.unit

    def ours(what: str, unit: str = unit, **parts: bool) -> str:
        return row.figures[what].show(unit, **parts) if what in row.figures else "-"

    def paper(what: str) -> str:
        value = row.paper(what)
        return "N/A" if value is None else f"{value:.2f}"

    difference = "-" if row.difference is None else number(row.difference, unit, plus=True)
    if row.difference is None and "test" in row.figures:
        difference = UNTOLD
    texts = [row.cell.column, row.cell.row, paper("train"), ours("train"), ours("valid")]
    texts += [paper("test"), ours("test", error=True, interval=True), difference]
    if row.cell.table == "table1":
        texts += [paper("accuracy"), ours("accuracy", unit_of("accuracy_per_frame"), error=True)]
    return [*texts, str(len(row.seeds)) if row.seeds else "-"]


def notes(rows: Sequence[Row]) -> list[str]:
    """What the figures are: conventions, errors, marks."""
    finished = [row for row in rows if row.figures]
    over = " or ".join(dict.fromkeys(row.cell.domain.clusters for row in rows))
    lines = [f"paper: {PAPER}. difference: ours minus the paper's; ± standard error over {over}."]
    for title, name in (("test", "test"), ("train", "train"), ("ACC", "accuracy")):
        found = {
            (row.cell.column if row.cell.table == "table2" else "", row.figures[name].convention)
            for row in finished
            if name in row.figures and (name != "train" or row.cell.table == "table2")
        }
        lines += [f"{title}{f' ({column})' if column else ''}: {text}." for column, text in sorted(found)]
    for column, row in {row.cell.column: row for row in finished if row.baselines}.items():
        shown = ", ".join(f"{name} {one.show(row.unit, error=True)}" for name, one in row.baselines.items())
        lines.append(f"baselines on test ({column}): {shown}.")
    if any(row.figures["test"].estimate for row in finished):
        lines.append(
            "≈ marks an estimate and ≥ a lower bound, with an interval in brackets: the exact value is not "
            f"known, and where both sides of an estimate do not agree, {UNTOLD} which it is."
        )
    if any(row.figures["test"].spread is not None for row in finished):
        lines.append("Several seeds: the mean is shown; the spread over seeds is in the JSON file.")
    lines.append("higher is better" if rows and rows[0].cell.table == "table1" else "lower is better")
    return lines


def markdown(rows: Sequence[Row]) -> str:
    """The table in GitHub's Markdown, with the notes under it."""
    names = headers(rows[0].cell.table)
    lines = [names, ["---"] * 2 + ["---:"] * (len(names) - 2), *map(cells_of, rows)]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = "\n".join("- " + line.replace("<", "\\<") for line in notes(rows))  # <unk> is no HTML
    return f"{table}\n\n{below}\n"


def to_dict(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything, also what the printed table has no room for."""
    return {
        "table": rows[0].cell.table,
        "cells": [
            {
                "name": row.cell.name,
                "row": row.cell.row,
                "column": row.cell.column,
                "paper": {w: row.paper(w) for w in ("train", "test", "accuracy") if row.paper(w) is not None},
                "ours": {name: figure.__dict__ for name, figure in row.figures.items()},
                "baselines": {name: figure.__dict__ for name, figure in row.baselines.items()},
                "difference": row.difference,
                "seeds": list(row.seeds),
                "settings": row.settings,
            }
            for row in rows
        ],
        "notes": notes(rows),
    }
