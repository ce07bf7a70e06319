"""What a database is asked while a study is worked on, beside what Optuna's list of all trials says."""

import itertools
import threading

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from ostinato.search import Worker, attempts, create_study, finish, join_study
from ostinato.search.ledger import JournalLedger
from ostinato.search.sampling import STARTUP_TRIALS, WARMUP_EPOCHS, is_hopeless
from ostinato.search.worker import SilentStudyMonitor

pytestmark = pytest.mark.slow

_names = itertools.count()
SPREAD = optuna.distributions.FloatDistribution(0.0, 1.0)
SCORES = [float("nan"), -np.inf, -9.0, -8.5, -8.0, -7.5]


@pytest.fixture
def shared(server, data_and_settings, tmp_path):
    """shared(trials): a new study in the database."""
    studies = []

    def make(trials=3, **options):
        _, settings = data_and_settings(trials, **options)
        studies.append(create_study(tmp_path / f"study{next(_names)}", settings, server))
        return studies[-1]

    yield make
    for study in studies:
        study.close()


def fill(study, rng, trials):
    """Attempts of every kind, some of them retries, as workers and their deaths leave them."""
    kinds = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    dead = []
    for number in range(trials):
        state = kinds[rng.integers(len(kinds))]
        facts = {"host": "a", "epochs": int(rng.integers(9))}
        system = {}
        if dead and rng.random() < 0.4:
            system = {"failed_trial": dead.pop(), "retry_history": []}
        if state == TrialState.FAIL:
            if rng.random() < 0.5:
                facts["outcome"] = "failed"
            else:
                dead.append(system.get("failed_trial", number))
        epochs = rng.integers(0, 12)
        study.optuna.add_trial(
            create_trial(
                state=state,
                value=-8.0 if (state in kinds[:2] and rng.random() < 0.9) or state == kinds[0] else None,
                params={"a": rng.random()},
                distributions={"a": SPREAD},
                user_attrs=facts,
                system_attrs=system,
                intermediate_values={step: rng.choice(SCORES) for step in range(epochs)},
            )
        )


def test_every_answer_is_that_of_optunas_list(shared):
    study = shared(60)
    rng = np.random.default_rng(0)
    fill(shared(9), rng, 9)  # another study, in the same tables
    fill(study, rng, 60)
    listed = JournalLedger(study.optuna, study.storage)
    assert study.ledger.all() == listed.all() == attempts.numbered(study.optuna.get_trials())
    assert study.ledger.open() == listed.open()
    assert 0 < len(listed.open()) < len(listed.all())
    trials = len({own.trial for own in listed.all()})
    assert trials < 60
    for below in (0, 7, 60):
        assert study.ledger.ended(below) == listed.ended(below)
    assert study.ledger.create(trials) is None
    assert study.ledger.details(listed.all()) == listed.details(listed.all())
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
    found = []
    for _ in range(60):
        reported = {step: float(rng.choice(SCORES)) for step in range(rng.integers(0, 14))}
        asked = create_trial(state=TrialState.RUNNING, intermediate_values=reported)
        with np.errstate(invalid="ignore"):
            assert is_hopeless(reported, study.ledger) == pruner.prune(study.optuna, asked)
        found.append(is_hopeless(reported, study.ledger))
    assert set(found) == {False, True}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_many_workers_at_once_get_every_trial_once(shared, server):
    """40 threads of 5 claims, each of a storage and connections of its own, as processes have them."""
    study = shared(200)
    taken, wrong, gate = [], [], threading.Barrier(40)

    def work():
        try:
            with join_study(str(study.folder), server) as own:
                gate.wait()
                for _ in range(5):
                    attempt = own.claim()
                    taken.append((attempt.number, attempt.trial.number))
                    attempt.hold.release()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(taken) == [(number, number) for number in range(200)]
    assert study.claim() is None


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optunas_own_workers_and_ours_number_without_doubles(shared):
    study = shared(30)
    numbers = []

    def ask():
        for _ in range(10):
            numbers.append(
                study.storage.get_trial(study.storage.create_new_trial(study.optuna._study_id)).number
            )
        study.storage.remove_session()

    thread = threading.Thread(target=ask)
    thread.start()
    while len(numbers) < 20 and (attempt := study.claim()) is not None:
        numbers.append(attempt.trial.number)
        attempt.hold.release()
    thread.join()
    assert sorted(numbers) == list(range(len(numbers)))


def test_a_worker_on_another_host_goes_on_with_the_new_number(shared, server, data_and_settings, tmp_path):
    data, longer = data_and_settings(4)
    study = shared(2)
    elsewhere = tmp_path / "elsewhere" / study.folder.name

    class Extends(SilentStudyMonitor):
        def ended(self, number, records):
            if number == 1:
                create_study(elsewhere, longer, server).close()

    Worker(study, data, monitor=Extends()).work()
    assert [record["state"] for record in study.records()] == ["complete"] * 4
    assert finish(study, data)["study"]["study"]["trials"] == 4
    # the smaller number that another host still has in its folder takes nothing away
    again = create_study(study.folder, data_and_settings(2)[1], server)
    assert again.settings.trials == 4
    again.close()


def test_a_worker_that_dies_just_after_it_made_a_trial_is_buried(shared):
    study = shared(1, heartbeat=1)
    dead = study.ledger.create(1)  # and nothing more is heard
    assert study.claim() is None
    deadline = threading.Event()
    for _ in range(100):
        if (attempt := study.claim()) is not None:
            break
        deadline.wait(0.1)
    assert (attempt.number, attempt.trial.number) == (0, dead.number + 1)
    attempt.hold.release()
