"""How much each hyper-parameter of a study mattered, and what its trials are too few to tell."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ostinato.errors import needs
from ostinato.evaluation.numbers import counted
from ostinato.recipe.effective import ordered
from ostinato.report.fanova import Axis, Shares, shares
from ostinato.report.records import StudyRecord

# With fewer, no forest tells a setting from chance.
FEWEST_TRIALS = 12
# A forest that foretells less of the scores of trials that it has not seen has found nothing.
LEAST_EXPLAINED = 0.1
# An order of two settings is said to be sure at this level, by Student's t; error bars are at 95 %.
SURE = 0.99
_BARS = 0.95
# A range over more than this factor was surely searched by its logarithm.
_LOGARITHMIC = 50.0

METHOD = (
    "fANOVA (Hutter et al. 2014) over the complete trials: the share of the score's variance over the whole "
    "searched space that each setting explains alone, by a random forest; what they explain only together is "
    "the rest. Error bars: 95%, by the infinitesimal jackknife (Wager et al. 2014). An order of two settings "
    "counts as sure at 99%."
)


@dataclass(frozen=True)
class Importance:
    """A setting's share of the variance of the score, with its 95 % interval."""

    name: str
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Importances:
    """What the trials of a study tell about its settings.

    Arguments:
        settings: those that varied, the largest share first; empty where the trials are too few.
        sure: pairs of names, of which the first surely matters more than the second.
        doubt: why nothing is sure; empty where something is.
    """

    settings: tuple[Importance, ...]
    sure: tuple[tuple[str, str], ...]
    doubt: str = ""


def importances(study: StudyRecord) -> Importances | None:
    """How much each setting mattered; None where fewer than two were searched."""
    trials = [ordered(trial["params"]) for trial in study.complete]
    names = [name for name in study.parameters if all(name in params for params in trials)]
    varied = [name for name in names if len({repr(params[name]) for params in trials}) > 1]
    if len(varied) < 2:
        return None
    if len(trials) < FEWEST_TRIALS:
        doubt = f"{counted(len(trials), 'complete trial')} cannot tell; it takes {FEWEST_TRIALS} or more"
        return Importances((), (), doubt)
    space = study.settings.get("search", {})
    axes = [_axis([params[name] for params in trials], space.get(name, {})) for name in varied]
    scores = np.array([float(trial["value"]) for trial in study.complete])
    if np.ptp(scores) == 0:
        return Importances((), (), "all complete trials have the same score")
    return _told(varied, shares(axes, scores), len(trials))


def _told(names: list[str], found: Shares, trials: int) -> Importances:
    """The shares in words: with intervals, and which orders are sure."""
    with needs("report"):
        from scipy.stats import t

    bar, enough = (float(t.ppf((1 + level) / 2, trials - 1)) for level in (_BARS, SURE))
    order = sorted(range(len(names)), key=lambda place: -found.mean[place])
    settings = []
    for place in order:
        share, error = float(found.mean[place]), found.error(place)
        settings.append(
            Importance(names[place], share, max(share - bar * error, 0.0), min(share + bar * error, 1.0))
        )
    if found.explained < LEAST_EXPLAINED:
        doubt = f"{trials} trials cannot tell: what is found in some of them does not hold for the others"
        return Importances(tuple(settings), (), doubt)
    sure = [
        (names[one], names[other])
        for at, one in enumerate(order)
        for other in order[at + 1 :]
        if found.separation(one, other) > enough
    ]
    doubt = "" if sure else f"{trials} trials cannot tell which setting matters more"
    return Importances(tuple(settings), tuple(sure), doubt)


def in_words(found: Importances) -> str:
    """What is sure, and what is not.

    Example:
        >>> in_words(Importances((), (("a", "b"), ("a", "c"), ("b", "c")), ""))
        'Sure: a matters more than b and c; b more than c'
        >>> in_words(Importances((), (), "12 trials cannot tell which setting matters more"))
        '12 trials cannot tell which setting matters more'
    """
    below: dict[str, list[str]] = {}
    for one, other in found.sure:
        below.setdefault(one, []).append(other)
    if not below:
        return found.doubt
    parts = [f"{one} more than {' and '.join(others)}" for one, others in below.items()]
    return "Sure: " + "; ".join([parts[0].replace(" more", " matters more", 1), *parts[1:]])


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


def _axis(values: list[Any], table: Mapping[str, Any]) -> Axis:
    """The setting as it was searched: by the study's [search] where it says so, else by the values."""
    if "choices" in table or not is_numeric(values):
        known = {repr(value): value for value in [*table.get("choices", []), *values]}
        # numbers in their order, so that a cut parts the small from the large
        places = sorted(known, key=lambda text: known[text]) if is_numeric([*known.values()]) else list(known)
        return Axis(np.array([places.index(repr(value)) for value in values], float), len(places))
    low, high = min([table.get("low", values[0]), *values]), max([table.get("high", values[0]), *values])
    log = table.get("log", is_logarithmic([low, high]) if not table else False)
    scaled = np.array([math.log(value) if log else float(value) for value in [low, high, *values]])
    return Axis((scaled[2:] - scaled[0]) / (scaled[1] - scaled[0]))
