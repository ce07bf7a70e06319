"""A run is a folder that can be read without this program.

    config.toml                    the settings; a run that is extended has its new epochs there
    metrics.jsonl                  one JSON object per line, appended as training goes on
    checkpoints/NAME.safetensors   tensors, and the rest of the state in the same file's metadata
    flight/                        bundles of steps where training went wrong
    seal.json                      the digests of all these, by which whoever reads them sees damage
    .lock                          held by the process that trains here

A checkpoint replaces the one before it in a single step, so a kill at any instant leaves the old or the new
one, whole. It says how long the metrics were; on resume they are cut back to that length, and nothing is
recorded twice. The metrics are sealed up to the last checkpoint. Links in the folder are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import tomli_w

from ostinato import foreign, seal
from ostinato.errors import UserError, call
from ostinato.files import TEMPORARY_SUFFIX, FileLock, open_regular, write_error
from ostinato.runs.metrics import METRICS, Metrics
from ostinato.seal import Content, Sealer, SealError

# A run can be read but for its tensors without PyTorch, which takes a second to import: see `checkpoints`.
if TYPE_CHECKING:
    from torch import Tensor

CONFIG, CHECKPOINTS, LOCK = "config.toml", "checkpoints", ".lock"

# Where bundles of steps that went wrong are; each has checksums of its own.
FLIGHT = "flight"

# What a run comes to, written when it has ended, and what a domain may keep beside the weights.
RESULTS, CURVE, VOCABULARY = "results.json", "learning_curve.png", "vocabulary.json"

# What is ostinato's own in a run's folder; TensorBoard's files begin with events.out.
OWN_FILES = (CONFIG, METRICS, CHECKPOINTS, LOCK, seal.SEAL, RESULTS, CURVE, VOCABULARY, FLIGHT)


class Run:
    """A run's folder: make one with `Run.create`, read one with `Run.open`.

    Writing metrics or checkpoints takes the folder's lock, so that two processes cannot train in it at
    once; a run just created holds it already. Reading needs no lock. The lock ends with `close`, with the
    `with` block, or with the process, however that ends.

    Example:
        >>> import tempfile, torch
        >>> folder = Path(tempfile.mkdtemp()) / "bach-1"
        >>> with Run.create(folder, {"learning_rate": 0.1}) as run:
        ...     run.append_metrics({"epoch": 1, "loss": 8.5})
        ...     state = {"epoch": 1, "metrics": run.metrics_offset()}
        ...     run.save_checkpoint("last", {"weight": torch.ones(2)}, state)
        >>> run = Run.open(folder)
        >>> run.config(), run.metrics()
        ({'learning_rate': 0.1}, [{'epoch': 1, 'loss': 8.5}])
        >>> run.load_checkpoint("last")
        ({'weight': tensor([1., 1.])}, {'epoch': 1, 'metrics': 26})
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: FileLock | None = None
        self._sealed: Sealer | None = None
        self._metrics = Metrics(folder)

    @classmethod
    def create(cls, folder: str | os.PathLike[str], config: Mapping[str, Any]) -> Self:
        """Make a run's folder, and hold its lock.

        Args:
            folder: The folder; it does not exist yet, or is empty.
            config: The settings, as TOML values (there is no null in TOML: leave out what is not set).

        Raises:
            UserError: The folder is in use, or cannot be written.
        """
        cls.check_unused(folder)
        run = cls(Path(folder))
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            run._check_unused()
            run.lock()
            run._check_unused()  # another process may have been quicker, and be done
            seal.refuse_links(run.folder, CHECKPOINTS)
            (run.folder / CHECKPOINTS).mkdir(exist_ok=True)
            os.close(open_regular(run.folder / METRICS, os.O_WRONLY | os.O_CREAT))
        except OSError as error:
            raise write_error(run.folder, error, "choose another folder for the run") from error
        # Last: a folder with a config is a run.
        run.write_config(config)
        return run

    @classmethod
    def check_unused(cls, folder: str | os.PathLike[str]) -> None:
        """Refuse a folder that `create` would refuse for what is in it; nothing is made.

        Raises:
            UserError: The folder is in use, or is a file.
        """
        path = Path(folder)
        if path.is_dir():
            cls(path)._check_unused()
        elif path.exists():
            raise UserError(f"expected a folder for the run, found a file at {path}; choose another one")

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """The run in a folder, to be read, or gone on with after `lock`.

        Raises:
            UserError: The folder is no run.
        """
        folder = Path(folder)
        if not folder.exists():
            found = "nothing there"
        elif not folder.is_dir():
            found = "a file"
        elif not (folder / CONFIG).is_file():
            found = f"a folder without {CONFIG}"
        else:
            run = cls(folder)
            if run._others(""):  # what has not been trained has nothing to lose
                seal.tell_unsealed(folder)
            return run
        raise UserError(f"expected a run folder at {folder}, found {found}; {call('train')} makes one")

    def config(self) -> dict[str, Any]:
        """The settings of the run.

        Raises:
            UserError: The file is not valid TOML.
        """
        path = self.folder / CONFIG
        try:
            data = seal.read(self.folder, CONFIG, foreign.MOST_SETTINGS)
        except FileNotFoundError as error:
            raise UserError(f"expected the settings of a run at {path}, found none") from error
        try:
            return foreign.parsed(data)
        except UserError as error:
            raise UserError(f"expected TOML in {path}, found an error: {error}; correct the file") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace the settings, whole or not at all."""
        self.write_text(CONFIG, tomli_w.dumps(config))

    def write_text(self, name: str, text: str) -> None:
        """Write a further file, say a table of results, into the folder: whole or not at all, and seal it."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """As `write_text`, of a picture, say."""
        sealer = self._sealer
        sealer.grown(METRICS, self._metrics.content())
        sealer.write(name, content, advice=self._advice() if self._checkpoint("last").exists() else "")

    def is_sealed_as(self, name: str, content: bytes) -> bool:
        """Whether these bytes are what a file held when it was written."""
        sealed = seal.load(self.folder) or {}
        return Content.of(content) in sealed.get(name, ())

    def holds(self, name: str) -> bool:
        """Whether there is a file of this name.

        Raises:
            SealError: there is none, and one has been written.
        """
        return seal.is_there(self.folder, name)

    def read_json(self, name: str) -> Any:
        """What a JSON file in the folder holds; None where there is none.

        Raises:
            UserError: it is damaged, or is no JSON.
        """
        try:
            data = seal.read(self.folder, name, foreign.MOST_JSON)
        except FileNotFoundError:
            return None
        try:
            return foreign.of_json(data)
        except UserError as error:
            raise UserError(
                f"expected JSON in {self.folder / name}, found an error: {error}; correct the file"
            ) from error

    # Metrics

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line of metrics, and hand it to the operating system at once.

        Numbers that JSON does not know (NaN, infinities) are written as null, so that every JSON reader can
        read the file.

        Raises:
            UserError: No space left; the file is cut back to its last whole line.
        """
        _ = self._sealer
        self._metrics.append(record, self._advice())

    def metrics(self) -> list[dict[str, Any]]:
        """Every record that has been written whole; a last line that is still being written is left out.

        Raises:
            UserError: A line is not JSON, or lines of before the last checkpoint have been changed.
        """
        return self._metrics.records()

    def metrics_offset(self) -> int:
        """The length of the metrics in bytes: keep it in the checkpoint, for `truncate_metrics`."""
        return self._metrics.size()

    def truncate_metrics(self, offset: int) -> None:
        """Forget what was recorded after a checkpoint, which a resumed run records again.

        Args:
            offset: What `metrics_offset` said when the checkpoint was made.

        Raises:
            UserError: The file does not hold the lines that the checkpoint knows of.
        """
        self._metrics.cut(offset, self._sealer, self._advice())

    # Checkpoints

    def save_checkpoint(self, name: str, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint `name` ("last", "best") in one step; the metrics before it reach the disk
        first.

        Args:
            name: The checkpoint's name.
            tensors: Tensors of any type, shape and device, also views and tensors that share memory.
            state: Everything else, as JSON values with text as keys. Here, unlike in the metrics, NaN and
                infinities come back as they were (written as Python's json writes them).

        Raises:
            UserError: No space left; the checkpoint before it is still there.
        """
        from ostinato.runs import checkpoint as checkpoints

        sealer = self._sealer
        path = self._checkpoint(name)
        data = checkpoints.encode(tensors, state)
        try:
            seal.refuse_links(self.folder, CHECKPOINTS)
            path.parent.mkdir(exist_ok=True)
            self._metrics.sync()
        except OSError as error:
            raise write_error(path, error, self._advice()) from error
        sealer.grown(METRICS, self._metrics.content())
        sealer.write(_name(name), data, advice=self._advice())

    def load_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors (on the CPU) and the state of a checkpoint, as they were saved together.

        Raises:
            UserError: There is none of that name, it is damaged, or a newer version of ostinato wrote it.
        """
        from ostinato.runs import checkpoint as checkpoints

        path = self._checkpoint(name)
        others = self._others(name)
        instead = f"there is: {', '.join(others)}" if others else "there is no other one"
        verified = seal.load(self.folder) is not None
        try:
            data = seal.read(self.folder, _name(name))
        except FileNotFoundError as error:
            raise UserError(
                f"expected a checkpoint {name} in {self.folder}, found none; {instead}"
            ) from error
        except SealError as error:
            raise SealError(f"{error}; {instead}") from error
        try:
            return checkpoints.decode(data, verified=verified)
        except checkpoints.DamagedError as error:
            raise UserError(
                f"expected a whole checkpoint in {path}, found a damaged one: {error}; {instead}"
            ) from error
        except checkpoints.NewerError as error:
            raise UserError(
                f"expected a checkpoint of format {checkpoints.VERSION} in {path}, found {error}; "
                "use the version of ostinato that wrote it"
            ) from error

    def has_checkpoint(self, name: str) -> bool:
        """Whether there is a checkpoint of that name.

        Raises:
            SealError: There is none, and one has been written.
        """
        return seal.is_there(self.folder, _name(name))

    def check_not_begun(self) -> None:
        """Refuse a run that has been trained, and whose last checkpoint is gone: it cannot go on.

        Raises:
            UserError: There are traces of training.
        """
        if self.has_checkpoint("last"):
            return
        traces = [f"a checkpoint {name}" for name in self._others("last")]
        traces += [name for name in (RESULTS, METRICS) if self._holds(name)]
        if traces:
            raise UserError(
                f"expected the checkpoint last in {self.folder}, which has been trained, found none, but "
                f"{' and '.join(traces)}; put it back from a copy, or train anew in another folder: "
                f"{call('train', config=self.folder / CONFIG)}"
            )

    # The lock

    def lock(self) -> Self:
        """Hold the folder's lock from here on, and clear away what a killed process left half written.

        What is damaged is found by whoever reads it, or writes on.

        Raises:
            UserError: Another process holds it.
        """
        if self._lock is None:
            self._lock = FileLock(self.folder / LOCK)
            for folder in (self.folder, self.folder / CHECKPOINTS):
                for rest in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                    rest.unlink(missing_ok=True)
        return self

    def close(self) -> None:
        """Seal what has been written, and give the lock back."""
        if self._sealed is not None:
            # a seal that also allows what a file was before is a little weaker, and no reason to fail
            with suppress(UserError):
                if self._sealed.content(RESULTS) is not None:
                    # nothing more is appended to a run that is done: lines from elsewhere are damage
                    self._sealed.grown(METRICS, replace(self._metrics.content(), grows=False))
                self._sealed.settle()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = self._sealed = None

    @property
    def _sealer(self) -> Sealer:
        """For whoever writes, once the metrics have been found to be as they were."""
        self.lock()
        if self._sealed is None:
            self._metrics.begin()
            self._sealed = Sealer(self.folder, self.own_files(), growing=(METRICS,))
            if self._sealed.content(METRICS) == replace(self._metrics.content(), grows=False):
                # before the first line more
                self._sealed.grown(METRICS, self._metrics.content())
                self._sealed.settle()
        return self._sealed

    def own_files(self) -> list[str]:
        """What of ostinato's is in the folder, but for the lock and the seal."""
        names = [n for n in OWN_FILES if n not in (CHECKPOINTS, LOCK, seal.SEAL)]
        return [n for n in names if (self.folder / n).is_file()] + [_name(n) for n in self._others("")]

    def _holds(self, name: str) -> bool:
        return self._metrics.size() > 0 if name == METRICS else (self.folder / name).exists()

    def _others(self, name: str) -> list[str]:
        """The checkpoints that there are besides one."""
        paths = (self.folder / CHECKPOINTS).glob("*.safetensors")
        return sorted(path.stem for path in paths if path.stem != name and path.name[0] != ".")

    def _check_unused(self) -> None:
        """Refuse a folder that holds more than what a `create` that was killed leaves."""
        names = {p.name for p in self.folder.iterdir() if not p.name.endswith(TEMPORARY_SUFFIX)}
        if names <= {LOCK, METRICS, CHECKPOINTS, seal.SEAL}:
            return
        self.close()
        goes_on = f", or go on with this one: {self._resume()}" if CONFIG in names else ""
        raise UserError(
            f"expected a new or an empty folder for the run, found {len(names)} entries in {self.folder}; "
            f"choose another folder{goes_on}"
        )

    def _checkpoint(self, name: str) -> Path:
        return self.folder / _name(name)

    def _resume(self) -> str:
        return call("train", resume=self.folder)

    def _advice(self) -> str:
        return f"the run is intact up to its last checkpoint: free some space, then {self._resume()}"


def _name(checkpoint: str) -> str:
    return f"{CHECKPOINTS}/{checkpoint}.safetensors"
