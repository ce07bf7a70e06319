"""The tables of a report: scores beside baselines and the paper, and what each run recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ostinato.domains.declared import SPLITS, Column, Figures
from ostinato.domains.registry import DOMAINS
from ostinato.evaluation.measure import WATCHED
from ostinato.evaluation.numbers import UNTOLD, span
from ostinato.report.charts import thinned
from ostinato.report.measures import likelihood_of
from ostinato.report.numbers import MINUS, NONE, brief, number, recorded
from ostinato.report.records import RunRecord, StudyRecord, recipe_in

MOST_ROWS = 200


@dataclass(frozen=True)
class Row:
    """A line of a table; `kind` (model, baseline, paper, difference) decides how it looks."""

    label: str
    cells: list[str]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table; the first column holds the rows' labels.

    Arguments:
        caption: over it.
        columns: what stands over each column.
        rows: its lines.
        notes: what must be known to read it.
        conventions: how each number was taken.
    """

    caption: str
    columns: list[str]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    conventions: list[str] = field(default_factory=list)


def scores_table(runs: Sequence[RunRecord]) -> Table | None:
    """Every run's scores, each followed by the paper's and the difference, then the baselines.

    Args:
        runs: of the same data.
    """
    scored = [run for run in runs if run.scores.get("model")]
    if not scored:
        return None
    domain = DOMAINS[scored[0].domain]
    columns = domain.shown_columns()
    rows, compared = [], False
    for run in scored:
        rows.append(Row(run.name, _cells(run.scores["model"], columns), "model"))
        paper = paper_figures(run)
        if paper:
            compared = True
            name, figures = paper
            own = [figures.get(column[:2]) for column in columns]
            rows.append(Row(f"paper: {name}", [_printed(value) for value in own], "paper"))
            rows.append(Row("difference", _differences(run, columns, own), "difference"))
    baselines = {name: run.scores[name] for run in scored for name in run.baselines}
    rows += [Row(name, _cells(scores, columns), "baseline") for name, scores in baselines.items()]
    mean = domain.clusters
    notes = [f"± standard error over {mean}."]
    if any(cell.startswith(("≈", "≥", UNTOLD)) for row in rows for cell in row.cells):
        notes = [
            f"± standard error over {mean}; ≈ an estimate, ≥ a lower bound, with the interval for the exact "
            "value."
        ]
    if compared and domain.published is not None:
        better = "below" if scored[0].measure.lower_is_better else "above"
        notes.append(
            f"Paper: {domain.published.source}. Difference: this run less the paper, with this run's error; "
            f"{better} 0: better than the paper."
        )
        notes += [domain.published.note] if domain.published.note else []
    return Table(
        f"Scores on {scored[0].data_title}",
        [label for *_, label in columns],
        rows,
        notes,
        _conventions(scored, columns),
    )


def paper_figures(run: RunRecord) -> tuple[str, Figures] | None:
    """The paper's row that a run compares with, and its figures by score and split; None without one."""
    published = DOMAINS[run.domain].published
    return None if published is None else published.figures(run.config, run.data_name)


def epochs_table(run: RunRecord) -> Table:
    """What a run recorded of its epochs: the numbers behind its curves."""
    watched = likelihood_of(run.domain, run.watched)
    wanted = {
        f"train_{watched.name}": (f"train {watched.axis}", watched.unit),
        f"valid_{watched.name}": (f"validation {watched.axis}", watched.unit),
        f"valid_{run.measure.name}": (f"validation {run.measure.axis}", run.measure.unit),
        "gradient_norm": ("gradient norm", None),
        "clipped": ("share clipped", None),
        "clip_threshold": ("clip threshold", None),
        "learning_rate": ("learning rate", None),
        "momentum": ("momentum", None),
        "damping": ("damping", None),
        "seconds": ("seconds", None),
    }
    columns = {name: told for name, told in wanted.items() if any(name in record for record in run.epochs)}
    shown, best = thinned(run.epochs, MOST_ROWS), run.best
    rows = [
        Row(
            f"{record['epoch'] + 1}",
            [
                brief(record.get(name)) if unit is None else number(record.get(name), unit)
                for name, (_, unit) in columns.items()
            ],
            "model" if record is best else "",
        )
        for record in shown
    ]
    some = "" if len(shown) == len(run.epochs) else f", {len(shown)} of {len(run.epochs)}"
    notes = ["Bold: the best validation, whose model is kept."]
    return Table(f"Epochs of {run.name}{some}", [label for label, _ in columns.values()], rows, notes)


