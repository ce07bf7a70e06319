"""What a domain answers to a command: a record, and the same for people; others print it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ostinato.evaluation.tables import Table


@dataclass(frozen=True)
class Notice:
    """A line that is none of the result, such as what was done to a file before it was read."""

    text: str


@dataclass(frozen=True)
class Raw:
    """A text that is printed as it is, as soon as it is there, without a line's end."""

    text: str


# A text is a paragraph of the result.
Part = Table | Notice | Raw | str


@dataclass(frozen=True)
class Answer:
    """What a command has found or made; files are written when it is.

    Arguments:
        record: gives the object that is printed as JSON.
        parts: what is printed otherwise, in this order; may be made while it is printed.
        notices: printed in both cases, before anything else.
        complete: whether all that was asked for is there; else the command ends with code 2.

    Only one of the first two is asked for.

    Example:
        >>> answer = Answer(lambda: {"frames": 8}, ["8 frames"])
        >>> answer.record(), list(answer.parts)
        ({'frames': 8}, ['8 frames'])
    """

    record: Callable[[], dict[str, Any]]
    parts: Iterable[Part]
    notices: Sequence[Notice] = ()
    complete: bool = True


@dataclass(frozen=True)
class Asked:
    """What anybody can say to a command that makes something with a run's model.

    Arguments:
        seed: another number, another piece.
        prime: what to continue: text, the name of a file, or what a program has in memory; None for nothing.
        device: where the model computes.
    """

    seed: int = 0
    prime: Any = None
    device: str = "cpu"
