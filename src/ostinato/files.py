"""Files that are the old one or the new one, whatever happens meanwhile; locks that end with a process."""

import contextlib
import errno
import os
import stat
import sys
import uuid
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ostinato.errors import UserError

TEMPORARY_SUFFIX = ".tmp"

# EDQUOT: the quota is full. EFBIG: a limit on the size of a file. The user meets all three as "no room".
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def atomic_write(path: str | os.PathLike[str], data: bytes | str, *, advice: str = "") -> None:
    """Write `data` to `path`: a reader, or a crash at any instant, finds the old file or the new one, whole.

    The bytes go to a temporary file in the same folder (`.NAME.<random>.tmp`), reach the disk (fsync), and
    take the name in one step (rename); then the folder's entry is brought to the disk too. On any error the
    temporary file is removed and `path` is what it was.

    Args:
        path: The file; its folder exists.
        data: What the file is to hold; text is written as UTF-8, line ends as they are.
        advice: What the user can do when there is no room or no permission; a general hint by default.

    Raises:
        UserError: The file cannot be written: no space left, no permission, no such folder.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> atomic_write(folder / "note.txt", "C major")
        >>> (folder / "note.txt").read_text()
        'C major'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{TEMPORARY_SUFFIX}")
    try:
        _write_and_sync(temporary, data.encode() if isinstance(data, str) else data)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error, advice) from error
    finally:
        # After the rename there is nothing left to remove; before it, this is the half-written file.
        with contextlib.suppress(OSError):
            temporary.unlink()


def numbered(path: Path, number: int, count: int) -> Path:
    """The path of one file of several: `a.mid` is `a-3.mid` for the third.

    Example:
        >>> str(numbered(Path("a.mid"), 3, 12)), str(numbered(Path("a.mid"), 1, 1))
        ('a-03.mid', 'a.mid')
    """
    return path if count == 1 else path.with_stem(f"{path.stem}-{number:0{len(str(count))}d}")


def check_apart(out: Iterable[Path], read: Any) -> None:
    """Refuse to write into a file that is read: what a user gave is not replaced.

    Args:
        out: files to write.
        read: what is read: a path, or something else, which is no file.

    Raises:
        UserError: one of them is the file that is read.

    Example:
        >>> check_apart([Path("new.mid")], Path("old.mid"))
        >>> check_apart([Path("./old.mid")], Path("old.mid"))
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected another file to write than the one read, found old.mid for both
    """
    if not isinstance(read, str | Path):
        return
    # one tune of a collection is named with its number
    names = {os.path.realpath(name) for name in (str(read), str(read).rpartition("#")[0]) if name}
    for path in out:
        if os.path.realpath(path) in names:
            raise UserError(f"expected another file to write than the one read, found {path} for both")


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of `data`: `os.write` alone may take a part, as on a nearly full disk."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries (new names, renames) to the disk; does nothing outside POSIX systems."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a regular file: no link is followed, and no pipe is waited for.

    Args:
        path: the file.
        flags: of `os.open`.

    Raises:
        UserError: there is something else.
        OSError: as `os.open` does.
    """
    more = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
    for name in more:
        flags |= getattr(os, name, 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(
                f"expected {path} itself, found a link, which is not followed; put a file in its place"
            ) from error
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise _no_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(path)
    return descriptor


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The bytes of a regular file; see `open_regular`.

    Args:
        path: the file.
        most: bytes that it may have; None: whatever it has.

    Raises:
        FileNotFoundError: there is none.
        UserError: there is something else, or more, or it cannot be read.
    """
    try:
        with open(open_regular(path), "rb") as file:
            data = file.read(-1 if most is None else most + 1)
            if most is not None and len(data) > most:
                raise UserError(
                    f"expected at most {_size(most)} in {path}, found more; put it back from a copy, or "
                    "remove what does not belong there"
                )
            return data
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count >> 10} kB"


def is_link(folder: Path, name: str) -> bool:
    """Whether a file in a folder, or a folder between them, is a link.

    Example:
        >>> is_link(Path("."), "no such file")
        False
    """
    path = folder
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            return True
    return False


def _no_file(path: Path) -> UserError:
    return UserError(f"expected a file at {path}, found something else; put a file in its place")


def write_error(path: Path, error: OSError, advice: str = "") -> UserError:
    """The one line that tells a user why `path` could not be written, and what to do.

    Example:
        >>> print(write_error(Path("a/b"), OSError(errno.ENOSPC, "No space left on device")))
        no space left for a/b; free some space and try again
        >>> print(write_error(Path("a/b"), OSError(errno.EACCES, "Permission denied"), "use another folder"))
        cannot write a/b: Permission denied; use another folder
    """
    if error.errno in _NO_SPACE:
        return UserError(f"no space left for {path}; {advice or 'free some space and try again'}")
    advice = advice or "check the folder and its permissions"
    return UserError(f"cannot write {path}: {error.strerror or error}; {advice}")


def _write_and_sync(path: Path, data: bytes) -> None:
    # Not tempfile.mkstemp: that makes files only their owner may read, whatever the umask says.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLock:
    """A lock on a folder, held from here until `release`, or until the process ends, however it ends.

    The lock file stays behind, unlocked, and holds the number of the process that had it last.

    Args:
        path: The lock file; it is made if need be. What is locked is the folder it is in.

    Raises:
        UserError: Another process has it, or this one has it already; or the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / ".lock"
        >>> FileLock(path).release()
        >>> FileLock(path).release()
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise write_error(path, error) from error
        # Also closes the file when the object is forgotten without a `release`.
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            _lock(descriptor)
        except OSError as error:
            owner = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            self.release()
            raise UserError(
                f"expected {path.parent} to be free, found it in use by process {owner}; "
                "wait until that process has ended, or use another folder"
            ) from error
        # The number is for the message only: a full disk is no reason to do without the lock.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            write_all(descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the lock back; more than once does no harm."""
        self._close()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of this file; where there is no file, nobody does.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / ".lock"
        >>> lock = FileLock(path)
        >>> is_locked(path)
        True
        >>> lock.release()
        >>> is_locked(path)
        False
    """
    try:
        descriptor = open_regular(path, os.O_RDWR)
    except (OSError, UserError):
        return False  # no file, or not ours to write: then nobody of this account trains here
    try:
        _lock(descriptor)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Far behind the text, which stays readable for others.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
