"""A run's budget of time: how much of it is used, and whether there is room for more."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ostinato.recipe.recipe import Recipe

CLOCKS = {"wall": "wall-clock", "cpu": "processor"}


class Budget:
    """The minutes that a run may train for, updates and validations together, on one of two clocks.

    The last validation is part of it: training ends when no more is left than the last one took, or, before
    the first, than reading as many steps in training takes.

    Args:
        recipe: whose `minutes` and `minutes_of` count; without them there is no end.

    Example:
        >>> budget = Budget(Recipe(minutes=1.0, minutes_of="cpu"))
        >>> budget.begin(57.0)
        >>> budget.over(read=100, held_out=1), budget.over(read=100, held_out=10)
        (False, False)
        >>> budget.begin(59.9, reserve=0.5)
        >>> budget.over()
        True
    """

    def __init__(self, recipe: Recipe) -> None:
        self.minutes, self.clock = recipe.minutes, recipe.minutes_of
        self.reserve = 0.0
        self._before, self._begun = 0.0, self._now()

    def _now(self) -> float:
        return time.process_time() if self.clock == "cpu" else time.monotonic()

    def begin(self, before: float, reserve: float = 0.0) -> None:
        """Training begins, or goes on after so many seconds; the last validation took so many."""
        self._before, self._begun, self.reserve = before, self._now(), reserve

    def seconds(self) -> float:
        """Used so far, also before the run was resumed."""
        return self._before + self._now() - self._begun

    def share(self) -> float:
        """Of what there is for updates, in [0, 1]; 0 without a budget."""
        if self.minutes is None:
            return 0.0
        return min(self.seconds() / max(60 * self.minutes - self.reserve, 1e-9), 1.0)

    def over(self, read: int = 0, held_out: int = 0) -> bool:
        """Whether nothing is left but what a validation takes.

        Args:
            read: steps that training has read so far, where no validation has been.
            held_out: steps of a validation.
        """
        if self.minutes is None:
            return False
        if self.reserve == 0 and read:
            self.reserve = self.seconds() / read * held_out
        return self.share() >= 1

    @contextmanager
    def validating(self) -> Iterator[None]:
        """What is done inside takes as long as it will the next time."""
        begun = self.seconds()
        yield
        self.reserve = self.seconds() - begun

    @property
    def told(self) -> str:
        """Why a run that has used it ends."""
        return f"its {self.minutes:g} minutes of {CLOCKS[self.clock]} time are over"
