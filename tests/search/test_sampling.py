"""When a trial is hopeless: the rule is that of Optuna's MedianPruner."""

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from ostinato.search.ledger import JournalLedger
from ostinato.search.sampling import STARTUP_TRIALS, WARMUP_EPOCHS, is_hopeless

SCORES = [math.nan, -math.inf, -9.0, -8.5, -8.0, -7.5]


def history(rng, trials):
    """Trials in whatever state, with whatever scores, some at no epoch that others have."""
    states = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    for _ in range(trials):
        state = states[rng.integers(len(states))]
        epochs = rng.integers(1, 12)
        yield create_trial(
            state=state,
            value=-8.0 if state == TrialState.COMPLETE else None,
            intermediate_values={epoch: rng.choice(SCORES) for epoch in range(epochs) if rng.random() < 0.9},
        )


def answers(study, ledger, rng, seed_trials=60):
    """(ours, Optuna's) for trials with random scores."""
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)
    for _ in range(seed_trials):
        reported = {epoch: float(rng.choice(SCORES)) for epoch in range(rng.integers(0, 14))}
        asked = create_trial(state=TrialState.RUNNING, intermediate_values=reported)
        with np.errstate(invalid="ignore"):
            yield is_hopeless(reported, ledger), pruner.prune(study, asked)


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
@pytest.mark.parametrize("trials", [0, 6, 9, 40])
def test_the_rule_is_optunas(trials):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng = np.random.default_rng(trials)
    study = optuna.create_study(direction="maximize")
    for trial in history(rng, trials):
        study.add_trial(trial)
    found = list(answers(study, JournalLedger(study, study._storage), rng))
    assert all(ours == theirs for ours, theirs in found)
    if trials == 40:
        assert len({ours for ours, _ in found}) == 2


def test_it_waits_for_five_trials_and_five_epochs():
    class Ledger:
        asked = 0

        def rivals(self, step):
            self.asked += 1
            return self.complete, -8.0

    ledger = Ledger()
    ledger.complete = 5
    assert is_hopeless(dict.fromkeys(range(6), -9.0), ledger)
    assert ledger.asked == 1
    assert not is_hopeless(dict.fromkeys(range(5), -9.0), ledger)
    assert ledger.asked == 1  # the storage need not be asked
    # its best epoch counts, not its last
    assert not is_hopeless({0: -7.0, 5: -9.0}, ledger)
    ledger.complete = 4
    assert not is_hopeless(dict.fromkeys(range(6), -9.0), ledger)
