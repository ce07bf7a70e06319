"""MIDI files: a user's own with every event as it came, and tracks beside them; or of notes alone.

Times are in quarter notes from the piece's beginning, as fractions: they are exact in ticks where a file's
resolution allows it (at most 32,767 ticks to a quarter note), and else at the nearest tick.
"""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import smf
from ostinato.domains.music.reading.midi import DRUMS, Strike, strikes

VELOCITY = 80
_TICKS = 480
_MOST_TICKS = 32_767
_CHANNELS = [channel for channel in range(16) if channel != DRUMS]
_ON, _OFF, _CONTROL, _PROGRAM, _BEND = 0x90, 0x80, 0xB0, 0xC0, 0xE0
_PEDALS = (64, 66, 67)  # sustain, sostenuto, soft
_NAME, _TEMPO, _METRE, _KEY = 0x03, 0x51, 0x58, 0x59


class Played(NamedTuple):
    """A note of a new voice."""

    begin: Fraction
    end: Fraction
    pitch: int


class Voice(NamedTuple):
    """A track of its own."""

    name: str
    notes: Sequence[Played]


class _Timed(NamedTuple):
    """An event's bytes, its time in ticks, and what comes first at one time: ends, signs, beginnings."""

    time: int
    rank: int
    data: bytes


def fraction(time: float) -> Fraction:
    """The time that a floating-point number of quarter notes stands for: thirds are thirds again.

    Example:
        >>> fraction(1 / 3), fraction(0.1 + 0.2)
        (Fraction(1, 3), Fraction(3, 10))
    """
    return Fraction(time).limit_denominator(_MOST_TICKS)


def resolution(times: Iterable[Fraction], ticks: int = 1) -> int:
    """The least multiple of `ticks` at which times are exact; `ticks` itself where MIDI has no such multiple.

    Example:
        >>> resolution([Fraction(1, 3), Fraction(1, 2)], 480), resolution([Fraction(1, 7)], 480)
        (480, 3360)
    """
    found = math.lcm(ticks, *{time.denominator for time in times})
    return found if found <= _MOST_TICKS else ticks


