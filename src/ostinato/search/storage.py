"""Where Optuna keeps a study's trials: a journal file in its folder, or a database that machines share."""

import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ostinato.addresses import database_url, scrubbed, without_password
from ostinato.errors import UserError, needs
from ostinato.files import FileLock, open_regular, write_error
from ostinato.seal import tell

if TYPE_CHECKING:
    from optuna.storages import BaseStorage, RDBStorage

JOURNAL, LOCKS = "journal.log", "locks"

# A database that fails for so long is taken for lost; after the first seconds it is told.
_PATIENCE_SECONDS = 600.0
_SILENT_SECONDS = 5.0

T = TypeVar("T")


class Mutex:
    """A lock on a file that is waited for; the process's end frees it, however it ends.

    Args:
        path: the lock file.

    Raises:
        UserError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: FileLock | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(open_regular(path, os.O_RDWR | os.O_CREAT))
        except OSError as error:
            raise write_error(path, error) from error

    def acquire(self) -> bool:
        """Wait for the lock, and hold it."""
        while (lock := try_lock(self._path)) is None:
            time.sleep(0.005)
        self._lock = lock
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "Mutex":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: Path) -> FileLock | None:
    """The lock, or None where another process has it."""
    try:
        return FileLock(path)
    except UserError as error:
        if path.exists() and os.access(path, os.W_OK):
            return None
        raise error


class JournalLock(Mutex):
    """The journal's lock. Optuna's own outlives a killed process, and holds everybody up for 30 seconds.

    A process that lost power while writing leaves a line without end: it is cut off.
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(journal.parent / LOCKS / "journal.lock")
        self._journal = journal

    def acquire(self) -> bool:
        """Wait for the lock, hold it, and see that the journal ends with a whole line."""
        super().acquire()
        with open(self._journal, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True


def open_journal(folder: Path) -> "BaseStorage":
    """The storage in a study's folder."""
    with needs("search"):
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

    path = (folder / JOURNAL).absolute()
    try:
        os.close(open_regular(path, os.O_RDWR | os.O_CREAT))  # also: no link
        with reading_journal(path):
            backend = JournalFileBackend(str(path), lock_obj=JournalLock(path))  # type: ignore[arg-type]
            return JournalStorage(backend)
    except OSError as error:
        raise write_error(path, error) from error


@contextmanager
def reading_journal(path: Path) -> Iterator[None]:
    """What Optuna makes of lines that it has not written is a UserError."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise UserError(
            f"expected the journal of a study in {path}, found lines that are none: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}; put it back from a copy"
        ) from error


def open_database(url: str, heartbeat: int | None = None, grace: int | None = None) -> "RDBStorage":
    """The storage in a PostgreSQL database; tables are made if need be.

    Args:
        url: of the database.
        heartbeat: seconds between signs of life; None: nobody watches for them.
        grace: seconds without one after which a worker counts as dead.

    Raises:
        UserError: the database cannot be reached.
        MissingExtra: the extra [postgres] is not installed.
    """
    with needs("postgres"):
        import psycopg  # noqa: F401  SQLAlchemy's driver, by its name in the URL
        import sqlalchemy
        from optuna.exceptions import StorageInternalError
        from optuna.storages import RDBStorage

    engine: dict[str, Any] = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    target, shown = database_url(url), without_password(url)
    for attempt in range(5):
        try:
            return RDBStorage(target, engine_kwargs=engine, heartbeat_interval=heartbeat, grace_period=grace)
        except (sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.IntegrityError) as error:
            # Somebody else is making the same tables.
            if attempt == 4:
                raise UserError(
                    f"cannot use the database {shown}: {scrubbed(_first_line(error), url)}"
                ) from None
            time.sleep(0.2 + random.random())
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError, ValueError) as error:
            raise UserError(
                f"expected a PostgreSQL database at {shown}, found none: "
                f"{scrubbed(_first_line(error), url)}; see that the server runs and lets this machine in"
            ) from None
    raise AssertionError("unreachable")


def insist(call: Callable[[], T], patience: float = _PATIENCE_SECONDS) -> T:
    """What the call returns; while the database fails, it is tried again, and who waits is told why.

    Raises:
        UserError: the database has failed for `patience` seconds.
    """
    import sqlalchemy
    from optuna.exceptions import StorageInternalError

    begin, told, pause = time.monotonic(), False, 1.0
    while True:
        try:
            return call()
        except (StorageInternalError, sqlalchemy.exc.DBAPIError) as error:
            passed = time.monotonic() - begin
            if passed > patience:
                raise UserError(
                    f"the database has failed for {passed:.0f} seconds: {_first_line(error)}; once it "
                    "answers, the same command goes on"
                ) from None
            if passed > _SILENT_SECONDS and not told:
                told = True
                tell(
                    f"the database fails: {_first_line(error)}; it is tried again, for {patience:.0f} "
                    "seconds at most"
                )
            time.sleep(pause)
            pause = min(1.5 * pause, 5.0)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Without Optuna's log lines, and its notes that heartbeats and retries may change."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def _first_line(error: BaseException) -> str:
    """What the driver or the server says: Optuna takes every failure for one of its data."""
    chain = [error]
    while (cause := chain[-1].__cause__ or getattr(chain[-1], "orig", None)) and cause not in chain:
        chain.append(cause)
    said = next((text for one in reversed(chain) if (text := str(one).strip())), type(error).__name__)
    return said.splitlines()[0]
