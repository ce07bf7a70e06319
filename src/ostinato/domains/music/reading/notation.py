"""A file of music -> its pieces as notes, by the reader for its suffix; kern is read with music21.

Files are read into memory and parsed from there: suffixes may be in capitals, links are followed. A file that
cannot be used raises `UserError` with a reason only (the caller knows what the user calls the file).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import abc, kern, midi, musicxml
from ostinato.domains.music.reading.content import bytes_of, out_of_riff, text_of
from ostinato.errors import UserError

MIDI = (".mid", ".midi", ".kar", ".smf", ".rmi")
MUSICXML = (".musicxml", ".xml", ".mxl")
KERN = (".krn", ".kern")
SUFFIXES = (*MIDI, *MUSICXML, ".abc", *KERN)


@dataclass(frozen=True)
class Playing:
    """What of the notation is played.

    Arguments:
        repeats: repeats and endings; by default they are in ABC, and not in MusicXML and kern. MIDI has them
            played.
        chords: the chord symbols of ABC and MusicXML.
    """

    repeats: bool | None = None
    chords: bool = False


USUAL = Playing()


class SupportsPieces(Protocol):
    """What has pieces: the contents of a file, or what came of reading it."""

    @property
    def pieces(self) -> tuple[Notes, ...]:
        """In their order."""


@dataclass(frozen=True)
class Contents:
    """The pieces of a file, and the reasons why others in it cannot be read."""

    pieces: tuple[Notes, ...]
    faults: tuple[str, ...] = ()


def read(path: Path, playing: Playing = USUAL) -> list[Notes]:
    """The pieces of a file: one, or each tune of an ABC book or kern collection.

    Raises:
        UserError: as for `contents`.
    """
    return list(contents(path, playing).pieces)


def contents(path: Path, playing: Playing = USUAL) -> Contents:
    """The pieces of a file, and what is wrong with others in it.

    Raises:
        UserError: it cannot be read, is damaged, or is not what its suffix says; the message is a reason.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"expected one of {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    data = bytes_of(path)
    faults: list[str] = []
    if suffix in MIDI:
        pieces = [midi.notes_of(out_of_riff(data))]
    elif suffix in MUSICXML:
        pieces = [musicxml.notes_of(data, repeats=bool(playing.repeats), chords=playing.chords)]
    elif suffix == ".abc":
        pieces, faults = _book(text_of(data), playing)
    else:
        pieces = kern.notes_of(text_of(data), repeats=bool(playing.repeats))
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        raise UserError(faults[0] if faults else "no notes")
    return Contents(tuple(pieces), tuple(faults))


def labels(found: SupportsPieces) -> list[str]:
    """What the pieces of a file are called after a #: ABC tunes by their numbers, where each has its own.

    Others are counted from 1.
    """
    numbers = [piece.number for piece in found.pieces]
    if None in numbers or len(set(numbers)) < len(numbers):
        return [str(k + 1) for k in range(len(numbers))]
    return [str(number) for number in numbers]


def _book(text: str, playing: Playing) -> tuple[list[Notes], list[str]]:
    pieces: list[Notes] = []
    faults: list[str] = []
    for tune in abc.read_book(text, repeats=playing.repeats is not False, chords=playing.chords):
        if isinstance(tune, UserError):
            faults.append(str(tune))
        else:
            pieces.append(tune)
    if not pieces and not faults:
        raise UserError("damaged, or not ABC: expected a tune, which begins with X:, found none")
    return pieces, faults
