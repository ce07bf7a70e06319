"""Train, valid and test: whole series where there are enough, parts of their time where there are not."""

import hashlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Skipped, Splits
from ostinato.data.splitting import assign, connected, same
from ostinato.domains.series.reading import Collection
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted

# Steps before a part that are read to warm up, where it is a later part of a series.
CONTEXT = 100

# Below, a fifth of a series is too short to be scored.
SHORTEST_CUT = 25


@dataclass(frozen=True)
class Part(Sequence):
    """A series, or a part of one: its first `context` steps are read, but neither trained on nor scored.

    Example:
        >>> part = Part("a", np.zeros((5, 1)), context=2)
        >>> len(part), part.scored
        (5, 3)
    """

    context: int = 0

    @property
    def scored(self) -> int:
        """Steps that count."""
        return len(self) - self.context


def split(collection: Collection, seed: int = 0, *, every_column: bool = False) -> Splits:
    """Deal whole series, 60/20/20; or where there are one or two, cut each in time, in this order.

    Series with the same values go to the same split. A valid or test part that was cut off begins with up to
    100 steps of the part before, as context: they are read, so that the first step of the part is predicted
    from its past, but no step is scored twice.

    A column that is constant in training is left out, and `details["notices"]` says so: its density would be
    as large as the outputs' bounds let it be, and its gradient would drown those of all others.

    Args:
        collection: the series.
        seed: of the deal.
        every_column: keep constant ones: nothing is trained on these series.

    Raises:
        UserError: too few steps, or no column that changes.

    Example:
        >>> walk = Collection("walk", ("x",), (Sequence("walk", np.arange(1000.0).reshape(-1, 1)),), "")
        >>> [(part.name, len(part), part.context) for _, (part,) in split(walk).items()]
        [('walk [train]', 600, 0), ('walk [valid]', 300, 100), ('walk [test]', 300, 100)]
    """
    empty = [s.name for s in collection.series if np.isnan(s.values).all()]
    series = [s for s in collection.series if s.name not in empty]
    if not series:
        raise UserError(f"expected values in {collection.source}, found none that is not missing")
    parts, how = _dealt(series, seed)
    found = collected(collection, parts, how, every_column=every_column)
    return replace(found, skipped=tuple(Skipped(name, "every value is missing") for name in empty))


def collected(
    collection: Collection, parts: dict[str, tuple[Part, ...]], how: str, *, every_column: bool = False
) -> Splits:
    """The data set of parts that have been dealt, as `split` has it.

    Raises:
        UserError: a column without a value in training, or none that changes.
    """
    changing = np.ones(len(collection.columns), bool)
    if not every_column:
        changing = _changing(parts["train"], collection)
    names, notices = np.array(collection.columns), [*collection.notices]
    if not changing.all():
        left_out = ", ".join(map(repr, names[~changing].tolist()))
        notices.append(f"constant in training and left out: {left_out}")
        parts = {
            name: tuple(replace(part, values=part.values[:, changing]) for part in of)
            for name, of in parts.items()
        }
    details = {
        "source": collection.source,
        "columns": names[changing].tolist(),
        "split": how,
        "missing": any(bool(np.isnan(part.values).any()) for of in parts.values() for part in of),
        "notices": notices,
    }
    train, valid, test = (parts[name] for name in SPLITS)
    return Splits(collection.name, train, valid, test, kind="series", details=details)


def parts_of(data: Splits, name: str) -> tuple[Part, ...]:
    """The series of a split, as `split` made them."""
    return cast(tuple[Part, ...], data[name])


def _dealt(series: list[Sequence], seed: int) -> tuple[dict[str, tuple[Part, ...]], str]:
    """The parts by split, and how they came there."""
    digests = [hashlib.sha256(repr(s.values.shape).encode() + s.values.tobytes()).digest() for s in series]
    groups = connected(len(series), same(digests))
    if len(set(groups)) < len(SPLITS):
        return cut_in_time(series), "by time: the first 60%, 20%, 20%"
    where = assign([s.name for s in series], groups, seed=seed)
    parts = {
        name: tuple(Part(s.name, s.values) for s, w in zip(series, where, strict=True) if w == name)
        for name in SPLITS
    }
    return parts, f"by series, seed {seed}"


