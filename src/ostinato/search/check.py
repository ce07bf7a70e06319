"""What of a study is as it was written, and what can be made again of what is not."""

from pathlib import Path

from ostinato import seal
from ostinato.domains.domain import load_data
from ostinato.errors import UserError
from ostinato.runs.check import LOST, MADE, WHOLE, Checked, check_run, is_run
from ostinato.search.opening import join_study, read_file, read_settings
from ostinato.search.storage import JOURNAL
from ostinato.search.study import RESULTS, SEALED, SNAPSHOT, TRIALS
from ostinato.search.worker import finish


def check_study(folder: Path) -> list[Checked]:
    """Look at every file of a study and of its runs, and make again what can be made: the list of trials from
    the storage, results from the chosen run, the seal of a study without one.

    Raises:
        UserError: the folder is no study, or a run in it is in use.
    """
    found = []
    with seal.telling(lambda _: None):
        found += _own(folder)
        for run in sorted(path for path in (folder / TRIALS).glob("*") if is_run(path)):
            place = run.relative_to(folder)
            found += [Checked(f"{place}/{own.name}", own.state, own.about) for own in check_run(run)]
    return found


def _own(folder: Path) -> list[Checked]:
    try:
        if seal.load(folder) is None:
            return _sealed_now(folder, "there was none")
    except seal.SealError:
        (folder / seal.SEAL).unlink()
        return _sealed_now(folder, "damaged")
    before = seal.examine(folder)
    wrong = {name: "missing" if state is None else "damaged" for name, state in before.items() if not state}
    failed: dict[str, str] = {}
    for name in (SNAPSHOT, RESULTS):
        if name in wrong:
            try:
                _make(folder, name)
            except UserError as error:
                failed[name] = f"; cannot be made again: {error}"
    found = []
    for name, whole in seal.examine(folder).items():
        about = wrong.get(name, "")
        if whole:
            found.append(Checked(name, MADE if about else WHOLE, about))
        else:
            found.append(Checked(name, LOST, about + failed.get(name, "") + "; put it back from a copy"))
    return found


def _sealed_now(folder: Path, why: str) -> list[Checked]:
    read_settings(folder)
    made = {}
    for name in (SNAPSHOT, RESULTS):
        try:
            read_file(folder, name)
        except UserError as error:
            _make(folder, name)
            made[name] = str(error)
    seal.make(folder, SEALED, growing=(JOURNAL,))
    names = seal.load(folder) or ()
    found = [Checked(name, MADE if name in made else WHOLE, made.get(name, "")) for name in names]
    return [*found, Checked(seal.SEAL, MADE, f"{why}; made from the files as they are")]


def _make(folder: Path, name: str) -> None:
    with join_study(str(folder)) as study:
        if name == SNAPSHOT:
            study.write_snapshot()
            return
        data = load_data(read_settings(folder)[0].recipe, progress=False)
        finish(study, data, notice=lambda _: None, again=True)
