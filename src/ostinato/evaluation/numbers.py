"""How a number is printed: once for the command line, the report and the documentation.

A score has as many decimals as its unit gives it, everywhere. Nothing here imports more than `math`.
"""

import math
from collections.abc import Mapping
from typing import Any

# Decimals by the first word of a unit ("nats" of "nats/frame"): the last one is about a hundredth to a tenth
# of the standard error on the published test sets.
DECIMALS = {"nats": 3, "bits/character": 3, "bits": 2, "perplexity": 2, "%": 2}
UNITS = {
    "log_likelihood": "nats",
    "pseudo_log_likelihood": "nats",
    "accuracy_bay": "%",
    "accuracy_per_frame": "%",
    "error": "%",
    "perplexity": "perplexity",
    "perplexity_known": "perplexity",
    "bits_per_character": "bits/character",
}
# From here on a number is written with an exponent: a perplexity can have 300 digits.
LARGE = 1e9
NONE = "-"
# Where there is an interval and nothing more.
UNTOLD = "cannot tell"


def decimals(unit: str) -> int:
    """How many decimals a number of this unit has; 3 for a unit that is not known.

    Example:
        >>> decimals("nats/frame"), decimals("perplexity"), decimals("bits/character"), decimals("bits")
        (3, 2, 3, 2)
    """
    return DECIMALS.get(unit, DECIMALS.get(unit.partition("/")[0], 3))


def unit_of(name: str) -> str:
    """The unit of a score by its name in results and metrics, with or without the split before it.

    Example:
        >>> unit_of("perplexity"), unit_of("valid_log_likelihood"), unit_of("seconds")
        ('perplexity', 'nats', '')
    """
    return UNITS.get(name.removeprefix("train_").removeprefix("valid_").removeprefix("test_"), "")


def number(value: float | None, unit: str, *, plus: bool = False) -> str:
    """A number with the decimals of its unit; "-" for None.

    What the decimals would make a zero keeps its first digits, zero has no minus, and a huge number has an
    exponent.

    Example:
        >>> number(126.2608, "perplexity"), number(-8.6465, "nats/frame"), number(0.17, "nats", plus=True)
        ('126.26', '-8.646', '+0.170')
        >>> number(-0.0, "nats"), number(1e-7, "nats"), number(0.0042, "%"), number(1e300, "perplexity")
        ('0.000', '1e-07', '0.0042', '1e+300')
        >>> number(math.nan, "%"), number(-math.inf, "nats"), number(None, "%")
        ('nan', '-inf', '-')
    """
    if value is None:
        return NONE
    sign = "+" if plus else ""
    value = float(value) or 0.0  # of the two zeros, the one without a sign
    if not math.isfinite(value) or abs(value) >= LARGE:
        return f"{value:{sign}.6g}"
    text = f"{value:{sign}.{decimals(unit)}f}"
    return f"{value:{sign}.2g}" if value and not float(text) else text


def score(
    value: float | None,
    unit: str,
    standard_error: float | None = None,
    *,
    estimate: bool = False,
    bound: bool = False,
    interval: tuple[float, float] | None = None,
) -> str:
    r"""A score with its standard error; an estimate or a lower bound is marked, and has its interval on a
    second line. An error that is None or NaN does not exist and is left out.

    Example:
        >>> score(-8.654321, "nats/frame", 0.0789), score(2.2512, "%", 0.0042), score(None, "%")
        ('-8.654 ± 0.079', '2.25 ± 0.004', '-')
        >>> score(-6.8, "nats/frame", 0.08, estimate=True, interval=(-6.85, -6.78))
        '≈ -6.800 ± 0.080\n[-6.850, -6.780]'
        >>> score(-6.8, "nats/frame", 0.08, bound=True), score(None, "nats/frame", interval=(-6.9, -5.1))
        ('≥ -6.800 ± 0.080', 'cannot tell\n[-6.900, -5.100]')
    """
    untold = value is None or math.isnan(value)
    if untold and interval is None:
        return NONE if value is None else number(value, unit)
    text = UNTOLD if untold else ("≥ " if bound else "≈ " if estimate else "") + number(value, unit)
    if value is not None and not untold and standard_error is not None and not math.isnan(standard_error):
        text += f" ± {_error(standard_error, value, unit)}"
    if interval is not None:
        low, high = (number(bound, unit) for bound in interval)
        text += f"\n[{low}, {high}]"
    return text


def _error(error: float, value: float, unit: str) -> str:
    # what is left of an exact zero after rounding is no error
    error = 0.0 if error <= 1e-12 * abs(value) else error
    # one digit of an error says all
    return f"{error:.1g}" if error and not round(error, decimals(unit)) else number(error, unit)


def recorded(result: Mapping[str, Any] | None) -> str:
    r"""`score` of an entry of results.json.

    Example:
        >>> recorded({"value": 126.2608, "unit": "perplexity", "standard_error": 2.0312})
        '126.26 ± 2.03'
        >>> recorded(None), recorded({"value": None, "unit": "%"})
        ('-', '-')
    """
    if result is None:
        return NONE
    interval = result.get("interval")
    return score(
        result.get("value"),
        result.get("unit") or "",
        result.get("standard_error"),
        estimate=bool(result.get("estimate")),
        bound=bool(result.get("bound")),
        interval=None if interval is None else (interval[0], interval[1]),
    )


def counted(count: int, one: str, many: str = "") -> str:
    """A count with its noun, which is in the plural but for 1.

    Args:
        count: how many.
        one: the noun in the singular.
        many: in the plural; by default with an s.

    Example:
        >>> counted(1, "epoch"), counted(2500, "epoch"), counted(1, "series", "series")
        ('1 epoch', '2,500 epochs', '1 series')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clock(seconds: float) -> str:
    """A time as a clock counts it, from two days on in days and hours.

    Example:
        >>> clock(65), clock(7384), clock(200000)
        ('1:05', '2:03:04', '2 d 7 h')
    """
    whole = round(seconds)
    if whole >= 2 * 86400:
        return f"{whole // 86400:,} d {whole % 86400 // 3600} h"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """A time in words.

    Example:
        >>> span(0.0042), span(3.21), span(75), span(7384)
        ('4.2 ms', '3.2 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 1:
        return f"{1000 * seconds:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def setting(value: Any) -> str:
    """A setting, or a measured number without a unit: four significant digits; others as they are.

    Example:
        >>> setting(0.0123456), setting(1.0), setting(-0.0), setting(200), setting("auto"), setting(None)
        ('0.01235', '1', '0', '200', 'auto', '-')
    """
    if value is None:
        return NONE
    return f"{value or 0.0:.4g}" if isinstance(value, float) else str(value)
