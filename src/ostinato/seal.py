"""A seal: the digests of a folder's files in one more file, and what is read is checked against it.

    seal.json   what each file may hold: its size and its SHA-256, and those of the seal itself

What a file is to become is sealed before it is written, beside what it was; so at every instant each file is
one of those that the seal knows, and a kill between two writes, or a reader who comes between them, finds
nothing damaged. A file that grows is sealed as far as it had come, and may be longer. Nobody's seal can be
forged by accident; against somebody who wants to it is no protection.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ostinato.errors import UserError
from ostinato.files import atomic_write, is_link, open_regular, read_regular

SEAL, FORMAT, VERSION = "seal.json", "ostinato seal", 1

# A writer who is at it replaces a file once in a while; a reader who meets it reads again.
_TRIES, _PAUSE_SECONDS = 50, 0.01

_BLOCK = 1 << 20
# Of the seal itself: a few hundred bytes for each file.
_MOST_SEAL = 4 << 20

# What is told of folders without a seal, and of whom it has been told.
TELL: ContextVar[Callable[[str], None] | None] = ContextVar("tell", default=None)
_TOLD: set[Path] = set()


class SealError(UserError):
    """A file is not what it was when it was written."""


@dataclass(frozen=True)
class Content:
    """What a file holds, or, where it grows, what it begins with.

    Args:
        size: in bytes.
        sha256: of these bytes.
        grows: whether more may follow.
    """

    size: int
    sha256: str
    grows: bool = False

    @classmethod
    def of(cls, data: bytes, *, grows: bool = False) -> Content:
        """These bytes.

        Example:
            >>> Content.of(b"C").size, Content.of(b"C").sha256[:8]
            (1, '6b23c0d5')
        """
        return cls(len(data), hashlib.sha256(data).hexdigest(), grows)

    def is_in(self, data: bytes) -> bool:
        """Whether a file with this content may hold these bytes.

        Example:
            >>> Content.of(b"C", grows=True).is_in(b"CE"), Content.of(b"C").is_in(b"CE")
            (True, False)
        """
        if len(data) < self.size or (len(data) > self.size and not self.grows):
            return False
        return hashlib.sha256(memoryview(data)[: self.size]).hexdigest() == self.sha256


# Of each file what it may hold, the latest first; None: it may not be there.
Files = dict[str, tuple[Content | None, ...]]


def load(folder: Path) -> Files | None:
    """What a folder's seal says; None where there is none.

    Raises:
        SealError: it has been changed.
        UserError: a later version wrote it.
    """
    try:
        data = read_regular(folder / SEAL, _MOST_SEAL)
    except FileNotFoundError:
        return None
    content = _parsed(folder, data)
    try:
        files = {
            name: tuple(None if one is None else Content(**one) for one in contents)
            for name, contents in content["files"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged_seal(folder) from error
    if _written(files).encode() != data:
        raise _damaged_seal(folder)
    return files


def _parsed(folder: Path, data: bytes) -> Any:
    try:
        content = json.loads(data)
        later = content["format"] == FORMAT and content["version"] > VERSION
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged_seal(folder) from error
    if later:
        raise UserError(
            f"expected a seal of format {VERSION} in {folder / SEAL}, found format {content['version']}; use "
            "the version of ostinato that wrote it"
        )
    return content


def read(folder: Path, name: str, most: int | None = None) -> bytes:
    """The bytes of a file, as they were written.

    Args:
        folder: with a seal, or of before there were any.
        name: of the file in it, with / between parts.
        most: bytes that such a file may have; of one that the seal knows no more than it says are read.

    Raises:
        FileNotFoundError: there is none, and there need not be.
        SealError: it is not what was written, or missing.
        UserError: it is a link, larger than `most`, or cannot be read.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Sealer(folder).write("tune.txt", "C E G")
        >>> read(folder, "tune.txt")
        b'C E G'
        >>> _ = (folder / "tune.txt").write_text("C F G")
        >>> read(folder, "tune.txt")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ostinato.seal.SealError: expected .../tune.txt as it was written, found it changed since; ...
    """
    for attempt in range(_TRIES):
        sealed = load(folder)
        large = sealed is not None and _is_too_large(folder, name, sealed)
        data = None if large else _bytes(folder, name, most)
        if sealed is not None and (large or not _allows(sealed, name, data)):
            if attempt < _TRIES - 1 and load(folder) != sealed:
                time.sleep(_PAUSE_SECONDS)
                continue
            raise damaged(folder, name, missing=data is None and not large)
        if data is None:
            raise FileNotFoundError(folder / name)
        return data
    raise AssertionError("unreachable")


def is_there(folder: Path, name: str) -> bool:
    """Whether there is a file of this name.

    Raises:
        SealError: there is none, and one has been written.
        UserError: there is a link.
    """
    for attempt in range(_TRIES):
        sealed = load(folder)
        refuse_links(folder, name)
        if (folder / name).is_file():
            return True
        if sealed is None or name not in sealed or None in sealed[name]:
            return False
        if attempt == _TRIES - 1 or load(folder) == sealed:
            break
        time.sleep(_PAUSE_SECONDS)
    raise damaged(folder, name, missing=True)


def damaged(folder: Path, name: str, *, missing: bool) -> SealError:
    """The message for a file that is not what the seal says."""
    found = "none, though it has been written" if missing else "it changed since"
    return SealError(f"expected {folder / name} as it was written, found {found}; {can_be_made(folder)}")


def examine(folder: Path) -> dict[str, bool | None]:
    """Of each file that the seal knows, whether it is whole; None where it is missing and must not be.

    Raises:
        SealError: the seal itself has been changed, or there is none.
    """
    for attempt in range(_TRIES):
        sealed = load(folder)
        if sealed is None:
            raise SealError(f"expected {SEAL} in {folder}, found none; make it: {check_command(folder)}")
        found: dict[str, bool | None] = {}
        for name, contents in sealed.items():
            if any(_fits(folder, name, content) for content in contents):
                found[name] = True
            else:
                found[name] = False if os.path.lexists(folder / name) else None
        if all(found.values()) or attempt == _TRIES - 1 or load(folder) == sealed:
            break
        time.sleep(_PAUSE_SECONDS)
    return found


def whole_lines(path: Path) -> Content:
    """What a file that grows line by line begins with from here on."""
    data = read_regular(path)
    return Content.of(data[: data.rfind(b"\n") + 1], grows=True)


def make(folder: Path, names: Iterable[str], growing: Iterable[str] = ()) -> None:
    """Seal the files of a folder as they are, those that are there.

    Args:
        folder: the folder.
        names: of the files.
        growing: those of them that grow; of these the whole lines are sealed.
    """
    sealer = Sealer(folder, names, growing)
    sealer.settle(always=True)


class Sealer:
    """Writes the files of a folder, and its seal; one at a time: its owner has a lock.

    Args:
        folder: the folder.
        adopted: files of a folder without a seal that are sealed as they are found, as far as they are there.
        growing: those of them that grow.

    Raises:
        UserError: the seal is damaged, or of a later version.
    """

    def __init__(self, folder: Path, adopted: Iterable[str] = (), growing: Iterable[str] = ()) -> None:
        self.folder = folder
        self._settled = True
        there = load(folder)
        if there is None:
            adopted = [name for name in adopted if os.path.lexists(folder / name)]
            self._files: Files = {name: (_content(folder, name, name in growing),) for name in adopted}
        else:
            # what a killed process has left open
            self._files = {name: self._found(name, contents) for name, contents in there.items()}

    def write(self, name: str, data: bytes | str, *, advice: str = "") -> None:
        """Replace a file, in one step, and seal it. See `files.atomic_write`."""
        data = data.encode() if isinstance(data, str) else data
        refuse_links(self.folder, name)
        before = self._files.get(name, (None,))
        content = Content.of(data)
        if before != (content,):
            self._write_seal({**self._files, name: (content, *before)}, advice)
        atomic_write(self.folder / name, data, advice=advice)
        self._files[name] = (content,)

    def grown(self, name: str, content: Content) -> None:
        """What a file that grows begins with from here on; on the disk with the next `write` or `settle`."""
        if self._files.get(name) != (content,):
            self._files[name] = (content,)
            self._settled = False

    def settle(self, *, advice: str = "", always: bool = False) -> None:
        """Seal the files as they are, without what they were; `always`: also where the seal says so."""
        if always or not self._settled:
            self._write_seal(self._files, advice)

    def content(self, name: str) -> Content | None:
        """What a file holds, as far as the seal knows."""
        return self._files.get(name, (None,))[0]

    def _write_seal(self, files: Files, advice: str) -> None:
        atomic_write(self.folder / SEAL, _written(files), advice=advice)
        self._files = files
        self._settled = all(len(contents) == 1 for contents in files.values())

    def _found(self, name: str, contents: tuple[Content | None, ...]) -> tuple[Content | None, ...]:
        """Which of several contents a file has; all of them where it has none."""
        if len(contents) == 1:
            return contents
        self._settled = False
        return next(((one,) for one in contents if _fits(self.folder, name, one)), contents)


def refuse_links(folder: Path, name: str) -> None:
    """A UserError where a file, or a folder above it, is a link: what it leads to is not the folder's."""
    if is_link(folder, name):
        raise UserError(
            f"expected {folder / name} itself, found a link, which is not followed; put a file in its place"
        )


