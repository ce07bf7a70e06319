"""How much each hyper-parameter of a study mattered."""

import warnings
from typing import Any, Literal

from ostinato.report.records import StudyRecord

# With fewer, the best tenth that PED-ANOVA looks at is one trial or none.
FEWEST_TRIALS = 10
# A range over more than this factor was surely searched by its logarithm.
_LOGARITHMIC = 50.0

METHOD = (
    "PED-ANOVA (Watanabe et al. 2023) over the complete trials: the share of each parameter in the "
    "divergence between the best tenth of the trials and all of them. It ranks; with few trials it is noisy."
)


def importances(study: StudyRecord) -> dict[str, float]:
    """Importance of each parameter that varied, the largest first, adding up to 1; empty for few trials."""
    trials = study.complete
    names = [name for name in study.parameters if all(name in trial["params"] for trial in trials)]
    values = {name: [trial["params"][name] for trial in trials] for name in names}
    varied = {name: own for name, own in values.items() if len(set(map(repr, own))) > 1}
    if len(trials) < FEWEST_TRIALS or not varied:
        return {}
    import optuna

    distributions = {name: _distribution(own) for name, own in varied.items()}
    with warnings.catch_warnings():
        # the evaluator's interface is marked as experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        again = _quiet_study(direction(study))
        for trial in trials:
            params = {name: _plain(trial["params"][name]) for name in varied}
            again.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=trial["value"])
            )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        found = optuna.importance.get_param_importances(again, evaluator=evaluator)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def direction(study: StudyRecord) -> Literal["minimize", "maximize"]:
    """Whether the study's value was to be large or small: log-likelihoods are maximized by default."""
    return "minimize" if study.settings.get("direction") == "minimize" else "maximize"


def is_logarithmic(values: list[Any]) -> bool:
    """Whether numbers span so much that their logarithms are what was searched over.

    Example:
        >>> is_logarithmic([1e-4, 1e-1]), is_logarithmic([100, 400]), is_logarithmic([0, 1000])
        (True, False, False)
    """
    return min(values) > 0 and max(values) / min(values) > _LOGARITHMIC


def is_numeric(values: list[Any]) -> bool:
    """Whether all of them are numbers.

    Example:
        >>> is_numeric([1, 2.5]), is_numeric([0.1, "auto"]), is_numeric([True, False])
        (True, False, False)
    """
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _quiet_study(direction: Literal["minimize", "maximize"]) -> Any:
    """An empty study in memory, without Optuna's line about it on standard error."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction=direction)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(values: list[Any]) -> Any:
    """Where a parameter was drawn from, as far as the values tell."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    few = len(set(map(repr, values))) <= 3 < len(values)
    if not is_numeric(values) or few:
        return CategoricalDistribution([_plain(value) for value in {repr(v): v for v in values}.values()])
    kind = IntDistribution if all(isinstance(value, int) for value in values) else FloatDistribution
    return kind(min(values), max(values), log=is_logarithmic(values))


def _plain(value: Any) -> Any:
    """Optuna's choices are plain values: others stand as text."""
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
