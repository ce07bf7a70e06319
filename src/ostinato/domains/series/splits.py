"""Train, valid and test: whole series where there are enough, parts of their time where there are not."""

import hashlib
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Skipped, Splits
from ostinato.data.splitting import assign, connected, same
from ostinato.domains.series.reading import Collection
from ostinato.errors import UserError

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


def split(collection: Collection, seed: int = 0) -> Splits:
    """Deal whole series, 60/20/20; or where there are one or two, cut each in time, in this order.

    Series with the same values go to the same split. A valid or test part that was cut off begins with up to
    100 steps of the part before, as context: they are read, so that the first step of the part is predicted
    from its past, but no step is scored twice.

    Raises:
        UserError: too few steps.

    Example:
        >>> walk = Collection("walk", ("x",), (Sequence("walk", np.arange(1000.0).reshape(-1, 1)),), "")
        >>> [(part.name, len(part), part.context) for _, (part,) in split(walk).items()]
        [('walk [train]', 600, 0), ('walk [valid]', 300, 100), ('walk [test]', 300, 100)]
    """
    empty = [s.name for s in collection.series if np.isnan(s.values).all()]
    series = [s for s in collection.series if s.name not in empty]
    if not series:
        raise UserError(f"expected values in {collection.source}, found none that is not missing")
    digests = [hashlib.sha256(repr(s.values.shape).encode() + s.values.tobytes()).digest() for s in series]
    groups = connected(len(series), same(digests))
    by_series = len(set(groups)) >= len(SPLITS)
    if by_series:
        where = assign([s.name for s in series], groups, seed=seed)
        parts = {
            name: tuple(Part(s.name, s.values) for s, w in zip(series, where, strict=True) if w == name)
            for name in SPLITS
        }
    else:
        parts = cut_in_time(series)
    details = {
        "source": collection.source,
        "columns": list(collection.columns),
        "split": f"by series, seed {seed}" if by_series else "by time: the first 60%, 20%, 20%",
        "missing": any(bool(np.isnan(s.values).any()) for s in series),
    }
    return Splits(
        collection.name,
        parts["train"],
        parts["valid"],
        parts["test"],
        kind="series",
        details=details,
        skipped=tuple(Skipped(name, "every value is missing") for name in empty),
    )


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
                f"found {len(series)} series, {whole.name} of {length} steps"
            )
        ends = [0, length * 3 // 5, length * 4 // 5, length]
        for name, (begin, end) in zip(SPLITS, pairwise(ends), strict=True):
            context = min(begin, CONTEXT)
            values = whole.values[begin - context : end]
            parts[name].append(Part(f"{whole.name} [{name}]", values, context=context))
    return {name: tuple(found) for name, found in parts.items()}


def pieces(part: Part, count: int, turn: int = 0) -> list[Part]:
    """A part cut in `count` pieces that are scored one after the other, each with the context before it.

    Args:
        part: what to cut.
        count: pieces; fewer where there are not as many steps.
        turn: moves the cuts to the left, by less than a piece.

    Example:
        >>> [(p.context, p.scored) for p in pieces(Part("a", np.zeros((500, 1))), 2)]
        [(0, 250), (100, 250)]
    """
    length = -(-part.scored // max(1, min(count, part.scored)))
    cuts = [c - turn % length for c in range(length, part.scored + length, length)]
    bounds = [0, *(c for c in cuts if 0 < c < part.scored), part.scored]
    found = []
    for begin, end in pairwise(bounds):
        context = min(part.context + begin, CONTEXT)
        first = part.context + begin
        found.append(replace(part, values=part.values[first - context : part.context + end], context=context))
    return found
