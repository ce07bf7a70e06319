"""Notes in continuous time -> frames: two ways to place them, what that costs, and the grid that suits them.

Shapes: N notes. Times are in quarter notes; a grid has g lines to a quarter note, and beats fall on lines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Quantize = Literal["nearest", "sample"]

# A piece as grids are fitted to it: start, end and pitch of its notes, (N,) each, and its pickup.
Timed = tuple[np.ndarray, np.ndarray, np.ndarray, float]

# A frame looks at what sounds an eighth of a frame after its beginning: late enough for a hand that comes a
# little late and for the end of a legato note, early enough for a 32nd note on the beat of an eighth-note
# grid.
_LOOK = 0.125

# Floating point: times that are half between two lines in the file are so here.
_EXACT = 1e-6

# Grids that music is written in: quarters, eighths, triplets, sixteenths, sixteenth triplets, 32nds, both.
GRIDS = (1, 2, 3, 4, 6, 8, 12)
_ON_THE_LINE = 1 / 96  # half a 192nd note: what a notation program rounds to
_MOST_ON_IT = 0.98
_FEW_LOST = 0.001
_FREE = 0.9  # a mean distance above this share of that of chance: no grid at all


@dataclass(frozen=True)
class Placed:
    """Where notes come to lie: note n in frames `first[n]` to `last[n]` (exclusive), if `kept[n]`; (N,) each.

    Arguments:
        first, last: frames.
        kept: those that have a frame of their own.
        unison: those, not kept, that begin together with another of their pitch: one key plays both.
    """

    first: np.ndarray
    last: np.ndarray
    kept: np.ndarray
    unison: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Which have neither a frame of their own nor another note that begins with them, (N,)."""
        return ~self.kept & ~self.unison


def place(
    start: np.ndarray, end: np.ndarray, pitch: np.ndarray, grid: int, phase: float, how: Quantize
) -> Placed:
    """Notes on a grid of `grid` lines to a quarter note, the first of them at `phase`.

    "nearest": a note begins at the line that is nearest (half between two lines, at the later one), ends at
    the line nearest to its end, and lasts a frame at least. Of two strikes of one pitch in one frame one is
    lost; a note ends where the next of its pitch begins.

    "sample": a frame has what sounds an eighth of a frame after its beginning. Notes between two such moments
    are lost.

    Example:
        >>> late = np.array([1.0, 7.0]) / 6
        >>> placed = place(late, late + 0.8, np.array([60, 62]), 2, 0.0, "nearest")
        >>> placed.first.tolist(), placed.last.tolist()
        ([0.0, 2.0], [2.0, 4.0])
    """
    if how == "sample":
        first, last = (np.ceil((time - phase) * grid - _LOOK - _EXACT) for time in (start, end))
        return Placed(first, last, (last > first) & (last > 0), np.zeros(len(start), dtype=bool))
    first, last = (np.floor((time - phase) * grid + 0.5 + _EXACT) for time in (start, end))
    last = np.maximum(last, first + 1)
    kept, unison = np.zeros(len(start), dtype=bool), np.zeros(len(start), dtype=bool)
    if not len(start):
        return Placed(first, last, kept, unison)
    order = np.lexsort((start, pitch))
    pitches, begins = pitch[order], first[order]
    changes = (np.diff(pitches) != 0) | (np.diff(begins) != 0)
    strikes = np.flatnonzero(np.concatenate([[True], changes]))  # the first of each pitch in each frame
    # which lasts as long as the longest of those that it stands for, but not into the next
    ends = np.maximum.reduceat(last[order], strikes)
    again = pitches[strikes[1:]] == pitches[strikes[:-1]]
    ends[:-1][again] = np.minimum(ends[:-1], begins[strikes[1:]])[again]
    kept[order[strikes]] = True
    last[order[strikes]] = ends
    together = (np.diff(pitches) == 0) & (np.diff(start[order]) <= _EXACT)
    unison[order[1:][together]] = True
    return Placed(first, last, kept, unison & ~kept)


