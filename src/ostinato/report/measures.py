"""What the curves of a run show: the score that training watched, in the unit that its readers know.

Training watches a mean log-likelihood in nats, or a stand-in for it. A language model of words is read by its
perplexity exp(-l), one of characters by bits per character -l / log 2, a problem with long delays by the
share of sequences that are wrong, which its metrics record beside the log-likelihood.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What validation watches: the first is the score itself, the others are stand-ins for it.
WATCHED = ("log_likelihood", "pseudo_log_likelihood")
# What a likelihood is a mean over, in each kind of data.
NATS = {"music": "nats/frame", "task": "nats/step", "words": "nats/token", "chars": "nats/token"}
# A baseline so far from every model that a curve beside it would be flat.
NOT_DRAWN = ("model", "iid")


@dataclass(frozen=True)
class Measure:
    """A score as curves show it.

    Arguments:
        name: of the score in results.json.
        label: what an axis says, without the unit.
        unit: of its values, as results.json has it.
        bracket: what is said of the unit; empty where the label says it.
        shown: the value for a mean log-likelihood in nats; None where the metrics record the score itself.
        lower_is_better: whether a good model has a small one.
        log: whether differences of the logarithm are what counts.
        stand_in: whether it stands in for the score, and does not compare with it.
    """

    name: str
    label: str
    unit: str
    bracket: str = ""
    shown: Callable[[float], float] | None = lambda nats: nats
    lower_is_better: bool = False
    log: bool = False
    stand_in: bool = False

    @property
    def axis(self) -> str:
        """The title of an axis.

        Example:
            >>> measure_of("music").axis, measure_of("words").axis, measure_of("chars").axis
            ('log-likelihood (nats/frame)', 'perplexity', 'bits per character')
            >>> measure_of("task").axis, measure_of("music", "pseudo_log_likelihood").axis
            ('wrong sequences (%)', 'pseudo-log-likelihood, a stand-in (nats/frame)')
        """
        label = self.label + (", a stand-in" if self.stand_in else "")
        return f"{label} ({self.bracket})" if self.bracket else label

    def told(self, number: str) -> str:
        """A number with what it is.

        Example:
            >>> measure_of("music").told("-8.500"), measure_of("words").told("126.26")
            ('-8.500 nats/frame', 'perplexity 126.26')
        """
        return f"{number} {self.bracket}" if self.bracket else f"{self.label} {number}"

    def of(self, record: Mapping[str, Any], split: str) -> float | None:
        """The value that an epoch's record has for train or valid; None where it has none, or no finite one.

        Example:
            >>> record = {"train_log_likelihood": -1.0, "valid_log_likelihood": -2.0, "valid_error": 12.5}
            >>> measure_of("music").of(record, "valid"), round(measure_of("words").of(record, "train"), 4)
            (-2.0, 2.7183)
            >>> measure_of("task").of(record, "valid"), measure_of("task").of(record, "train")
            (12.5, None)
        """
        if self.shown is None:
            return _finite(record.get(f"{split}_{self.name}"))
        watched = self.name if self.stand_in else WATCHED[0]
        return self.converted(record.get(f"{split}_{watched}"))

    def converted(self, nats: Any) -> float | None:
        """The value for a mean log-likelihood in nats; None for None, or where it is not finite.

        Example:
            >>> round(measure_of("chars").converted(-1.0), 4), measure_of("words").converted(-1e4)
            (1.4427, None)
        """
        value = _finite(nats)
        try:
            return None if value is None or self.shown is None else _finite(self.shown(value))
        except OverflowError:
            return None


_READ = {
    "words": Measure(
        "perplexity",
        "perplexity",
        "perplexity",
        "",
        lambda nats: math.exp(-nats),
        lower_is_better=True,
        log=True,
    ),
    "chars": Measure(
        "bits_per_character",
        "bits per character",
        "bits/character",
        "",
        lambda nats: -nats / math.log(2),
        lower_is_better=True,
    ),
    "task": Measure("error", "wrong sequences", "%", "%", None, lower_is_better=True),
}


def measure_of(task: str, watched: str = WATCHED[0]) -> Measure:
    """What the curves of a run show.

    Args:
        task: music, words, chars or task.
        watched: the score that its validation watched.
    """
    return _READ[task] if task in _READ and watched == WATCHED[0] else likelihood_of(task, watched)


def likelihood_of(task: str, watched: str = WATCHED[0]) -> Measure:
    """The watched score itself, in nats: what a search compares its trials by."""
    unit, stand_in = NATS.get(task, "nats"), watched != WATCHED[0]
    return Measure(watched, watched.replace("_", "-"), unit, unit, stand_in=stand_in)


def watched_score(record: Mapping[str, Any]) -> str | None:
    """The name of the score that an epoch's record holds for train and valid; None for other records.

    Example:
        >>> watched_score({"epoch": 0, "train_log_likelihood": -9.0, "valid_log_likelihood": -9.5})
        'log_likelihood'
    """
    return next((name for name in WATCHED if f"valid_{name}" in record), None)


def kept_epoch(epochs: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of the epoch whose model is kept: the best validation, pre-training left aside.

    What pre-training of an RBM reaches is no model to keep, however good its score.

    Example:
        >>> scores = {"valid_log_likelihood": -1.0, "stage": "frames"}, {"valid_log_likelihood": -2.0}
        >>> kept_epoch(list(scores))
        {'valid_log_likelihood': -2.0}
    """
    watched = next(filter(None, map(watched_score, epochs)), WATCHED[0])

    def score(record: dict[str, Any]) -> float:
        value = _finite(record.get(f"valid_{watched}"))
        return -math.inf if value is None else value

    return max([record for record in epochs if "stage" not in record] or epochs, key=score)


