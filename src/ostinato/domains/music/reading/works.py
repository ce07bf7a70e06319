"""Which pieces of a folder are versions of one work: one tune, in any key, at any tempo, ornamented or not.

A piece is its tune: the highest notes, in their order, each until the next. It is looked at in views: as it
is; without notes that are short for this piece; and the note that prevails in each quarter note, in each half
of one, and in each half note. Repeated notes are one, and what is compared are runs of SIX melodic intervals.
No view depends on the key; the first two do not depend on how long a quarter note is, and of the others one
of a piece is another's at twice the speed. Ornaments are in the first view only.

Two pieces are versions where the runs that two of their views have in common, in the same order in both, are
so many of the smaller one's: `BOUND`, less where the pieces have one name.
Which pairs are looked at says an index of the runs: the rarest are enough, since figures that thousands of
pieces have say nothing.
"""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np

from ostinato.domains.music.notes import Notes

RUN = 6
BOUND, NAMED_BOUND = 0.3, 0.15

# So many runs are in common by chance, however short the pieces.
_LEAST_SHARED = 4
# What it takes to have them: that many notes of a tune, counted without repetitions.
LEAST_NOTES = RUN + _LEAST_SHARED
# Pairs are looked at where they share so much of what the index has of the smaller one.
_WORTH_A_LOOK = 0.08
# Pairs of pieces that the index may count: a second's work.
_MOST_PAIRS = 20_000_000
# Notes below this share of the usual length, the median over time, are ornaments.
_SHORT = 0.4
_PER_QUARTER = (2.0, 1.0, 0.5)
# A figure that comes back more often in one piece says no more.
_MOST_PLACES = 8
_MOST_NAMESAKES = 40


class _View:
    """The runs of a tune: as numbers, in their order."""

    def __init__(self, pitches: np.ndarray) -> None:
        steps = np.diff(pitches)
        steps = np.clip(steps[steps != 0], -63, 63) + 64
        count = max(len(steps) - RUN + 1, 0)
        # seven bits for each interval
        self.runs = np.zeros(count, np.int64)
        for k in range(RUN):
            self.runs |= steps[k : k + count].astype(np.int64) << (7 * k)

    @cached_property
    def known(self) -> frozenset[int]:
        """The different ones."""
        return frozenset(self.runs.tolist())

    @cached_property
    def places(self) -> dict[int, list[int]]:
        """Where each stands, the last place first."""
        found: dict[int, list[int]] = defaultdict(list)
        for place, run in enumerate(self.runs.tolist()):
            if len(found[run]) < _MOST_PLACES:
                found[run].insert(0, place)
        return found