@contextmanager
def telling(listener: Callable[[str], None]) -> Iterator[None]:
    """What there is to tell of folders goes to this function inside."""
    token = TELL.set(listener)
    try:
        yield
    finally:
        TELL.reset(token)


def tell(text: str) -> None:
    """Tell whoever listens (`TELL`), by default as a warning."""
    listener = TELL.get()
    if listener is None:
        warnings.warn(text, stacklevel=3)
    else:
        listener(text)


def tell_unsealed(folder: Path) -> None:
    """Tell of a folder without a seal, once."""
    if (folder / SEAL).exists() or folder.absolute() in _TOLD:
        return
    _TOLD.add(folder.absolute())
    tell(
        f"{folder} has no {SEAL}, as what was made before there were any: damage to its files would not be "
        f"noticed; {check_command(folder)} makes one"
    )


def _bytes(folder: Path, name: str, most: int | None) -> bytes | None:
    refuse_links(folder, name)
    with suppress(FileNotFoundError):
        return read_regular(folder / name, most)
    return None


def _is_too_large(folder: Path, name: str, sealed: Files) -> bool:
    """Whether a file need not be read to know that it is none of those that the seal knows."""
    known = sealed.get(name, (None,))
    if any(one is not None and one.grows for one in known):
        return False
    with suppress(OSError):
        found = (folder / name).lstat()
        most = max((one.size for one in known if one is not None), default=0)
        return stat.S_ISREG(found.st_mode) and found.st_size > most
    return False


