"""Where a new run is made that nobody has named; and that nothing is left of one that fails at once."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ostinato.errors import UserError
from ostinato.files import write_error
from ostinato.runs.folder import Run


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


def create_numbered(name: str, config: Mapping[str, Any], root: str | os.PathLike[str] = "runs") -> Run:
    """Make a run where `default_folder` says; of several processes at once each has a folder of its own."""
    while True:
        folder = default_folder(name, root)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue  # another process was quicker
        except OSError as error:
            raise write_error(folder, error, "choose another folder for the run") from error
        return Run.create(folder, config)


@contextmanager
def kept_if_begun(run: Run, *, new: bool) -> Iterator[None]:
    """Where what is done inside fails before anything has been trained, the folder of a new run goes with it.

    Args:
        run: the run, whose lock is held.
        new: whether it has just been made.
    """
    try:
        yield
    except BaseException:
        with suppress(UserError):
            if new and not run.has_checkpoint("last"):
                shutil.rmtree(run.folder, ignore_errors=True)
        raise
