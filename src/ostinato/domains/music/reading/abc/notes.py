"""A tune's bars, played -> its notes. Times are in quarter notes, exact until the last step."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ostinato.domains.music.notes import Marks, Notes
from ostinato.domains.music.reading.abc import symbols
from ostinato.domains.music.reading.abc.fields import Key, Metre
from ostinato.domains.music.reading.abc.tune import TuneReader
from ostinato.domains.music.reading.abc.voice import Bar, Voice
from ostinato.domains.music.reading.bar_lines import signatures
from ostinato.domains.music.reading.repeats import order
from ostinato.errors import UserError

_T = TypeVar("_T", bound=tuple[Any, ...])

CHORDS = "chords"  # the name of the part that plays the chord symbols


class _Note(NamedTuple):
    start: Fraction
    end: Fraction
    pitch: int


class _Played(NamedTuple):
    """A voice: its notes, its marks as (time, kind, value), its bars as (begin, length)."""

    notes: list[_Note]
    marks: list[tuple[Fraction, str, object]]
    bars: list[tuple[Fraction, Fraction]]
    end: Fraction


def notes_of(tune: TuneReader, *, repeats: bool = True, chords: bool = False) -> Notes:
    """The notes as they are played.

    Args:
        tune: what was read.
        repeats: whether repeats, endings and the order of parts are played.
        chords: whether chord symbols sound: each until the next one, in a part of their own.
    """
    voices = list(tune.voices.values())
    bars = [voice.finish() for voice in voices]
    played = [_play(own, order(own, tune.parts, repeats=repeats)) for own in bars]
    tracks = [one.notes for one in played]
    names = [tune.names.get(voice.name, voice.name if len(voices) > 1 else "") for voice in voices]
    if chords and (sounding := [note for one in played for note in _chords(one)]):
        tracks.append(sounding)
        names.append(CHORDS)
    try:
        rows = sorted(
            (float(note.start), float(note.end), note.pitch, track)
            for track, own in enumerate(tracks)
            for note in own
        )
    except OverflowError:
        raise UserError("damaged: a note lasts longer than any number says") from None
    if not rows:
        return Notes(np.empty(0), np.empty(0), np.empty(0, dtype=int))
    pickup = _pickup(bars, voices)
    start, end, pitch, track = (np.array(column) for column in zip(*rows, strict=True))
    return Notes(
        start,
        end,
        pitch,
        pickup=float(pickup),
        parts=tuple(names),
        track=track,
        marks=_marks(played, voices, pickup),
        title=tune.title,
    )


def _play(bars: Sequence[Bar], indices: Iterable[int]) -> _Played:
    notes: list[_Note] = []
    marks: list[tuple[Fraction, str, object]] = []
    waiting: dict[int, list[int]] = {}  # pitch: the tied notes that wait for their ends, in overlays several
    lengths: list[tuple[Fraction, Fraction]] = []
    now = Fraction(0)
    for k in indices:
        bar = bars[k]
        lengths.append((now, bar.length))
        for one in sorted(bar.notes, key=lambda note: note.offset) if _layered(bar) else bar.notes:
            start = now + one.offset
            end = start + one.length
            tied = [n for n in waiting.pop(one.pitch, []) if notes[n].end >= start]
            index = next((n for n in tied if notes[n].end == start), -1)
            if index >= 0:
                tied.remove(index)
                notes[index] = notes[index]._replace(end=end)
            else:
                notes.append(_Note(start, end, one.pitch))
                index = len(notes) - 1
            if one.tied:
                tied.append(index)
            if tied:
                waiting[one.pitch] = tied
        marks += [(now + offset, kind, value) for offset, kind, value in bar.marks]
        now += bar.length
    return _Played(notes, marks, lengths, now)


def _layered(bar: Bar) -> bool:
    """Whether an overlay is in the bar: its notes are not in the order of time."""
    return any(a.offset > b.offset for a, b in zip(bar.notes, bar.notes[1:], strict=False))


def _chords(voice: _Played) -> list[_Note]:
    said = [(time, str(value)) for time, kind, value in voice.marks if kind == "chord"]
    found = [(time, symbols.pitches(text)) for time, text in said if symbols.is_chord(text)]
    ends = [time for time, _ in found[1:]] + [voice.end]
    return [
        _Note(time, end, pitch)
        for (time, chord), end in zip(found, ends, strict=True)
        for pitch in chord
        if end > time
    ]


def _pickup(bars: Sequence[Sequence[Bar]], voices: Sequence[Voice]) -> Fraction:
    """The length of the first bar where it is shorter than its metre says; voices begin together."""
    first = next((bar for bar in bars[0] if bar.length), None)
    metre = next((m.value for bar in bars[0] for m in bar.marks if m.kind == "metre"), None)
    if first is None or not isinstance(metre, Metre) or metre.free:
        return Fraction(0)
    more = sum(1 for bar in bars[0] if bar.length) > 1
    return first.length if more and first.length < metre.bar else Fraction(0)


def _marks(played: Sequence[_Played], voices: Sequence[Voice], pickup: Fraction) -> Marks:
    """Signatures and tempi of the first voice, which counts the bars; programs of all."""
    tempi: list[tuple[float, float]] = []
    metres: list[tuple[Fraction, int, int]] = []
    keys: list[tuple[float, int, bool]] = []
    for time, kind, value in played[0].marks:
        at = float(time)
        if kind == "tempo" and isinstance(value, float):
            tempi.append((at, value))
        elif isinstance(value, Metre) and not value.free:
            metres.append((time, value.beats, value.unit))
        elif isinstance(value, Key):
            keys.append((at, value.fifths, value.minor))
    programs = tuple(-1 if voice.program is None else voice.program for voice in voices)
    bars = signatures(metres, played[0].bars, pickup)
    return Marks(_changes(tempi), bars, _changes(keys), programs)


def _changes(marks: list[_T]) -> tuple[_T, ...]:
    """Marks that change something, in order; of several at one time the last counts."""
    last = {mark[0]: mark for mark in marks}
    kept: list[_T] = []
    for mark in last.values():
        if not kept or kept[-1][1:] != mark[1:]:
            kept.append(mark)
    return tuple(kept)
