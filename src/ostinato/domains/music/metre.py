"""Where a frame lies in its beat, its bar and its phrase, and the bars before it, as side inputs of a model.

Shapes: T time (frames), F features, L = 4 places to look back to.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostinato.data.side import Side
from ostinato.domains.music.bars import Bars, Metre
from ostinato.domains.music.grid import Quantize
from ostinato.domains.music.notes import Notes
from ostinato.errors import UserError, argument

# A model also reads what sounded at the same place so many bars ago: a bar, half a phrase, a phrase, a part.
BARS_AGO = (1, 2, 4, 8)

_PULSES = (0.5, 1.0, 1.5, 2.0, 3.0)  # lengths of a beat in quarter notes that are told apart
_MOST_BEATS = 12  # of a bar
_PLACES = 24  # in a quarter note, which are told apart, whatever the grid
_PHRASES = 5  # binary digits of the bar's number: its place in 2, 4, 8, 16 and 32 bars

_HAIR = 1e-4  # of a place, or a beat

_TEXT = re.compile(r"([1-9]\d?)/(1|2|4|8|16|32|64)")


def side_of(bars: Bars, first: float, frames: int, grid: int, *, look_back: bool = True) -> Side:
    """What is known of the frames of a piece from its bars, before any note of it.

    Of each frame: its place in the beat, the beat in the bar, how many beats a bar has and how long they are
    (each one of so many, as a row of zeros with a one), whether the bar is an incomplete first one, and the
    binary digits of the bar's number. Further the frames at the same place 1, 2, 4 and 8 bars before.

    Args:
        bars: of the piece.
        first: where its first frame lies, in quarter notes from its beginning.
        frames: T.
        grid: frames to a quarter note.
        look_back: whether the bars before are read; else L is 0.

    Example:
        >>> side = side_of(Bars(metres=((0.0, 3, 4),)), 0.0, frames=14, grid=2)
        >>> side.features.shape, side.back[[5, 6, 12]].tolist()
        ((14, 107), [[0, 0, 0, 0], [6, 0, 0, 0], [6, 12, 0, 0]])
    """
    times = first + np.arange(frames) / grid
    number, offset, stretch = bars.places(times)
    metres = [bars.stretches[k].metre for k in range(len(bars.stretches))]
    pulse = np.array([metre.pulse for metre in metres])[stretch]
    beats = np.array([round(metre.bar / metre.pulse) for metre in metres])[stretch]
    kind = np.array([_nearest(metre.pulse) for metre in metres])[stretch]
    # or thirds of a beat, which are rounded, would fall a hair before their frames
    beat = np.floor(offset / pulse + _HAIR).astype(int)
    within = np.floor((offset - beat * pulse) * _PLACES + _HAIR).astype(int)
    digits = (np.maximum(number - 1, 0)[:, None] >> np.arange(_PHRASES)) & 1
    parts = [
        _one_of(within, round(_PLACES * _PULSES[-1])),
        _one_of(beat, _MOST_BEATS),
        _one_of(beats - 1, _MOST_BEATS),
        _one_of(kind, len(_PULSES)),
        (number < 1)[:, None],
        digits,
    ]
    back = _back(times, number, offset, grid)
    return Side(np.concatenate(parts, axis=1), back if look_back else back[:, :0])


def side_of_notes(
    notes: Notes, frames: int, grid: int, quantize: Quantize, *, look_back: bool = True
) -> Side:
    """`side_of` the frames that `notes.frames` makes."""
    first = notes.first_beat(grid, quantize) + notes.pickup
    return side_of(Bars.of(notes), first, frames, grid, look_back=look_back)


def usual_metres(pieces: Sequence[Notes]) -> dict[str, Any]:
    """The metre that most pieces begin in, how many have which, and of each the usual pickup; for JSON.

    Example:
        >>> from ostinato.domains.music.notes import Marks
        >>> note = np.zeros(1), np.ones(1), np.array([60])
        >>> waltz = Notes(*note, pickup=1.0, marks=Marks(metres=((0.0, 3, 4),)))
        >>> usual_metres([waltz, waltz, Notes(*note)])
        {'usual': '3/4', 'pickups': {'3/4': 1.0, '4/4': 0.0}, 'pieces': {'3/4': 2, '4/4': 1}}
    """
    found: dict[str, Counter[float]] = {}
    for notes in pieces:
        there = Bars.of(notes)
        found.setdefault(str(there.stretches[0].metre), Counter())[there.pickup] += 1
    counts = {metre: pickups.total() for metre, pickups in found.items()}
    most = {metre: pickups.most_common(1)[0][0] for metre, pickups in found.items()}
    return {"usual": max(counts, key=lambda metre: counts[metre]), "pickups": most, "pieces": counts}


def parsed(text: str) -> Metre:
    """A time signature as users write it.

    Example:
        >>> parsed("6/8")
        Metre(beats=6, unit=8)
    """
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise UserError(f"expected {argument('metre')} like 3/4 or 6/8, found {text!r}")
    return Metre(int(found[1]), int(found[2]))


def _nearest(pulse: float) -> int:
    return int(np.argmin(np.abs(np.log(np.array(_PULSES) / pulse))))


def _one_of(values: np.ndarray, size: int) -> np.ndarray:
    """Rows of zeros with a one at a place, (T, size); those beyond the last are at the last."""
    return np.eye(size, dtype=np.uint8)[np.minimum(values, size - 1)]


def _back(times: np.ndarray, number: np.ndarray, offset: np.ndarray, grid: int) -> np.ndarray:
    """How many frames before each the same place in an earlier bar is, (T, L); 0 where that bar has none."""
    begins = {int(bar): float(begin) for bar, begin in zip(number, times - offset, strict=True)}
    found = np.zeros((len(times), len(BARS_AGO)), dtype=np.int32)
    for column, ago in enumerate(BARS_AGO):
        begin = np.array([begins.get(int(bar) - ago, np.nan) for bar in number])
        distance = np.round((times - offset - begin) * grid)
        there = np.nan_to_num(np.arange(len(times)) - distance, nan=-1).astype(int)
        known = (there >= 0) & (number[there] == number - ago)
        found[known, column] = distance[known].astype(np.int32)
    return found
