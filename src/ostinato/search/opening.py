"""Making a study, joining one, and reading what is left of one in its folder."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ostinato import foreign, seal
from ostinato.addresses import without_password
from ostinato.errors import UserError, argument, near_names
from ostinato.files import TEMPORARY_SUFFIX, read_regular, write_error
from ostinato.runs.summary import STUDY_SUMMARY, TRIALS, read_json
from ostinato.seal import SEAL, tell, tell_unsealed
from ostinato.search.settings import StudySettings
from ostinato.search.storage import JOURNAL, LOCKS, Mutex, open_database
from ostinato.search.study import ATTRIBUTE, RESULTS, SETTINGS, SNAPSHOT, Study

_SHAPES = {SNAPSHOT: TRIALS, RESULTS: STUDY_SUMMARY}

# How Optuna writes down that a trial is made.
_HAS_TRIALS = b'"op_code":4'


def create_study(
    folder: Path, settings: StudySettings, url: str | None = None, *, extend: bool = True
) -> Study:
    """The study in a folder, new or gone on with.

    Args:
        folder: its folder; the last part is its name in a database.
        settings: what it is. A study that is there with fewer trials is extended; one with more keeps them.
        url: of a PostgreSQL database that machines share; None: a journal in the folder.
        extend: False: a study that is there keeps its number of trials, whatever the settings say.

    Raises:
        UserError: there is a study with other settings, or something else; or the database cannot be reached.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, f"choose another folder for {argument('study')}") from error
    if not (folder / SETTINGS).is_file() and any(map(_is_others, folder.iterdir())):
        raise UserError(
            f"expected a study or an empty folder, found other files in {folder}; choose another for "
            f"{argument('study')}"
        )
    with Mutex(folder / LOCKS / "settings.lock"):
        there = None
        if (folder / SETTINGS).is_file():
            there, storage = read_settings(folder)
            settings.check_same(there, folder)
            _check_storage(storage, url, folder)
        study = Study(folder, settings if there is None else there.with_data_of(settings), url)
        with _closed_on_error(study):
            if url is not None:
                _agree(study)
            if not (folder / SETTINGS).is_file():
                study.write_settings()
            if there is not None:
                _forget_password(study, storage)
            if there is not None and study.settings.recipe != there.recipe:
                study.write_settings()  # the data have been moved
            if extend:
                study.extend(settings.trials)
    return study


def join_study(
    name: str, url: str | None = None, folder: Path | None = None, *, trials: int | None = None
) -> Study:
    """A study that was made by another process: its settings come from its folder, or from the database.

    Args:
        name: the study's folder; or its name in the database.
        url: of the database; None: what the folder says.
        folder: where this machine keeps the study's runs; by default the folder `name`, if it is one, else
            studies/NAME.
        trials: extend it to so many, if it has fewer; None: leave it as it is.

    Raises:
        UserError: there is no such study, or it cannot be reached.
    """
    path = Path(name)
    storage = ""
    if (path / SETTINGS).is_file():
        settings, storage = read_settings(path)
        if url is not None:
            _check_storage(storage, url, path)
        study = Study(folder or path, settings, url or storage or None)
    elif url is None:
        raise UserError(f"expected a study at {name}, found none; {argument('study')} {name} makes one")
    elif path.name != name:
        raise UserError(
            f"expected a study in the folder {name}, found none; give its name alone, {path.name}, to keep "
            "this machine's runs by themselves"
        )
    else:
        settings = _settings_in_database(path.name, url)
        folder = folder or Path("studies") / path.name
        if folder.name != path.name:
            raise UserError(
                f"expected a folder named {path.name}, as the study, found {argument('study')} {folder}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(folder, settings, url)
    with _closed_on_error(study), study.mutex("settings"):
        if study.url is not None:
            _agree(study)
        if not (study.folder / SETTINGS).is_file():
            study.write_settings()
        _forget_password(study, storage)
        if trials is not None:
            study.extend(trials)
    return study


def read_settings(folder: Path) -> tuple[StudySettings, str]:
    """The settings of the study in a folder, and its database's URL without the password, or "".

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / SETTINGS
    tell_unsealed(folder)
    try:
        content = foreign.parsed(seal.read(folder, SETTINGS, foreign.MOST_SETTINGS))
    except FileNotFoundError:
        raise UserError(f"expected a study in {folder}, found no {SETTINGS}") from None
    except seal.SealError:
        raise
    except UserError as error:
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
    trials, results = (read_file(folder, name) for name in (SNAPSHOT, RESULTS))
    return {"settings": settings, "trials": trials or [], "results": results}


def read_file(folder: Path, name: str) -> Any:
    """What trials.json or results.json of a study holds; None where there is none yet.

    Raises:
        UserError: it is damaged, or something else.
    """
    return read_json(folder, name, _SHAPES[name])


def _is_others(path: Path) -> bool:
    """Whether a file is none of those that a study leaves which was killed before it had settings."""
    if path.name == JOURNAL:  # one with trials is of a study whose settings are lost
        return _HAS_TRIALS in read_regular(path)
    return path.name not in (LOCKS, SEAL) and not path.name.endswith(TEMPORARY_SUFFIX)


@contextmanager
def _closed_on_error(study: Study) -> Iterator[None]:
    try:
        yield
    except BaseException:
        study.close()
        raise


def _check_storage(there: str, url: str | None, folder: Path) -> None:
    if (url is None) != (there == ""):
        said = f"{argument('storage')} {without_password(there)}" if there else f"no {argument('storage')}"
        raise UserError(f"expected {said}, as the study {folder} was made with, found another; correct it")


def _forget_password(study: Study, storage: str) -> None:
    """Take a password out of the settings, where an earlier version has kept it."""
    if storage and storage != without_password(storage):
        study.write_settings()
        tell(
            f"{study.folder / SETTINGS} held the database's password, which has been taken out: from now on "
            "it has to be given, by PGPASSWORD or ~/.pgpass"
        )


def _agree(study: Study) -> None:
    """Say in the database what the study is, or see that it is the same there; its trials count."""
    recorded = study.optuna.user_attrs.get(ATTRIBUTE)
    if recorded is None:
        study.optuna.set_user_attr(ATTRIBUTE, study.settings.to_dict())
        return
    there = StudySettings.from_dict(recorded)
    study.settings.check_same(there, f"{study.folder.name} in {without_password(study.url or '')}")
    if there.trials != study.settings.trials:
        study.settings = dataclasses.replace(study.settings, trials=there.trials)
        study.write_settings()


def _settings_in_database(name: str, url: str) -> StudySettings:
    storage = open_database(url)
    names = {study.study_name: study for study in storage.get_all_studies()}
    recorded = names[name].user_attrs.get(ATTRIBUTE) if name in names else None
    storage.remove_session()
    storage.engine.dispose()
    if recorded is None:
        known = near_names(name, names) if names else "it has none"
        raise UserError(f"expected a study {name!r} in {without_password(url)}, found none: {known}")
    return StudySettings.from_dict(recorded)