def _fits(folder: Path, name: str, content: Content | None) -> bool:
    """As `_is`, of a file that need not go into memory."""
    if is_link(folder, name):
        return False
    try:
        with open(open_regular(folder / name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if content is None or size < content.size or (size > content.size and not content.grows):
                return False
            return _digest(file, content.size) == content.sha256
    except (FileNotFoundError, NotADirectoryError):
        return _is(content, None)
    except (OSError, UserError):
        return False


def _content(folder: Path, name: str, grows: bool) -> Content:
    """What a file holds; of one that grows, in whole lines."""
    refuse_links(folder, name)
    if grows:
        return whole_lines(folder / name)
    with open(open_regular(folder / name), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return Content(size, _digest(file, size))


def _digest(file: BinaryIO, size: int) -> str:
    digest = hashlib.sha256()
    while size > 0 and (data := file.read(min(size, _BLOCK))):
        digest.update(data)
        size -= len(data)
    return digest.hexdigest()


def _is(content: Content | None, data: bytes | None) -> bool:
    if data is None:  # a file without anything in it is as good as none
        return content is None or (content.grows and content.size == 0)
    return content is not None and content.is_in(data)


def _allows(sealed: Files, name: str, data: bytes | None) -> bool:
    return any(_is(content, data) for content in sealed.get(name, (None,)))


def _written(files: Files) -> str:
    """The seal's own text, which ends with its digest."""
    contents: dict[str, list[Any]] = {
        name: [None if one is None else asdict(one) for one in files[name]] for name in sorted(files)
    }
    listed = json.dumps(contents, sort_keys=True)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return (
        json.dumps({"format": FORMAT, "version": VERSION, "files": contents, "digest": digest}, indent=1)
        + "\n"
    )


def _damaged_seal(folder: Path) -> SealError:
    return SealError(
        f"expected {folder / SEAL} as it was written, found it changed since; put it back from a copy, or "
        f"make it again: {check_command(folder)}"
    )


def can_be_made(folder: Path) -> str:
    """What to do where a file is not what it was."""
    return f"put it back from a copy, or see what can be made again: {check_command(folder)}"


def check_command(folder: Path) -> str:
    """What looks at a folder, and makes again what can be made."""
    return f"ostinato check {shlex.quote(str(folder))}"
