"""Standard MIDI files as they are stored: chunks, and each event's bytes.

What can be read note by note (`reading.midi`) can so be written again event by event, whatever the events are
(`writing.midi_file`).
"""

from collections.abc import Iterator
from typing import NamedTuple

from ostinato.errors import UserError

SYSEX, SYSEX_END, META = 0xF0, 0xF7, 0xFF
END_OF_TRACK = 0x2F

# data bytes of channel messages, by the high half of their status
_LENGTHS = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}
_SYSTEM_LENGTHS = {0xF1: 1, 0xF2: 2, 0xF3: 1}


class File(NamedTuple):
    """The header's format and ticks of a quarter note, and the tracks' bytes."""

    format: int
    ticks: int
    tracks: list[bytes]


class Event(NamedTuple):
    """An event of a track: when (ticks), its status, and where in the track its other bytes are.

    Those of a meta event are its kind, the length and what it says; `status` is there also where the file
    leaves it out, because it is the one before (running status).
    """

    time: int
    status: int
    begin: int
    end: int


def parse(data: bytes) -> File:
    """The tracks of a file.

    Raises:
        UserError: it is truncated, no MIDI file, its times are not beats, or it is a collection of patterns
            (format 2), which do not sound together; the message is a reason.
    """
    if data[:4] != b"MThd":
        found = repr(data[:8].decode("ascii", errors="replace"))
        raise UserError(f"not a MIDI file: expected MThd at its beginning, found {found}")
    if len(data) < 14:
        raise UserError(f"truncated MIDI: {len(data)} bytes, the header alone has 14")
    division = int.from_bytes(data[12:14], "big")
    if division == 0 or division & 0x8000:
        raise UserError(
            "its times are seconds (SMPTE), not beats, so there are no frames of a beat; save it with ticks "
            "per quarter note"
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
    form = int.from_bytes(data[8:10], "big")
    if form > 1 and len(tracks) > 1:
        raise UserError(
            f"expected a MIDI file of format 0 or 1, found {form}: {len(tracks)} patterns that are not one "
            "piece"
        )
    return File(form, division, tracks)


def events(track: bytes, number: int) -> Iterator[Event]:
    """The events of a track up to its end.

    Args:
        track: its bytes.
        number: its place in the file, from 0, for messages.

    Raises:
        UserError: the track is damaged.

    Example:
        >>> track = bytes([0, 0x90, 60, 80, 96, 60, 0, 0, 0xFF, 0x2F, 0])
        >>> [(one.time, hex(one.status), track[one.begin : one.end].hex()) for one in events(track, 0)]
        [(0, '0x90', '3c50'), (96, '0x90', '3c00'), (96, '0xff', '2f00')]
    """
    try:
        yield from _events(track, number)
    except IndexError:
        raise UserError(f"damaged MIDI: track {number + 1} ends within an event") from None


def _events(track: bytes, number: int) -> Iterator[Event]:
    position = now = running = 0
    while position < len(track):
        delta, position = number_at(track, position)
        now += delta
        if track[position] & 0x80:
            status, position = track[position], position + 1
        elif running:
            status = running  # also behind a meta event, where no program should rely on it
        else:
            raise UserError(f"damaged MIDI: track {number + 1} has data where an event begins")
        if status < 0xF0:
            running = status
            end = position + _LENGTHS[status >> 4]
            track[end - 1]  # IndexError if it is not there
            yield Event(now, status, position, end)
            position = end
            continue
        begin = position
        if status == META:
            track[position]
            size, position = number_at(track, position + 1)
            position += size
        elif status in (SYSEX, SYSEX_END):
            size, position = number_at(track, position)
            position += size
        else:
            position += _SYSTEM_LENGTHS.get(status, 0)
        yield Event(now, status, begin, min(position, len(track)))
        if status == META and track[begin] == END_OF_TRACK:
            return
        if status != META:
            running = 0


def meta(track: bytes, event: Event) -> tuple[int, bytes]:
    """Kind of a meta event, and what it says."""
    begin = number_at(track, event.begin + 1)[1]
    return track[event.begin], track[begin : event.end]


def number_at(track: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for _ in range(4):
        byte = track[position]
        position += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position
    raise UserError("damaged MIDI: a time or a length of more than four bytes")


def number_bytes(value: int) -> bytes:
    """A number in seven bits a byte: the inverse of `number_at`.

    Example:
        >>> number_bytes(200).hex(), number_at(number_bytes(200), 0)
        ('8148', (200, 2))
    """
    found = [value & 0x7F]
    while value := value >> 7:
        found.append(value & 0x7F | 0x80)
    return bytes(reversed(found))
