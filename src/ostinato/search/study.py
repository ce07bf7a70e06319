"""A study: its folder, its trials, and what they have come to.

study.toml     the settings: [study], [recipe] and [search]
journal.log    Optuna's record of the trials, where no database is used
trials/0007/   an ordinary run folder for each trial
trials.json    what the trials have come to, written after each
results.json   the chosen trial, and its scores on the test songs
"""

import copy
import json
import socket
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tomli_w

from ostinato.errors import UserError, near_names
from ostinato.files import atomic_write, write_error
from ostinato.search import attempts
from ostinato.search.claims import Claims, Hold, LocalClaims, SharedClaims
from ostinato.search.sampling import make_pruner, make_sampler
from ostinato.search.settings import StudySettings
from ostinato.search.storage import (
    LOCKS,
    Mutex,
    insist,
    open_database,
    open_journal,
    quiet_optuna,
    without_password,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, Trial, TrialState

SETTINGS, TRIALS, SNAPSHOT, RESULTS = "study.toml", "trials", "trials.json", "results.json"

# How long a worker that ends waits for the database; others find out by themselves.
_LAST_PATIENCE_SECONDS = 5.0

# Under which name the settings are with the study in a database.
_ATTRIBUTE = "ostinato"


class Attempt:
    """A worker's attempt at a trial: make one with `Study.claim`."""

    def __init__(self, study: "Study", trial: "Trial", number: int, hold: Hold) -> None:
        self.study, self.trial, self.number, self.hold = study, trial, number, hold
        self.folder = study.trial_folder(number)
        # of an earlier attempt, from whose checkpoint this one goes on
        self.reported = set(study.frozen(trial).intermediate_values)

    def settle(self, state: "TrialState", value: float | None, facts: dict[str, Any]) -> bool:
        """Record what the trial has come to; False where it was another worker's by now."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        names = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        facts = facts | {"host": socket.gethostname(), attempts.OUTCOME: names[state]}
        storage, trial_id = self.study.storage, self.trial._trial_id
        try:
            for name, fact in facts.items():
                insist(lambda name=name, fact=fact: storage.set_trial_user_attr(trial_id, name, fact))  # type: ignore[misc]
            values = None if value is None else [value]
            insist(lambda: storage.set_trial_state_values(trial_id, state, values))
        except UpdateFinishedTrialError:
            return False
        finally:
            self.hold.release()
        return True

    def give_back(self) -> None:
        """Let another worker, or a later one, go on with the trial from its last checkpoint."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            storage, trial_id = self.study.storage, self.trial._trial_id
            insist(lambda: storage.set_trial_state_values(trial_id, TrialState.FAIL), _LAST_PATIENCE_SECONDS)
        except UpdateFinishedTrialError:
            return  # somebody else has it already
        finally:
            self.hold.release()
        insist(self.study.revive, _LAST_PATIENCE_SECONDS)


class Study:
    """A study that workers take trials from.

    Make one with `create_study`, or join one with `join_study`.
    """

    def __init__(self, folder: Path, settings: StudySettings, url: str | None) -> None:
        self.folder, self.settings, self.url = folder, settings, url
        self.claims: Claims
        if url is None:
            self.storage: Any = open_journal(folder)
            self.claims = LocalClaims(self.storage, folder / LOCKS)
        else:
            with quiet_optuna():
                self.storage = open_database(url, settings.heartbeat, settings.grace)
            self.claims = SharedClaims(self.storage, settings.heartbeat, settings.grace)
        self.optuna = self._open(0)

    def close(self) -> None:
        """Leave the database; the study can no longer be used."""
        if self.url is not None:
            self.storage.remove_session()
            self.storage.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, number: int) -> "optuna.Study":
        """Optuna's study, with the sampler of a trial."""
        import optuna

        with quiet_optuna():
            return optuna.create_study(
                # a folder may be renamed; a database holds many studies
                study_name="search" if self.url is None else self.folder.name,
                storage=self.storage,
                sampler=make_sampler(self.settings, number),
                pruner=make_pruner(self.settings),
                direction="maximize",
                load_if_exists=True,
            )

    def trial_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / TRIALS / f"{number:04}"

    def frozen(self, trial: "Trial") -> "FrozenTrial":
        """The trial as it is in the storage."""
        return self.storage.get_trial(trial._trial_id)

    def by_trial(self) -> "dict[int, list[FrozenTrial]]":
        """The attempts at each trial."""
        return attempts.by_trial(self.optuna.get_trials(deepcopy=False), self.settings.trials)

    def enqueue(self) -> None:
        """Make the study's trials, or those that are missing because this was interrupted."""
        from optuna.trial import TrialState, create_trial

        with self.claims.deciding():
            there = len(self.optuna.get_trials(deepcopy=False))
            for _ in range(self.settings.trials - there):
                self.optuna.add_trial(create_trial(state=TrialState.WAITING))

    def claim(self) -> Attempt | None:
        """Take the next trial, of dead workers first; None where there is none to take now."""
        with quiet_optuna(), self.claims.deciding():
            self.claims.bury(self.optuna)
            self._retry_abandoned()
            for made in self.by_trial().values():
                attempt = attempts.next_to_claim(made)
                if attempt is not None and (claimed := self._take(attempt)):
                    return claimed
        return None

    def revive(self) -> None:
        """Put the trials back that every worker has died of or given back."""
        with quiet_optuna(), self.claims.deciding():
            self._retry_abandoned()

    def finished(self) -> bool:
        """Whether every trial has come to something."""
        return all(attempts.outcome(made) is not None for made in self.by_trial().values())

    def records(self) -> list[dict[str, Any]]:
        """What the trials that have begun have come to, by number: what trials.json holds."""
        found = []
        for number, made in self.by_trial().items():
            state = attempts.state(made)
            if state == "waiting":
                continue
            last = attempts.outcome(made) or made[-1]
            record = {
                "number": number,
                "state": state,
                "value": last.value if last.values else None,
                "params": last.params,
                "folder": str(Path(TRIALS) / f"{number:04}"),
                "epochs": last.user_attrs.get("epochs"),
                "seconds": last.user_attrs.get("seconds"),
                "attempts": len([a for a in made if a.datetime_start is not None]),
            }
            found.append(record | {k: last.user_attrs[k] for k in ("host", "reason") if k in last.user_attrs})
        return found

    def write_snapshot(self) -> list[dict[str, Any]]:
        """Bring trials.json up to date; return what it holds."""
        # read and written under one lock, so that no older state replaces a newer one
        with self.mutex("snapshot"):
            records = insist(self.records)
            atomic_write(self.folder / SNAPSHOT, json.dumps(records, indent=1) + "\n")
        return records

    def mutex(self, name: str) -> Mutex:
        """A lock that the processes that reach this folder share."""
        return Mutex(self.folder / LOCKS / f"{name}.lock")

    def _take(self, attempt: "FrozenTrial") -> Attempt | None:
        """The attempt, if no other worker was quicker."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial, TrialState

        number = attempts.root(attempt)
        hold = self.claims.hold(attempt)
        try:
            won = self.storage.set_trial_state_values(attempt._trial_id, TrialState.RUNNING)
            if won and attempts.is_second(attempt, self.by_trial()[number]):
                self.storage.set_trial_state_values(attempt._trial_id, TrialState.FAIL)
                won = False
            if won:
                # A study of the trial's own, for Optuna's samplers keep the trials that they once saw.
                study = self._open(number)
                study.get_trials(deepcopy=False)  # the database's cache knows those only that it has read
                return Attempt(self, Trial(study, attempt._trial_id), number, hold)
        except UpdateFinishedTrialError:
            pass
        except BaseException:
            # no signs of life for a trial that nobody is at
            hold.release()
            raise
        hold.release()
        return None

    def _retry_abandoned(self) -> None:
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
        for made in self.by_trial().values():
            last = attempts.abandoned(made)
            if last is not None:
                retry(self.optuna, copy.deepcopy(last))


def create_study(folder: Path, settings: StudySettings, url: str | None = None) -> Study:
    """The study in a folder, new or gone on with.

    Args:
        folder: its folder; the last part is its name in a database.
        settings: what it is.
        url: of a PostgreSQL database that machines share; None: a journal in the folder.

    Raises:
        UserError: there is a study with other settings, or something else; or the database cannot be reached.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, "choose another folder with --study") from error
    if not (folder / SETTINGS).is_file() and any(p.name != LOCKS for p in folder.iterdir()):
        raise UserError(
            f"expected a study or an empty folder, found other files in {folder}; choose another with --study"
        )
    with Mutex(folder / LOCKS / "settings.lock"):
        if (folder / SETTINGS).is_file():
            there, storage = read_settings(folder)
            settings.check_same(there, folder)
            _check_storage(storage, url, folder)
        study = Study(folder, settings, url)
        with _closed_on_error(study):
            if url is not None:
                _agree(study)
            if not (folder / SETTINGS).is_file():
                _write_settings(folder, settings, url)
            study.enqueue()
    return study


