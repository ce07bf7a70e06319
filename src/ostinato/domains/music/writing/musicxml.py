"""Notes -> MusicXML, with music21: a part each, in the piece's bars, metres and keys.

What the notation of notes asks is done here: ties over bar lines, rests, voices within a part, spelling by
the key. Times are fractions of a quarter note.
"""

import contextlib
import io
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ostinato.domains.music.bars import Bars
from ostinato.domains.music.grid import fitting
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.writing.midi_file import fraction
from ostinato.errors import needs

# Values of notes that are written as one head, by the number of notes in a tuplet: with dots outside of one,
# and a half note to a 32nd in triplets, quintuplets and septuplets. All others are tied.
_HEADS = {
    1: [Fraction(n, 16) for n in (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)],
    3: [Fraction(n, 48) for n in (32, 16, 8, 4, 2, 1)],
    5: [Fraction(n, 20) for n in (32, 16, 8, 4, 2, 1)],
    7: [Fraction(n, 28) for n in (32, 16, 8, 4, 2, 1)],
}
# The lines within a quarter note that such values lead to.
_LINES = {1: 16, 3: 48, 5: 20, 7: 28}
_FINEST = 48
_LETTERS = "FCGDAEB"


class _Unwritten(Exception):
    """A time that notation has not, or not beside the others."""


class _Note(NamedTuple):
    begin: Fraction
    end: Fraction
    pitches: tuple[int, ...]
    velocity: int


def of_notes(notes: Notes, *, end: Fraction) -> tuple[bytes, str]:
    """A MusicXML file, and a notice where notes had to be moved, "" else.

    Where there are times that notes' heads do not lead to, as those of a performance, all that are no
    multiples of a 48th of a quarter note are moved to the nearest line of the grid that suits the piece.

    Args:
        notes: their parts, metres, keys, tempi, programs, velocities.
        end: the last bar is the one in which this is.
    """
    with needs("music"):
        from music21 import stream
        from music21.musicxml.m21ToXml import GeneralObjectExporter

    bars = Bars.of(notes)
    starts, ends = ([fraction(time) for time in own.tolist()] for own in (notes.start, notes.end))
    try:
        parts, notice = _parts(notes, bars, starts, ends, end), ""
    except _Unwritten:
        first, last, notice = _moved(notes, starts, ends)
        parts = _parts(notes, bars, first, last, end)
    score = stream.Score()
    for part in parts:
        score.insert(0, part)
    if notes.title:
        with needs("music"):
            from music21 import metadata

        score.insert(0, metadata.Metadata(title=notes.title))
    # music21 says there what it thinks of beams and MIDI channels; the notes do not depend on either
    with contextlib.redirect_stderr(io.StringIO()):
        data: bytes = GeneralObjectExporter(score).parse()
    odd = sum(_FINEST % fraction(stretch.begin).denominator != 0 for stretch in bars.stretches)
    if odd:
        moved = f"{odd} of {len(bars.stretches)} metres begin at the nearest 48th of a quarter note"
        notice = f"{notice}; {moved}" if notice else moved
    return data, notice


def _parts(
    notes: Notes, bars: Bars, starts: list[Fraction], ends: list[Fraction], end: Fraction
) -> list[Any]:
    """The parts of notes with these times, up to the bar in which the end is."""
    if any(start >= last for start, last in zip(starts, ends, strict=True)):
        raise _Unwritten
    number = bars.last(float(max([end, *ends])))
    lines = [_nearest(fraction(bars.begin(n)), _FINEST) for n in range(0 if bars.pickup else 1, number + 2)]
    parts = []
    for track in range(max(len(notes.parts), int(notes.track.max(initial=-1)) + 1)):
        own = np.flatnonzero(notes.track == track).tolist()
        groups = _chords(notes, own, starts, ends)
        parts.append(_part(notes, track, _voices(groups), bars, lines))
    return parts


