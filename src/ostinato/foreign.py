"""What others wrote, within bounds: files that are files, what is packed no larger than it may be, settings.

What may hang or grow beyond such bounds is read in a process of its own, which is held to limits of time and
memory, and does not outlive who started it: see `limited`.
"""

import contextlib
import io
import os
import select
import signal
import stat
import sys
import tomllib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostinato.errors import UserError
from ostinato.files import open_regular

if TYPE_CHECKING:
    import zipfile

# Of what is packed, or comes through a pipe, and is held in memory as a whole.
MOST_UNPACKED = 256 << 20
# Of settings: the largest that ostinato writes have a few thousand bytes.
MOST_SETTINGS = 64 << 10
# Of a process that reads: of its memory that is no file's.
MOST_MEMORY = 1000 << 20

# A pipe that nobody has opened for writing by then is one that somebody has forgotten.
_WAIT_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


def settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a file of TOML that a user has named.

    Raises:
        OSError: it cannot be read.
        UserError: it is no regular file, larger than `MOST_SETTINGS`, or no TOML; the message is a reason.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.toml"
        >>> _ = path.write_text("learning_rate = 0.1")
        >>> settings(path)
        {'learning_rate': 0.1}
    """
    with open(open_regular(Path(path).resolve()), "rb") as file:
        return parsed(file.read(MOST_SETTINGS + 1))


def parsed(data: bytes) -> dict[str, Any]:
    """TOML, within bounds: of nested tables tomllib takes time as the square of their depth.

    Raises:
        UserError: it is none; the message is a reason.

    Example:
        >>> parsed(b"a = " + 1000 * b"[")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: it is nested too deeply
    """
    if len(data) > MOST_SETTINGS:
        raise UserError(f"it is larger than {MOST_SETTINGS >> 10} kB")
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except ValueError as error:  # also an integer of thousands of digits
        raise UserError(str(error)) from None


def unpacked(data: bytes, called: str) -> bytes:
    """What gzip has packed.

    Args:
        data: all bytes of the file.
        called: what the user calls it.

    Raises:
        UserError: it is damaged, or more than `MOST_UNPACKED`.

    Example:
        >>> import gzip
        >>> unpacked(gzip.compress(b"C E G"), "a.gz")
        b'C E G'
    """
    import gzip

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"expected a whole gzip file, found a damaged one: {called} ({error})") from None
    if len(found) > MOST_UNPACKED:
        raise _too_large(called, "unpacked", "unpack it into a file first")
    return found


def check_packed(archive: "zipfile.ZipFile", called: str) -> None:
    """Refuse a ZIP archive whose packed members unpack to more than `MOST_UNPACKED`; no more is then read."""
    size = sum(one.file_size for one in archive.infolist() if one.compress_type)  # 0: stored
    if size > MOST_UNPACKED:
        raise _too_large(called, "unpacked", "save it without compression")


def piped(path: Path) -> bytes:
    """All bytes of standard input (named -), or of a pipe that somebody writes to.

    Raises:
        OSError: it cannot be read.
        UserError: it is another special file, nobody writes to it, or there is more than `MOST_UNPACKED`.
    """
    if str(path) in ("-", "/dev/stdin"):
        if sys.stdin is None:
            raise UserError("expected text on standard input, found it closed")
        data = sys.stdin.buffer.read(MOST_UNPACKED + 1)
    else:
        data = _from_pipe(path)
    if len(data) > MOST_UNPACKED:
        raise _too_large(str(path), "read from a pipe", "write it into a file first")
    return data


def _from_pipe(path: Path) -> bytes:
    # a pipe without a writer opens at once, and shows no event until one has come
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as file:
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            _wait_for_writer(descriptor, path)
        elif not os.isatty(descriptor):
            raise UserError(f"expected a file at {path}, found a device; put a file in its place")
        os.set_blocking(descriptor, True)
        return file.read(MOST_UNPACKED + 1)


def _wait_for_writer(descriptor: int, path: Path) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    if waiting.poll(1000 * _WAIT_SECONDS):
        return
    # nothing to read is an error where there is a writer, who takes time; else it is the end
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 1)
        raise UserError(f"expected a file at {path}, found a pipe that nobody writes to")


def _too_large(called: str, how: str, advice: str) -> UserError:
    return UserError(f"expected at most {MOST_UNPACKED >> 20} MB {how}, found more in {called}; {advice}")


def limited(memory: int = MOST_MEMORY) -> None:
    """Hold this process, which reads for another one, to so much memory, and end it with its parent.

    Args:
        memory: in bytes, besides what is mapped from files.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def cpu_seconds(seconds: float) -> Iterator[None]:
    """The system ends this process where what is inside computes for longer, whatever it is busy with."""
    if not hasattr(signal, "ITIMER_PROF"):
        yield
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
