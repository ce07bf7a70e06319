"""The runs of a folder in a row each, and what differs between runs: read from records, without PyTorch."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ostinato import seal
from ostinato.errors import UserError, call
from ostinato.evaluation.measure import WATCHED
from ostinato.files import FileLock, is_locked
from ostinato.report.measures import watched_score
from ostinato.report.records import STUDY, domain_in, recipe_in
from ostinato.runs.folder import CONFIG, LOCK, OWN_FILES, Run
from ostinato.runs.metrics import METRICS
from ostinato.runs.summary import read_summary

FINISHED, RUNNING, STOPPED, EMPTY = "finished", "running", "stopped", "not begun"

# TensorBoard's files begin with this.
_EVENTS = "events.out"

# What is wrong with a folder is one line of a table.
_LONGEST = 200


@dataclass(frozen=True)
class Listed:
    """What a folder of runs says of one of its folders.

    Arguments:
        name: the folder's.
        folder: where it is.
        state: finished, running, stopped, not begun; or what is wrong with the folder.
        is_run: whether it could be read as a run.
        kind: music, words, ..
        data, recipe, output: as in its settings.
        epochs: done.
        measure: what `validation` is, for instance log_likelihood or perplexity.
        validation: of the best epoch.
        test: of the model that was kept; None where the run has not been scored since its last epoch.
        test_measure: what `test` is; an RBM's validation has another measure.
        test_score: the same with its unit and standard error, as in results.json.
        log_likelihood: of the best epoch's validation, by which runs are ranked.
        changed: when anything was last recorded, in seconds since 1970.
    """

    name: str
    folder: Path
    state: str
    is_run: bool = False
    kind: str = ""
    data: str = ""
    recipe: str = ""
    output: str = ""
    epochs: int = 0
    measure: str = ""
    validation: float | None = None
    test: float | None = None
    test_measure: str = ""
    test_score: Mapping[str, Any] | None = None
    log_likelihood: float | None = None
    changed: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self) | {"folder": str(self.folder)}


def list_runs(folder: Path) -> list[Listed]:
    """Every folder in `folder`, by name, but for hidden ones; `folder` itself where it is a run.

    A folder that is no run, or a damaged one, is listed as that.

    Raises:
        UserError: there is no such folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Run.create(folder / "jsb-1", {"data": "jsb", "recipe": "SGD"}).close()
        >>> (folder / "notes").mkdir()
        >>> [(run.name, run.state) for run in list_runs(folder)]
        [('jsb-1', 'not begun'), ('notes', 'no run')]
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise UserError(f"expected a folder of runs at {folder}, found {found}; {call('train')} makes runs")
    if (folder / CONFIG).is_file():
        return [read_listed(folder)]
    try:
        folders = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}; check its permissions") from None
    return [read_listed(path) for path in sorted(folders)]


def read_listed(folder: Path) -> Listed:
    """One folder; whatever is wrong with it stands in place of its state."""
    name = folder.name or folder.resolve().name
    try:
        with seal.telling(lambda _: None):
            return _read(folder, name)
    except OSError as error:
        return Listed(name, folder, f"cannot be read: {error.strerror or error}"[:_LONGEST])
    except UserError as error:
        return Listed(name, folder, " ".join(f"damaged: {error}".split())[:_LONGEST])


