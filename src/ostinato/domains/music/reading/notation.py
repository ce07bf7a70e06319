"""A file of music -> its pieces as notes: MIDI with symusic; MusicXML, ABC and kern with music21.

Files are read into memory and parsed from there: suffixes may be in capitals, links are followed, and music21
keeps no pickles in the temporary folder. A file that cannot be used raises `UserError` with a reason only
(the caller knows what the user calls the file).
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.domains.music.notes import Notes
from ostinato.errors import UserError, needs

MIDI = (".mid", ".midi", ".kar", ".smf")
MUSICXML = (".musicxml", ".xml", ".mxl")
SUFFIXES = (*MIDI, *MUSICXML, ".abc", ".krn", ".kern")

# An orchestral work is a few megabytes; what is far larger is no music, and would take hours to parse.
MAX_BYTES = 64 << 20


def read(path: Path) -> list[Notes]:
    """The pieces of a file: one, or each tune of an ABC book or kern collection.

    Raises:
        UserError: it cannot be read, is damaged, or is not what its suffix says; the message is a reason.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"expected one of {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    if not path.is_file():  # follows links; a named pipe would block for ever
        raise UserError(
            "not a file" if path.exists() else "a link to nothing" if path.is_symlink() else "no such file"
        )
    try:
        data = _within_limit(path.open("rb"), MAX_BYTES)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error
    if not data.strip(b"\0 \r\n\t"):
        raise UserError("the file is empty" if not data else "the file holds nothing but blanks")
    if suffix in MIDI:
        return [_midi(data)]
    return _sheet_music(data, suffix)


def _within_limit(stream: Any, limit: int) -> bytes:
    with stream:
        data: bytes = stream.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"larger than {limit >> 20} MB: no piece of music is")
    return data


def _midi(data: bytes) -> Notes:
    """Times are ticks, hence beats whatever the tempo; the drum channel is left out."""
    _check_midi(data)
    with needs("music"):
        import symusic

    try:
        midi = symusic.Score.from_midi(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise UserError(f"damaged MIDI: {_line(error)}") from error
    tracks = [track for track in midi.tracks if not track.is_drum and len(track.notes)]
    if not tracks:
        drums = any(len(track.notes) for track in midi.tracks)
        raise UserError("no notes but drums" if drums else "no notes")
    columns = [track.notes.numpy() for track in tracks]
    start, length, pitch = (
        np.concatenate([column[key] for column in columns]).astype(float)
        for key in ("time", "duration", "pitch")
    )
    ticks = midi.ticks_per_quarter
    return Notes(
        start / ticks,
        (start + length) / ticks,
        pitch.astype(int),
        parts=tuple(track.name for track in tracks),
    )


def _check_midi(data: bytes) -> None:
    """Walk over the chunks: the lengths that the file declares against the bytes that are there."""
    if data[:4] != b"MThd":
        raise UserError(f"not a MIDI file: expected MThd at its beginning, found {_shown(data[:8])}")
    if len(data) < 14:
        raise UserError(f"truncated MIDI: {len(data)} bytes, the header alone has 14")
    division = int.from_bytes(data[12:14], "big")
    if division == 0 or division & 0x8000:
        raise UserError(
            "its times are not in beats (ticks per quarter note), so there are no frames of a beat"
        )
    declared, found, position = int.from_bytes(data[10:12], "big"), 0, 8 + int.from_bytes(data[4:8], "big")
    while found < declared:
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
        left = len(data) - position - 8
        if left < length or len(kind) < 4:
            raise UserError(f"truncated MIDI: it ends within track {found + 1} of {declared}")
        found += kind == b"MTrk"
        position += 8 + length


def _sheet_music(data: bytes, suffix: str) -> list[Notes]:
    """Parse with music21, which raises all kinds of exceptions on damaged files: each is a reason here."""
    if suffix in MUSICXML:
        text, form = _musicxml(data), "musicxml"
    else:
        text, form = _text(data), "abc" if suffix == ".abc" else "humdrum"
    with needs("music"):
        from music21 import converter, stream

    try:
        parsed = converter.parseData(text, format=form)
        tunes = list(parsed.scores) if isinstance(parsed, stream.Opus) else [parsed]
        pieces = [_notes(tune) for tune in tunes]
    except Exception as error:
        kind = {"musicxml": "MusicXML", "abc": "ABC", "humdrum": "kern"}[form]
        raise UserError(f"damaged, or not {kind}: {_line(error)}") from error
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        raise UserError("no notes")
    return pieces


def _notes(tune: Any) -> Notes:
    """The notes of a music21 `Score`, at the pitches that sound (a clarinet's part is written higher)."""
    tune.toSoundingPitch(inPlace=True)
    parts = list(tune.parts) or [tune]
    rows = [row for part in parts for row in _rows(part)]
    start, end, pitch = np.array(rows, dtype=float).reshape(-1, 3).T
    bars = list(parts[0].getElementsByClass("Measure"))
    pickup = 0.0
    if len(bars) > 1 and bars[0].duration.quarterLength < bars[0].barDuration.quarterLength:
        pickup = float(bars[0].duration.quarterLength)
    return Notes(start, end, pitch.astype(int), pickup, tuple(part.partName or "" for part in parts))


def _rows(part: Any) -> Iterator[tuple[float, float, float]]:
    """(start, end, pitch) of each note; without chord symbols and grace notes, which last no time."""
    for note in part.flatten().notes:
        length = float(note.quarterLength)
        if length > 0 and "Harmony" not in note.classes:
            for pitch in getattr(note, "pitches", ()):
                yield float(note.offset), float(note.offset) + length, pitch.midi


def _musicxml(data: bytes) -> str:
    from xml.etree import ElementTree

    if data[:2] == b"PK":
        data = _unzip(data)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"damaged, or not MusicXML: {_line(error)}") from error
    if root.tag != "score-partwise":
        raise UserError(f"not MusicXML: expected the element score-partwise, found {root.tag}")
    return ElementTree.tostring(root, encoding="unicode")


def _unzip(data: bytes) -> bytes:
    """The MusicXML inside a .mxl archive: the file that its container names, else the first XML file."""
    from xml.etree import ElementTree

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith((".xml", ".musicxml"))]
            inside = [name for name in names if not name.startswith("META-INF/")]
            if "META-INF/container.xml" in names:
                container = _within_limit(archive.open("META-INF/container.xml"), MAX_BYTES)
                roots = [
                    e.get("full-path") for e in ElementTree.fromstring(container).iter() if e.get("full-path")
                ]
                inside = [name for name in roots if name in names] + inside
            if not inside:
                raise UserError("damaged: the archive holds no MusicXML")
            return _within_limit(archive.open(inside[0]), MAX_BYTES)
    # RuntimeError: the archive is encrypted
    except (zipfile.BadZipFile, ElementTree.ParseError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"damaged archive: {_line(error)}") from error


def _text(data: bytes) -> str:
    for encoding in ("utf-8-sig", "latin-1"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes everything")


def _line(error: BaseException) -> str:
    """An exception as a few words on one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def _shown(data: bytes) -> str:
    return repr(data.decode("ascii", errors="replace"))
