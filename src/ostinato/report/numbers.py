"""Numbers as a reader sees them: with a real minus sign, and a dash where there is none."""

import math
from typing import Any

MINUS, NONE = "\u2212", "\u2013"


def signed(value: float, digits: int, *, plus: bool = False) -> str:
    """A number with a fixed count of decimals.

    Example:
        >>> signed(0.5, 1, plus=True), signed(-8.6543, 2) == MINUS + "8.65"
        ('+0.5', True)
    """
    return f"{value:{'+' if plus else ''}.{digits}f}".replace("-", MINUS)


def brief(value: Any, digits: int = 4) -> str:
    """A setting or a recorded number with its first digits; other values as they are.

    Example:
        >>> brief(0.123456), brief(200), brief("auto"), brief(None) == NONE
        ('0.1235', '200', 'auto', True)
    """
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    return f"{value:.{digits}g}".replace("-", MINUS) if isinstance(value, float) else str(value)
