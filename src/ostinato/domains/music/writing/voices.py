"""Notes that were composed together -> voices, the highest first, each led from note to note.

Shapes: N notes, K voices.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_CROSSING = 1000.0  # semitones that a voice would rather leap than cross one that sounds


class Line(NamedTuple):
    """A note in frames: its first, the one after its last, and its pitch."""

    begin: int
    end: int
    pitch: int


def led(notes: Sequence[Line]) -> list[list[Line]]:
    """The notes by voice: as many voices as ever sound together, the highest first.

    Where notes begin, the voices that do not sound are given to them so that the sum of leaps is least
    (a matching) and, where that can be, no voice crosses one that sounds. A voice that has not sounded
    yet waits at the mean pitch of its rank in full chords.

    Example:
        >>> led([Line(0, 1, 60), Line(0, 2, 67), Line(1, 2, 62), Line(2, 3, 65)])
        [[Line(begin=0, end=2, pitch=67), Line(begin=2, end=3, pitch=65)], \
[Line(begin=0, end=1, pitch=60), Line(begin=1, end=2, pitch=62)]]
    """
    if not notes:
        return []
    import networkx

    begins = sorted({note.begin for note in notes})
    chords = [sorted((n.pitch for n in notes if n.begin <= t < n.end), reverse=True) for t in begins]
    count = max(len(chord) for chord in chords)
    last = np.mean([chord for chord in chords if len(chord) == count], axis=0)
    voices: list[list[Line]] = [[] for _ in range(count)]
    for begin in begins:
        starting = sorted((n for n in notes if n.begin == begin), key=lambda n: -n.pitch)
        held = {k: voice[-1].pitch for k, voice in enumerate(voices) if voice and voice[-1].end > begin}
        free = [k for k in range(count) if k not in held]
        costs = np.array([[abs(note.pitch - last[k]) for k in free] for note in starting], dtype=float)
        for i, note in enumerate(starting):
            crossed = [sum((j < k) != (pitch > note.pitch) for j, pitch in held.items()) for k in free]
            costs[i] += _CROSSING * np.array(crossed)
        pairs = networkx.Graph()
        for (i, column), cost in np.ndenumerate(costs):
            pairs.add_edge(("note", i), ("voice", column), weight=-cost)
        for pair in networkx.max_weight_matching(pairs, maxcardinality=True):
            (_, i), (_, column) = sorted(pair)
            voices[free[column]].append(starting[i])
            last[free[column]] = starting[i].pitch
    return voices