def _changing(parts: tuple[Part, ...], collection: Collection) -> np.ndarray:
    """Whether each column has two different values in these parts, boolean (D,)."""
    values = np.concatenate([part.values for part in parts])
    highest = np.where(np.isnan(values), -np.inf, values).max(0)
    lowest = np.where(np.isnan(values), np.inf, values).min(0)
    changing = np.asarray(highest > lowest)
    for name, top in zip(collection.columns, highest.tolist(), strict=True):
        if top == -np.inf:
            raise UserError(
                f"expected values in column {name!r} of the training series of {collection.source}, "
                "found none; remove the column"
            )
    if not changing.any():
        raise UserError(f"expected a column that changes in {collection.source}, found none in training")
    return changing


def select(collection: Collection, columns: tuple[str, ...]) -> Collection:
    """The columns of a model out of a collection, in the model's order.

    Raises:
        UserError: one is not there.

    Example:
        >>> read = Collection("a", ("x", "y"), (Sequence("a", np.array([[1.0, 2.0]])),), "a file")
        >>> select(read, ("y",)).series[0].values.tolist()
        [[2.0]]
    """
    for name in columns:
        if name not in collection.columns:
            raise UserError(
                f"expected the columns {', '.join(columns)} in {collection.source}, found "
                f"{', '.join(collection.columns)}"
            )
    places = [collection.columns.index(name) for name in columns]
    series = tuple(Sequence(s.name, s.values[:, places]) for s in collection.series)
    return replace(collection, columns=columns, series=series)


def cut_in_time(series: list[Sequence]) -> dict[str, tuple[Part, ...]]:
    """Each series cut at 60% and 80%, later parts with their context.

    Raises:
        UserError: one is too short.

    Example:
        >>> parts = cut_in_time([Sequence("a", np.zeros((50, 1)))])
        >>> [(part.scored, part.context) for (part,) in parts.values()]
        [(30, 0), (10, 30), (10, 40)]
    """
    parts: dict[str, list[Part]] = {name: [] for name in SPLITS}
    for whole in series:
        length = len(whole)
        if length < SHORTEST_CUT:
            raise UserError(
                f"expected at least three different series, or at least {SHORTEST_CUT} steps in each; "
                f"found {len(series)} series, {whole.name} of {counted(length, 'step')}"
            )
        ends = [0, length * 3 // 5, length * 4 // 5, length]
        for name, (begin, end) in zip(SPLITS, pairwise(ends), strict=True):
            context = min(begin, CONTEXT)
            values = whole.values[begin - context : end]
            parts[name].append(Part(f"{whole.name} [{name}]", values, context=context))
    return {name: tuple(found) for name, found in parts.items()}


def pieces(part: Part, count: int, turn: int = 0) -> list[Part]:
    """A part cut in `count` pieces that know nothing of each other; the first has the part's context.

    Args:
        part: what to cut.
        count: pieces; fewer where there are not as many steps.
        turn: moves the cuts to the left, by less than a piece.

    Example:
        >>> [(p.context, p.scored) for p in pieces(Part("a", np.zeros((500, 1)), context=20), 2)]
        [(20, 240), (0, 240)]
    """
    length = -(-part.scored // max(1, min(count, part.scored)))
    cuts = [c - turn % length for c in range(length, part.scored + length, length)]
    bounds = [0, *(c for c in cuts if 0 < c < part.scored), part.scored]
    found = []
    for begin, end in pairwise(bounds):
        context = part.context if begin == 0 else 0
        values = part.values[part.context + begin - context : part.context + end]
        found.append(replace(part, values=values, context=context))
    return found
