"""Who is at which trial, and whether that worker still lives: by locks in the study's folder, or by signs of
life in a shared database.
"""

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ostinato.search.attempts import Attempt
from ostinato.search.ledger import Ledger
from ostinato.search.storage import Mutex, try_lock

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage, RDBStorage


class Hold(Protocol):
    """A worker's grip on a trial, from just before the claim to the outcome."""

    def lost(self) -> bool:
        """Whether others take this worker for dead, so that the trial is no longer its own."""

    def release(self) -> None:
        """Let go."""


class Claims(Protocol):
    """How the workers of a study keep out of each other's way."""

    def deciding(self) -> AbstractContextManager[object]:
        """Held while a worker looks for a trial and takes it."""

    def bury(self, study: "Study", ledger: Ledger) -> None:
        """Mark as failed the running attempts whose worker is dead."""

    def hold(self, attempt: Attempt) -> Hold:
        """Be at the attempt, for others to see."""


class LocalClaims:
    """Workers that share a folder: each holds a lock on its trial, which ends with the process."""

    def __init__(self, storage: "BaseStorage", folder: Path) -> None:
        self._storage, self._folder = storage, folder
        self._mutex = Mutex(folder / "claims.lock")

    def deciding(self) -> Mutex:
        """One worker at a time: between a lock and its claim, nobody takes the trial's worker for dead."""
        return self._mutex

    def bury(self, study: "Study", ledger: Ledger) -> None:
        """Those whose lock is free."""
        from optuna.trial import TrialState

        for attempt in ledger.open():
            if attempt.state == TrialState.RUNNING and (lock := try_lock(self._path(attempt))) is not None:
                self._storage.set_trial_state_values(attempt.trial_id, TrialState.FAIL)
                lock.release()

    def hold(self, attempt: Attempt) -> "LocalHold":
        """Take the trial's lock."""
        return LocalHold(self._path(attempt))

    def _path(self, attempt: Attempt) -> Path:
        path = self._folder / f"{attempt.trial:04}.lock"
        path.touch()
        return path


class LocalHold:
    """A lock on a trial."""

    def __init__(self, path: Path) -> None:
        self._lock = Mutex(path)
        self._lock.acquire()

    def lost(self) -> bool:
        """Never: nobody else can have the lock."""
        return False

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()


class SharedClaims:
    """Workers that share a database: each says every few seconds that it lives."""

    def __init__(self, storage: "RDBStorage", heartbeat: int, grace: int) -> None:
        self._storage, self._heartbeat, self._grace = storage, heartbeat, grace

    def deciding(self) -> AbstractContextManager[object]:
        """Nothing: the database lets one worker only take an attempt."""
        return nullcontext()

    def bury(self, study: "Study", ledger: Ledger) -> None:
        """Those that have given no sign of life for the time of grace, by the database's clock."""
        from optuna.storages import fail_stale_trials

        fail_stale_trials(study)

    def hold(self, attempt: Attempt) -> "Heartbeat":
        """Begin to give signs of life: before the claim, so that none is ever without."""
        return Heartbeat(self._storage, attempt.trial_id, self._heartbeat, self._grace)


class Heartbeat:
    """A thread that gives signs of life, and finds out when nobody believes them any more.

    Optuna's own ends at the first error of the network, without a word.
    """

    def __init__(self, storage: "RDBStorage", trial_id: int, interval: float, grace: float) -> None:
        self._storage, self._trial_id, self._interval, self._grace = storage, trial_id, interval, grace
        self._stop = threading.Event()
        self._taken = False
        storage.record_heartbeat(trial_id)
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{trial_id}", daemon=True)
        self._thread.start()

    def lost(self) -> bool:
        """Whether the attempt has been given to another worker, or must have been by now."""
        return self._taken or time.monotonic() - self._heard > self._grace

    def release(self) -> None:
        """Give no further signs."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        import sqlalchemy
        from optuna.exceptions import StorageInternalError

        while not self._stop.wait(self._interval):
            begin = time.monotonic()
            try:
                self._storage.record_heartbeat(self._trial_id)
                self._taken = self._storage.get_trial(self._trial_id).state.is_finished()
            except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
                continue  # the next one may get through; `lost` counts the time
            finally:
                # a session, and its connection, belong to a thread
                self._storage.remove_session()
            # from before the call: others count from when the database heard it
            self._heard = begin
