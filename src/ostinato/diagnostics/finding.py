"""A finding: something that was measured, in words; and what may be told of a training to judge it by."""

from dataclasses import asdict, dataclass
from typing import Any

#: What may be told of a training, by name, and what it means.
TRAINING = {
    "needed_lag": "the lag over which the problem asks to remember, in steps",
    "solved": "whether the problem is solved",
    "clipped": "whether gradients are clipped",
    "learning_rate": "the step size",
    "learns": "whether the validation score got better after the first epoch",
    "epochs": "how many epochs there were",
    "l1": "the strength of an L1 penalty on the units",
    "nonlinearity": "the units' own, such as relu",
    "largest_norm": "the largest norm of a gradient while training",
    "median_norm": "the median of these norms",
    "trouble": "the flight recorder's records",
}


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        cause: a short name for programs.
        alarm: whether it keeps the network from learning.
        sentence: what is so, with the figures.
        advice: what to do; it may name arguments, as messages do (`errors.argument`).
    """

    cause: str
    alarm: bool
    sentence: str
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)