def _moved(
    notes: Notes, starts: list[Fraction], ends: list[Fraction]
) -> tuple[list[Fraction], list[Fraction], str]:
    """Times that can be written, and how many others there were."""
    grid = fitting([(notes.start, notes.end, notes.pitch, notes.pickup)])
    first = [_nearest(time, grid) for time in starts]
    last = [
        e if e > s and _FINEST % e.denominator == 0 else max(_nearest(e, grid), s + Fraction(1, grid))
        for s, e in zip(first, ends, strict=True)
    ]
    moves = [max(abs(a - b), abs(c - d)) for a, b, c, d in zip(starts, first, ends, last, strict=True)]
    count = sum(move > 0 for move in moves)
    return (
        first,
        last,
        (
            f"{count} of {len(moves)} notes have times that are not written in MusicXML here, as those of a "
            f"performance: moved by at most {float(max(moves)):.3f} quarter notes; MIDI has them as they are"
        ),
    )


def _nearest(time: Fraction, grid: int) -> Fraction:
    """The time itself where it can be written, else the nearest line of the grid."""
    if _FINEST % time.denominator == 0:
        return time
    return Fraction(math.floor(time * grid + Fraction(1, 2)), grid)


def _chords(notes: Notes, own: Sequence[int], starts: list[Fraction], ends: list[Fraction]) -> list[_Note]:
    """Notes that begin and end together as one; two of the same pitch stay two."""
    found: dict[tuple[Fraction, Fraction], list[list[int]]] = {}
    for n in own:
        chords = found.setdefault((starts[n], ends[n]), [])
        pitch = int(notes.pitch[n])
        chord = next((one for one in chords if pitch not in [int(notes.pitch[k]) for k in one]), None)
        if chord is None:
            chords.append([n])
        else:
            chord.append(n)
    return [
        _Note(*times, tuple(int(notes.pitch[n]) for n in chord), int(notes.velocity[chord[0]]))
        for times, chords in sorted(found.items())
        for chord in chords
    ]


def _voices(notes: list[_Note]) -> list[list[_Note]]:
    """Dealt to as few voices as there are notes at a time, the higher to the first."""
    voices: list[list[_Note]] = []
    for note in sorted(notes, key=lambda note: (note.begin, -max(note.pitches))):
        free = next((voice for voice in voices if voice[-1].end <= note.begin), None)
        if free is None:
            voices.append([note])
        else:
            free.append(note)
    return voices or [[]]


def _part(notes: Notes, track: int, voices: list[list[_Note]], bars: Bars, lines: list[Fraction]) -> Any:
    with needs("music"):
        from music21 import instrument, stream

    part = stream.Part(id=f"P{track + 1}")
    part.partName = notes.parts[track] if track < len(notes.parts) else ""
    programs = notes.marks.programs
    if track < len(programs) and programs[track] >= 0:
        player = instrument.Instrument(part.partName)
        player.midiProgram = programs[track]
        part.insert(0, player)
    signs = list(_signs(notes, bars))
    for k, (begin, end) in enumerate(itertools.pairwise(lines)):
        measure = stream.Measure(number=k + (0 if bars.pickup else 1))
        for time, first_only, sign in signs:
            if begin <= time < end and not (first_only and track):
                measure.insert(time - begin, sign())
        if k == 0 and bars.pickup:
            measure.paddingLeft = fraction(bars.stretches[0].metre.bar) - (end - begin)
        elif short := fraction(bars.place(float(begin)).metre.bar) - (end - begin):
            # a bar that a time signature cuts; music21 would fill it with rests, and move all that follows
            measure.paddingRight = short
        for number, voice in enumerate(voices, start=1):
            inside = stream.Voice(id=str(number)) if len(voices) > 1 else measure
            _fill(inside, voice, begin, end, notes)
            if inside is not measure:
                measure.insert(0, inside)
        part.append(measure)
    return part


def _signs(notes: Notes, bars: Bars) -> Iterator[tuple[Fraction, bool, Any]]:
    """(time, whether only the first part has it, what makes it)."""
    with needs("music"):
        from music21 import key, meter, tempo

    before = None
    for k, stretch in enumerate(bars.stretches if notes.marks.metres else ()):
        at = Fraction(0) if k == 0 else _nearest(fraction(stretch.begin), _FINEST)
        if stretch.metre == before:
            continue  # bars go on after an incomplete one
        before = stretch.metre
        yield at, False, lambda own=stretch.metre: meter.TimeSignature(str(own))
    for time, fifths, minor in notes.marks.keys:
        yield (
            fraction(time),
            False,
            lambda f=fifths, m=minor: key.KeySignature(f).asKey("minor" if m else "major"),
        )
    for time, quarters in notes.marks.tempi:
        yield fraction(time), True, lambda q=quarters: tempo.MetronomeMark(number=q)


