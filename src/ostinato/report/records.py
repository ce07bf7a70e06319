"""What the records of a run's metrics hold."""

from collections.abc import Mapping
from typing import Any

# What validation watches: the first is the score itself, the others are stand-ins for it.
WATCHED = ("log_likelihood", "pseudo_log_likelihood")


def watched_score(record: Mapping[str, Any]) -> str | None:
    """The name of the score that an epoch's record holds for train and valid; None for other records.

    Example:
        >>> watched_score({"epoch": 0, "train_log_likelihood": -9.0, "valid_log_likelihood": -9.5})
        'log_likelihood'
    """
    return next((name for name in WATCHED if f"valid_{name}" in record), None)
