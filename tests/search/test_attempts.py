"""Which of Optuna's trials are attempts at the same one, and what has become of it."""

from optuna.trial import TrialState, create_trial

from ostinato.search import attempts


def made(number, state, root=None, **facts):
    system = {} if root is None else {"failed_trial": root}
    value = -1.0 if state == TrialState.COMPLETE else None
    trial = create_trial(state=state, value=value, system_attrs=system, user_attrs=facts)
    trial.number = number
    return trial


def numbered(*frozen):
    return attempts.numbered(frozen)


def test_a_trials_number_counts_the_trials_before_it_and_no_retries():
    dead, retry = made(1, TrialState.FAIL), made(2, TrialState.COMPLETE, root=1)
    found = numbered(made(3, TrialState.RUNNING), retry, made(0, TrialState.COMPLETE), dead)
    assert [(own.number, own.trial) for own in found] == [(0, 0), (1, 1), (2, 1), (3, 2)]
    assert [own.ended for own in found] == [True, False, True, False]
    # a retry of the retry goes back to the first attempt, too
    again = numbered(made(0, TrialState.FAIL), made(1, TrialState.FAIL, root=0), made(2, TrialState.RUNNING))
    assert [own.trial for own in again] == [0, 0, 1]


def test_attempts_are_counted_by_the_trial_they_retry():
    dead, again = made(0, TrialState.FAIL), made(2, TrialState.COMPLETE, root=0)
    found = attempts.by_trial(
        numbered(made(1, TrialState.WAITING), again, dead, made(3, TrialState.WAITING)), 2
    )
    assert {trial: [own.number for own in made] for trial, made in found.items()} == {0: [0, 2], 1: [1]}
    assert attempts.outcome(found[0]).number == 2
    assert attempts.state(found[0]) == "complete"
    assert attempts.next_to_claim(found[0]) is attempts.abandoned(found[0]) is None


def test_a_failure_without_an_outcome_is_a_death():
    dead = numbered(made(0, TrialState.FAIL))
    failed = numbered(made(0, TrialState.FAIL, outcome="failed"))
    assert attempts.abandoned(dead) is dead[0]
    assert attempts.abandoned(failed) is None
    assert (attempts.state(dead), attempts.state(failed)) == ("running", "failed")
    assert attempts.state(numbered(made(0, TrialState.WAITING))) == "waiting"


def test_a_worker_that_dies_between_the_outcome_and_the_state_has_not_ended_its_trial():
    died = numbered(made(0, TrialState.FAIL, outcome="complete"))
    assert attempts.outcome(died) is None
    assert attempts.abandoned(died) is died[0]


def test_of_two_retries_the_earlier_counts():
    dead = made(0, TrialState.FAIL)
    one, two = made(5, TrialState.WAITING, root=0), made(6, TrialState.WAITING, root=0)
    found = numbered(dead, one, two)
    assert attempts.next_to_claim(found) is found[1]
    assert attempts.is_second(found[2], found)
    assert not attempts.is_second(found[1], found)
    assert attempts.next_to_claim(numbered(dead, made(5, TrialState.RUNNING, root=0), two)) is None
    ended = numbered(dead, made(5, TrialState.COMPLETE, root=0), two)
    assert attempts.is_second(ended[2], ended)
