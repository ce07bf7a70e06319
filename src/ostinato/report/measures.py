"""What the curves of a run show: the score that training watched, in the unit that its readers know."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ostinato.domains.registry import DOMAINS
from ostinato.evaluation.measure import WATCHED, Measure, finite, likelihood

# A baseline so far from every model that a curve beside it would be flat.
NOT_DRAWN = ("model", "iid")


def measure_of(domain: str, watched: str = WATCHED[0], settings: Mapping[str, Any] | None = None) -> Measure:
    """What the curves of a run show.

    Args:
        domain: the kind of its data.
        watched: the score that its validation watched.
        settings: of the run, some of which decide what a domain's curves show.

    Example:
        >>> measure_of("music").axis, measure_of("words").axis, measure_of("chars").axis
        ('log-likelihood (nats/frame)', 'perplexity', 'bits per character')
        >>> measure_of("delays").axis, measure_of("music", "pseudo_log_likelihood").axis
        ('wrong sequences (%)', 'pseudo-log-likelihood, a stand-in (nats/frame)')
    """
    shown = DOMAINS[domain].measure_for(settings or {})
    return shown if shown is not None and watched == WATCHED[0] else likelihood_of(domain, watched)


def likelihood_of(domain: str, watched: str = WATCHED[0]) -> Measure:
    """The watched score itself, in nats: what a search compares its trials by."""
    return likelihood(DOMAINS[domain].step, watched)


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
        value = finite(record.get(f"valid_{watched}"))
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
