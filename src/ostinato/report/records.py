"""What a report is made from: the records of runs and studies, read from their folders."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from ostinato import foreign, seal
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, call
from ostinato.evaluation.measure import WATCHED, Measure
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.recipe.effective import effective_settings
from ostinato.recipe.letters import named
from ostinato.recipe.older import renewed, renewed_study
from ostinato.recipe.recipe import Recipe
from ostinato.report.measures import kept_epoch, likelihood_of, measure_of, watched_score
from ostinato.report.numbers import score
from ostinato.runs.folder import CONFIG, RESULTS, Run
from ostinato.runs.summary import STUDY_SUMMARY, read_json, read_summary
from ostinato.runs.summary import TRIALS as trial_list

STUDY, TRIALS, JOURNAL = "study.toml", "trials.json", "journal.log"


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder tells it.

    Arguments:
        name: short, and unlike that of any other run of the report.
        folder: where it is, as the user wrote it.
        config: its settings.
        config_text: the same as the file has them.
        epochs: the metrics of each epoch.
        updates: each Hessian-free update, if it had any.
        scores: by system ("model", then baselines), split and name; empty before the run is scored.
        data: name, version and details of its data; empty before the run is scored.
        training: epochs, clip threshold, seconds, threads, environment: what is known of them.
        skipped: files of the data that could not be used, with reasons.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    config_text: str
    epochs: list[dict[str, Any]]
    updates: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)

    @property
    def domain(self) -> str:
        """The kind of data."""
        return domain_in(self.config)

    @property
    def data_name(self) -> str:
        """The data set; before the run is scored, as the settings call it."""
        return str(self.data.get("name") or self.config.get("data", ""))

    @property
    def data_title(self) -> str:
        """The data set and what of it is modelled: one text has words and characters."""
        of_data = DOMAINS[self.domain].of_data
        return self.data_name + (f" ({of_data})" if of_data else "")

    @property
    def watched(self) -> str:
        """The score that validation watched."""
        return next(filter(None, map(watched_score, self.epochs)), WATCHED[0])

    @property
    def best(self) -> dict[str, Any]:
        """The epoch whose model is kept: the best validation."""
        return kept_epoch(self.epochs)

    @property
    def measure(self) -> Measure:
        """What its curves show."""
        return measure_of(self.domain, self.watched, self.config)

    def score(self, split: str, name: str, system: str = "model") -> dict[str, Any] | None:
        """A score of results.json with its error and unit; None where there is none."""
        found = self.scores.get(system, {}).get(split, {}).get(name)
        return found if found and found.get("value") is not None else None

    @property
    def baselines(self) -> list[str]:
        """The systems beside the model."""
        return [system for system in self.scores if system != "model"]


@dataclass(frozen=True)
class StudyRecord:
    """A search for settings, as its folder tells it.

    Arguments:
        name: of the folder.
        folder: where it is, as the user wrote it.
        settings: what study.toml holds, but for the database.
        settings_text: the same as TOML.
        trials: number, state, value, folder of each; `params`, what the search drew, and `settings`, what the
            trial trained with, where a setting without effect is None.
        chosen: number, params and validation score of the chosen trial; empty while there is none.
        run: the run of the chosen trial, if its folder is there.
    """

    name: str
    folder: Path
    settings: dict[str, Any]
    settings_text: str
    trials: list[dict[str, Any]]
    chosen: dict[str, Any] = field(default_factory=dict)
    run: RunRecord | None = None

    @property
    def complete(self) -> list[dict[str, Any]]:
        """The trials that ended with a value."""
        return [t for t in self.trials if t["state"] == "complete" and _number(t["value"]) > -math.inf]

    @property
    def parameters(self) -> list[str]:
        """What was searched over, in the order met."""
        return list(dict.fromkeys(name for trial in self.trials for name in trial["params"]))

    @property
    def measure(self) -> Measure:
        """What trials are compared by: the score that training watched."""
        recipe = self.settings["recipe"]
        exact = OUTPUTS[recipe.get("output", OUTPUTS.default)].exact
        watched = self.run.watched if self.run else WATCHED[0 if exact else 1]
        return likelihood_of(domain_in(recipe), watched)

    def score_of(self, trial: dict[str, Any]) -> str:
        """A trial's score; the chosen one's with its standard error, once it is known."""
        chosen = self.run is not None and trial["number"] == self.chosen.get("number")
        final = self.run.score("valid", self.measure.name) if chosen and self.run else None
        return score(trial["value"], self.measure.unit, (final or {}).get("standard_error"))


def recipe_in(settings: Mapping[str, Any]) -> str:
    """The recipe's name in a run's settings, as this or an older version wrote them.

    Example:
        >>> recipe_in({"recipe": "SGD+C", "optimizer": "adam"}), recipe_in({"recipe": "SGD+C"}), recipe_in({})
        ('adam+C', 'SGD+C', '')
    """
    letters = str(settings.get("recipe", ""))
    optimizer = renewed(settings).get("optimizer")
    try:
        return named(letters, optimizer) if letters and optimizer else letters
    except UserError:  # an optimizer, say, that is registered elsewhere
        return letters


def domain_in(settings: Mapping[str, Any]) -> str:
    """The kind of data that a run's settings name, as this or an older version wrote them.

    Example:
        >>> domain_in({"task": "task"}), domain_in({"domain": "words"}), domain_in({})
        ('delays', 'words', 'music')
    """
    return DOMAINS.name(renewed(settings).get("domain", DOMAINS.default))


def read_records(folders: Sequence[Path]) -> tuple[list[RunRecord], list[StudyRecord]]:
    """The runs and studies in these folders; the run of a study's chosen trial is among the runs.

    Raises:
        UserError: a folder is neither, or a run in it has no epoch yet.
    """
    names = short_names(folders)
    runs: list[RunRecord] = []
    studies: list[StudyRecord] = []
    for name, folder in zip(names, folders, strict=True):
        if (folder / STUDY).is_file():
            studies.append(study := read_study(folder, name))
            runs += [study.run] if study.run else []
        else:
            runs.append(read_run(folder, name))
    return runs, studies


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many of its parts as tell the paths apart.

    Example:
        >>> short_names([Path("runs/jsb/SGD"), Path("runs/ptb/SGD")])
        ['jsb/SGD', 'ptb/SGD']
        >>> short_names([Path("runs/a"), Path("runs/b")])
        ['a', 'b']
    """
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise UserError("expected every run once, found one of them twice; leave it out")
    most = max(map(len, parts), default=1)
    for length in range(1, most + 1):
        names = ["/".join(own[-length:]) for own in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def read_run(folder: Path, name: str) -> RunRecord:
    """The run in a folder.

    Raises:
        UserError: the folder is neither a run nor a study, or the run has no epoch yet.
    """
    if not seal.is_there(folder, CONFIG):
        found = "a file" if folder.is_file() else f"neither {CONFIG} nor {STUDY}"
        found = found if folder.exists() else "nothing there"
        raise UserError(f"expected a run or a study at {folder}, found {found}; {call('train')} makes a run")
    run = Run.open(folder)
    records = run.metrics()
    epochs = [record for record in records if watched_score(record)]
    if not epochs:
        raise UserError(
            f"expected a run with at least one epoch in {folder}, found none; "
            f"go on with: {call('train', resume=folder)}"
        )
    record = RunRecord(
        name=name,
        folder=folder,
        config=run.config(),
        config_text=seal.read(folder, CONFIG).decode(),
        epochs=epochs,
        updates=[r for r in records if r.get("event") == "hessian-free update"],
    )
    results = read_summary(folder)
    # a run that goes on to more epochs has results of before until it is done
    if results is not None and results["training"]["epochs"] == len(epochs):
        record = _with_results(record, results)
    return record if record.training else replace(record, training=_training_of(run))


def _with_results(record: RunRecord, results: dict[str, Any]) -> RunRecord:
    """The record with what results.json says, as far as it says it."""
    return replace(
        record,
        scores=results["results"],
        data=results.get("data", record.data),
        training=results["training"],
        skipped=results.get("skipped", record.skipped),
    )


def read_study(folder: Path, name: str) -> StudyRecord:
    """The study in a folder, with the run of its chosen trial."""
    path = folder / STUDY
    seal.tell_unsealed(folder)
    try:
        # the database's address is not for a page: of before, it may hold a password
        settings = foreign.parsed(seal.read(folder, STUDY, foreign.MOST_SETTINGS))
        settings.pop("storage", None)
    except seal.SealError:
        raise
    except UserError as error:
        raise UserError(f"expected TOML in {path}, found an error: {error}; correct the file") from error
    _tell_of_journal(folder)
    base = _common_recipe(path, settings)
    trials = [
        {"value": None, "params": {}}
        | trial
        | {"settings": effective_settings(base, trial.get("params", {}))}
        for trial in read_json(folder, TRIALS, trial_list) or []
    ]
    results = read_json(folder, RESULTS, STUDY_SUMMARY) or {}
    chosen = results.get("chosen", {})
    return StudyRecord(
        name,
        folder,
        settings,
        tomli_w.dumps(settings),
        trials,
        chosen,
        _chosen_run(folder, name, trials, results),
    )


def _tell_of_journal(folder: Path) -> None:
    """Tell where the journal is damaged: nothing of it is on the page, but the search cannot go on."""
    try:
        seal.read(folder, JOURNAL, foreign.most_memory())
    except FileNotFoundError:
        return  # the trials are in a database
    except UserError as error:
        seal.tell(f"{error}. The report is of {TRIALS}, which has all trials that were recorded")


def _common_recipe(path: Path, settings: dict[str, Any]) -> Recipe:
    """What the trials of a study have in common."""
    try:
        return Recipe.from_dict(renewed_study(settings)["recipe"])
    except (KeyError, TypeError):
        raise UserError(f"expected the table [recipe] of a study in {path}, found none") from None
    except UserError as error:
        raise UserError(f"expected the settings of a study in {path}: {error}") from error


def _chosen_run(
    folder: Path, name: str, trials: list[dict[str, Any]], results: dict[str, Any]
) -> RunRecord | None:
    number = results.get("chosen", {}).get("number")
    trial = next((trial for trial in trials if trial["number"] == number), None)
    if trial is None or not trial.get("folder"):
        return None
    places = (Path(trial["folder"]), folder / trial["folder"], folder / "trials" / Path(trial["folder"]).name)
    # where its settings alone are gone, reading it says so
    place = next((p for p in places if any((p / name).is_file() for name in (CONFIG, seal.SEAL))), None)
    if place is None:
        return None
    run = read_run(place, f"{name}, trial {number}")
    # A study's results hold those of the chosen trial's run, as its own results.json does.
    return run if run.scores else _with_results(run, results["results"])


def _training_of(run: Run) -> dict[str, Any]:
    """What results.json says about the training, from the last checkpoint where it does not (yet)."""
    if not run.has_checkpoint("last"):
        return {}
    _, state = run.load_checkpoint("last")
    progress = state.get("progress", {})
    kept = {name: progress.get(name) for name in ("stopped_because", "clip_threshold", "seconds")}
    kept |= {name: state.get(name) for name in ("threads", "devices", "environment")}
    return {name: value for name, value in kept.items() if value is not None}


def _number(value: Any) -> float:
    """A number to compare by: what is none comes last."""
    finite = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if finite else -math.inf
