"""kern -> notes, with music21."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from ostinato.domains.music.notes import Marks, Notes
from ostinato.domains.music.reading.bar_lines import signatures
from ostinato.domains.music.reading.content import line
from ostinato.domains.music.reading.repeats import order
from ostinato.errors import UserError, needs

_Row = tuple[float, float, int, bool, bool]
# Begin and end of a bar as it is written, and by how much later it is played.
_Span = tuple[float, float, float]
_M = TypeVar("_M", bound=tuple[Any, ...])


def notes_of(text: str, *, repeats: bool = False) -> list[Notes]:
    """The pieces of a kern file, which may be a collection.

    Args:
        text: of the file.
        repeats: whether repeats between bar lines are played; else each bar is played once.

    Raises:
        UserError: it is damaged, or no kern, or its repeats are in a list of sections, which is not read; the
            message is a reason.
    """
    if repeats and any(line.startswith("*>[") for line in text.splitlines()):
        raise UserError(
            "expected repeats between bar lines, found a list of sections (*>[...]); read as written"
        )
    with needs("music"):
        from music21 import converter, stream

    try:  # music21 raises all kinds of exceptions on damaged files
        parsed = converter.parseData(text, format="humdrum")
        tunes = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
        return [_notes(tune, repeats) for tune in tunes]
    except Exception as error:
        raise UserError(f"damaged, or not kern: {line(error)}") from error


def _notes(tune: Any, repeats: bool) -> Notes:
    """The notes of a music21 `Score`, at the pitches that sound (a clarinet's part is written higher)."""
    tune.toSoundingPitch(inPlace=True)
    parts = list(tune.parts) or [tune]
    bars = list(parts[0].getElementsByClass("Measure"))
    spans = _played(parts[0], bars, repeats)
    rows = [
        (*row, track)
        for track, part in enumerate(parts)
        for row in _tied(_again(list(_rows(part)), spans) if repeats and spans else _rows(part))
    ]
    start, end, pitch, track = np.array(rows, dtype=float).reshape(-1, 4).T
    pickup = 0.0
    if len(bars) > 1 and bars[0].duration.quarterLength < bars[0].barDuration.quarterLength:
        pickup = float(bars[0].duration.quarterLength)
    names = tuple(part.partName or "" for part in parts)
    return Notes(
        start,
        end,
        pitch.astype(int),
        pickup,
        names,
        track=track.astype(int),
        marks=_marks(tune, parts, spans, pickup, repeats),
    )


def _marks(tune: Any, parts: list[Any], spans: list[_Span], pickup: float, repeats: bool) -> Marks:
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
    bars = [(_exact(begin + later), _exact(end - begin)) for begin, end, later in spans]
    again = spans if repeats else []
    written = [(_exact(time), beats, unit) for time, beats, unit in _marks_again(metres, again)]
    return Marks(
        tuple(_marks_again(sorted(tempi.items()), again)),
        signatures(written, bars, _exact(pickup)),
        tuple(_marks_again(keys, again)),
        tuple(-1 if one is None else int(one) for one in programs),
    )


def _exact(time: float) -> Fraction:
    return Fraction(time).limit_denominator(1 << 16)


def _marks_again(marks: list[_M], spans: list[_Span]) -> list[_M]:
    """Marks as bars are played: going back, what held there holds again."""
    if not spans:
        return marks
    found: list[Any] = []
    for begin, end, later in spans:
        held: list[Any] = [(begin, *mark[1:]) for mark in marks if mark[0] <= begin + 1e-9][-1:]
        within = [mark for mark in marks if begin + 1e-9 < mark[0] < end - 1e-9]
        for mark in held + within:
            if not found or found[-1][1:] != mark[1:]:
                found.append((mark[0] + later, *mark[1:]))
    return found


def _played(part: Any, bars: list[Any], repeats: bool) -> list[_Span]:
    """The bars of a part in the order in which they are played; none where it has no bars."""
    edges = [float(bar.offset) for bar in bars] + [float(part.duration.quarterLength)]
    now = edges[0]
    found = []
    for k in order([_signs(bar) for bar in bars], repeats=repeats):
        found.append((edges[k], edges[k + 1], now - edges[k]))
        now += edges[k + 1] - edges[k]
    return found


@dataclass
class _Signs:
    """The signs of repetition at a bar's ends, see `repeats.Bar`."""

    opens: int
    closes: int
    double: bool
    ending: tuple[int, ...] = ()
    part: str = ""


def _signs(bar: Any) -> _Signs:
    before, after = (getattr(line, "direction", "") for line in (bar.leftBarline, bar.rightBarline))
    double = getattr(bar.rightBarline, "type", "") in ("double", "final")
    return _Signs(99 if before == "start" else 0, 1 if after == "end" else 0, double and not after)


def _again(rows: list[_Row], spans: list[_Span]) -> Iterator[_Row]:
    """The notes of a part in the order in which its bars are played."""
    for begin, end, later in spans:
        for start, stop, pitch, before, after in rows:
            if begin - 1e-9 <= start < end - 1e-9:
                yield start + later, stop + later, pitch, before, after


def _rows(part: Any) -> Iterator[_Row]:
    """(start, end, pitch, tied to the one before, to the next) of each note; grace notes last no time."""
    for note in part.flatten().notes:
        length = float(note.quarterLength)
        if length > 0 and "Harmony" not in note.classes:
            for one in getattr(note, "notes", (note,)):
                if hasattr(one, "pitch"):
                    kind = one.tie.type if one.tie else note.tie.type if note.tie else ""
                    tied = kind in ("stop", "continue"), kind in ("start", "continue")
                    yield float(note.offset), float(note.offset) + length, one.pitch.midi, *tied


def _tied(rows: Iterable[_Row]) -> list[tuple[float, float, int]]:
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
