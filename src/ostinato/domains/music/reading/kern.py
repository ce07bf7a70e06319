"""kern -> notes, with music21."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ostinato.domains.music.notes import Marks, Notes
from ostinato.domains.music.reading.content import line
from ostinato.errors import UserError, needs


def notes_of(text: str) -> list[Notes]:
    """The pieces of a kern file, which may be a collection.

    Raises:
        UserError: it is damaged, or no kern; the message is a reason.
    """
    with needs("music"):
        from music21 import converter, stream

    try:  # music21 raises all kinds of exceptions on damaged files
        parsed = converter.parseData(text, format="humdrum")
        tunes = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
        return [_notes(tune) for tune in tunes]
    except Exception as error:
        raise UserError(f"damaged, or not kern: {line(error)}") from error


def _notes(tune: Any) -> Notes:
    """The notes of a music21 `Score`, at the pitches that sound (a clarinet's part is written higher)."""
    tune.toSoundingPitch(inPlace=True)
    parts = list(tune.parts) or [tune]
    rows = [(*row, track) for track, part in enumerate(parts) for row in _tied(_rows(part))]
    start, end, pitch, track = np.array(rows, dtype=float).reshape(-1, 4).T
    bars = list(parts[0].getElementsByClass("Measure"))
    pickup = 0.0
    if len(bars) > 1 and bars[0].duration.quarterLength < bars[0].barDuration.quarterLength:
        pickup = float(bars[0].duration.quarterLength)
    names = tuple(part.partName or "" for part in parts)
    return Notes(
        start, end, pitch.astype(int), pickup, names, track=track.astype(int), marks=_marks(tune, parts)
    )


def _marks(tune: Any, parts: list[Any]) -> Marks:
    """Tempi wherever they stand; metres and keys of the first part; of each part its instrument's program."""
    tempi = {
        float(mark.getOffsetInHierarchy(tune)): float(mark.getQuarterBPM())
        for mark in tune.recurse().getElementsByClass("MetronomeMark")
        if mark.getQuarterBPM()
    }
    flat = parts[0].flatten()
    metres = [
        (float(one.offset), one.numerator, one.denominator)
        for one in flat.getElementsByClass("TimeSignature")
    ]
    keys = [
        (float(one.offset), one.sharps, getattr(one, "mode", None) == "minor")
        for one in flat.getElementsByClass("KeySignature")
        if one.sharps is not None
    ]
    instruments = (part.recurse().getElementsByClass("Instrument").first() for part in parts)
    programs = (None if one is None else one.midiProgram for one in instruments)
    return Marks(
        tuple(sorted(tempi.items())),
        tuple(metres),
        tuple(keys),
        tuple(-1 if one is None else int(one) for one in programs),
    )


def _rows(part: Any) -> Iterator[tuple[float, float, int, bool, bool]]:
    """(start, end, pitch, tied to the one before, to the next) of each note; grace notes last no time."""
    for note in part.flatten().notes:
        length = float(note.quarterLength)
        if length > 0 and "Harmony" not in note.classes:
            for one in getattr(note, "notes", (note,)):
                if hasattr(one, "pitch"):
                    kind = one.tie.type if one.tie else note.tie.type if note.tie else ""
                    tied = kind in ("stop", "continue"), kind in ("start", "continue")
                    yield float(note.offset), float(note.offset) + length, one.pitch.midi, *tied


def _tied(rows: Iterator[tuple[float, float, int, bool, bool]]) -> list[tuple[float, float, int]]:
    """(start, end, pitch), notes that are tied in one."""
    found: list[tuple[float, float, int]] = []
    waiting: dict[int, int] = {}
    for start, end, pitch, before, after in rows:
        index = waiting.pop(pitch, None)
        if before and index is not None and abs(found[index][1] - start) < 1e-9:
            found[index] = (found[index][0], end, pitch)
        else:
            index = len(found)
            found.append((start, end, pitch))
        if after:
            waiting[pitch] = index
    return found