def trials_table(study: StudyRecord) -> Table:
    """Every trial of a study with what it trained with, the chosen one bold."""
    chosen = study.chosen.get("number")
    rows = [
        Row(
            str(trial["number"]),
            [
                trial["state"],
                study.score_of(trial),
                *(brief(trial["settings"].get(name)) for name in study.parameters),
            ],
            "model" if trial["number"] == chosen else "",
        )
        for trial in thinned(study.trials, MOST_ROWS)
    ]
    some = f", {len(rows)} of {len(study.trials)}" if len(rows) < len(study.trials) else ""
    notes = [] if chosen is None else ["Bold: the chosen trial."]
    if any(value is None for trial in study.trials for value in trial["settings"].values()):
        notes.append(f"{NONE}: the trial had no use for the setting, such as a leak where no unit leaks.")
    columns = ["state", f"validation {study.measure.axis}", *study.parameters]
    return Table(f"Trials of {study.name}{some}", columns, rows, notes)


def chosen_summary(study: StudyRecord) -> str:
    """The chosen trial, its validation score with its error, and the baselines'."""
    best = study.chosen.get("number")
    trial = next((trial for trial in study.trials if trial["number"] == best), None)
    if trial is None:
        return "No trial has been chosen yet."
    measure, run = study.measure, study.run
    text = f"Chosen: trial {best}, validation {measure.label} {study.score_of(trial)} {measure.unit}"
    if run is None:
        return f"{text}. Its run is not in this folder: neither its error nor the baselines are known here."
    if measure.stand_in:
        final = run.score("valid", WATCHED[0])
        likelihood = "" if final is None else f"; log-likelihood {recorded(final)} {final['unit']}"
        text += f", a stand-in{likelihood}".replace("\n", " ")
    found = {name: run.score("valid", WATCHED[0], name) for name in run.baselines}
    levels = [f"{name} {recorded(level)}" for name, level in found.items() if level]
    return text + (f". Baselines: {', '.join(levels)}." if levels else ".")


def facts(run: RunRecord) -> list[tuple[str, str]]:
    """What produced a run, as far as its folder knows: training, data, environment."""
    training, data = run.training, run.data
    environment = training.get("environment") or {}
    seconds = training.get("seconds") or sum(record.get("seconds", 0.0) for record in run.epochs)
    threshold = training.get("clip_threshold")
    found = [
        ("recipe", recipe_in(run.config)),
        ("epochs", f"{len(run.epochs)}, the best {run.best['epoch'] + 1}"),
        ("stopped because", str(training.get("stopped_because") or "not stopped, or not recorded")),
        ("training time", span(seconds)),
        ("threads", str(training.get("threads", ""))),
        ("clip threshold", "" if threshold is None else brief(threshold)),
        ("data", run.data_name),
        ("data version", str(data.get("version", ""))),
        *((f"data: {name}".replace("_", " "), str(value)) for name, value in data.get("details", {}).items()),
        ("skipped files", str(len(run.skipped)) if run.skipped else ""),
        *((name, str(value)) for name, value in environment.items()),
    ]
    return [(name, value) for name, value in found if value]


def _cells(splits: dict[str, Any], columns: Sequence[Column]) -> list[str]:
    return [recorded(splits.get(split, {}).get(name)) for name, split, _ in columns]


def _printed(value: float | None) -> str:
    """A figure as the paper has it."""
    return NONE if value is None else f"{value:.2f}".replace("-", MINUS)


def _differences(run: RunRecord, columns: Sequence[Column], paper: list[float | None]) -> list[str]:
    cells = []
    for (name, split, _), figure in zip(columns, paper, strict=True):
        score = run.score(split, name)
        if figure is None or score is None:
            untold = figure is not None and run.scores["model"].get(split, {}).get(name)
            cells.append(UNTOLD if untold else "")
            continue
        mark = "≥ " if score.get("bound") else "≈ " if score.get("estimate") else ""
        error = score.get("standard_error")
        spread = "" if error is None else f" ± {number(error, score['unit'])}"
        cells.append(mark + number(score["value"] - figure, score["unit"], plus=True) + spread)
    return cells


def _conventions(runs: Sequence[RunRecord], columns: Sequence[Column]) -> list[str]:
    """How each score was taken, once for each convention."""
    label = {"log_likelihood": "Log-likelihood", "accuracy_bay": "(a)", "accuracy_per_frame": "(b)"}
    found: dict[tuple[str, str], dict[str, None]] = {}
    several = set()  # scores that were not taken in the same way on all splits
    for splits in (splits for run in runs for splits in run.scores.values()):
        own: dict[str, set[str]] = {}
        for name, split, _ in columns:
            if convention := splits.get(split, {}).get(name, {}).get("convention"):
                kind = label.get(name, name.replace("_", " ").capitalize())
                found.setdefault((kind, convention), {})[SPLITS[split]] = None
                own.setdefault(kind, set()).add(convention)
        several |= {kind for kind, conventions in own.items() if len(conventions) > 1}
    return [
        f"{kind}{', ' + ' and '.join(splits) if kind in several else ''}: {convention}."
        for (kind, convention), splits in found.items()
    ]