def window(
    measure: Measure, histories: Iterable[list[dict[str, Any]]], levels: Iterable[float]
) -> tuple[float, float]:
    """The range of a curve's axis: one early, wild epoch does not flatten the rest of the curves.

    Args:
        measure: what is drawn.
        histories: the epochs of each run.
        levels: of the lines across.

    Example:
        >>> epochs = [{"valid_log_likelihood": value} for value in (-1e5, *[-9.0] * 19, -8.0)]
        >>> low, high = window(measure_of("music"), [epochs], [])
        >>> round(low, 2), round(high, 2)
        (-9.05, -7.95)
    """
    known = [value for value in levels if not measure.log or value > 0]
    for epochs in histories:
        for split in ("valid", "train"):
            own = sorted(value for record in epochs if (value := measure.of(record, split)) is not None)
            if own:
                # the worst tenth is mostly the first epochs
                wild = len(own) // 10
                known += [own[0], own[-1 - wild]] if measure.lower_is_better else [own[wild], own[-1]]
    if not known:
        return (0.0, 1.0)
    low, high = min(known), max(known)
    if measure.log:
        margin = (high / low) ** 0.05 if high > low else 1.1
        return low / margin, high * margin
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis from `low` to `high`: as few as there can be, but three or more.

    Example:
        >>> log_ticks(0.02, 300.0), log_ticks(130.0, 620.0)
        ([0.1, 1.0, 10.0, 100.0], [150.0, 200.0, 300.0, 400.0, 500.0])
        >>> log_ticks(0.65, 0.95), log_ticks(12.3, 12.31)
        ([0.7, 0.8, 0.9], [12.3, 12.305, 12.31])
    """
    found: list[float] = []
    powers = range(math.floor(math.log10(low)) - 4, math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        ticks = (step * 10.0**power for power in powers for step in steps)
        found = [float(f"{tick:.6g}") for tick in ticks if low <= tick <= high]
        if len(found) >= 3:
            return found
    # a span so small that a logarithm is nearly a line
    for step in (step * 10.0**power for power in reversed(powers) for step in (5, 2, 1)):
        places = range(math.ceil(low / step), math.floor(high / step) + 1)
        found = [float(f"{n * step:.6g}") for n in places]
        if len(found) >= 3:
            break
    return found


def _finite(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
