"""The cells with gates, in PyTorch: what any of them says of a step, and what follows from that.

A step has a few derivatives for every unit, the coefficients, which are numbers: so what deltas, forces and
changes are made of follows from where each coefficient belongs, and `Cell` has it for all. A cell says which
those are and what their values are (`Gru`, `Lstm`); its struct in `native/gated/` says the same once more, to
be quick. All functions are differentiable. A cell without c has c of shape (..., 0).

The coefficients are, in this order: one for each of the deltas, in the order that `coefficient_of_delta`
says; where there is a c, that of h by c; and that of the state (c, or h where there is none) by itself
before. The deltas are of u and x, in the cell's own order, those of x the last ones.

Shapes: H hidden; K gates that the state before contributes to, D drives, S numbers saved, C coefficients and
R deltas for each unit.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor

Tensors = Sequence[Tensor]
Pair = tuple[Tensor, Tensor]


class Cell(ABC):
    """The pointwise part of a cell; every tensor holds some units, those of gates and so on come as lists.

    A cell has the first seven class variables and the five functions that are abstract.
    """

    code: ClassVar[int]  # in `native/gated/arguments.hpp`
    names: ClassVar[tuple[str, ...]]  # of the first numbers saved: gates, and "new", the candidate
    drives: ClassVar[int]
    saved: ClassVar[int]
    delta_of_gate: ClassVar[tuple[int, ...]]  # which of the deltas is that of each gate's u
    coefficient_of_delta: ClassVar[tuple[int, ...]]  # what makes each delta of g
    acts_on_c: ClassVar[tuple[bool, ...]]  # and whether of g of c or of h

    # What follows from those: K, R, C, and whether there is a c besides h.
    gates: ClassVar[int]
    deltas: ClassVar[int]
    coefficients: ClassVar[int]
    has_cell: ClassVar[bool]

    def __init_subclass__(cls) -> None:
        """Count once what every call asks for."""
        cls.gates, cls.deltas = len(cls.delta_of_gate), len(cls.coefficient_of_delta)
        cls.has_cell = any(cls.acts_on_c)
        cls.coefficients = cls.deltas + 1 + cls.has_cell

    @abstractmethod
    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """h and c after the step, and what is saved."""

    @abstractmethod
    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """The coefficients J, from what was saved and the state before."""

    @abstractmethod
    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """What gradients of what was saved contribute to those of u, x and c."""

    @abstractmethod
    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """`saved_adjoint`, transposed."""

    @abstractmethod
    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """How h (without what follows c) and c change with the leak."""

    def deltas_of(self, by: Tensors, h: Tensor, c: Tensor) -> list[Tensor]:
        """J^T g, for g of h and of c."""
        places = zip(self.coefficient_of_delta, self.acts_on_c, strict=True)
        return [by[k] * (c if on_c else h) for k, on_c in places]

    def total(self, by: Tensors, h: Tensor, c: Tensor) -> Tensor:
        """g of c, with what h passes on."""
        return torch.addcmul(c, by[-2], h) if self.has_cell else c

    def forces_of(self, by: Tensors, deltas: Tensors) -> Pair:
        """`deltas_of`, transposed: from numbers like the deltas to numbers like h and c."""
        return self._forces(by, range(self.deltas), deltas)

    def drive_forces(self, by: Tensors, x: Tensors) -> Pair:
        """Changes of h and c from those of x; of h without what follows c."""
        return self._forces(by, range(self.deltas - self.drives, self.deltas), x)

    def apply(self, by: Tensors, u: Tensors, h: Tensor, c: Tensor, after: Tensor) -> Pair:
        """Changes of h and c, from those of u, of h and c before, and of c after (which h follows)."""
        of_h, of_c = self._terms(by, self.delta_of_gate, u)
        if self.has_cell:
            return _sum([by[-2] * after, *of_h]), _sum([by[-1] * c, *of_c])
        return _sum([*of_h, by[-1] * h]), after

    def by_coefficient(
        self, total: Pair, deltas: Tensors, h: Tensor, c: Tensor, after: Tensor
    ) -> list[Tensor]:
        """The gradient of each coefficient, of which both `deltas_of` and `apply` are linear functions."""
        places = sorted(range(self.deltas), key=self.coefficient_of_delta.__getitem__)
        found = [total[self.acts_on_c[k]] * deltas[k] for k in places]
        of_h, of_c = total
        return [*found, of_h * after, of_c * c] if self.has_cell else [*found, of_h * h]

    def drive_deltas(self, deltas: Tensor) -> Tensor:
        """Of deltas (..., R, H) those of x, (..., D, H)."""
        return deltas if self.drives == self.deltas else deltas[..., self.deltas - self.drives :, :]

    def _terms(
        self, by: Tensors, places: Iterable[int], numbers: Tensors
    ) -> tuple[list[Tensor], list[Tensor]]:
        """What deltas at these places add to h and to c, if they are these numbers."""
        of_h: list[Tensor] = []
        of_c: list[Tensor] = []
        for k, number in zip(places, numbers, strict=True):
            (of_c if self.acts_on_c[k] else of_h).append(by[self.coefficient_of_delta[k]] * number)
        return of_h, of_c

    def _forces(self, by: Tensors, places: Iterable[int], numbers: Tensors) -> Pair:
        of_h, of_c = self._terms(by, places, numbers)
        h = _sum(of_h) if of_h else torch.zeros_like(of_c[0])
        return h, _sum(of_c) if of_c else _nothing(h)


def _sum(terms: list[Tensor]) -> Tensor:
    return reduce(add, terms)


def _nothing(like: Tensor) -> Tensor:
    """c of a cell that has none."""
    return like.new_zeros(*like.shape[:-1], 0)


def _rest(leak: Tensor | None, x: Tensor) -> Tensor:
    return x if leak is None else x * (1 - leak)


def _kept(leak: Tensor | None, gate: Tensor) -> Tensor:
    return gate if leak is None else gate + leak * (1 - gate)


class Gru(Cell):
    """See `ostinato.nn.GRU` for the equations; saved are r, z, n and u_n."""

    code: ClassVar[int] = 0
    names: ClassVar[tuple[str, ...]] = ("reset", "update", "new")
    drives: ClassVar[int] = 3
    saved: ClassVar[int] = 4
    delta_of_gate: ClassVar[tuple[int, ...]] = (1, 2, 0)
    coefficient_of_delta: ClassVar[tuple[int, ...]] = (2, 0, 1, 3)  # of u_n, and of x_r, x_z and x_n
    acts_on_c: ClassVar[tuple[bool, ...]] = (False,) * 4

    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """See `Cell`."""
        r, z = torch.sigmoid(x[0] + u[0]), torch.sigmoid(x[1] + u[1])
        n = torch.tanh(torch.addcmul(x[2], r, u[2]))
        return torch.lerp(n, h, _kept(leak, z)), c, [r, z, n, u[2]]

    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; h by u_r, u_z, u_n, x_n and h before."""
        r, z, n, u = saved
        by_n = _rest(leak, (1 - z) * (1 - n * n))
        by_z = _rest(leak, (h - n) * z * (1 - z))
        return [by_n * u * r * (1 - r), by_z, by_n * r, by_n, _kept(leak, z)]

    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """See `Cell`."""
        r, z, n, u = saved
        to_n = grads[2] * (1 - n * n)
        to_r = (grads[0] + to_n * u) * r * (1 - r)
        to_z = grads[1] * z * (1 - z)
        return [to_r, to_z, grads[3] + to_n * r], [to_r, to_z, to_n], _nothing(r)

    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """See `Cell`."""
        r, z, n, before = saved
        of_r = r * (1 - r) * (u[0] + x[0])
        of_n = (1 - n * n) * (x[2] + of_r * before + r * u[2])
        return [of_r, z * (1 - z) * (u[1] + x[1]), of_n, u[2]]

    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """See `Cell`."""
        return (1 - saved[1]) * (h - saved[2]), c


