"""Numbers as a page sets them: those of `evaluation.numbers`, with a real minus sign, and a dash for none."""

import math
from collections.abc import Mapping
from typing import Any

from ostinato.evaluation import numbers

MINUS, NONE = "\u2212", "\u2013"


def number(value: float | None, unit: str, *, plus: bool = False) -> str:
    """A number with the decimals of its unit.

    Example:
        >>> number(0.5, "nats", plus=True), number(-8.6543, "nats/frame") == MINUS + "8.654"
        ('+0.500', True)
    """
    return _set(numbers.number(value, unit, plus=plus))


def score(value: float | None, unit: str, standard_error: float | None = None) -> str:
    """A score with its standard error, where it has one.

    Example:
        >>> score(126.2608, "perplexity", 2.0312), score(126.2608, "perplexity")
        ('126.26 ± 2.03', '126.26')
    """
    return _set(numbers.score(value, unit, standard_error))


def recorded(result: Mapping[str, Any] | None) -> str:
    r"""A score of results.json with its standard error; an estimate is marked, and has its interval
    on a second line.

    Example:
        >>> recorded({"value": -8.654321, "unit": "nats/frame", "standard_error": 0.0789})
        '\u22128.654 ± 0.079'
        >>> recorded({"value": -6.8, "unit": "nats/frame", "standard_error": 0.08, "estimate": True})
        '≈ −6.800 ± 0.080'
    """
    return _set(numbers.recorded(result or None))


def brief(value: Any) -> str:
    """A setting, or a measured number without a unit, with its first digits; other values as they are.

    Example:
        >>> brief(0.123456), brief(200), brief("low-to-high"), brief(None) == NONE
        ('0.1235', '200', 'low-to-high', True)
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    return numbers.setting(value).replace("-", MINUS) if isinstance(value, float) else str(value)


def _set(text: str) -> str:
    return NONE if text == numbers.NONE else text.replace("-", MINUS)
