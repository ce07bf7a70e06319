"""Standard MIDI files -> notes. Times are ticks, hence beats whatever the tempo; drums are left out.

A note ends with the first note-off after it that no earlier note of its pitch has taken: first in, first out.
A value out of its range costs itself, not the file. The sustain pedal (controller 64, 64 or more) holds every
note of its channel, in whichever track, until it is lifted or the same key is struck again.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ostinato.domains.music.notes import Marks, Notes
from ostinato.domains.music.reading import smf
from ostinato.domains.music.reading.content import text_of
from ostinato.errors import UserError

DRUMS = 9
_PEDAL, _DOWN = 64, 64


class Strike(NamedTuple):
    """A note: times in ticks, and which events of its track begin and end it."""

    start: int
    end: int
    pitch: int
    velocity: int
    track: int
    channel: int
    on: int
    off: int


@dataclass
class _File:
    """What was found; times in ticks."""

    notes: list[Strike] = field(default_factory=list)
    drums: list[Strike] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    programs: dict[tuple[int, int], int] = field(default_factory=dict)
    pedal: dict[int, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    tempi: list[tuple[int, float]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, int, bool]] = field(default_factory=list)
    end: int = 0
    lost: int = 0


def notes_of(data: bytes) -> Notes:
    """The notes of a MIDI file.

    Raises:
        UserError: it is damaged, has no notes, or its times are not beats; the message is a reason.
    """
    found, ticks = _read(data)
    if not found.notes:
        raise UserError("no notes but drums" if found.drums else "no notes")
    notes = found.notes
    columns = (np.array(column) for column in zip(*notes, strict=True))
    start, end, pitch, velocity, track_of, channel, *_ = columns
    parts = sorted({(one.track, one.channel) for one in notes})
    number_of = {part: k for k, part in enumerate(parts)}
    return Notes(
        start / ticks,
        end / ticks,
        pitch,
        parts=tuple(found.names.get(number, "") for number, _ in parts),
        track=np.array([number_of[part] for part in zip(track_of.tolist(), channel.tolist(), strict=True)]),
        voice=channel,
        velocity=velocity,
        sustained=_sustained(notes, found) / ticks,
        lost=found.lost,
        marks=Marks(
            _changes(found.tempi, ticks),
            _changes(found.metres, ticks),
            _changes(found.keys, ticks),
            tuple(found.programs.get(part, -1) for part in parts),
        ),
    )


def _changes(marks: list[Any], ticks: int) -> tuple[Any, ...]:
    """In the order of time, in quarter notes; of several at one time the last counts."""
    last = {time: rest for time, *rest in sorted(marks, key=lambda mark: mark[0])}
    return tuple((time / ticks, *rest) for time, rest in last.items())


def strikes(data: bytes) -> tuple[list[Strike], list[Strike]]:
    """The notes of a MIDI file, in the order of `notes_of`, and those of its drums.

    Raises:
        UserError: it is damaged, or its times are not beats.
    """
    found, _ = _read(data)
    return found.notes, found.drums


def _read(data: bytes) -> tuple[_File, int]:
    """What is in a file, and the ticks of a quarter note."""
    file = smf.parse(data)
    found = _File()
    for number, track in enumerate(file.tracks):
        _read_track(number, track, found)
    found.notes.sort()
    found.drums.sort()
    return found, file.ticks


def _read_track(number: int, track: bytes, found: _File) -> None:
    sounding: dict[tuple[int, int], deque[tuple[int, int, int]]] = defaultdict(deque)
    program = dict.fromkeys(range(16), -1)
    now = 0
    for index, (time, status, begin, end) in enumerate(smf.events(track, number)):
        now = time
        if status >= 0xF0:
            if status == smf.META:
                kind, said = smf.meta(track, smf.Event(now, status, begin, end))
                _meta(kind, said, now, number, found)
            continue
        kind, channel, first, second = status >> 4, status & 15, track[begin], track[end - 1]
        if kind == 0x9 and second:
            if first > 127:
                found.lost += channel != DRUMS
                continue
            sounding[channel, first].append((now, min(second, 127), index))
            found.programs.setdefault((number, channel), program[channel])
        elif kind in (0x8, 0x9) and (waiting := sounding.get((channel, first))):
            begun, velocity, on = waiting.popleft()
            one = Strike(begun, now, first, velocity, number, channel, on, index)
            (found.drums if channel == DRUMS else found.notes).append(one)
        elif kind == 0xB and first == _PEDAL:
            found.pedal[channel].append((now, second >= _DOWN))
        elif kind == 0xC and first <= 127:
            program[channel] = first
    # a note that nothing ends has no length that the file says
    found.lost += sum(len(waiting) for (channel, _), waiting in sounding.items() if channel != DRUMS)
    found.end = max(found.end, now)


def _meta(kind: int, data: bytes, now: int, number: int, found: _File) -> None:
    """Name, tempo, time and key signature; one that is none is left out."""
    if kind == 0x03 and number not in found.names:
        found.names[number] = text_of(data).strip("\0 ")
    elif kind == 0x51 and len(data) == 3 and any(data):
        found.tempi.append((now, 60_000_000 / int.from_bytes(data, "big")))
    elif kind == 0x58 and len(data) >= 2 and data[0] and data[1] <= 6:
        found.metres.append((now, data[0], 2 ** data[1]))
    elif kind == 0x59 and len(data) == 2:
        fifths = int.from_bytes(data[:1], "big", signed=True)
        if abs(fifths) <= 7 and data[1] <= 1:
            found.keys.append((now, fifths, data[1] == 1))


def _sustained(notes: list[Strike], found: _File) -> np.ndarray:
    """The end of each note with the pedal, in ticks."""
    struck: dict[tuple[int, int], list[int]] = defaultdict(list)
    for one in notes:
        struck[one.channel, one.pitch].append(one.start)
    last = max(found.end, *(one.end for one in notes))
    pedals = {channel: _held(moves, last) for channel, moves in found.pedal.items()}
    ends = []
    for _, end, pitch, _, _, channel, *_ in notes:
        downs, ups = pedals.get(channel, ([], []))
        k = bisect_left(downs, end) - 1  # the last that went down before the note's end
        if k >= 0 and ups[k] > end:
            again = struck[channel, pitch]
            following = bisect_left(again, end)
            ends.append(min(ups[k], again[following]) if following < len(again) else ups[k])
        else:
            ends.append(end)
    return np.array(ends)


def _held(moves: list[tuple[int, bool]], last: int) -> tuple[list[int], list[int]]:
    """When the pedal went down, and up; one that stays down is lifted at the end."""
    downs: list[int] = []
    ups: list[int] = []
    for time, down in sorted(moves, key=lambda move: move[0]):
        if down and len(downs) == len(ups):
            downs.append(time)
        elif not down and len(downs) > len(ups):
            ups.append(time)
    return downs, ups + [last] * (len(downs) - len(ups))
