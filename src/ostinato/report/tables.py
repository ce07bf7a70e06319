"""The tables of a report: scores beside baselines and the paper, and what each run recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ostinato.numbers import recorded
from ostinato.report.charts import thinned
from ostinato.report.numbers import MINUS, NONE, brief, signed
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
COLUMNS: dict[str, tuple[Column, ...]] = {
    "music": MUSIC,
    "words": tuple(
        (name, split, f"{split}, {label}")
        for name, label in (("perplexity", "perplexity"), ("perplexity_known", "without unknown words"))
        for split in ("train", "valid", "test")
        if name == "perplexity" or split == "test"
    ),
    "chars": tuple(("bits_per_character", s, f"{s}, bits/character") for s in ("train", "valid", "test")),
    "task": tuple(("error", split, f"{split}, wrong sequences, %") for split in ("valid", "test")),
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


def said(score: dict[str, Any] | None) -> str:
    r"""A score with its standard error; an estimate is marked, and has its interval
    on a second line.

    Example:
        >>> said({"value": -8.654321, "unit": "nats/frame", "standard_error": 0.0789})
        '\u22128.654 ± 0.079'
        >>> said({"value": -6.8, "standard_error": 0.08, "estimate": True, "interval": [-6.85, -6.78]})
        '≈ −6.800 ± 0.080\n[−6.850, −6.780]'
    """
    if not score or score.get("value") is None:
        return NONE
    return recorded(score).replace("-", MINUS)


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
            rows.append(
                Row(f"paper: {name}", [NONE if value is None else signed(value, 2) for value in own], "paper")
            )
            rows.append(Row("difference", _differences(run, columns, own), "difference"))
    baselines = {name: scores for run in scored for name, scores in run.scores.items() if name != "model"}
    rows += [Row(name, _cells(scores, columns), "baseline") for name, scores in baselines.items()]
    mean = {"music": "songs", "task": "sequences"}.get(scored[0].task, "sentences")
    notes = [f"± standard error over {mean}; ≈ an estimate, with the interval for the exact value."]
    if compared:
        better = _BETTER.get(scored[0].task, "above 0: better than the paper")
        notes.append(f"Paper: {PAPER}. Difference: this run less the paper; {better}.")
        if scored[0].task == "music":
            notes.append(
                "The paper does not define its accuracy: (b) is the one that its baselines agree with."
            )
    return Table(
        f"Scores on {scored[0].data_name}",
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
        score = "perplexity" if run.task == "words" else "bits_per_character"
        return name, {(score, "train"): train, (score, "test"): test}
    return None


def epochs_table(run: RunRecord) -> Table:
    """What a run recorded of its epochs: the numbers behind its curves."""
    watched = run.watched
    wanted = {
        f"train_{watched}": f"train {watched.replace('_', '-')}",
        f"valid_{watched}": f"validation {watched.replace('_', '-')}",
        "gradient_norm": "gradient norm",
        "clipped": "share clipped",
        "learning_rate": "learning rate",
        "momentum": "momentum",
        "damping": "damping",
        "seconds": "seconds",
    }
    names = {name: label for name, label in wanted.items() if any(name in record for record in run.epochs)}
    shown, best = thinned(run.epochs, MOST_ROWS), run.best
    rows = [
        Row(
            f"{record['epoch'] + 1}",
            [brief(record.get(name)) for name in names],
            "model" if record is best else "",
        )
        for record in shown
    ]
    some = "" if len(shown) == len(run.epochs) else f", {len(shown)} of {len(run.epochs)}"
    notes = ["Bold: the best validation, whose model is kept."]
    return Table(f"Epochs of {run.name}{some}", list(names.values()), rows, notes)


def trials_table(study: StudyRecord) -> Table:
    """Every trial of a study, the chosen one bold."""
    chosen = study.chosen.get("number")
    rows = [
        Row(
            str(trial["number"]),
            [
                trial["state"],
                brief(trial["value"]),
                *(brief(trial["params"].get(p)) for p in study.parameters),
            ],
            "model" if trial["number"] == chosen else "",
        )
        for trial in thinned(study.trials, MOST_ROWS)
    ]
    some = f", {len(rows)} of {len(study.trials)}" if len(rows) < len(study.trials) else ""
    notes = [] if chosen is None else ["Bold: the chosen trial."]
    return Table(f"Trials of {study.name}{some}", ["state", "value", *study.parameters], rows, notes)


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
        ("clip threshold", "" if threshold is None else f"{threshold:.4g}"),
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
    return [said(splits.get(split, {}).get(name)) for name, split, _ in columns]


def _paper_cell(value: float | None) -> str:
    return NONE if value is None else signed(value, 2)


def _differences(run: RunRecord, columns: Sequence[Column], paper: list[float | None]) -> list[str]:
    cells = []
    for (name, split, _), figure in zip(columns, paper, strict=True):
        score = run.scores["model"].get(split, {}).get(name)
        if figure is None or not score or score.get("value") is None:
            cells.append("")
            continue
        mark = "≈ " if score.get("estimate") else ""
        cells.append(mark + signed(score["value"] - figure, 2, plus=True))
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
                    where = "" if run.task == "music" else f", {split}"
                    found.setdefault(f"{kind}{where}: {convention}.")
    return list(found)