def join_study(name: str, url: str | None = None, folder: Path | None = None) -> Study:
    """A study that was made by another process: its settings come from its folder, or from the database.

    Args:
        name: the study's folder; or its name in the database.
        url: of the database; None: what the folder says.
        folder: where this machine keeps the study's runs; by default the folder `name`, if it is one, else
            studies/NAME.

    Raises:
        UserError: there is no such study, or it cannot be reached.
    """
    path = Path(name)
    if (path / SETTINGS).is_file():
        settings, storage = read_settings(path)
        if url is not None:
            _check_storage(storage, url, path)
        study = Study(folder or path, settings, url or storage or None)
    elif url is None:
        raise UserError(
            f"expected a study at {name}, found none; make it with: ostinato search --study {name}"
        )
    elif path.name != name:
        raise UserError(
            f"expected a study in the folder {name}, found none; give its name alone, {path.name}, to keep "
            "this machine's runs by themselves"
        )
    else:
        settings = _settings_in_database(path.name, url)
        folder = folder or Path("studies") / path.name
        if folder.name != path.name:
            raise UserError(f"expected a folder named {path.name}, as the study, found --study {folder}")
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(folder, settings, url)
    with _closed_on_error(study), study.mutex("settings"):
        if len(study.optuna.get_trials(deepcopy=False)) < settings.trials:
            raise UserError(f"the study {name} is still being made; try again, or repeat its command")
        if not (study.folder / SETTINGS).is_file():
            _write_settings(study.folder, settings, study.url)
    return study


