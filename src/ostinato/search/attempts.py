"""A trial and its attempts.

The first N trials that Optuna knows are the study's trials, 0 to N - 1, and are there from the beginning,
waiting. A worker that dies leaves its attempt behind; the next attempt at the same trial is a further trial
to Optuna, with a number of its own, that says which one it retries. So everything here goes by the root: the
number of the first attempt.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# Optuna's own name for the number of the trial that a retry goes back to.
_ROOT = "failed_trial"

# What a trial has come to, written before its state: without it, FAIL only means that its worker died.
OUTCOME = "outcome"

State = Literal["complete", "pruned", "failed", "running", "waiting"]


def root(attempt: "FrozenTrial") -> int:
    """The number of the trial that this is an attempt at."""
    return int(attempt.system_attrs.get(_ROOT, attempt.number))


def by_trial(attempts: Iterable["FrozenTrial"], trials: int) -> dict[int, list["FrozenTrial"]]:
    """The attempts at each of the study's trials, in the order in which they were made.

    Trials that two machines enqueued at once, beyond the number of the study's, are nobody's.
    """
    found: dict[int, list[FrozenTrial]] = {number: [] for number in range(trials)}
    for attempt in sorted(attempts, key=lambda attempt: attempt.number):
        if root(attempt) in found:
            found[root(attempt)].append(attempt)
    return found


def outcome(attempts: Iterable["FrozenTrial"]) -> "FrozenTrial | None":
    """The attempt that has ended its trial, if one has."""
    return next((attempt for attempt in attempts if _has_ended(attempt)), None)


def state(attempts: list["FrozenTrial"]) -> State:
    """What has become of a trial; one that was begun and goes on later counts as running."""
    from optuna.trial import TrialState

    ended = outcome(attempts)
    if ended is not None:
        names: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
        return names.get(ended.state, "failed")
    begun = len(attempts) > 1 or any(attempt.state != TrialState.WAITING for attempt in attempts)
    return "running" if begun else "waiting"


def next_to_claim(attempts: list["FrozenTrial"]) -> "FrozenTrial | None":
    """The attempt that a worker may take: the first one that waits, if nobody is at the trial."""
    from optuna.trial import TrialState

    if outcome(attempts) is not None or any(a.state == TrialState.RUNNING for a in attempts):
        return None
    return next((a for a in attempts if a.state == TrialState.WAITING), None)


def abandoned(attempts: list["FrozenTrial"]) -> "FrozenTrial | None":
    """The last attempt at a trial that every worker at it has died of or given back."""
    from optuna.trial import TrialState

    if outcome(attempts) is None and attempts and all(a.state == TrialState.FAIL for a in attempts):
        return attempts[-1]
    return None


def is_second(attempt: "FrozenTrial", attempts: list["FrozenTrial"]) -> bool:
    """Whether two workers are at one trial, and this is the one that has to give way.

    Two workers that find a dead one at the same moment make a retry each. The earlier retry is the one that
    counts: whoever holds the later one can always see the earlier.
    """
    from optuna.trial import TrialState

    live = (TrialState.RUNNING, TrialState.WAITING)
    return outcome(attempts) is not None or any(
        other.number < attempt.number and other.state in live for other in attempts
    )


def _has_ended(attempt: "FrozenTrial") -> bool:
    from optuna.trial import TrialState

    if attempt.state == TrialState.FAIL:
        return OUTCOME in attempt.user_attrs
    return attempt.state in (TrialState.COMPLETE, TrialState.PRUNED)
