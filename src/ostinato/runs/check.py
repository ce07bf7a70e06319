"""What of a run is as it was written, and what can be made again of what is not."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from ostinato import seal
from ostinato.domains.domain import Data, domain_named, load_data
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import conclude
from ostinato.runs.folder import CHECKPOINTS, CONFIG, CURVE, FLIGHT, OWN_FILES, RESULTS, Run
from ostinato.runs.metrics import METRICS
from ostinato.runs.summary import read_summary

WHOLE, MADE, LOST = "whole", "made again", "lost"


@dataclass(frozen=True)
class Checked:
    """A file that was looked at.

    Arguments:
        name: of the file.
        state: "whole", "made again", or "lost": damaged or missing, and nothing to make it from.
        about: what was wrong, and what is to be done.
    """

    name: str
    state: str
    about: str = ""


def check_run(folder: Path) -> list[Checked]:
    """Look at every file of a run, and make again what can be made: results and picture from the best model,
    settings from the last checkpoint, what a domain keeps from the data, the seal of a run without one.

    Nothing else is changed; what is made again is either what was there, to the bit, or results.

    Raises:
        UserError: the folder is no run, or in use.
    """
    with seal.telling(lambda _: None), (Run(folder) if is_run(folder) else Run.open(folder)).lock() as run:
        return _without_seal(run) if _seal_is_gone(folder) else _sealed(run)


def is_run(folder: Path) -> bool:
    """Whether there is a run in a folder, perhaps one whose settings are gone."""
    try:
        return (folder / CONFIG).is_file() or CONFIG in (seal.load(folder) or {})
    except seal.SealError:
        return (folder / CHECKPOINTS).is_dir()


def _seal_is_gone(folder: Path) -> bool:
    try:
        return seal.load(folder) is None
    except seal.SealError:
        return True


def _without_seal(run: Run) -> list[Checked]:
    """A run whose seal is gone, or never was: what has a checksum of its own, or a form, is looked at."""
    path = run.folder / seal.SEAL
    damaged = path.exists()
    found = []
    hidden = path.with_name(f".{seal.SEAL}.damaged")
    if damaged:
        path.rename(hidden)
    for name in run.own_files():
        try:
            _look_at(run, name)
            found.append(Checked(name, WHOLE))
        except UserError as error:
            found.append(Checked(name, LOST, str(error)))
    if [one.name for one in found if one.state == LOST] == [RESULTS]:
        found = [_concluded(run, one.about) if one.name == RESULTS else one for one in found]
    if any(one.state == LOST for one in found):
        if damaged:
            hidden.rename(path)
        return found
    # see Run.close
    growing = () if (run.folder / RESULTS).is_file() else (METRICS,)
    seal.make(run.folder, run.own_files(), growing=growing)
    hidden.unlink(missing_ok=True)
    about = "damaged" if damaged else "there was none"
    limits = "made from the files as they are, of which checkpoints alone have a checksum of their own"
    return [*found, Checked(seal.SEAL, MADE, f"{about}; {limits}")]


def _concluded(run: Run, about: str) -> Checked:
    """Results made again of a run without a seal."""
    try:
        conclude(run, _data(run), notice=lambda _: None)
    except UserError as error:
        return Checked(RESULTS, LOST, f"{about}; cannot be made again: {error}")
    return Checked(RESULTS, MADE, about)


def _look_at(run: Run, name: str) -> None:
    if name.startswith(f"{CHECKPOINTS}/"):
        run.load_checkpoint(Path(name).stem)
    elif name == CONFIG:
        Recipe.from_dict(run.config())
    elif name == METRICS:
        run.metrics()
    elif name == RESULTS:
        read_summary(run.folder)
    elif name.endswith(".json"):
        run.read_json(name)


def _sealed(run: Run) -> list[Checked]:
    before = seal.examine(run.folder)
    wrong = {name: "missing" if state is None else "damaged" for name, state in before.items() if not state}
    failed = {}
    for name, maker in _makers(run).items():
        if name in wrong and not seal.examine(run.folder)[name]:
            try:
                maker()
            except UserError as error:
                failed[name] = f"; cannot be made again: {error}"
    found = []
    for name, whole in seal.examine(run.folder).items():
        about = wrong.get(name, "")
        if whole:
            found.append(Checked(name, MADE if about else WHOLE, about))
        else:
            found.append(Checked(name, LOST, about + failed.get(name, "") + _advice(name)))
    return found


def _advice(name: str) -> str:
    if name == METRICS:
        return "; put it back from a copy: training cannot go on without it, the model can be used"
    if name == f"{CHECKPOINTS}/last.safetensors":
        return "; put it back from a copy: training cannot go on without it, the best model can be used"
    return "; put it back from a copy"


def _makers(run: Run) -> dict[str, Callable[[], None]]:
    """What makes a file again, in the order in which they are needed."""

    def put_back(name: str, content: bytes) -> None:
        if not run.is_sealed_as(name, content):
            raise UserError("what could be made is not what was there")
        run.write_bytes(name, content)

    def kept() -> None:
        recorder = _Recorder(run.folder)
        domain_named(_recipe(run).domain).prepare(_data(run), recorder)
        for name, content in recorder.written.items():
            put_back(name, content)

    def concluded() -> None:
        conclude(run, _data(run), notice=lambda _: None)

    def settings() -> None:
        _, state = run.load_checkpoint("last")
        put_back(CONFIG, tomli_w.dumps(state["recipe"]).encode())

    own = [name for name in OWN_FILES if name not in (CONFIG, METRICS, CHECKPOINTS, RESULTS, CURVE, FLIGHT)]
    return {
        CONFIG: settings,
        **{name: kept for name in own if not name.startswith(".") and name != seal.SEAL},
        RESULTS: concluded,
        CURVE: concluded,
    }


class _Recorder(Run):
    """Takes what a domain would write."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.written: dict[str, bytes] = {}

    def write_bytes(self, name: str, content: bytes) -> None:
        """Nothing is written."""
        self.written[name] = content


def _recipe(run: Run) -> Recipe:
    return Recipe.from_dict(run.config())


def _data(run: Run) -> Data:
    """The run's data, as they were."""
    checkpoint = "best" if run.has_checkpoint("best") else "last"
    _, state = run.load_checkpoint(checkpoint)
    loaded = load_data(_recipe(run), progress=False, before=state["data"])
    if loaded.version != state["data"]["version"]:
        raise UserError("the data that the run was trained on have changed since")
    return loaded