def works(pieces: Sequence[Notes], names: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of pieces that are versions of one work.

    Args:
        pieces: as notes.
        names: of their files; pieces with one name or title need fewer runs in common.

    Example:
        >>> pitch = np.array([60, 62, 64, 67, 65, 64, 69, 67, 60, 59, 62, 71, 60, 64])
        >>> def piece(pitch, beat): return Notes(np.arange(14.0) * beat, np.arange(1, 15.0) * beat, pitch)
        >>> works([piece(pitch, 1), piece(pitch[::-1], 1), piece(pitch + 5, 0.5)], ["a", "b", "c"])
        [(0, 2)]
    """
    if len(pieces) < 2:
        return []
    views = [_views(piece) for piece in pieces]
    namesakes = _namesakes(pieces, names)
    found = []
    for i, j in sorted(_candidates(views) | namesakes):
        bound = NAMED_BOUND if (i, j) in namesakes else BOUND
        if likeness(views[i], views[j], bound) >= bound:
            found.append((i, j))
    return found


def too_short(piece: Notes) -> bool:
    """Whether no versions of a piece are found, since its tune has too few different runs.

    Example:
        >>> pitch = np.array([60, 62, 64, 67, 65, 64, 69, 67, 60, 59])
        >>> [too_short(Notes(np.arange(k), np.arange(1, k + 1), pitch[:k])) for k in (7, 9, 10)]
        [True, True, False]
    """
    return len(_View(skyline(piece)[1]).known) < _LEAST_SHARED


def likeness(first: Sequence[_View], second: Sequence[_View], bound: float = 0.0) -> float:
    """The largest share of the smaller piece's runs that the other has in the same order, over their views.

    Views that share too few runs to reach the bound in any order are not looked at closer.
    """
    best = 0.0
    for a in first:
        for b in second:
            least = min(len(a.runs), len(b.runs))
            if least == 0:
                continue
            shared = len(a.known & b.known)
            smaller = min(len(a.known), len(b.known))
            if shared < _LEAST_SHARED or shared < bound * smaller or best >= 1:
                continue
            best = max(best, min(_chain(a, b) / least, shared / smaller))
    return best


def _chain(first: _View, second: _View) -> int:
    """The longest chain of places that rise in both views and have the same run."""
    ends: list[int] = []  # the smallest last place in the second view, by the chain's length
    places = second.places
    for run in first.runs.tolist():
        # downwards, so that one place of the first view is in a chain once
        for place in places.get(run, ()):
            at = bisect_left(ends, place)
            if at == len(ends):
                ends.append(place)
            else:
                ends[at] = place
    return len(ends)


def _views(piece: Notes) -> list[_View]:
    onset, pitch = skyline(piece)
    if len(pitch) < RUN + 1:
        return []
    last = float(piece.end.max())
    lasts = np.diff(np.append(onset, max(last, onset[-1])))
    found = [_View(pitch), _View(pitch[lasts >= _SHORT * _usual(lasts)])]
    found += [_View(_prevailing(onset, lasts, pitch, per, piece.pickup)) for per in _PER_QUARTER]
    return [view for view in found if len(view.runs)]


def skyline(piece: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Onset and pitch of the highest notes: of those that begin together one, if none above it is held.

    Example:
        >>> notes = Notes(np.array([0.0, 0, 1, 2]), np.array([2.0, 1, 2, 3]), np.array([72, 60, 64, 62]))
        >>> [each.tolist() for each in skyline(notes)]
        [[0.0, 2.0], [72, 62]]
    """
    order = np.lexsort((-piece.pitch, piece.start))
    begins, ends, pitches = (values[order].tolist() for values in (piece.start, piece.end, piece.pitch))
    onset: list[float] = []
    line: list[int] = []
    until, above = -np.inf, -1
    for begin, end, pitch in zip(begins, ends, pitches, strict=True):
        if onset and begin - onset[-1] < 1e-6:
            continue  # lower than the one that begins with it
        # what is left of a legato note is short; a voice that goes on is not
        if pitch < above and until - begin > 0.5 * (end - begin):
            continue
        onset.append(begin)
        line.append(pitch)
        until, above = end, pitch
    return np.array(onset), np.array(line, dtype=int)


def _usual(lasts: np.ndarray) -> float:
    """The length that half of the time is spent in notes up to: few ornaments do not change it."""
    order = np.argsort(lasts)
    passed = np.cumsum(lasts[order])
    return float(lasts[order][np.searchsorted(passed, passed[-1] / 2)]) if len(lasts) else 0.0


def _prevailing(
    onset: np.ndarray, lasts: np.ndarray, pitch: np.ndarray, per_quarter: float, pickup: float
) -> np.ndarray:
    """The pitch that sounds longest in each stretch of a line, the first of them where several do."""
    begin = (onset - pickup) * per_quarter
    end = begin + lasts * per_quarter
    first = np.floor(begin + 1e-6).astype(int)
    stretches = np.maximum(np.ceil(end - 1e-6).astype(int) - first, 1)
    # a rest or a held note of a hundred stretches is one change
    stretches = np.minimum(stretches, 4)
    note = np.repeat(np.arange(len(onset)), stretches)
    inside = np.arange(len(note)) - np.repeat(np.cumsum(stretches) - stretches, stretches)
    where = first[note] + inside
    share = np.minimum(end[note], where + 1) - np.maximum(begin[note], where)
    order = np.lexsort((note, -np.round(share, 3), where))
    changes = np.diff(where[order], prepend=where[order[0]] - 1) != 0
    chosen: np.ndarray = pitch[note[order[changes]]]
    return chosen


def _candidates(views: Sequence[Sequence[_View]]) -> set[tuple[int, int]]:
    """Pairs with rare runs in common."""
    none = np.empty(0, np.int64)
    runs = [np.unique(np.concatenate([none, *(view.runs for view in own)])) for own in views]
    row = np.repeat(np.arange(len(runs)), [len(own) for own in runs])
    if not len(row):
        return set()
    _, column, count = np.unique(np.concatenate(runs), return_inverse=True, return_counts=True)
    # the rarest runs, as many as can be counted
    by_count = np.sort(count).astype(float)
    affordable = int(np.searchsorted(np.cumsum(by_count**2), _MOST_PAIRS))
    most = by_count[min(affordable, len(by_count) - 1)]
    kept = (count[column] <= most) & (count[column] > 1)
    shared: Counter[int] = Counter()
    inside = np.flatnonzero(kept)
    inside = inside[np.argsort(column[inside], kind="stable")]
    for times in np.unique(count[column[inside]]).tolist():
        # the pieces of each run that so many have, in a row
        rows = row[inside[count[column[inside]] == times]].reshape(-1, times)
        first, second = np.triu_indices(times, 1)
        pairs, found = np.unique(rows[:, first] * len(runs) + rows[:, second], return_counts=True)
        shared.update(dict(zip(pairs.tolist(), found.tolist(), strict=True)))
    size = np.bincount(row[kept], minlength=len(runs))
    pairs = np.array(list(shared), dtype=np.int64)
    one, other = np.divmod(pairs, len(runs))
    least = np.maximum(_LEAST_SHARED, _WORTH_A_LOOK * np.minimum(size[one], size[other]))
    enough = np.array(list(shared.values()), dtype=np.int64) >= least
    return set(zip(one[enough].tolist(), other[enough].tolist(), strict=True))


def _namesakes(pieces: Sequence[Notes], names: Sequence[str]) -> set[tuple[int, int]]:
    """Pairs with one title, or files with one name but for what tells versions apart."""
    together: dict[str, list[int]] = defaultdict(list)
    for k, (piece, name) in enumerate(zip(pieces, names, strict=True)):
        stem = "" if "#" in name else PurePosixPath(name).stem
        for called in {stem_of(piece.title), stem_of(stem)} - {""}:
            together[called].append(k)
    # a name that so many have is none
    few = (own for own in together.values() if len(own) <= _MOST_NAMESAKES)
    return {pair for own in few for pair in combinations(own, 2)}


_VERSION = re.compile(
    r"[\s_\-.(\[]+(?:(?:v|ver|version|take|copy|alt|arr|in)[\s_\-.]*[a-g]?\d*|transposed|\d{1,2})[)\]]*$"
)


def stem_of(name: str) -> str:
    """A name in small letters, without what stands at its end to tell versions apart; "" for too short a one.

    Example:
        >>> stem_of("Für Elise (version 2)"), stem_of("fur_elise_v3"), stem_of("x")
        ('furelise', 'furelise', '')
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    while (shorter := _VERSION.sub("", plain.strip())) != plain:
        plain = shorter
    letters = "".join(one for one in plain if one.isalnum())
    return letters if sum(one.isalpha() for one in letters) >= 4 else ""
