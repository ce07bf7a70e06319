"""Optuna's samplers as a study uses them: what a trial gets depends on no worker."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ostinato.search import attempts
from ostinato.search.settings import StudySettings

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

# Before so many trials have ended there is no median worth comparing with; and no trial is judged by its
# first epochs.
STARTUP_TRIALS, WARMUP_EPOCHS = 5, 5


def make_sampler(settings: StudySettings, number: int) -> "BaseSampler":
    """The sampler for a trial: random search, or TPE that starts from the same seed in whichever worker."""
    if settings.sampler == "random":
        return _by_number(settings)
    from optuna.samplers import TPESampler

    seed = np.random.SeedSequence([settings.recipe.seed, number]).generate_state(1)
    return TPESampler(seed=int(seed[0]))


def make_pruner(settings: StudySettings) -> Any:
    """The rule by which a trial is stopped: its best score is below the median of the others' at an epoch."""
    from optuna.pruners import MedianPruner, NopPruner

    if not settings.pruning:
        return NopPruner()
    return MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=WARMUP_EPOCHS)


def _by_number(settings: StudySettings) -> "BaseSampler":
    from optuna.samplers import BaseSampler

    class ByNumber(BaseSampler):
        """Random search in which a trial's settings are a function of the seed and its number."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            return settings.space.sample(settings.recipe.seed, attempts.root(trial))[param_name]

    return ByNumber()