def _fill(inside: Any, voice: list[_Note], begin: Fraction, end: Fraction, notes: Notes) -> None:
    """A voice's notes in a bar, cut at its lines, and rests between them."""
    with needs("music"):
        from music21 import chord, note, tie

    now = begin
    for one in voice:
        if one.end <= begin or one.begin >= end:
            continue
        first, last = max(one.begin, begin), min(one.end, end)
        _rest(inside, now, first, begin)
        at = first
        for length in _heads(first - begin, last - begin):
            names = [_spelled(pitch, _fifths(notes, one.begin)) for pitch in one.pitches]
            made = chord.Chord(names) if len(names) > 1 else note.Note(names[0])
            made.quarterLength = length
            before, after = at > one.begin, at + length < one.end
            if before or after:
                made.tie = tie.Tie("continue" if before and after else "stop" if before else "start")
            if one.velocity > 0:
                made.volume.velocity = one.velocity
            inside.insert(at - begin, made)
            at += length
        now = last
    _rest(inside, now, end, begin)


def _rest(inside: Any, first: Fraction, last: Fraction, begin: Fraction) -> None:
    with needs("music"):
        from music21 import note

    for length in _heads(first - begin, last - begin):
        inside.insert(first - begin, note.Rest(quarterLength=length))
        first += length


def _heads(first: Fraction, last: Fraction) -> list[Fraction]:
    """What is written from one time to another as values of notes; quintuplets end with a quarter note.

    Args:
        first, last: from the bar's beginning on.

    Example:
        >>> [str(value) for value in _heads(Fraction(0), Fraction(5, 4))]
        ['1', '1/4']
        >>> [str(value) for value in _heads(Fraction(2, 5), Fraction(3))]
        ['2/5', '1/5', '2']
    """
    if last <= first:
        return []
    tuplets = {_tuplet(first), _tuplet(last)} - {1}
    if tuplets <= {3} or last - first in [value for n in tuplets for value in _HEADS[n]]:
        return _values(last - first)
    # of a quintuplet and of what is none there is no common value
    cuts = {Fraction(math.ceil(first)), Fraction(math.floor(last))}
    times = sorted({first, last} | {time for time in cuts if first < time < last})
    return [value for a, b in itertools.pairwise(times) for value in _values(b - a)]


def _tuplet(time: Fraction) -> int:
    """How many notes the tuplet has that leads there; 1 for none."""
    for number, lines in _LINES.items():
        if lines % time.denominator == 0:
            return number
    raise _Unwritten


def _values(length: Fraction) -> list[Fraction]:
    """A length as values of notes of a kind, the longest first.

    Example:
        >>> [[str(value) for value in _values(Fraction(*n))] for n in ((5, 4), (1, 3), (3, 5))]
        [['1', '1/4'], ['1/3'], ['2/5', '1/5']]
    """
    found = []
    while length > 0:
        known = _HEADS[_tuplet(length)]
        found.append(next(value for value in known if value <= length))
        length -= found[-1]
    return found


def _fifths(notes: Notes, time: Fraction) -> int:
    found = 0
    for at, fifths, _ in notes.marks.keys:
        if fraction(at) <= time:
            found = fifths
    return found


def _spelled(pitch: int, fifths: int) -> str:
    """The name of a MIDI pitch that is nearest to a key on the line of fifths, for music21.

    Example:
        >>> _spelled(68, 3), _spelled(68, -3), _spelled(60, 7), _spelled(71, -7)
        ('G#4', 'A-4', 'B#3', 'C-5')
    """
    # from three fifths below the scale's lowest note to its raised ones: F is -1, C is 0, G is 1
    place = (pitch * 7 - (fifths - 4)) % 12 + fifths - 4
    alter = (place + 1) // 7
    octave = (pitch - alter) // 12 - 1
    return f"{_LETTERS[(place + 1) % 7]}{'#' * alter}{'-' * -alter}{octave}"
