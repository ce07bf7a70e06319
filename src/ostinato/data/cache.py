"""What is kept between runs in the user's cache folder: arrays that took long to make, downloaded files.

Everything here can be deleted at any time: it is made again when it is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato import foreign
from ostinato.errors import UserError
from ostinato.files import atomic_write, read_regular
from ostinato.seal import tell

# Where a data set is can be asked without NumPy, which help pages do not wait for.
if TYPE_CHECKING:
    import numpy as np

CACHE_VARIABLE = "OSTINATO_CACHE"
# Folders in it: texts as tokens, each in a folder with a seal, and what was downloaded.
TOKENS, DOWNLOADS = "tokens", "downloads"
_META = "meta"
_DIGEST_BYTES = 64


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
        atomic_write(cache_folder() / f"{name}.npz", _sealed(data.getvalue(), name))


def load(name: str) -> tuple[dict[str, np.ndarray], Any] | None:
    """What `save` kept under this name, or None: not there, damaged or cut short."""
    import numpy as np

    try:
        path = cache_folder() / f"{name}.npz"
        data = read_regular(path)
        if not is_whole(data, name):
            if not _is_of_before(data):
                tell(f"{path} is damaged: what was kept in it is made again")
            return None
        # from memory: numpy forgets to close the file of a damaged archive
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        return arrays, foreign.of_json(str(arrays.pop(_META)))
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


def is_whole(data: bytes, name: str) -> bool:
    """Whether the bytes of a file of `save` are those that were written under this name.

    Example:
        >>> data = _sealed(b"PK..\\0\\0", "bach")
        >>> is_whole(data, "bach"), is_whole(data, "jsb"), is_whole(b"PK..\\0\\0", "bach")
        (True, False, False)
    """
    return len(data) > _DIGEST_BYTES + 2 and _sealed(_archive(data), name) == data


def _archive(data: bytes) -> bytes:
    return data[: -_DIGEST_BYTES - 2] + b"\0\0"


def _sealed(archive: bytes, name: str) -> bytes:
    """A ZIP archive with the digest of its name and itself as its comment, after the two bytes of its length.

    The name, so that two files that are exchanged are damaged; without one for those of before.
    """
    digest = hashlib.sha256(name.encode() + b"\0" + archive if name else archive).hexdigest().encode()
    return archive[:-2] + len(digest).to_bytes(2, "little") + digest


def _is_of_before(data: bytes) -> bool:
    """Whether an archive is as they were kept before: without a comment, or without its name in it."""
    return (data[-22:-18] == b"PK\5\6" and data[-2:] == b"\0\0") or is_whole(data, "")
