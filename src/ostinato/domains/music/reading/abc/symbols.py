"""Chord symbols ("Am7") as the pitches they stand for."""

import re

from ostinato.domains.music.reading.abc.fields import SEMITONES

_SYMBOL = re.compile(r"([A-G])([#b♯♭]?)([^/\s]*)(?:/([A-Ga-g])([#b♯♭]?))?")
_SHIFT = {"#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}

_MAJOR, _MINOR = (0, 4, 7), (0, 3, 7)
_QUALITIES = {
    "": _MAJOR, "maj": _MAJOR, "M": _MAJOR,
    "m": _MINOR, "min": _MINOR, "mi": _MINOR, "-": _MINOR,
    "dim": (0, 3, 6), "o": (0, 3, 6), "°": (0, 3, 6), "aug": (0, 4, 8), "+": (0, 4, 8),
    "5": (0, 7), "7sus4": (0, 5, 7, 10),
    "sus": (0, 5, 7), "sus4": (0, 5, 7), "sus2": (0, 2, 7), "sus9": (0, 2, 7),
    "6": (*_MAJOR, 9), "m6": (*_MINOR, 9), "min6": (*_MINOR, 9),
    "7": (*_MAJOR, 10), "m7": (*_MINOR, 10), "min7": (*_MINOR, 10), "-7": (*_MINOR, 10),
    "maj7": (*_MAJOR, 11), "M7": (*_MAJOR, 11), "mM7": (*_MINOR, 11),
    "dim7": (0, 3, 6, 9), "o7": (0, 3, 6, 9), "m7b5": (0, 3, 6, 10),
    "aug7": (0, 4, 8, 10), "+7": (0, 4, 8, 10),
    "9": (*_MAJOR, 10, 14), "m9": (*_MINOR, 10, 14), "maj9": (*_MAJOR, 11, 14), "add9": (*_MAJOR, 14),
    "11": (*_MAJOR, 10, 14, 17), "m11": (*_MINOR, 10, 14, 17), "13": (*_MAJOR, 10, 14, 21),
    "7b9": (*_MAJOR, 10, 13), "7#9": (*_MAJOR, 10, 15), "7b5": (0, 4, 6, 10), "7#5": (0, 4, 8, 10),
}  # fmt: skip

_ROOTS, _BASSES = 48, 36  # C below middle C, and the C below that


def pitches(symbol: str) -> tuple[int, ...]:
    """MIDI pitches of a chord, its root in the octave below middle C, a bass of its own below that.

    None where the words are no chord.

    Example:
        >>> pitches("C"), pitches("Am7/G"), pitches("Fine")
        ((48, 52, 55), (43, 57, 60, 64, 67), ())
    """
    found = _SYMBOL.fullmatch(symbol.strip().strip("()"))
    if found is None or found[3] not in _QUALITIES:
        return ()
    root = _ROOTS + (SEMITONES[found[1]] + _SHIFT[found[2]]) % 12
    chord = tuple(root + step for step in _QUALITIES[found[3]])
    if found[4] is None:
        return chord
    bass = _BASSES + (SEMITONES[found[4].upper()] + _SHIFT[found[5] or ""]) % 12
    return (bass, *(pitch for pitch in chord if pitch != bass))


def is_chord(text: str) -> bool:
    """Whether words between quotes are a chord, or N.C. for none; people write "Fine" there, too.

    Example:
        >>> is_chord("Am"), is_chord("N.C."), is_chord("Fine")
        (True, True, False)
    """
    return bool(pitches(text)) or text.replace(".", "").upper() == "NC"


def is_annotation(text: str) -> bool:
    """Whether quoted words are to be read, not played: they say where they stand.

    Example:
        >>> is_annotation("^rit."), is_annotation("Am")
        (True, False)
    """
    return text[:1] in ("^", "_", "<", ">", "@") or not text
