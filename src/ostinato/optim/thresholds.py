"""Thresholds for the clipping of gradients: a number, averages over passes, a quantile of recent norms.

A threshold is asked for its value before an update and told the gradient's norm after it:

    clip = clip_grad_norm(parameters, threshold.value)
    threshold.add(clip.norm)

and `end_pass` is called where a pass through the data ends. Its state is JSON values, from which it goes on
bit for bit.
"""

import bisect
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from ostinato.errors import UserError
from ostinato.optim.clipping import AverageNorm


class Threshold(Protocol):
    """What a training loop asks of any of them."""

    @property
    def value(self) -> float | None:
        """The largest norm that the next update leaves as it is; None to leave any."""

    def add(self, norm: float) -> None:
        """Take a gradient's norm into account, as it was before it was clipped."""

    def end_pass(self) -> None:
        """A pass through the data is over."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next value depends on, as JSON values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""


class FixedThreshold:
    """One number for all updates, or none.

    Args:
        value: the threshold; None for no clipping, or until `value` is set.

    Example:
        >>> FixedThreshold(2.0).value
        2.0
    """

    def __init__(self, value: float | None) -> None:
        self.value = value

    def add(self, norm: float) -> None:
        """Nothing: norms change nothing."""

    def end_pass(self) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The number."""
        return {"value": self.value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The number as it was."""
        self.value = state["value"]


class PassAverage:
    """The paper's rule, renewed: the average norm over the pass through the data that was last.

        threshold = factor / n sum_i ||g_i||    over the n gradients of the pass before

    In the first pass it is the average of the norms so far; the first gradient of all is left as it is.

    Source: Bengio, Boulanger-Lewandowski, Pascanu 2012, "Advances in Optimizing Recurrent Networks", which
    says "the average norm of the gradient over one pass", not over which.

    Args:
        factor: multiplies the average.

    Example:
        >>> threshold = PassAverage(factor=2.0)
        >>> for norm in (1.0, 3.0):
        ...     threshold.add(norm)
        >>> threshold.end_pass()
        >>> threshold.add(100.0)
        >>> threshold.value
        4.0
    """

    def __init__(self, factor: float = 1.0) -> None:
        self.factor, self._now = factor, AverageNorm()
        self._known: float | None = None

    @property
    def value(self) -> float | None:
        """The threshold; None before the first norm."""
        average = self._known
        if average is None and self._now.total > 0:
            average = self._now.value
        return None if average is None else self.factor * average

    def add(self, norm: float) -> None:
        """Take a norm into account; one that is not finite is not averaged."""
        self._now.add(norm)

    def end_pass(self) -> None:
        """What is averaged from here on is for the pass after this one."""
        if self._now.total > 0:
            self._known = self._now.value
        self._now = AverageNorm()

    def state_dict(self) -> dict[str, Any]:
        """The average of the pass before, and the sums of this one."""
        return {"known": self._known, "now": self._now.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._known = state["known"]
        self._now.load_state_dict(state["now"])


class RunningQuantile:
    """A quantile of the last norms: a given share of gradients is clipped, however norms grow or shrink.

        threshold = factor * quantile_q(||g_{i-1}||, ..., ||g_{i-n}||)

    between the two norms next to it in proportion, as `numpy.quantile` has it by default. The first gradient
    of all is left as it is.

    Source: Seetharaman, Wichern, Pardo, Le Roux 2020, "AutoClip: adaptive gradient clipping for source
    separation networks", which takes all norms of the past, not the last.

    Args:
        quantile: q, in [0, 1].
        window: n, at least 1.
        factor: multiplies the quantile.

    Raises:
        UserError: an argument is out of its range.

    Example:
        >>> threshold = RunningQuantile(0.5, window=3)
        >>> for norm in (100.0, 1.0, 2.0, 4.0):
        ...     threshold.add(norm)
        >>> threshold.value
        2.0
    """

    def __init__(self, quantile: float, window: int = 1000, factor: float = 1.0) -> None:
        if not 0 <= quantile <= 1 or window < 1:
            raise UserError(
                f"expected a quantile in [0, 1] and a window of at least 1, found {quantile} and {window}"
            )
        self.quantile, self.window, self.factor = quantile, window, factor
        self._last: deque[float] = deque()
        self._sorted: list[float] = []

    @property
    def value(self) -> float | None:
        """The threshold; None before the first norm above 0."""
        if not self._sorted:
            return None
        place = self.quantile * (len(self._sorted) - 1)
        below = math.floor(place)
        low, high = self._sorted[below], self._sorted[math.ceil(place)]
        return self.factor * (low + (place - below) * (high - low))

    def add(self, norm: float) -> None:
        """Take a norm into account; one that is not finite, or 0, is passed over."""
        if not 0 < norm < math.inf:
            return
        if len(self._last) == self.window:
            oldest = self._last.popleft()
            del self._sorted[bisect.bisect_left(self._sorted, oldest)]
        self._last.append(norm)
        bisect.insort(self._sorted, norm)

    def end_pass(self) -> None:
        """Nothing: passes change nothing."""

    def state_dict(self) -> dict[str, Any]:
        """The last norms, oldest first."""
        return {"norms": list(self._last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self._last = deque(state["norms"])
        self._sorted = sorted(self._last)
