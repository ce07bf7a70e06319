"""A study: its folder, its trials, and what they have come to.

study.toml     the settings: [study], [recipe] and [search]
journal.log    Optuna's record of the trials, where no database is used
trials/0007/   an ordinary run folder for each trial
trials.json    what the trials have come to, written after each
results.json   the chosen trial, and its scores on the test songs
seal.json      the digests of all these
"""

import copy
import dataclasses
import json
import socket
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tomli_w

from ostinato import foreign, seal
from ostinato.addresses import without_password
from ostinato.errors import UserError, needs
from ostinato.seal import Sealer, whole_lines
from ostinato.search import attempts
from ostinato.search.claims import Claims, Hold, LocalClaims, SharedClaims
from ostinato.search.ledger import DatabaseLedger, JournalLedger, Ledger
from ostinato.search.sampling import make_sampler
from ostinato.search.settings import StudySettings
from ostinato.search.storage import (
    JOURNAL,
    LOCKS,
    Mutex,
    insist,
    open_database,
    open_journal,
    quiet_optuna,
    reading_journal,
)

if TYPE_CHECKING:
    import optuna
    from optuna.trial import Trial, TrialState

SETTINGS, TRIALS, SNAPSHOT, RESULTS = "study.toml", "trials", "trials.json", "results.json"

# What the seal in the folder is of; the runs have seals of their own.
SEALED = (SETTINGS, SNAPSHOT, RESULTS, JOURNAL)

# Under which name the settings are with the study in a database.
ATTRIBUTE = "ostinato"

# How long a worker that ends waits for the database; others find out by themselves.
_LAST_PATIENCE_SECONDS = 5.0


class Attempt:
    """A worker's attempt at a trial: make one with `Study.claim`."""

    def __init__(
        self, study: "Study", trial: "Trial", number: int, hold: Hold, reported: dict[int, float]
    ) -> None:
        self.study, self.trial, self.number, self.hold = study, trial, number, hold
        self.folder = study.trial_folder(number)
        # first those of an earlier attempt, from whose checkpoint this one goes on
        self.reported = reported

    def report(self, score: float, epoch: int) -> None:
        """Tell the storage an epoch's score, unless an earlier attempt has."""
        if epoch not in self.reported:
            insist(lambda: self.trial.report(score, epoch))
            self.reported[epoch] = score

    def settle(self, state: "TrialState", value: float | None, facts: dict[str, Any]) -> bool:
        """Record what the trial has come to; False where it was another worker's by now."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        names = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: attempts.FAILED,
        }
        facts = facts | {"host": socket.gethostname(), attempts.OUTCOME: names[state]}
        storage, trial_id = self.study.storage, self.trial._trial_id
        try:
            for name, fact in facts.items():
                insist(lambda name=name, fact=fact: storage.set_trial_user_attr(trial_id, name, fact))  # type: ignore[misc]
            values = None if value is None else [value]
            insist(lambda: storage.set_trial_state_values(trial_id, state, values))
        except UpdateFinishedTrialError:
            return False
        finally:
            self.hold.release()
        return True

    def give_back(self) -> None:
        """Let another worker, or a later one, go on with the trial from its last checkpoint."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            storage, trial_id = self.study.storage, self.trial._trial_id
            insist(lambda: storage.set_trial_state_values(trial_id, TrialState.FAIL), _LAST_PATIENCE_SECONDS)
        except UpdateFinishedTrialError:
            return  # somebody else has it already
        finally:
            self.hold.release()
        insist(self.study.revive, _LAST_PATIENCE_SECONDS)