@dataclass(frozen=True)
class Cost:
    """What a grid costs some notes.

    Arguments:
        notes: how many there are.
        moved: how many begin at another time.
        distance: by how much in all, in quarter notes.
        farthest: by how much at most.
        lost: notes without a frame of their own, such as the second of two strikes of one pitch in one frame.
        unisons: notes that begin together with another of their pitch, in another voice; they are not lost.
    """

    notes: int = 0
    moved: int = 0
    distance: float = 0.0
    farthest: float = 0.0
    lost: int = 0
    unisons: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.notes + other.notes,
            self.moved + other.moved,
            self.distance + other.distance,
            max(self.farthest, other.farthest),
            self.lost + other.lost,
            self.unisons + other.unisons,
        )


def cost(start: np.ndarray, placed: Placed, grid: int, phase: float) -> Cost:
    """What it cost to place notes that began at `start`.

    Example:
        >>> start, pitch = np.array([0.0, 0.1, 1.0]), np.array([60, 60, 60])
        >>> cost(start, place(start, start + 0.1, pitch, 1, 0.0, "nearest"), 1, 0.0)
        Cost(notes=3, moved=0, distance=0.0, farthest=0.0, lost=1, unisons=0)
    """
    distance = np.abs(placed.first / grid + phase - start)[placed.kept]
    moved = distance > _EXACT
    return Cost(
        len(start),
        int(moved.sum()),
        float(distance[moved].sum()),
        float(distance.max(initial=0.0)),
        int(placed.lost.sum()),
        int(placed.unison.sum()),
    )


def fitting(pieces: Sequence[Timed]) -> int:
    """The coarsest grid that suits pieces (start, end, pitch, pickup).

    It has 98 % of all onsets on its lines, and at most one note in a thousand is lost. Where no grid has, as
    in a performance, it is the grid to whose lines the onsets are nearest, as a share of what chance would
    give (a quarter of the lines' distance), made finer until the notes have room. Where even that is chance,
    sixteenths or finer.

    Example:
        >>> triplets, pitch = np.arange(12) / 3, np.arange(12)
        >>> fitting([(triplets, triplets + 1 / 3, pitch, 0.0)])
        3
    """
    fits = [_fit(pieces, grid) for grid in GRIDS]
    for grid, (on_line, _, lost) in zip(GRIDS, fits, strict=True):
        if on_line >= _MOST_ON_IT and lost <= _FEW_LOST:
            return grid
    nearness = [near for _, near, _ in fits]
    nearest = GRIDS[int(np.argmin(np.round(nearness, 3)))] if min(nearness) < _FREE else 4
    roomy = [grid for grid, (_, _, lost) in zip(GRIDS, fits, strict=True) if lost <= _FEW_LOST]
    return next((grid for grid in roomy if grid >= nearest), GRIDS[-1])


def suits(piece: Timed, grid: int) -> bool:
    """Whether a grid has 98 % of a piece's onsets on its lines.

    Example:
        >>> triplets = np.arange(12) / 3
        >>> [grid for grid in GRIDS if suits((triplets, triplets + 1 / 3, np.arange(12), 0.0), grid)]
        [3, 6, 12]
    """
    return _fit([piece], grid)[0] >= _MOST_ON_IT


def _fit(pieces: Sequence[Timed], grid: int) -> tuple[float, float, float]:
    """Shares of onsets on a line, of chance's distance to the lines, and of notes that are lost."""
    on_line = lost = count = 0
    distance = 0.0
    for start, end, pitch, pickup in pieces:
        phase = pickup % (1 / grid)
        placed = place(start, end, pitch, grid, phase, "nearest")
        away = np.abs(placed.first / grid + phase - start)
        on_line += int((away <= _ON_THE_LINE).sum())
        lost += int(placed.lost.sum())
        distance += float(away.sum())
        count += len(start)
    return on_line / max(count, 1), 4 * grid * distance / max(count, 1), lost / max(count, 1)
