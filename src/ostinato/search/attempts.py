"""A trial and its attempts.

A worker that dies leaves its attempt behind; the next attempt at the same trial is a further trial to Optuna,
with a number of its own, that says which one it retries. So the trials of a study are Optuna's trials that
retry none, and a trial's number is how many of those Optuna has made before it. Optuna makes them one after
the other, so that numbers have neither doubles nor gaps, and never change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, TrialState

# Optuna's own name for the number of the trial that a retry goes back to.
ROOT = "failed_trial"

# What a trial has come to, written before its state: without it, FAIL only means that its worker died.
OUTCOME, FAILED = "outcome", "failed"

State = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial, as far as taking trials needs to know it.

    Args:
        trial_id: the storage's.
        number: Optuna's, of this attempt.
        trial: the number of the trial in the study.
        state: Optuna's.
        ended: whether the trial has come to something by it.
        begun: whether a worker has been at it.
    """

    trial_id: int
    number: int
    trial: int
    state: "TrialState"
    ended: bool
    begun: bool


def numbered(frozen: Iterable["FrozenTrial"]) -> list[Attempt]:
    """Optuna's trials as attempts at the study's, in the order in which they were made."""
    ordered = sorted(frozen, key=lambda own: own.number)
    firsts = (own.number for own in ordered if ROOT not in own.system_attrs)
    trials = {number: trial for trial, number in enumerate(firsts)}
    return [
        Attempt(
            own._trial_id,
            own.number,
            trials[int(own.system_attrs.get(ROOT, own.number))],
            own.state,
            _has_ended(own),
            own.datetime_start is not None,
        )
        for own in ordered
    ]


def by_trial(attempts: Iterable[Attempt], trials: int) -> dict[int, list[Attempt]]:
    """The attempts at each of the first `trials` trials, in the order in which they were made."""
    found: dict[int, list[Attempt]] = {}
    for attempt in sorted(attempts, key=lambda attempt: (attempt.trial, attempt.number)):
        if attempt.trial < trials:
            found.setdefault(attempt.trial, []).append(attempt)
    return found


def outcome(attempts: Iterable[Attempt]) -> Attempt | None:
    """The attempt that has ended its trial, if one has."""
    return next((attempt for attempt in attempts if attempt.ended), None)


def state(attempts: list[Attempt]) -> State:
    """What has become of a trial; one that was begun and goes on later counts as running."""
    from optuna.trial import TrialState

    ended = outcome(attempts)
    if ended is not None:
        names: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        return names.get(ended.state, "failed")
    begun = len(attempts) > 1 or any(attempt.state != TrialState.WAITING for attempt in attempts)
    return "running" if begun else "waiting"


def next_to_claim(attempts: list[Attempt]) -> Attempt | None:
    """The attempt that a worker may take: the first one that waits, if nobody is at the trial."""
    from optuna.trial import TrialState

    if outcome(attempts) is not None or any(a.state == TrialState.RUNNING for a in attempts):
        return None
    return next((a for a in attempts if a.state == TrialState.WAITING), None)


def abandoned(attempts: list[Attempt]) -> Attempt | None:
    """The last attempt at a trial that every worker at it has died of or given back."""
    from optuna.trial import TrialState

    if outcome(attempts) is None and attempts and all(a.state == TrialState.FAIL for a in attempts):
        return attempts[-1]
    return None


def is_second(attempt: Attempt, attempts: list[Attempt]) -> bool:
    """Whether two workers are at one trial, and this is the one that has to give way.

    Two workers that find a dead one at the same moment make a retry each. The earlier retry is the one that
    counts: whoever holds the later one can always see the earlier.
    """
    from optuna.trial import TrialState

    live = (TrialState.RUNNING, TrialState.WAITING)
    return outcome(attempts) is not None or any(
        other.number < attempt.number and other.state in live for other in attempts
    )


def _has_ended(own: "FrozenTrial") -> bool:
    from optuna.trial import TrialState

    if own.state == TrialState.FAIL:
        # a worker that dies after it has noted another outcome, and before the state, is taken for dead
        return own.user_attrs.get(OUTCOME) == FAILED
    return own.state in (TrialState.COMPLETE, TrialState.PRUNED)
