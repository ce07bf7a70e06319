"""Which pieces of a folder its one grid does not suit, in words.

The grid is that of all notes together (`grid.fitting`): a piece in triplets among a hundred in eighths is not
heard. So it is named, and the grid that would suit all is, too.
"""

from collections.abc import Sequence

from ostinato.domains.music.grid import GRIDS, Cost, suits
from ostinato.domains.music.notes import Notes
from ostinato.evaluation.numbers import counted

# A piece that has more of its notes moved than those that `grid.fitting` allows all of them.
_MOVED = 0.02
_NAMED = 3
# Triplets of sixteenths beside 32nds; of a finer one the lines are everywhere.
_FINER = (*GRIDS, 24)


def off_grid_lines(pieces: Sequence[tuple[str, Notes, Cost]], grid: int) -> list[str]:
    """The pieces that have notes between the lines, those with most of them first.

    Args:
        pieces: with their names, and what the grid costs each.
        grid: frames to a quarter note.

    Example:
        >>> import numpy as np
        >>> k = np.arange(12)
        >>> lengths = {"a.abc": 1 / 2, "b.abc": 1 / 3}
        >>> own = [(name, Notes(k * by, k * by + by, k + 60)) for name, by in lengths.items()]
        >>> print(*off_grid_lines([(name, n, n.cost(2, "nearest")) for name, n in own], 2))
        1 of 2 pieces is off these frames: b.abc (8 of 12 notes moved); 6 to a quarter note would suit all
    """
    off = [one for one in pieces if one[2].moved > _MOVED * one[2].notes]
    if not off or len(pieces) < 2:
        return []
    off.sort(key=lambda one: (-one[2].moved / one[2].notes, one[0]))
    named = ", ".join(f"{name} ({_in_words(cost)})" for name, _, cost in off[:_NAMED])
    more = f" and {len(off) - _NAMED:,} more" if len(off) > _NAMED else ""
    verb = "is" if len(off) == 1 else "are"
    line = f"{len(off):,} of {counted(len(pieces), 'piece')} {verb} off these frames: {named}{more}"
    # the least suited first, which another grid may not suit either
    ordered = sorted(pieces, key=lambda one: -one[2].moved / max(one[2].notes, 1))
    better = next((g for g in _FINER if all(suits(notes.timed, g) for _, notes, _ in ordered)), None)
    return [line if better in (None, grid) else f"{line}; {better} to a quarter note would suit all"]


def _in_words(cost: Cost) -> str:
    lost = f", {cost.lost:,} lost" if cost.lost else ""
    return f"{cost.moved:,} of {counted(cost.notes, 'note')} moved{lost}"
