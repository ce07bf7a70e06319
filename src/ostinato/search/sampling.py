"""Optuna's samplers as a study uses them, and when a trial is hopeless: neither depends on a worker."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ostinato.search.ledger import Ledger
from ostinato.search.settings import StudySettings

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

# Before so many trials have ended there is no median worth comparing with; and no trial is judged by its
# first epochs.
STARTUP_TRIALS, WARMUP_EPOCHS = 5, 5


def make_sampler(settings: StudySettings, number: int) -> "BaseSampler":
    """The sampler for a trial: random search, or TPE that starts from the same seed in whichever worker."""
    if settings.sampler == "random":
        return _by_number(settings, number)
    from optuna.samplers import TPESampler

    seed = np.random.SeedSequence([settings.recipe.seed, number]).generate_state(1)
    return TPESampler(seed=int(seed[0]))


def is_hopeless(reported: Mapping[int, float], ledger: Ledger) -> bool:
    """Whether a trial's best score is below the median of the complete trials' scores at its last epoch.

    The rule of Optuna's MedianPruner, without its list of all trials and all their epochs.

    Args:
        reported: the trial's scores, by epoch.
        ledger: of its study.
    """
    if not reported or max(reported) < WARMUP_EPOCHS:
        return False
    complete, median = ledger.rivals(max(reported))
    if complete < max(STARTUP_TRIALS, 1):
        return False
    scores = [score for score in reported.values() if not math.isnan(score)]
    return not scores or (median is not None and max(scores) < median)


def _by_number(settings: StudySettings, number: int) -> "BaseSampler":
    from optuna.samplers import BaseSampler

    class ByNumber(BaseSampler):
        """Random search in which a trial's settings are a function of the seed and its number."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return settings.space.sample(settings.recipe.seed, number)[param_name]

    return ByNumber()
