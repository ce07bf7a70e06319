"""Standard MIDI files -> notes. Times are ticks, hence beats whatever the tempo; drums are left out.

A note ends with the first note-off after it that no earlier note of its pitch has taken: first in, first out.
A value out of its range costs itself, not the file. The sustain pedal (controller 64, 64 or more) holds every
note of its channel, in whichever track, until it is lifted or the same key is struck again.
"""

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ostinato.domains.music.notes import Marks, Notes
from ostinato.errors import UserError

_DRUMS = 9
_PEDAL, _DOWN = 64, 64
# data bytes of channel messages, by the high half of their status
_LENGTHS = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}
_SYSEX, _SYSEX_END, _META = 0xF0, 0xF7, 0xFF


@dataclass
class _File:
    """What was found; times in ticks."""

    notes: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)  # start end pitch velocity
    names: dict[int, str] = field(default_factory=dict)
    programs: dict[tuple[int, int], int] = field(default_factory=dict)
    pedal: dict[int, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    tempi: list[tuple[int, float]] = field(default_factory=list)
    metres: list[tuple[int, int, int]] = field(default_factory=list)
    keys: list[tuple[int, int, bool]] = field(default_factory=list)
    end: int = 0
    lost: int = 0
    drums: bool = False


def notes_of(data: bytes) -> Notes:
    """The notes of a MIDI file.

    Raises:
        UserError: it is damaged, has no notes, or its times are not beats; the message is a reason.
    """
    tracks, ticks = _tracks(data)
    found = _File()
    for number, track in enumerate(tracks):
        _read_track(number, track, found)
    if not found.notes:
        raise UserError("no notes but drums" if found.drums else "no notes")
    notes = sorted(found.notes)
    start, end, pitch, velocity, track_of, channel = (np.array(column) for column in zip(*notes, strict=True))
    parts = sorted({(one[4], one[5]) for one in notes})
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


def _tracks(data: bytes) -> tuple[list[bytes], int]:
    """The tracks, and the ticks of a quarter note; the lengths that the file declares are there."""
    if data[:4] != b"MThd":
        found = repr(data[:8].decode("ascii", errors="replace"))
        raise UserError(f"not a MIDI file: expected MThd at its beginning, found {found}")
    if len(data) < 14:
        raise UserError(f"truncated MIDI: {len(data)} bytes, the header alone has 14")
    division = int.from_bytes(data[12:14], "big")
    if division == 0 or division & 0x8000:
        raise UserError(
            "its times are not in beats (ticks per quarter note), so there are no frames of a beat"
        )
    tracks: list[bytes] = []
    declared, position = int.from_bytes(data[10:12], "big"), 8 + int.from_bytes(data[4:8], "big")
    while len(tracks) < declared:
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
        position += 8
        if len(data) - position < length or len(kind) < 4:
            raise UserError(f"truncated MIDI: it ends within track {len(tracks) + 1} of {declared}")
        if kind == b"MTrk":
            tracks.append(data[position : position + length])
        position += length
    return tracks, division


def _read_track(number: int, track: bytes, found: _File) -> None:
    sounding: dict[tuple[int, int], deque[tuple[int, int]]] = defaultdict(deque)
    program = dict.fromkeys(range(16), -1)
    now = 0
    try:
        for at, status, first, second in _events(track, number, found):
            now = at
            kind, channel = status >> 4, status & 15
            if kind == 0x9 and second:
                if first > 127:
                    found.lost += channel != _DRUMS
                    continue
                sounding[channel, first].append((now, min(second, 127)))
                found.programs.setdefault((number, channel), program[channel])
            elif kind in (0x8, 0x9) and (waiting := sounding.get((channel, first))):
                begun, velocity = waiting.popleft()
                found.drums = found.drums or channel == _DRUMS
                if channel != _DRUMS:
                    found.notes.append((begun, now, first, velocity, number, channel))
            elif kind == 0xB and first == _PEDAL:
                found.pedal[channel].append((now, second >= _DOWN))
            elif kind == 0xC and first <= 127:
                program[channel] = first
    except IndexError:
        raise UserError(f"damaged MIDI: track {number + 1} ends within an event") from None
    # a note that nothing ends has no length that the file says
    found.lost += sum(len(waiting) for (channel, _), waiting in sounding.items() if channel != _DRUMS)
    found.end = max(found.end, now)


def _events(track: bytes, number: int, found: _File) -> Iterator[tuple[int, int, int, int]]:
    """(time, status, data, data) of each channel message; what else there is goes into `found`."""
    position = now = status = 0
    while position < len(track):
        delta, position = _length(track, position)
        now += delta
        if track[position] & 0x80:
            status, position = track[position], position + 1
        elif not status:
            raise UserError(f"damaged MIDI: track {number + 1} has data where an event begins")
        if status < 0xF0:
            first, second = track[position], 0
            if _LENGTHS[status >> 4] == 2:
                second, position = track[position + 1], position + 1
            position += 1
            yield now, status, first, second
            continue
        if status == _META:
            kind = track[position]
            size, position = _length(track, position + 1)
            if kind == 0x2F:
                found.end = max(found.end, now)
                return
            _meta(kind, track[position : position + size], now, number, found)
            position += size
        elif status in (_SYSEX, _SYSEX_END):
            size, position = _length(track, position)
            position += size
        else:
            position += _SYSTEM_LENGTHS.get(status, 0)
        status = 0


def _length(track: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for _ in range(4):
        byte = track[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position
    raise UserError("damaged MIDI: a time or a length of more than four bytes")


def _meta(kind: int, data: bytes, now: int, number: int, found: _File) -> None:
    """Name, tempo, time and key signature; one that is none is left out."""
    if kind == 0x03 and number not in found.names:
        found.names[number] = data.decode("utf-8", errors="replace").strip("\0 ")
    elif kind == 0x51 and len(data) == 3 and any(data):
        found.tempi.append((now, 60_000_000 / int.from_bytes(data, "big")))
    elif kind == 0x58 and len(data) >= 2 and data[0] and data[1] <= 6:
        found.metres.append((now, data[0], 2 ** data[1]))
    elif kind == 0x59 and len(data) == 2:
        fifths = int.from_bytes(data[:1], "big", signed=True)
        if abs(fifths) <= 7 and data[1] <= 1:
            found.keys.append((now, fifths, data[1] == 1))


def _sustained(notes: list[tuple[int, int, int, int, int, int]], found: _File) -> np.ndarray:
    """The end of each note with the pedal, in ticks."""
    strikes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for start, _, pitch, _, _, channel in notes:
        strikes[channel, pitch].append(start)
    last = max(found.end, *(one[1] for one in notes))
    pedals = {channel: _held(moves, last) for channel, moves in found.pedal.items()}
    ends = []
    for _, released, pitch, _, _, channel in notes:
        downs, ups = pedals.get(channel, ([], []))
        end = released
        k = bisect_left(downs, end) - 1  # the last that went down before the note's end
        if k >= 0 and ups[k] > end:
            again = strikes[channel, pitch]
            following = bisect_left(again, end)
            end = min(ups[k], again[following]) if following < len(again) else ups[k]
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
