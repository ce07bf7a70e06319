"""MusicXML -> notes, from what the file says of sound: every position from its own durations.

A bar is as long as its longest part, whatever the time signature says, so that a pickup, or a bar that a
repeat cuts in two, moves no part against another. Cue notes and grace notes are silent. Repeats and endings
are played if asked for; D.C., D.S. and fine are words for the player.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from ostinato.domains.music.notes import Marks, Notes, moved_fifths
from ostinato.domains.music.reading import harmony
from ostinato.domains.music.reading.abc.notes import CHORDS
from ostinato.domains.music.reading.bar_lines import signatures
from ostinato.domains.music.reading.content import line, unzipped
from ostinato.domains.music.reading.repeats import order
from ostinato.errors import UserError

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_UNITS = dict(zip(("whole", "half", "quarter", "eighth", "16th"), (4.0, 2.0, 1.0, 0.5, 0.25), strict=True))
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_FORTE = 90  # the velocity that 100 % dynamics stand for, by the standard


@dataclass(slots=True)
class _Note:
    offset: Fraction
    length: Fraction
    pitch: int
    voice: int
    velocity: int
    begins: bool  # not tied to the note before
    ends: bool  # not tied to the note after


@dataclass(slots=True)
class _Measure:
    """A bar of all parts: notes by part, signs of repetition, marks as (offset, kind, value)."""

    notes: list[list[_Note]]
    length: Fraction = Fraction(0)
    marks: list[tuple[Fraction, str, Any]] = field(default_factory=list)
    opens: int = 0
    closes: int = 0
    ending: tuple[int, ...] = ()
    double: bool = False
    part: str = ""


@dataclass(slots=True)
class _State:
    """What holds in a part until it changes."""

    divisions: Fraction = Fraction(1)
    transpose: int = 0
    velocity: int = -1
    bar: Fraction = Fraction(4)


def notes_of(data: bytes, *, repeats: bool = False, chords: bool = False) -> Notes:
    """The notes of a MusicXML file, plain or compressed.

    Args:
        data: of the file.
        repeats: whether repeats and endings are played; else each bar is played once.
        chords: whether chord symbols sound: each until the next one, in a part of their own.

    Raises:
        UserError: it is damaged, or no MusicXML; the message is a reason.
    """
    root = _root(data)
    try:
        return _score(root, repeats, chords=chords)
    except (ValueError, ZeroDivisionError, KeyError, TypeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"damaged MusicXML: {line(error)}") from error


def _score(root: Element, repeats: bool, *, chords: bool) -> Notes:
    parts = root.findall("part")
    count = max((len(part.findall("measure")) for part in parts), default=0)
    measures = [_Measure([[] for _ in parts]) for _ in range(count)]
    for number, part in enumerate(parts):
        state = _State()
        for measure, element in zip(measures, part.findall("measure"), strict=False):
            _measure(element, measure, number, state)
    _fill_empty(measures)
    rows: list[tuple[Fraction, Fraction, _Note, int]] = []
    marks: list[tuple[Fraction, str, Any]] = []
    waiting: dict[tuple[int, int], list[int]] = {}
    # of some programs all ties have a beginning and none an end: whatever note follows takes them up
    said = any(not note.begins for one in measures for notes in one.notes for note in notes)
    now = Fraction(0)
    bars: list[tuple[Fraction, Fraction]] = []
    for k in order(measures, repeats=repeats):
        bars.append((now, measures[k].length))
        for track, notes in enumerate(measures[k].notes):
            for note in sorted(notes, key=lambda note: note.offset):
                start = now + note.offset
                before = None
                if not (said and note.begins):
                    before = _tied(waiting.get((track, note.pitch), []), rows, start, note.voice)
                if before is not None:
                    rows[before] = (rows[before][0], start + note.length, rows[before][2], track)
                else:
                    before = len(rows)
                    rows.append((start, start + note.length, note, track))
                if not note.ends:
                    waiting.setdefault((track, note.pitch), []).append(before)
        marks += [(now + offset, kind, value) for offset, kind, value in measures[k].marks]
        now += measures[k].length
    names, programs = _part_list(root, parts)
    if chords and (sounding := _chords(marks, now, len(parts))):
        rows += sounding
        names, programs = (*names, CHORDS), (*programs, -1)
    rows.sort(key=lambda row: (row[0], row[2].pitch, row[3]))
    pickup = _pickup(measures)
    return Notes(
        np.array([float(row[0]) for row in rows]),
        np.array([float(row[1]) for row in rows]),
        np.array([row[2].pitch for row in rows], dtype=int),
        pickup=float(pickup),
        parts=names,
        track=np.array([row[3] for row in rows], dtype=int),
        voice=np.array([row[2].voice for row in rows], dtype=int),
        velocity=np.array([row[2].velocity for row in rows], dtype=int),
        marks=_marks(marks, programs, bars, pickup),
        title=(root.findtext("work/work-title") or root.findtext("movement-title") or "").strip(),
    )


def _tied(
    waiting: list[int], rows: list[tuple[Fraction, Fraction, _Note, int]], start: Fraction, voice: int
) -> int | None:
    """Which of the rows that wait for the end of a tie ends here: of several one in the same voice."""
    waiting[:] = [row for row in waiting if rows[row][1] >= start]
    ending = [row for row in waiting if rows[row][1] == start]
    found = next((row for row in ending if rows[row][2].voice == voice), ending[0] if ending else None)
    if found is not None:
        waiting.remove(found)
    return found


def _chords(
    marks: list[tuple[Fraction, str, Any]], end: Fraction, track: int
) -> list[tuple[Fraction, Fraction, _Note, int]]:
    """The notes of the chord symbols: each until the next one, or the end."""
    # written for the player, as the notes are; in any octave
    said = {
        at: [pitch + (value[1] + 6) % 12 - 6 for pitch in harmony.pitches(value[0])]
        for at, kind, value in marks
        if kind == "harmony"
    }
    times = sorted(said)
    return [
        (at, until, _Note(at, until - at, pitch, -1, -1, begins=True, ends=True), track)
        for at, until in zip(times, [*times[1:], end], strict=True)
        for pitch in said[at]
        if until > at
    ]


def _measure(element: Element, measure: _Measure, track: int, state: _State) -> None:
    """Read a part's bar into the bar of all parts."""
    now = last = Fraction(0)
    for child in element:
        if child.tag == "note":
            length = _duration(child, state)
            onset = last if child.find("chord") is not None else now
            if (note := _note(child, onset, length, state)) is not None:
                measure.notes[track].append(note)
            if child.find("chord") is None:
                last, now = now, now + length
        elif child.tag == "backup":
            now = max(now - _duration(child, state), Fraction(0))
        elif child.tag == "forward":
            now += _duration(child, state)
        elif child.tag == "attributes":
            _attributes(child, measure, now, state, first=track == 0)
        elif child.tag in ("direction", "sound"):
            _sound(child, measure, now, state)
        elif child.tag == "harmony":
            offset = Fraction((child.findtext("offset") or "0").strip()) / state.divisions
            measure.marks.append((max(now + offset, Fraction(0)), "harmony", (child, state.transpose)))
        elif child.tag == "barline":
            _barline(child, measure)
        measure.length = max(measure.length, now)
    if track == 0 and not measure.length:
        measure.marks.append((Fraction(0), "bar", state.bar))