class Study:
    """A study that workers take trials from.

    Make one with `create_study`, or join one with `join_study`.

    Attributes:
        settings: what it is; the number of trials grows when another process extends it.
        extended_from: how many trials it had before this process extended it, or None.
    """

    def __init__(self, folder: Path, settings: StudySettings, url: str | None) -> None:
        with needs("search"):
            from optuna.storages import get_storage

        self.folder, self.settings, self.url = folder, settings, url
        self.extended_from: int | None = None
        self.claims: Claims
        self.ledger: Ledger
        if url is None:
            with suppress(FileNotFoundError):
                seal.read(folder, JOURNAL, foreign.most_memory())  # that it is as it was
            self.storage: Any = open_journal(folder)
        else:
            with quiet_optuna():
                self.storage = open_database(url, settings.heartbeat, settings.grace)
        # what TPE has read of the trials is kept from one to the next
        self._cached = get_storage(self.storage)
        with reading_journal(folder / JOURNAL) if url is None else nullcontext():
            self.optuna = self._create()
        if url is None:
            self.claims = LocalClaims(self.storage, folder / LOCKS)
            self.ledger = JournalLedger(self.optuna, self.storage)
        else:
            self.claims = SharedClaims(self.storage, settings.heartbeat, settings.grace)
            self.ledger = DatabaseLedger(self.optuna, self.storage)
        self._ended: dict[int, tuple[dict[str, Any], str]] = {}

    def close(self) -> None:
        """Leave the database; the study can no longer be used."""
        if self.url is not None:
            self.storage.remove_session()
            self.storage.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _name(self) -> str:
        # a folder may be renamed; a database holds many studies
        return "search" if self.url is None else self.folder.name

    def _create(self) -> "optuna.Study":
        """Optuna's study, made if need be."""
        import optuna

        with quiet_optuna():
            return optuna.create_study(
                study_name=self._name, storage=self._cached, direction="maximize", load_if_exists=True
            )

    def trial_folder(self, number: int) -> Path:
        """The run folder of a trial."""
        return self.folder / TRIALS / f"{number:04}"

    # How many trials

    def extend(self, trials: int) -> None:
        """Have at least so many trials, which workers at it go on with. Hold the settings' lock."""
        self.refresh()
        if trials > self.settings.trials:
            self.extended_from = self.settings.trials
            settings = dataclasses.replace(self.settings, trials=trials)
            if isinstance(self.ledger, DatabaseLedger):
                self.ledger.grow(ATTRIBUTE, settings.to_dict())
            self.settings = settings
            self.write_settings()

    def refresh(self) -> None:
        """See whether another process has extended the study."""
        if self.url is None:
            trials = self._trials_in_folder()
        else:
            trials = int(self.optuna.user_attrs[ATTRIBUTE]["study"]["trials"])
        if trials > self.settings.trials:
            self.settings = dataclasses.replace(self.settings, trials=trials)

    def _trials_in_folder(self) -> int:
        path = self.folder / SETTINGS
        try:
            data = seal.read(self.folder, SETTINGS, foreign.MOST_SETTINGS)
        except FileNotFoundError:
            raise UserError(f"expected {path}, found it removed; put it back from a copy") from None
        try:
            return int(foreign.parsed(data)["study"]["trials"])
        except (UserError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"expected the settings of a study in {path}, found none: {error}") from None

    def write_settings(self) -> None:
        """Write study.toml."""
        storage = {} if self.url is None else {"storage": without_password(self.url)}
        self.write(SETTINGS, tomli_w.dumps(storage | self.settings.to_dict()))

    def write(self, name: str, text: str) -> None:
        """Replace a file in the study's folder, and seal it; the journal as far as it has come, too."""
        with self.mutex("seal"):
            sealer = Sealer(self.folder, SEALED, growing=(JOURNAL,))
            if self.url is None:
                sealer.grown(JOURNAL, whole_lines(self.folder / JOURNAL))
            sealer.write(name, text)
            sealer.settle()

    # Taking trials

    def claim(self) -> Attempt | None:
        """Take the next trial, of dead workers first; None where there is none to take now."""
        with quiet_optuna(), self.claims.deciding():
            self.refresh()
            self.claims.bury(self.optuna, self.ledger)
            for made in self._revived().values():
                attempt = attempts.next_to_claim(made)
                if attempt is not None and (claimed := self._take(attempt)):
                    return claimed
            new = self.ledger.create(self.settings.trials)
            return None if new is None else self._take(new)

    def revive(self) -> None:
        """Put the trials back that every worker has died of or given back."""
        with quiet_optuna(), self.claims.deciding():
            self._revived()

    def finished(self) -> bool:
        """Whether every trial has come to something, as far as it is known how many there are."""
        return self.ledger.ended(self.settings.trials) >= self.settings.trials

    def _revived(self) -> "dict[int, list[attempts.Attempt]]":
        """The attempts at each trial that has come to nothing yet, with new ones where all have died."""
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        unfinished = attempts.by_trial(self.ledger.open(), self.settings.trials)
        dead = [last for made in unfinished.values() if (last := attempts.abandoned(made)) is not None]
        if not dead:
            return unfinished
        retry = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
        for last in dead:
            retry(self.optuna, copy.deepcopy(self.storage.get_trial(last.trial_id)))
        return attempts.by_trial(self.ledger.open(), self.settings.trials)

    def _take(self, attempt: attempts.Attempt) -> Attempt | None:
        """The attempt, if no other worker was quicker."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        hold = self.claims.hold(attempt)
        try:
            if attempt.state == TrialState.RUNNING:  # made for this worker
                return self._attempt(attempt, hold)
            won = self.storage.set_trial_state_values(attempt.trial_id, TrialState.RUNNING)
            if won and attempts.is_second(attempt, self._rivals(attempt)):
                self.storage.set_trial_state_values(attempt.trial_id, TrialState.FAIL)
                won = False
            if won:
                return self._attempt(attempt, hold)
        except UpdateFinishedTrialError:
            pass
        except BaseException:
            # no signs of life for a trial that nobody is at
            hold.release()
            raise
        hold.release()
        return None

    def _rivals(self, attempt: attempts.Attempt) -> "list[attempts.Attempt]":
        return [other for other in self.ledger.all() if other.trial == attempt.trial]

    def _attempt(self, attempt: attempts.Attempt, hold: Hold) -> Attempt:
        import optuna
        from optuna.trial import Trial

        # A study of the trial's own, for Optuna's samplers keep the trials that they once saw.
        study = optuna.load_study(
            study_name=self._name,
            storage=self._cached,
            sampler=make_sampler(self.settings, attempt.trial),
        )
        trial = Trial(study, attempt.trial_id)
        # the cache knows only the trials that it has read, and random search needs none of them
        trial.storage = self.storage
        there = self.storage.get_trial(attempt.trial_id).intermediate_values
        return Attempt(self, trial, attempt.trial, hold, dict(there))

    # What they have come to

    def records(self) -> list[dict[str, Any]]:
        """What the trials that have begun have come to, by number: what trials.json holds."""
        return [record for record, _ in self._records()]

    def write_snapshot(self) -> list[dict[str, Any]]:
        """Bring trials.json up to date; return what it holds."""
        # read and written under one lock, so that no older state replaces a newer one
        with self.mutex("snapshot"):
            found = insist(self._records)
            text = ",\n".join(written for _, written in found)
            self.write(SNAPSHOT, f"[\n{text}\n]\n")
        return [record for record, _ in found]

    def _records(self) -> list[tuple[dict[str, Any], str]]:
        """Each record, and how it is written; those of trials that have ended are kept, as they stay."""
        made = attempts.by_trial(self.ledger.all(), self.settings.trials)
        begun = {
            number: own
            for number, own in made.items()
            if number not in self._ended and attempts.state(own) != "waiting"
        }
        last = {number: attempts.outcome(own) or own[-1] for number, own in begun.items()}
        details = dict(zip(last, self.ledger.details(list(last.values())), strict=True))
        found = []
        for number in made:
            if number in self._ended:
                found.append(self._ended[number])
            elif number in begun:
                record = _record(number, begun[number], details[number])
                found.append((record, json.dumps(record, indent=1)))
                if record["state"] != "running":
                    self._ended[number] = found[-1]
        return found

    def mutex(self, name: str) -> Mutex:
        """A lock that the processes that reach this folder share."""
        return Mutex(self.folder / LOCKS / f"{name}.lock")


def _record(number: int, made: "list[attempts.Attempt]", details: dict[str, Any]) -> dict[str, Any]:
    facts = details["facts"]
    record = {
        "number": number,
        "state": attempts.state(made),
        "value": details["value"],
        "params": details["params"],
        "folder": str(Path(TRIALS) / f"{number:04}"),
        "epochs": facts.get("epochs"),
        "seconds": facts.get("seconds"),
        "attempts": len([attempt for attempt in made if attempt.begun]),
    }
    return record | {name: facts[name] for name in ("host", "reason") if name in facts}