def _read(folder: Path, name: str) -> Listed:
    if (folder / STUDY).is_file():
        return Listed(name, folder, "no run: a study")
    if not (folder / CONFIG).is_file():
        return Listed(name, folder, "no run")
    run = Run.open(folder)
    settings = run.config()
    if "data" not in settings:
        return Listed(name, folder, f"no run: {CONFIG} has no data")
    epochs = [r for r in run.metrics() if watched_score(r)]
    results = _results(folder, len(epochs))
    measure = _measure(epochs[-1]) if epochs else ""
    best = _best(epochs)
    scores = results.get("results", {}).get("model", {}).get("test", {})
    of_test = next((name for name in (measure, *WATCHED) if name in scores), "")
    test = _number(scores.get(of_test, {}).get("value"))
    idle = FINISHED if results else STOPPED if epochs else EMPTY
    return Listed(
        name=name,
        folder=folder,
        state=RUNNING if is_locked(folder / LOCK) else idle,
        is_run=True,
        kind=domain_in(settings),
        data=str(settings["data"]),
        recipe=recipe_in(settings),
        output=str(settings.get("output", "")),
        epochs=len(epochs),
        measure=measure,
        validation=_number(best.get(f"valid_{measure}")),
        test=test,
        test_score=None if test is None else scores[of_test],
        test_measure=of_test,
        log_likelihood=_number(best.get(f"valid_{watched_score(best)}")),
        changed=max(path.stat().st_mtime for path in (folder / CONFIG, folder / METRICS) if path.exists()),
        settings=settings,
        training=results.get("training", {}),
    )


def _results(folder: Path, epochs: int) -> dict[str, Any]:
    """The run's results; none where it has been trained on since."""
    found = read_summary(folder)
    return found if found is not None and found["training"]["epochs"] == epochs else {}


def _measure(record: Mapping[str, Any]) -> str:
    """What people quote of a run: its perplexity or error where it has one, else the log-likelihood."""
    names = [name.removeprefix("valid_") for name in record if name.startswith("valid_")]
    return next((name for name in names if name not in WATCHED), names[0])


def _best(epochs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last epoch that was better than all before it, as the run marked it."""
    return next((record for record in reversed(epochs) if record.get("best")), {})


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


# What differs


def differences(runs: Sequence[Listed]) -> dict[str, list[Any]]:
    """The settings, and circumstances of training, in which runs differ: one value a run, None where unknown.

    Example:
        >>> a, b = (Listed(n, Path(n), "stopped", settings={"seed": s, "l1": 0.0}) for n, s in ("a1", "b2"))
        >>> differences([a, b])
        {'seed': ['1', '2']}
    """
    columns = [dict(run.settings) | _circumstances(run.training) for run in runs]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = {name: [column.get(name) for column in columns] for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def _circumstances(training: Mapping[str, Any]) -> dict[str, Any]:
    """Threads and versions that a run was trained with."""
    found = {"threads": training.get("threads"), **training.get("environment", {})}
    return {f"{name} (training)": value for name, value in found.items() if value is not None}


# Removing


def check_removable(folder: Path) -> Listed:
    """The run in a folder that may be removed.

    Raises:
        UserError: it is no run, a damaged one, a link, part of a study, or in use.
    """
    if folder.is_symlink():
        raise UserError(f"expected a run's folder, found a link: {folder}; remove what it leads to")
    with seal.telling(lambda _: None):
        Run.open(folder)
    found = read_listed(folder)
    if not found.is_run or not (folder / METRICS).exists():
        raise UserError(f"expected a run at {folder}, found {found.state}; remove the folder by other means")
    if found.state == RUNNING:
        raise UserError(f"{folder} is running; stop it before you remove it")
    study = next((parent for parent in folder.resolve().parents[:2] if (parent / STUDY).is_file()), None)
    if study is not None:
        raise UserError(f"{folder} is a trial of the study {study.name}, which needs it; remove the study")
    return found


def foreign_files(folder: Path) -> list[str]:
    """What is in a run's folder that ostinato does not write there."""
    names = (path.name for path in folder.iterdir())
    return sorted(n for n in names if n not in OWN_FILES and not n.startswith((_EVENTS, ".")))


def remove_run(folder: Path) -> None:
    """Remove a run's folder, which disappears in one step.

    Raises:
        UserError: a process trains in it, or it cannot be removed.
    """
    lock = FileLock(folder / LOCK)
    hidden = folder.resolve().with_name(f".{folder.resolve().name}.removed")
    try:
        folder.resolve().rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise UserError(f"cannot remove {folder}: {error.strerror}; check its permissions") from error
    finally:
        lock.release()