def _duration(element: Element, state: _State) -> Fraction:
    """In quarter notes; a grace note has none."""
    if element.find("grace") is not None:
        return Fraction(0)
    text = element.findtext("duration")
    if text is None:
        raise UserError(f"damaged MusicXML: a {element.tag} without duration")
    found = Fraction(text.strip()) / state.divisions
    if not 0 <= found < 100_000:
        raise UserError(f"damaged MusicXML: a {element.tag} of {float(found):g} quarter notes")
    return found


def _note(element: Element, onset: Fraction, length: Fraction, state: _State) -> _Note | None:
    """A note that sounds; None for rests, drums without pitch, grace and cue notes."""
    pitch = element.find("pitch")
    if pitch is None or element.find("cue") is not None or element.find("grace") is not None or not length:
        return None
    alter = Fraction((pitch.findtext("alter") or "0").strip())
    if alter.denominator != 1:
        raise UserError(f"found a note altered by {float(alter):g} semitones, which a piano has not")
    octave = int((pitch.findtext("octave") or "").strip())
    sounding = (
        12 * (octave + 1) + _STEPS[(pitch.findtext("step") or "").strip()] + int(alter) + state.transpose
    )
    if not 0 <= sounding <= 127:
        raise UserError(f"damaged MusicXML: a note of MIDI pitch {sounding}")
    ties = {tie.get("type") for tie in element.findall("tie")}
    ties = ties or {tie.get("type") for tie in element.findall("notations/tied")}
    voice = (element.findtext("voice") or "").strip()
    velocity = state.velocity
    if (dynamics := element.get("dynamics")) is not None:
        velocity = _velocity(dynamics)
    number = int(voice) if voice.isdecimal() else -1
    return _Note(onset, length, sounding, number, velocity, "stop" not in ties, "start" not in ties)


def _velocity(dynamics: str) -> int:
    return min(max(round(float(dynamics) * _FORTE / 100), 1), 127)


def _attributes(child: Element, measure: _Measure, now: Fraction, state: _State, *, first: bool) -> None:
    if (divisions := child.findtext("divisions")) is not None:
        state.divisions = Fraction(divisions.strip())
    for transpose in child.findall("transpose"):
        octaves = int((transpose.findtext("octave-change") or "0").strip())
        state.transpose = int(Fraction((transpose.findtext("chromatic") or "0").strip())) + 12 * octaves
    time = child.find("time")
    if time is not None and (found := _time(time)) is not None:
        state.bar = Fraction(4 * found[0], found[1])
        if first:
            measure.marks.append((now, "metre", found))
    key = child.find("key")
    if first and key is not None and (fifths := key.findtext("fifths")) is not None:
        minor = (key.findtext("mode") or "").strip() in ("minor", "aeolian")
        # of a transposing instrument it is that of the written notes
        measure.marks.append((now, "key", (moved_fifths(int(fifths.strip()), state.transpose), minor)))


