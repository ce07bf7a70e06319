"""What a problem with long delays is: sequences drawn from a seed, and when an answer to one is wrong.

Shapes: T time, B sequences, I values of an input, D values of a target.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.errors import UserError

WRONG = "sequences with any judged step wrong (most probable class), of fresh sequences; solved below 1%"


@dataclass(frozen=True)
class Criterion:
    """When an answer is wrong.

    Arguments:
        convention: in words, of the share of sequences.
        wrong: of distributions (T, B) and targets: boolean (T, B).
    """

    convention: str
    wrong: Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class TaskSegment:
    """B whole sequences of a task.

    Arguments:
        inputs: symbols (T, B) int64, or values (T, B, I).
        targets: classes (T, B) int64, or values (T, B, D).
        mask: boolean (T, B), the steps whose target counts.
        starts: boolean (T, B), True at the first step of every sequence.
        judged: boolean (T,), the steps that a sequence is judged by: right where all of them are.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    starts: Tensor
    judged: Tensor

    def of(self, dtype: torch.dtype) -> "TaskSegment":
        """The same with numbers of a type; symbols and classes as they are."""
        if not self.inputs.is_floating_point():
            return self
        return replace(self, inputs=self.inputs.to(dtype), targets=self.targets.to(dtype))


class Task(Protocol):
    """A generated problem."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def length(self) -> int:
        """Steps of its sequences, or of its delay."""

    @property
    def symbols(self) -> int:
        """Different inputs, or the values of one, I."""

    @property
    def classes(self) -> int:
        """Different targets, or the values of one, D."""

    @property
    def delay(self) -> int:
        """The least number of steps from what must be remembered first to the step that asks for it."""

    @property
    def guessed_wrong(self) -> float:
        """The share of sequences that go wrong by guessing, in [0, 1]."""

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""

    @property
    def told(self) -> str:
        """What is read and answered at a step, in words."""

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """What sequences are judged by, by the score's name; "error" says whether the problem is solved."""

    def checked(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sequence that a user gave, and which of its steps count, (T,); else a `UserError`."""


def _most_probable(distribution: Any, targets: Tensor) -> Tensor:
    found: Tensor = distribution.logits.argmax(-1) != targets
    return found


class OfSymbols:
    """A task of symbols and classes; the most probable class is the answer."""

    criteria = {"error": Criterion(WRONG, _most_probable)}  # noqa: RUF012

    @property
    def told(self: Task) -> str:
        """How many there are."""
        return f"{self.symbols} symbols; {self.classes} classes"

    def checked(
        self: Task, inputs: np.ndarray, targets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Symbols (T,) and classes (T,), of which -1 does not count."""
        limits = (("inputs", inputs, 0, self.symbols), ("classes", targets, -1, self.classes))
        for name, part, least, most in limits:
            whole = part.ndim == 1 and part.dtype.kind in "ui" and len(part) == len(inputs) > 0
            if not whole or part.min() < least or part.max() >= most:
                raise UserError(f"expected {name} (T,) of {least} to {most - 1}, found others")
        return inputs.astype(np.int64), targets.astype(np.int64).clip(0), targets >= 0


def segment_of(inputs: np.ndarray, targets: np.ndarray, mask: np.ndarray, judged: np.ndarray) -> TaskSegment:
    """Sequences that all start at the first step.

    Args:
        inputs: (T, B) or (T, B, I).
        targets: (T, B) or (T, B, D).
        mask: boolean (T, B).
        judged: boolean (T,).

    Example:
        >>> steps = np.zeros((3, 2), dtype=np.int64)
        >>> segment_of(steps, steps, steps == 0, np.arange(3) == 2).starts.sum(0)
        tensor([1, 1])
    """
    starts = np.zeros(inputs.shape[:2], dtype=bool)
    starts[0] = True
    return TaskSegment(*(torch.from_numpy(x) for x in (inputs, targets, mask, starts, judged)))


def at_the_end(inputs: np.ndarray, last: np.ndarray) -> TaskSegment:
    """Sequences of which one answer is asked, at their last step.

    Args:
        inputs: (T, B) or (T, B, I).
        last: the answers, (B,) or (B, D).

    Example:
        >>> segment = at_the_end(np.zeros((3, 2), dtype=np.int64), np.array([4, 5]))
        >>> segment.targets[-1], segment.mask.sum(0)
        (tensor([4, 5]), tensor([1, 1]))
    """
    steps, sequences = inputs.shape[:2]
    targets = np.zeros((steps, *last.shape), dtype=last.dtype)
    targets[-1] = last
    judged = np.arange(steps) == steps - 1
    return segment_of(inputs, targets, np.repeat(judged[:, np.newaxis], sequences, 1), judged)