class Lstm(Cell):
    """See `ostinato.nn.LSTM` for the equations; saved are i, f, g, o and tanh c."""

    code: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("input", "forget", "new", "output")
    drives: ClassVar[int] = 4
    saved: ClassVar[int] = 5
    delta_of_gate: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)
    coefficient_of_delta: ClassVar[tuple[int, ...]] = (0, 1, 2, 3)  # of x, which are those of u
    acts_on_c: ClassVar[tuple[bool, ...]] = (True, True, True, False)

    def step(
        self, x: Tensors, u: Tensors, leak: Tensor | None, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """See `Cell`."""
        i, f, o = (torch.sigmoid(x[k] + u[k]) for k in (0, 1, 3))
        g = torch.tanh(x[2] + u[2])
        step = f * c + i * g
        c = step if leak is None else torch.lerp(step, c, leak)
        squashed = torch.tanh(c)
        return o * squashed, c, [i, f, g, o, squashed]

    def linearize(self, saved: Tensors, leak: Tensor | None, h: Tensor, c: Tensor) -> list[Tensor]:
        """See `Cell`; c by u_i, u_f and u_g, h by u_o and c, c by c before."""
        i, f, g, o, squashed = saved
        by_c = (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g))
        return [
            *(_rest(leak, x) for x in by_c),
            squashed * o * (1 - o),
            o * (1 - squashed * squashed),
            _kept(leak, f),
        ]

    def saved_adjoint(self, saved: Tensors, grads: Tensors) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """See `Cell`."""
        i, f, g, o, squashed = saved
        back = [grads[k] * y * (1 - y) for k, y in ((0, i), (1, f), (3, o))]
        to = [back[0], back[1], grads[2] * (1 - g * g), back[2]]
        return to, to, grads[4] * (1 - squashed * squashed)

    def saved_tangent(self, saved: Tensors, u: Tensors, x: Tensors, c: Tensor) -> list[Tensor]:
        """See `Cell`."""
        i, f, g, o, squashed = saved
        slopes = (i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o))
        of_gates = [slope * (a + b) for slope, a, b in zip(slopes, u, x, strict=True)]
        return [*of_gates, (1 - squashed * squashed) * c]

    def by_leak(self, saved: Tensors, h: Tensor, c: Tensor) -> Pair:
        """See `Cell`."""
        i, f, g, *_ = saved
        return torch.zeros_like(h), c - (f * c + i * g)


CELLS: dict[str, Cell] = {"gru": Gru(), "lstm": Lstm()}


def named(name: str) -> Cell:
    """The cell of this name.

    Raises:
        ValueError: there is none.

    Example:
        >>> named("lstm").gates
        4
        >>> named("elman")
        Traceback (most recent call last):
        ...
        ValueError: cell must be one of gru and lstm, got 'elman'
    """
    if name not in CELLS:
        raise ValueError(f"cell must be one of {' and '.join(CELLS)}, got {name!r}")
    return CELLS[name]
