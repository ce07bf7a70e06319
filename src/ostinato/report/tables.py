"""The tables of a report: scores beside baselines and the paper, and what each run recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ostinato.report.charts import thinned
from ostinato.report.measures import WATCHED, likelihood_of
from ostinato.report.numbers import MINUS, NONE, brief, number, recorded
from ostinato.report.paper import PAPER, music_figures, text_figures
from ostinato.report.records import RunRecord, StudyRecord

# Score and split of every column, and what stands over it.
Column = tuple[str, str, str]
MUSIC: tuple[Column, ...] = (
    ("log_likelihood", "train", "train, nats/frame"),
    ("log_likelihood", "valid", "validation, nats/frame"),
    ("log_likelihood", "test", "test, nats/frame"),
    ("accuracy_bay", "test", "test accuracy (a), %"),
    ("accuracy_per_frame", "test", "test accuracy (b), %"),
)
_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
COLUMNS: dict[str, tuple[Column, ...]] = {
    "music": MUSIC,
    "words": tuple(
        (name, split, f"{_SPLITS[split]}, {label}")
        for name, label in (("perplexity", "perplexity"), ("perplexity_known", "without unknown words"))
        for split in ("train", "valid", "test")
        if name == "perplexity" or split == "test"
    ),
    "chars": tuple(
        ("bits_per_character", s, f"{_SPLITS[s]}, bits/character") for s in ("train", "valid", "test")
    ),
    "task": tuple(("error", split, f"{_SPLITS[split]}, wrong sequences, %") for split in ("valid", "test")),
}
_BETTER = {"words": "below 0: better than the paper", "chars": "below 0: better than the paper"}
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
    columns = COLUMNS.get(scored[0].task, MUSIC)
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
    mean = {"music": "songs", "task": "sequences"}.get(scored[0].task, "sentences")
    notes = [f"± standard error over {mean}."]
    if any(cell.startswith("≈") for row in rows for cell in row.cells):
        notes = [f"± standard error over {mean}; ≈ an estimate, with the interval for the exact value."]
    if compared:
        better = _BETTER.get(scored[0].task, "above 0: better than the paper")
        notes.append(f"Paper: {PAPER}. Difference: this run less the paper, with this run's error; {better}.")
        if scored[0].task == "music":
            notes.append(
                "The paper does not define its accuracy: (b) is the one that its baselines agree with."
            )
    return Table(
        f"Scores on {scored[0].data_title}",
        [label for *_, label in columns],
        rows,
        notes,
        _conventions(scored, columns),
    )


def paper_figures(run: RunRecord) -> tuple[str, dict[tuple[str, str], float | None]] | None:
    """The paper's row that a run compares with, and its figures by score and split; None without one."""
    music = music_figures(run.config, run.data_name)
    if music:
        name, figures = music
        return name, {
            ("log_likelihood", "train"): figures.train,
            ("log_likelihood", "test"): figures.test,
            ("accuracy_per_frame", "test"): figures.accuracy,
        }
    text = text_figures(run.config, run.data_name)
    if text:
        name, (train, test) = text
        score = run.measure.name
        return name, {(score, "train"): train, (score, "test"): test}
    return None


def epochs_table(run: RunRecord) -> Table:
    """What a run recorded of its epochs: the numbers behind its curves."""
    watched = likelihood_of(run.task, run.watched)
    wanted = {
        f"train_{watched.name}": (f"train {watched.axis}", watched.unit),
        f"valid_{watched.name}": (f"validation {watched.axis}", watched.unit),
        f"valid_{run.measure.name}": (f"validation {run.measure.axis}", run.measure.unit),
        "gradient_norm": ("gradient norm", None),
        "clipped": ("share clipped", None),
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


def chosen_said(study: StudyRecord) -> str:
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
        ("recipe", str(run.config.get("recipe", ""))),
        ("epochs", f"{len(run.epochs)}, the best {run.best['epoch'] + 1}"),
        ("stopped because", str(training.get("stopped_because") or "not stopped, or not recorded")),
        ("training time", duration(seconds)),
        ("threads", str(training.get("threads", ""))),
        ("clip threshold", "" if threshold is None else brief(threshold)),
        ("data", run.data_name),
        ("data version", str(data.get("version", ""))),
        *((f"data: {name}".replace("_", " "), str(value)) for name, value in data.get("details", {}).items()),
        ("skipped files", str(len(run.skipped)) if run.skipped else ""),
        *((name, str(value)) for name, value in environment.items()),
    ]
    return [(name, value) for name, value in found if value]


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(42.4), duration(754), duration(7300)
        ('42 s', '12 min 34 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


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
            cells.append("")
            continue
        mark, error = "≈ " if score.get("estimate") else "", score.get("standard_error")
        spread = "" if error is None else f" ± {number(error, score['unit'])}"
        cells.append(mark + number(score["value"] - figure, score["unit"], plus=True) + spread)
    return cells


def _conventions(runs: Sequence[RunRecord], columns: Sequence[Column]) -> list[str]:
    """How each score was taken, once for each convention."""
    label = {"log_likelihood": "Log-likelihood", "accuracy_bay": "(a)", "accuracy_per_frame": "(b)"}
    found: dict[str, None] = {}
    for run in runs:
        for splits in run.scores.values():
            for name, split, _ in columns:
                convention = splits.get(split, {}).get(name, {}).get("convention")
                if convention:
                    kind = label.get(name, name.replace("_", " ").capitalize())
                    where = "" if run.task == "music" else f", {_SPLITS[split]}"
                    found.setdefault(f"{kind}{where}: {convention}.")
    return list(found)
