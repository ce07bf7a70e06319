"""What is kept between runs in the user's cache folder: arrays that took long to make, downloaded files.

Everything here can be deleted at any time: it is made again when it is needed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.errors import UserError
from ostinato.files import atomic_write

# Where a data set is can be asked without NumPy, which help pages do not wait for.
if TYPE_CHECKING:
    import numpy as np

CACHE_VARIABLE = "OSTINATO_CACHE"
_META = "meta"


def cache_folder() -> Path:
    """The folder in the environment variable OSTINATO_CACHE, else the platform's own place for caches.

    Example:
        >>> from unittest import mock
        >>> with mock.patch.dict("os.environ", OSTINATO_CACHE="/data/cache"):
        ...     cache_folder().as_posix()
        '/data/cache'
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("ostinato"))


def save(name: str, arrays: dict[str, np.ndarray], meta: Any) -> None:
    """Keep arrays and one JSON-able object as NAME.npz in the cache folder, in one step; without pickles.

    A cache that cannot be written (full disk, read-only home) is no error: the work is only done again.
    """
    import numpy as np

    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **arrays, **{_META: np.array(json.dumps(meta))})
    with contextlib.suppress(OSError, UserError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        atomic_write(cache_folder() / f"{name}.npz", data.getvalue())


def load(name: str) -> tuple[dict[str, np.ndarray], Any] | None:
    """What `save` kept under this name, or None: not there, damaged or cut short."""
    import numpy as np

    try:
        # from memory: numpy forgets to close the file of a damaged archive
        data = io.BytesIO((cache_folder() / f"{name}.npz").read_bytes())
        with np.load(data, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        return arrays, json.loads(str(arrays.pop(_META)))
    # what a damaged zip archive can raise, depending on which of its bytes is wrong
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ):
        return None
