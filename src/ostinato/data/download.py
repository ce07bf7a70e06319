"""Name -> file with the right SHA-256: from the folder in OSTINATO_DATA, else the cache, else downloaded.

A file with another checksum is never used, wherever it lies: published scores are comparable only on the
published bytes.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ostinato.data.cache import cache_folder
from ostinato.errors import UserError, needs

DATA_VARIABLE = "OSTINATO_DATA"
_TIMEOUT = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """A public file: its name, its address, and the SHA-256 that its bytes must have.

    Example:
        >>> RemoteFile("a.txt", "https://example.org/a.txt", "0" * 64).name
        'a.txt'
    """

    name: str
    url: str
    sha256: str


def data_folder() -> Path | None:
    """The folder that OSTINATO_DATA names, None where it is not set.

    Raises:
        UserError: it names no folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UserError(f"{DATA_VARIABLE} is no folder: {folder}; create it, or unset the variable")
    return folder


def locate(file: RemoteFile) -> Path | None:
    """Where the file lies on this machine, verified; None when it would have to be downloaded.

    Raises:
        UserError: OSTINATO_DATA names no folder, or the folder's file has another checksum.
    """
    folder = data_folder()
    if folder is not None and (path := folder / file.name).exists():
        if not path.is_file():  # a pipe would be waited for
            raise UserError(f"expected a file at {path}, found something else; put the published file there")
        verify(path, file, f"remove it from {DATA_VARIABLE}, or put the published file there")
        return path
    path = cache_folder() / "downloads" / file.name
    # A damaged download of ours is downloaded again: only a user's own file is worth a complaint.
    return path if path.is_file() and sha256(path) == file.sha256 else None


def fetch(file: RemoteFile) -> Path:
    """The verified file, downloaded to the cache when it is not on this machine yet.

    Raises:
        UserError: no network, no such address, no room, or bytes that are not the published ones.
        MissingExtra: it has to be downloaded, and the extra [download] is not installed.
    """
    if path := locate(file):
        return path
    path = cache_folder() / "downloads" / file.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the last step is a rename: nobody ever sees half a file.
        temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=path.parent))
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent}: {error.strerror}; set OSTINATO_CACHE to another folder"
        ) from error
    try:
        _download(file, temporary / file.name)
        verify(temporary / file.name, file, "a proxy or login page may have answered; try again")
        os.replace(temporary / file.name, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def verify(path: Path, file: RemoteFile, advice: str) -> None:
    """Raise UserError unless the bytes at `path` are the published ones."""
    found = sha256(path)
    if found != file.sha256:
        size = path.stat().st_size
        raise UserError(
            f"{path}: expected SHA-256 {file.sha256}, found {found} ({size:,} bytes): "
            f"another version or a damaged copy; {advice}"
        )


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; check the file and its permissions"
        ) from error


def _download(file: RemoteFile, path: Path) -> None:
    with needs("download"):
        import pooch
        import requests

    # pooch announces every download, and the checksum of what it was given none for
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        downloader = pooch.HTTPDownloader(timeout=_TIMEOUT)
        pooch.retrieve(file.url, known_hash=None, fname=path.name, path=path.parent, downloader=downloader)
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        # pooch leaves the answer "404" and the like open
        if (response := getattr(error, "response", None)) is not None:
            response.close()
        cause = _first_words(error)
        raise UserError(
            f"cannot download {file.url}: {cause}; "
            f"check the network, or put {file.name} in a folder and set {DATA_VARIABLE} to it"
        ) from error


def _first_words(error: BaseException) -> str:
    """The root cause in a few words: requests wraps it several times over."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0][:150]