def _time(time: Element) -> tuple[int, int] | None:
    """Beats and unit, `3+2` and several signatures together added up; None for music without metre."""
    found = Fraction(0)
    unit = 1
    for beats, kind in zip(time.findall("beats"), time.findall("beat-type"), strict=False):
        below = int((kind.text or "").strip())
        found += Fraction(sum(int(part) for part in (beats.text or "").split("+")), below)
        unit = max(unit, below)
    beats_in_unit = found * unit
    if not found or beats_in_unit.denominator != 1:
        return None
    return int(beats_in_unit), unit


def _sound(child: Element, measure: _Measure, now: Fraction, state: _State) -> None:
    sound = child if child.tag == "sound" else child.find("sound")
    if (sound is None or sound.get("tempo") is None) and (rate := _metronome(child)) is not None:
        measure.marks.append((now, "tempo", (rate,)))
    if sound is None:
        return
    if (dynamics := sound.get("dynamics")) is not None:
        state.velocity = _velocity(dynamics)
    if (tempo := sound.get("tempo")) is not None and 0 < float(tempo) < 10_000:
        measure.marks.append((now, "tempo", (float(tempo),)))


def _metronome(child: Element) -> float | None:
    """Quarter notes a minute of a metronome's mark, where its words are a note and a number."""
    mark = child.find("direction-type/metronome")
    if mark is None or len(mark.findall("beat-unit")) != 1:
        return None
    unit = _UNITS.get((mark.findtext("beat-unit") or "").strip())
    number = _NUMBER.search(mark.findtext("per-minute") or "")
    if unit is None or number is None:
        return None
    dots = len(mark.findall("beat-unit-dot"))
    found = float(number[0]) * unit * (2 - 0.5**dots)
    return found if 0 < found < 10_000 else None


def _barline(child: Element, measure: _Measure) -> None:
    repeat, ending = child.find("repeat"), child.find("ending")
    if repeat is not None and repeat.get("direction") == "forward":
        measure.opens = 99
    elif repeat is not None:
        measure.closes = max(int(repeat.get("times") or 2) - 1, 1)
    if ending is not None and ending.get("type") == "start":
        numbers = (ending.get("number") or "").replace(" ", ",").split(",")
        measure.ending = tuple(int(number) for number in numbers if number.strip().isdecimal())
    elif ending is not None:
        measure.double = True


def _fill_empty(measures: list[_Measure]) -> None:
    """A bar that nothing is in is as long as its time signature says."""
    for measure in measures:
        for _, kind, value in measure.marks:
            if kind == "bar" and not measure.length:
                measure.length = value
        measure.marks = [mark for mark in measure.marks if mark[1] != "bar"]


def _pickup(measures: list[_Measure]) -> Fraction:
    metre = (
        next((value for _, kind, value in measures[0].marks if kind == "metre"), None) if measures else None
    )
    if metre is None or len(measures) < 2:
        return Fraction(0)
    length = measures[0].length
    return length if length < Fraction(4 * metre[0], metre[1]) else Fraction(0)


def _marks(
    marks: list[tuple[Fraction, str, Any]],
    programs: tuple[int, ...],
    bars: list[tuple[Fraction, Fraction]],
    pickup: Fraction,
) -> Marks:
    def of(kind: str) -> tuple[Any, ...]:
        last: dict[float, tuple[Any, ...]] = {float(at): value for at, own, value in marks if own == kind}
        kept: list[tuple[Any, ...]] = []
        for at, value in sorted(last.items()):
            if not kept or kept[-1][1:] != value:
                kept.append((at, *value))
        return tuple(kept)

    written = [(at, *value) for at, kind, value in marks if kind == "metre"]
    return Marks(of("tempo"), signatures(written, bars, pickup), of("key"), programs)


def _part_list(root: Element, parts: list[Element]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    listed = {one.get("id"): one for one in root.iterfind("part-list/score-part")}
    names, programs = [], []
    for part in parts:
        one = listed.get(part.get("id"))
        names.append("" if one is None else (one.findtext("part-name") or "").strip())
        program = None if one is None else one.findtext("midi-instrument/midi-program")
        programs.append(int(program) - 1 if program and program.strip().isdecimal() else -1)
    return tuple(names), tuple(programs)


def _root(data: bytes) -> Element:
    from xml.etree import ElementTree

    if data[:2] == b"PK":
        data = unzipped(data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"damaged, or not MusicXML: {line(error)}") from error
    if root.tag != "score-partwise":
        raise UserError(f"not MusicXML: expected the element score-partwise, found {root.tag}")
    return root
