"""A setting of a run: its type, default, range and help text, declared beside what it is a setting of."""

import math
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ostinato.errors import UserError, argument


class Unless(tuple[Any, ...]):
    """All values of a setting but these.

    Example:
        >>> "none" in Unless(("none",)), 2.0 in Unless(("none",))
        (False, True)
    """

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return not super().__contains__(value)


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        name: as settings files and Python call it; the option is the same with dashes.
        kind: its type: int, float, str, bool, a `Literal`, or a union of these and None.
        default: where neither the recipe's letters nor the user say anything.
        group: the heading it stands under in a command's help.
        help: what it is, in a line.
        low, high: the range of a number, both ends included.
        below: whether `high` itself is left out.
        above: whether `low` itself is.
        needs: other settings without which it does nothing, by name: the values they must have; an empty
            tuple stands for any number above 0, `Unless` for all values but some.
        unset: what the default None stands for, in words.
        files: whether it names a data set, or files, which are to be found again from another folder.
        free: whether it may be another one where training starts from weights that are there; those of how
            training goes on may anyway.

    Example:
        >>> leak = Setting("leak_low", float, 0.02, "Model", "smallest leak", low=0, high=1, below=True)
        >>> leak.checked(0)
        0.0
        >>> leak.checked(1.0)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected leak_low in [0, 1), found 1.0
        >>> Setting("learning_rate", float, 0.1, "", "", low=0, above=True).checked(float("nan"))
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected learning_rate to be a finite number above 0, found nan
    """

    name: str
    kind: Any
    default: Any
    group: str
    help: str
    low: float = -math.inf
    high: float = math.inf
    below: bool = False
    above: bool = False
    needs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    unset: str = ""
    files: bool = False
    free: bool = False

    @property
    def of_weights(self) -> bool:
        """Whether it says what weights are of: those that were trained under another one are of no use.

        Example:
            >>> Setting("hidden_size", int, 200, "Model", "").of_weights
            True
            >>> Setting("learning_rate", float, 0.1, "Optimization", "").of_weights
            False
        """
        return not (self.free or self.files or self.group in _OF_TRAINING) or self.name in _CHOOSES

    @property
    def option(self) -> str:
        """How the command line writes it."""
        return "--" + self.name.replace("_", "-")

    @property
    def number(self) -> type[int] | type[float] | None:
        """int or float for a number, None for anything else."""
        kinds = _alternatives(self.kind)
        return int if int in kinds else float if float in kinds else None

    def idle(self, values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]] | None:
        """The first of the settings it needs that leaves it without effect, and the values it would take.

        Example:
            >>> leak = Setting("leak_low", float, 0.02, "Model", "smallest leak", needs={"leak_fraction": ()})
            >>> leak.idle({"leak_fraction": 0.0}), leak.idle({"leak_fraction": 0.5})
            (('leak_fraction', ()), None)
        """
        for other, wanted in self.needs.items():
            value = values.get(other)
            if not (value in wanted if wanted else isinstance(value, int | float) and value > 0):
                return other, wanted
        return None

    def checked(self, value: Any) -> Any:
        """The value in the setting's type.

        Raises:
            UserError: it is of another type, or out of its range.
        """
        kinds = _alternatives(self.kind)
        choices = [choice for kind in kinds for choice in typing.get_args(kind)]
        if (value in choices and not isinstance(value, bool)) or (value is None and type(None) in kinds):
            return value
        if float in kinds and isinstance(value, int) and not isinstance(value, bool):
            with suppress(OverflowError):  # otherwise it is none
                value = float(value)
        plain = tuple(kind for kind in kinds if isinstance(kind, type) and kind is not type(None))
        if not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain):
            wanted = [kind.__name__ for kind in plain] + [repr(choice) for choice in choices]
            raise UserError(f"expected {argument(self.name)} to be {' or '.join(wanted)}, found {value!r}")
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_range(value)
        return value

    def _check_range(self, value: float) -> None:
        inside = self.low < value if self.above else self.low <= value
        inside = inside and (value < self.high if self.below else value <= self.high)
        finite = isinstance(value, int) or math.isfinite(value)
        if inside and finite:
            if abs(value) > _LARGEST:
                raise UserError(f"expected {argument(self.name)} of at most {_LARGEST}, found {value}")
            return
        span = "" if self.low == -math.inf else f" {'above' if self.above else 'at least'} {self.low}"
        if self.high < math.inf:
            span = f" in {'(' if self.above else '['}{self.low}, {self.high}{')' if self.below else ']'}"
        kind = "" if finite else " to be a finite number"
        raise UserError(f"expected {argument(self.name)}{kind}{span}, found {value}")


# The groups of settings that say how training goes on, and what on.
_OF_TRAINING = ("Recipe", "Data", "Optimization", "Hessian-free", "Training")
_CHOOSES = ("domain",)
# Of float32, in which models compute by default.
_LARGEST = 3.4e38


def _alternatives(kind: Any) -> tuple[Any, ...]:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return typing.get_args(kind)
    return (kind,)
