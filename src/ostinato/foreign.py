"""What others wrote, within bounds: files that are files, what is packed no larger than it may be, settings.

What may hang or grow beyond such bounds is read in a process of its own, which is held to limits of time and
memory, and does not outlive who started it: see `limited`. What is read here, and grows with its file alone,
is watched: see `Memory`. OSTINATO_READER_MB raises what memory is allowed, in both.
"""

import contextlib
import io
import json
import os
import re
import select
import signal
import stat
import sys
import tomllib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ostinato.errors import UserError
from ostinato.files import open_regular

if TYPE_CHECKING:
    import zipfile

# Of what is packed, or comes through a pipe, and is held in memory as a whole.
MOST_UNPACKED = 256 << 20
# Of JSON that ostinato writes: a vocabulary of a million words has 30 MB.
MOST_JSON = 256 << 20
# Of settings: the largest that ostinato writes have a few thousand bytes.
MOST_SETTINGS = 64 << 10
# Of a process that reads: of its memory that is no file's.
MOST_MEMORY = 1000 << 20
# What raises both for users: this many megabytes of memory, and of what is unpacked in proportion.
VARIABLE = "OSTINATO_READER_MB"

# A pipe that nobody has opened for writing by then is one that somebody has forgotten.
_WAIT_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_LINES = 4096

# A key of 100 parts: tomllib takes time as the square of their number.
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_DEEP_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{99}}")

T = TypeVar("T")


def most_memory() -> int:
    """Bytes of memory that a reader may take.

    Raises:
        UserError: `VARIABLE` is set to something else than a number.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if not said:
        return MOST_MEMORY
    if not said.isascii() or not said.isdecimal() or len(said) > 9 or int(said) == 0:
        raise UserError(f"expected a whole number of megabytes in {VARIABLE}, found {said[:40]!r}")
    return int(said) << 20


def most_unpacked() -> int:
    """Bytes that may be unpacked, or come through a pipe: as much as usual of a usual reader's memory."""
    return MOST_UNPACKED * most_memory() // MOST_MEMORY


class Memory:
    """What reading a file takes in this process, which must not be more than in a process of its own.

    Args:
        called: what the user calls the file.
        share: of that memory: less where what is made of the answer takes the rest.

    Example:
        >>> list(Memory("a.txt").along("abc"))
        ['a', 'b', 'c']
    """

    def __init__(self, called: str, share: float = 1.0) -> None:
        self._called, self._begin, self._most = called, _resident(), int(share * most_memory())

    def check(self) -> None:
        """See that it has not taken too much by now.

        Raises:
            UserError: it has.
        """
        if _resident() - self._begin > self._most:
            raise _too_much_memory(self._called)

    def along(self, items: Iterable[T], every: int = _LINES) -> Iterator[T]:
        """These items, with a look at the memory before each `every` of them."""
        for number, item in enumerate(items):
            if number % every == 0:
                self.check()
            yield item


def check_memory(size: int, called: str) -> None:
    """Refuse a file that is known to take this many bytes of memory, if a reader may not take them."""
    if size > most_memory():
        raise _too_much_memory(called)


def _too_much_memory(called: str) -> UserError:
    most = most_memory() >> 20
    return UserError(
        f"expected {called} to take at most {most:,} MB of memory to read, found that it takes more; give a "
        f"smaller one, or allow more: {VARIABLE}={4 * most}"
    )


def _resident() -> int:
    """Bytes of memory that this process has now; where the system does not say so, the most that it had."""
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(ImportError):  # not everywhere
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most << 10
    return 0


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
    """TOML, within bounds: of a key of thousands of parts tomllib takes time as the square of their number.

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
        text = data.decode()
        if _DEEP_KEY.search(text):
            raise UserError("it is nested too deeply")
        return tomllib.loads(text)
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except ValueError as error:  # also an integer of thousands of digits
        raise UserError(str(error)) from None


def of_json(data: bytes | str) -> Any:
    """JSON, within bounds.

    Raises:
        UserError: it is none; the message is a reason.

    Example:
        >>> of_json(b'{"epoch": 3}')
        {'epoch': 3}
        >>> of_json(100_000 * "[")
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: it is nested too deeply
    """
    try:
        return json.loads(data)
    except RecursionError:
        raise UserError("it is nested too deeply") from None
    except ValueError as error:  # also bytes that are no UTF-8, and an integer of thousands of digits
        raise UserError(str(error)) from None


def unpacked(data: bytes, called: str) -> bytes:
    """What gzip has packed.

    Args:
        data: all bytes of the file.
        called: what the user calls it.

    Raises:
        UserError: it is damaged, or more than `most_unpacked`.

    Example:
        >>> import gzip
        >>> unpacked(gzip.compress(b"C E G"), "a.gz")
        b'C E G'
    """
    import gzip

    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            found = file.read(most_unpacked() + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"expected a whole gzip file, found a damaged one: {called} ({error})") from None
    if len(found) > most_unpacked():
        raise too_large(called, "unpacked", "unpack it into a file first")
    return found


def check_packed(archive: "zipfile.ZipFile", called: str) -> None:
    """Refuse a ZIP archive whose packed members unpack to more than `most_unpacked`; no more is then read."""
    size = sum(one.file_size for one in archive.infolist() if one.compress_type)  # 0: stored
    if size > most_unpacked():
        raise too_large(called, "unpacked", "save it without compression")


def piped(path: Path) -> bytes:
    """All bytes of standard input (named -), or of a pipe that somebody writes to.

    Raises:
        OSError: it cannot be read.
        UserError: it is another special file, nobody writes to it, or there is more than `most_unpacked`.
    """
    if str(path) in ("-", "/dev/stdin"):
        if sys.stdin is None:
            raise UserError("expected text on standard input, found it closed")
        data = sys.stdin.buffer.read(most_unpacked() + 1)
    else:
        data = _from_pipe(path)
    if len(data) > most_unpacked():
        raise too_large(str(path), "read from a pipe", "write it into a file first")
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
        return file.read(most_unpacked() + 1)


def _wait_for_writer(descriptor: int, path: Path) -> None:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN | select.POLLHUP)
    if waiting.poll(1000 * _WAIT_SECONDS):
        return
    # nothing to read is an error where there is a writer, who takes time; else it is the end
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 1)
        raise UserError(f"expected a file at {path}, found a pipe that nobody writes to")


def too_large(called: str, how: str, advice: str) -> UserError:
    """The message for more than `most_unpacked` bytes of something that is in memory as a whole."""
    most = 4 * most_memory() >> 20
    return UserError(
        f"expected at most {most_unpacked() >> 20} MB {how}, found more in {called}; {advice}, or allow "
        f"more: {VARIABLE}={most}"
    )


def limited(memory: int | None = None, *, parent: int | None = None) -> None:
    """Hold this process, which reads for another one, to so much memory, and end it with its parent.

    Args:
        memory: in bytes, besides what is mapped from files; None: `most_memory`.
        parent: the process that has started this one, which may have ended before it comes to this.
    """
    memory = most_memory() if memory is None else memory
    with contextlib.suppress(ImportError, OSError, ValueError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


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
