"""A score as curves and tables show it: in the unit that its readers know.

Training watches a mean log-likelihood in nats, or a stand-in for it. A language model of words is read by its
perplexity exp(-l), one of characters by bits per character -l / log 2, others by a score of their own, which
the metrics record beside the log-likelihood. A domain's declaration says which.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# What validation watches: the first is the score itself, the others are stand-ins for it, the last that of a
# network that a program trains on a loss of its own.
WATCHED = ("log_likelihood", "pseudo_log_likelihood", "negative_loss")
_IN_NATS = WATCHED[:2]


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
            >>> PERPLEXITY.axis, likelihood("frame").axis
            ('perplexity', 'log-likelihood (nats/frame)')
            >>> likelihood("frame", "pseudo_log_likelihood").axis
            'pseudo-log-likelihood, a stand-in (nats/frame)'
        """
        label = self.label + (", a stand-in" if self.stand_in else "")
        return f"{label} ({self.bracket})" if self.bracket else label

    def told(self, number: str) -> str:
        """A number with what it is.

        Example:
            >>> likelihood("frame").told("-8.500"), PERPLEXITY.told("126.26")
            ('-8.500 nats/frame', 'perplexity 126.26')
        """
        return f"{number} {self.bracket}" if self.bracket else f"{self.label} {number}"

    def of(self, record: Mapping[str, Any], split: str) -> float | None:
        """The value that an epoch's record has for train or valid; None where it has none, or no finite one.

        Example:
            >>> record = {"train_log_likelihood": -1.0, "valid_log_likelihood": -2.0, "valid_error": 12.5}
            >>> likelihood("frame").of(record, "valid"), round(PERPLEXITY.of(record, "train"), 4)
            (-2.0, 2.7183)
            >>> wrong = Measure("error", "wrong sequences", "%", "%", None, lower_is_better=True)
            >>> wrong.of(record, "valid"), wrong.of(record, "train")
            (12.5, None)
        """
        if self.shown is None:
            return finite(record.get(f"{split}_{self.name}"))
        watched = self.name if self.stand_in else WATCHED[0]
        return self.converted(record.get(f"{split}_{watched}"))

    def converted(self, nats: Any) -> float | None:
        """The value for a mean log-likelihood in nats; None for None, or where it is not finite.

        Example:
            >>> round(BITS_PER_CHARACTER.converted(-1.0), 4), PERPLEXITY.converted(-1e4)
            (1.4427, None)
        """
        value = finite(nats)
        try:
            return None if value is None or self.shown is None else finite(self.shown(value))
        except OverflowError:
            return None


PERPLEXITY = Measure(
    "perplexity",
    "perplexity",
    "perplexity",
    "",
    lambda nats: math.exp(-nats),
    lower_is_better=True,
    log=True,
)
BITS_PER_CHARACTER = Measure(
    "bits_per_character",
    "bits per character",
    "bits/character",
    "",
    lambda nats: -nats / math.log(2),
    lower_is_better=True,
)


def likelihood(step: str, watched: str = WATCHED[0]) -> Measure:
    """The watched score itself, in nats.

    Args:
        step: what it is a mean over, such as "frame".
        watched: its name.
    """
    unit = f"nats/{step}" if watched in _IN_NATS else ""
    return Measure(watched, watched.replace("_", "-"), unit, unit, stand_in=watched != WATCHED[0])


def finite(value: Any) -> float | None:
    """A number that is finite, as a float; None for anything else.

    Example:
        >>> finite(2), finite(math.inf), finite(True)
        (2.0, None, None)
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and math.isfinite(value) else None