def read_settings(folder: Path) -> tuple[StudySettings, str]:
    """The settings of the study in a folder, and its database's URL without the password, or "".

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / SETTINGS
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"expected a study in {folder}, cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"expected TOML in {path}, found an error: {error}; correct the file") from None
    storage = content.get("storage", "")
    return StudySettings.from_dict(content), storage if isinstance(storage, str) else ""


def read_study(folder: str | Path) -> dict[str, Any]:
    """What the files of a study say: its settings, its trials, and its results (None before the end).

    Raises:
        UserError: the folder is no study.
    """
    folder = Path(folder)
    settings, _ = read_settings(folder)
    found: dict[str, Any] = {"settings": settings, "trials": [], "results": None}
    for name, file in (("trials", SNAPSHOT), ("results", RESULTS)):
        path = folder / file
        if path.is_file():
            try:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise UserError(f"expected JSON in {path}, found an error: {error}") from None
    return found


@contextmanager
def _closed_on_error(study: Study) -> Iterator[None]:
    try:
        yield
    except BaseException:
        study.close()
        raise


def _write_settings(folder: Path, settings: StudySettings, url: str | None) -> None:
    storage = {} if url is None else {"storage": without_password(url)}
    atomic_write(folder / SETTINGS, tomli_w.dumps(storage | settings.to_dict()))


def _check_storage(there: str, url: str | None, folder: Path) -> None:
    if (url is None) != (there == ""):
        said = f"--storage {there}" if there else "no --storage"
        raise UserError(f"expected {said}, as the study {folder} was made with, found another; correct it")


def _agree(study: Study) -> None:
    """Say in the database what the study is, or see that it is the same there."""
    said = study.optuna.user_attrs.get(_ATTRIBUTE)
    if said is None:
        study.optuna.set_user_attr(_ATTRIBUTE, study.settings.to_dict())
    else:
        study.settings.check_same(
            StudySettings.from_dict(said), f"{study.folder.name} in {without_password(study.url or '')}"
        )


def _settings_in_database(name: str, url: str) -> StudySettings:
    storage = open_database(url)
    names = {study.study_name: study for study in storage.get_all_studies()}
    said = names[name].user_attrs.get(_ATTRIBUTE) if name in names else None
    storage.remove_session()
    storage.engine.dispose()
    if said is None:
        known = near_names(name, names) if names else "it has none"
        raise UserError(f"expected a study {name!r} in {without_password(url)}, found none: {known}")
    return StudySettings.from_dict(said)