def of_notes(
    notes: Notes, voices: Sequence[Voice], *, end: Fraction, tempo: float, pickup: float = 0.0
) -> bytes:
    """A MIDI file of notes, part by part, and of new voices, each in a track of its own.

    Args:
        notes: their times, velocities (80 where there are none), parts' names and programs, tempi, metres
            and keys are written.
        voices: the new ones.
        end: the file lasts so long at least.
        tempo: quarter notes a minute where `notes` have no tempo.
        pickup: length of an incomplete first bar, which gets a metre of its own, as is usual in MIDI.
    """
    starts, ends = ([fraction(time) for time in own.tolist()] for own in (notes.start, notes.end))
    times = {*starts, *ends, *(t for voice in voices for note in voice.notes for t in note[:2])}
    least = resolution(times)
    ticks = resolution(
        times, least * -(-_TICKS // least) if least * -(-_TICKS // least) <= _MOST_TICKS else least
    )
    if any(time.denominator > 1 and (time * ticks).denominator > 1 for time in times):
        ticks = 10_080  # nearest ticks: these times have no resolution in common
    tracks = [_signs(notes, ticks, tempo, fraction(pickup))]
    parts = max(len(notes.parts), int(notes.track.max(initial=-1)) + 1)
    for part in range(parts):
        name = notes.parts[part] if part < len(notes.parts) else ""
        program = notes.marks.programs[part] if part < len(notes.marks.programs) else -1
        channel = _CHANNELS[part % len(_CHANNELS)]
        track = [_named(name)] if name else []
        track += [_Timed(0, 1, bytes([_PROGRAM | channel, program]))] if program >= 0 else []
        for layer in _layers(notes, np.flatnonzero(notes.track == part)):
            played = list(track)
            for n in layer:
                velocity = int(notes.velocity[n])
                played += _note(starts[n], ends[n], int(notes.pitch[n]), velocity, channel, ticks)
            tracks.append(played)
    used = {_CHANNELS[part % len(_CHANNELS)] for part in range(parts)}
    tracks += _voices(voices, used, ticks)
    return _file(1, ticks, [_track(track, _ticks(end, ticks)) for track in tracks])


def with_voices(
    data: bytes,
    voices: Sequence[Voice],
    *,
    end: Fraction,
    left_out: frozenset[int] = frozenset(),
    cut: Fraction | None = None,
    tempo: float | None = None,
) -> bytes:
    """A MIDI file with every event as it came, and new voices in tracks of their own.

    Tracks of which nothing is left out, in a file whose resolution will do, are the same bytes. Else times
    are multiplied by a whole number, which changes none.

    Args:
        data: the file.
        voices: the new ones; their channels are ones that the file does not use, as long as there are any.
        end: the new tracks last so long at least.
        left_out: numbers of the notes (in the order of `reading.midi.notes_of`) that are not written.
        cut: events from there on are not written, but for the ends of notes that began before.
        tempo: quarter notes a minute, in the place of the file's own tempi.
    """
    file = smf.parse(data)
    times = [time for voice in voices for note in voice.notes for time in note[:2]]
    ticks = resolution(times, file.ticks)
    gone = _gone(data, left_out, None if cut is None else math.ceil(cut * file.ticks))
    tracks = []
    for number, track in enumerate(file.tracks):
        limit = None if cut is None else math.ceil(cut * file.ticks)
        if ticks == file.ticks and not gone.get(number) and limit is None and tempo is None:
            tracks.append(track)
        else:
            tracks.append(_rewritten(track, number, ticks // file.ticks, gone.get(number, {}), limit, tempo))
    used = {
        event.status & 15
        for k, t in enumerate(file.tracks)
        for event in smf.events(t, k)
        if event.status < 0xF0
    }
    new = [_track(own, _ticks(end, ticks)) for own in _voices(voices, used, ticks)]
    return _file(1 if new else file.format, ticks, tracks + new)


def _gone(data: bytes, left_out: frozenset[int], limit: int | None) -> dict[int, dict[int, bool]]:
    """By track the events of notes: True where they are left out, False where they stay after the cut too."""
    found: dict[int, dict[int, bool]] = {}
    pitched, drums = strikes(data)
    for number, one in enumerate([*pitched, *drums]):
        gone = number in left_out or (limit is not None and one.start >= limit)
        if gone or limit is not None:
            found.setdefault(one.track, {}).update({one.on: gone, one.off: gone})
    return found


def _rewritten(
    track: bytes, number: int, factor: int, gone: dict[int, bool], limit: int | None, tempo: float | None
) -> bytes:
    """A track with finer ticks, some notes left out, and nothing from a limit on but ends of notes."""
    kept = []
    if tempo is not None and number == 0:
        kept.append(_Timed(0, 0, _tempo(tempo)))
    end = 0
    for index, event in enumerate(smf.events(track, number)):
        kind = track[event.begin] if event.status == smf.META else -1
        late = limit is not None and event.time >= limit
        if kind == smf.END_OF_TRACK:
            end = event.time if limit is None else min(event.time, limit)
        elif not (gone.get(index, late) or (kind == _TEMPO and tempo is not None)):
            kept.append(
                _Timed(event.time * factor, 0, bytes([event.status]) + track[event.begin : event.end])
            )
    if limit is not None:
        kept += [_Timed(limit * factor, 1, data) for data in _released(track, number, limit)]
    # ranks are 0: events of one time keep the order in which they came
    return _track(kept, end * factor)


def _released(track: bytes, number: int, limit: int) -> list[bytes]:
    """What lifts the pedals and lets go of the bends that a track has at a limit, behind which it ends."""
    down: dict[bytes, bytes] = {}
    for event in smf.events(track, number):
        if event.time >= limit:
            break
        kind, values = event.status & 0xF0, track[event.begin : event.end]
        if kind == _CONTROL and values[0] in _PEDALS:
            key, rest = bytes([event.status, values[0]]), bytes([0])
        elif kind == _BEND:
            key, rest = bytes([event.status]), bytes([0, 64])
        else:
            continue
        down[key] = b"" if values[-len(rest) :] == rest else key + rest
    return [data for data in down.values() if data]


def _layers(notes: Notes, chosen: np.ndarray) -> list[list[int]]:
    """Notes dealt to tracks where none overlaps another of its pitch: MIDI cannot say which of them ends."""
    layers: list[list[int]] = [[]]
    reached: list[dict[int, float]] = [{}]
    for n in sorted(chosen.tolist(), key=lambda n: (notes.start[n], notes.end[n])):
        pitch, start = int(notes.pitch[n]), float(notes.start[n])
        k = next((k for k, ends in enumerate(reached) if ends.get(pitch, -1.0) <= start), len(layers))
        if k == len(layers):
            layers.append([])
            reached.append({})
        layers[k].append(n)
        reached[k][pitch] = float(notes.end[n])
    return layers


def _voices(voices: Sequence[Voice], used: set[int], ticks: int) -> list[list[_Timed]]:
    free = [channel for channel in _CHANNELS if channel not in used]
    tracks = []
    for k, voice in enumerate(voices):
        channel = free[k % len(free)] if free else _CHANNELS[k % len(_CHANNELS)]
        # on a channel of the file's own, another program would change what is there
        program = [_Timed(0, 1, bytes([_PROGRAM | channel, 0]))] if free else []
        track = [_named(voice.name), *program]
        for note in voice.notes:
            track += _note(note.begin, note.end, note.pitch, -1, channel, ticks)
        tracks.append(track)
    return tracks


def _note(
    begin: Fraction, end: Fraction, pitch: int, velocity: int, channel: int, ticks: int
) -> list[_Timed]:
    loud = velocity if velocity > 0 else VELOCITY
    first = _ticks(begin, ticks)
    # one that lasts no time, or less than half a tick, ends after it begins
    last = max(_ticks(end, ticks), first + 1)
    return [
        _Timed(first, 3, bytes([_ON | channel, pitch, loud])),
        _Timed(last, 0, bytes([_OFF | channel, pitch, 0])),
    ]


def _ticks(time: Fraction, ticks: int) -> int:
    return math.floor(time * ticks + Fraction(1, 2))


def _signs(notes: Notes, ticks: int, tempo: float, pickup: Fraction) -> list[_Timed]:
    """The track of what holds for all: title, tempi, metres, keys."""
    found = [_named(notes.title)] if notes.title else []
    marks = notes.marks
    for time, quarters in marks.tempi or ((0.0, tempo),):
        found.append(_Timed(_ticks(fraction(time), ticks), 1, _tempo(quarters)))
    metres = [(fraction(time), beats, unit) for time, beats, unit in marks.metres]
    if pickup and metres and (4 * pickup.denominator).bit_count() == 1:
        # the incomplete bar has a metre of its own
        first = [metre for metre in metres if metre[0] <= pickup][-1:]
        before = (Fraction(0), pickup.numerator, 4 * pickup.denominator)
        metres = [before, *((pickup, *own[1:]) for own in first), *(m for m in metres if m[0] > pickup)]
    for at, beats, unit in metres:
        said = bytes([beats, unit.bit_length() - 1, 24, 8])
        found.append(_Timed(_ticks(at, ticks), 1, _meta(_METRE, said)))
    for time, fifths, minor in marks.keys:
        said = fifths.to_bytes(1, "big", signed=True) + bytes([minor])
        found.append(_Timed(_ticks(fraction(time), ticks), 1, _meta(_KEY, said)))
    return found


def _named(name: str) -> _Timed:
    return _Timed(0, 0, _meta(_NAME, name.encode()))


def _tempo(quarters: float) -> bytes:
    return _meta(_TEMPO, min(max(round(60_000_000 / quarters), 1), 0xFFFFFF).to_bytes(3, "big"))


def _meta(kind: int, said: bytes) -> bytes:
    return bytes([smf.META, kind]) + smf.number_bytes(len(said)) + said


def _track(events: list[_Timed], end: int) -> bytes:
    """The bytes of a track: events in the order of time, then its end."""
    found, now = bytearray(), 0
    for event in sorted(events, key=lambda event: event[:2]):
        found += smf.number_bytes(event.time - now) + event.data
        now = event.time
    return bytes(found + smf.number_bytes(max(end - now, 0)) + bytes([smf.META, smf.END_OF_TRACK, 0]))


def _file(kind: int, ticks: int, tracks: list[bytes]) -> bytes:
    head = (
        b"MThd" + (6).to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (kind, len(tracks), ticks))
    )
    return head + b"".join(b"MTrk" + len(track).to_bytes(4, "big") + track for track in tracks)


def ticks_of(data: bytes) -> int:
    """Ticks of a quarter note."""
    return smf.parse(data).ticks


def kept(before: bytes, after: bytes, left_out: frozenset[int] = frozenset()) -> int:
    """How many notes of a file, drums too, are in another with the same time, length, pitch, velocity, track.

    Times are compared in quarter notes; a track is its place and channel.
    """
    sizes = smf.parse(before).ticks, smf.parse(after).ticks
    found: dict[tuple[int, ...], int] = {}
    for one in (own for group in strikes(after) for own in group):
        key = _key(one, sizes[0])
        found[key] = found.get(key, 0) + 1
    count = 0
    pitched, drums = strikes(before)
    for number, one in enumerate([*pitched, *drums]):
        key = _key(one, sizes[1])
        if number not in left_out and found.get(key, 0):
            found[key] -= 1
            count += 1
    return count


def _key(one: Strike, factor: int) -> tuple[int, ...]:
    return (one.start * factor, one.end * factor, *one[2:6])
