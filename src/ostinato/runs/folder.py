"""A run is a folder that can be read without this program.

    config.toml                    the settings; a run that is extended has its new epochs there
    metrics.jsonl                  one JSON object per line, appended as training goes on
    checkpoints/NAME.safetensors   tensors, and the rest of the state in the same file's metadata
    .lock                          held by the process that trains here

A checkpoint replaces the one before it in a single step, so a kill at any instant leaves the old or the new
one, whole. It says how long the metrics were; on resume they are cut back to that length, and nothing is
recorded twice.
"""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import tomli_w

from ostinato.errors import UserError, call
from ostinato.files import TEMPORARY_SUFFIX, FileLock, atomic_write, write_all, write_error

# A run can be read but for its tensors without PyTorch, which takes a second to import: see `checkpoints`.
if TYPE_CHECKING:
    from torch import Tensor

CONFIG, METRICS, CHECKPOINTS, LOCK = "config.toml", "metrics.jsonl", "checkpoints", ".lock"


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
            (run.folder / CHECKPOINTS).mkdir(exist_ok=True)
            (run.folder / METRICS).touch()
        except OSError as error:
            raise write_error(run.folder, error, "choose another folder for the run") from error
        # Last: a folder with a config is a run.
        atomic_write(run.folder / CONFIG, tomli_w.dumps(config))
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
            return cls(folder)
        raise UserError(f"expected a run folder at {folder}, found {found}; {call('train')} makes one")

    def config(self) -> dict[str, Any]:
        """The settings of the run.

        Raises:
            UserError: The file is not valid TOML.
        """
        path = self.folder / CONFIG
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"expected TOML in {path}, found an error: {error}; correct the file") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace the settings, whole or not at all."""
        self.lock()
        self.write_text(CONFIG, tomli_w.dumps(config))

    def write_text(self, name: str, text: str) -> None:
        """Write a further file, say a table of results, into the folder: whole or not at all."""
        atomic_write(self.folder / name, text)

    # Metrics

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append one line of metrics, and hand it to the operating system at once.

        Numbers that JSON does not know (NaN, infinities) are written as null, so that every JSON reader can
        read the file.

        Raises:
            UserError: No space left; the file is cut back to its last whole line.
        """
        self.lock()
        line = json.dumps(_finite(record), allow_nan=False) + "\n"
        path = self.folder / METRICS
        descriptor = -1
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            length = os.fstat(descriptor).st_size
            try:
                write_all(descriptor, line.encode())
            except OSError:
                os.ftruncate(descriptor, length)
                raise
        except OSError as error:
            raise write_error(path, error, self._advice()) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def metrics(self) -> list[dict[str, Any]]:
        """Every record that has been written whole; a last line that is still being written is left out.

        Raises:
            UserError: A line is not JSON.
        """
        path = self.folder / METRICS
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        records = []
        for number, line in enumerate(lines, 1):
            try:
                records.append(json.loads(line))
            except ValueError as error:
                raise UserError(
                    f"expected JSON in line {number} of {path}, found an error: {error}"
                ) from error
        return records

    def metrics_offset(self) -> int:
        """The length of the metrics in bytes: keep it in the checkpoint, for `truncate_metrics`."""
        path = self.folder / METRICS
        return path.stat().st_size if path.exists() else 0

    def truncate_metrics(self, offset: int) -> None:
        """Forget what was recorded after a checkpoint, which a resumed run records again.

        Args:
            offset: What `metrics_offset` said when the checkpoint was made.

        Raises:
            UserError: The file does not hold the lines that the checkpoint knows of.
        """
        self.lock()
        path = self.folder / METRICS
        kept = path.read_bytes()[:offset] if path.exists() else b""
        if len(kept) < offset or (kept and not kept.endswith(b"\n")):
            raise UserError(
                f"expected {offset} bytes of whole lines in {path}, as when the checkpoint was made, "
                f"found {self.metrics_offset()} bytes, changed since; put the old file back, or train anew"
            )
        if path.exists():
            os.truncate(path, offset)

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

        self.lock()
        path = self._checkpoint(name)
        data = checkpoints.encode(tensors, state)
        try:
            path.parent.mkdir(exist_ok=True)
            descriptor = os.open(self.folder / METRICS, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise write_error(path, error, self._advice()) from error
        atomic_write(path, data, advice=self._advice())

    def load_checkpoint(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors (on the CPU) and the state of a checkpoint, as they were saved together.

        Raises:
            UserError: There is none of that name, it is damaged, or a newer version of ostinato wrote it.
        """
        from ostinato.runs import checkpoint as checkpoints

        path = self._checkpoint(name)
        others = sorted(p.stem for p in path.parent.glob("*.safetensors") if p != path and p.name[0] != ".")
        instead = f"there is: {', '.join(others)}" if others else "there is no other one"
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise UserError(
                f"expected a checkpoint {name} in {self.folder}, found none; {instead}"
            ) from error
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
        try:
            return checkpoints.decode(data)
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
        """Whether there is a checkpoint of that name."""
        return self._checkpoint(name).is_file()

    # The lock

    def lock(self) -> Self:
        """Hold the folder's lock from here on, and clear away what a killed process left half written.

        Raises:
            UserError: Another process holds it.
        """
        if self._lock is None:
            self._lock = FileLock(self.folder / LOCK)
            self._clear()
        return self

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _clear(self) -> None:
        for folder in (self.folder, self.folder / CHECKPOINTS):
            for rest in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                rest.unlink(missing_ok=True)
        path = self.folder / METRICS
        if path.exists():
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)

    def _check_unused(self) -> None:
        """Refuse a folder that holds more than what a `create` that was killed leaves."""
        names = {p.name for p in self.folder.iterdir() if not p.name.endswith(TEMPORARY_SUFFIX)}
        if names <= {LOCK, METRICS, CHECKPOINTS}:
            return
        self.close()
        goes_on = f", or go on with this one: {self._resume()}" if CONFIG in names else ""
        raise UserError(
            f"expected a new or an empty folder for the run, found {len(names)} entries in {self.folder}; "
            f"choose another folder{goes_on}"
        )

    def _checkpoint(self, name: str) -> Path:
        return self.folder / CHECKPOINTS / f"{name}.safetensors"

    def _resume(self) -> str:
        return call("train", resume=self.folder)

    def _advice(self) -> str:
        return f"the run is intact up to its last checkpoint: free some space, then {self._resume()}"


def default_folder(name: str, root: str | os.PathLike[str] = "runs") -> Path:
    """The first of ROOT/NAME-1, ROOT/NAME-2, ... that does not exist yet.

    Args:
        name: What the run is about; what does not belong in a folder's name becomes a dash.
        root: Where runs are kept.

    Example:
        >>> default_folder("my tunes/SGD+CL", "no-such-folder").name
        'my-tunes-SGD+CL-1'
    """
    stem = re.sub(r"[^\w.+-]+", "-", name).strip("-.") or "run"
    number = 1
    while (folder := Path(root) / f"{stem}-{number}").exists():
        number += 1
    return folder


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
