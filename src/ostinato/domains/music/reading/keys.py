"""Which key a piece is in, as its file states, its notes say, or the user; and how far that is from C."""

import re
from typing import Literal

from ostinato.domains.music.notes import Notes, key_of, to_c
from ostinato.errors import UserError, argument

KeyFrom = Literal["guessed", "stated"]

_MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")


_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SIGNS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
# a small letter alone is major to some and minor to others
_NAMED = re.compile(r"([A-G])([#♯b♭]?)(m|[ -]?(?:major|minor|maj|min))?")


def key(notes: Notes, by: str = "guessed") -> tuple[int, str]:
    """Semitones to C by a piece's key, and the key with where it is from.

    Args:
        notes: of the piece.
        by: "guessed" from the notes, or "stated": the first key signature of the file; where it has none, it
            is guessed. Or a key, see `named`.

    Example:
        >>> import numpy as np
        >>> from ostinato.domains.music.notes import Marks
        >>> chord = np.array([62, 66, 69])
        >>> key(Notes(np.zeros(3), np.ones(3), chord, marks=Marks(keys=((0.0, 1, False),))), "stated")
        (5, 'G stated')
        >>> key(Notes(np.zeros(3), np.ones(3), chord), "stated")
        (-2, 'D guessed')
        >>> key(Notes(np.zeros(3), np.ones(3), chord), "B minor")
        (1, 'Bm given')
    """
    if by not in ("guessed", "stated"):
        tonic, minor = named(by)
        return to_c(tonic), f"{(_MINOR if minor else _MAJOR)[tonic]} given"
    stated = by == "stated" and bool(notes.marks.keys)
    if stated:
        _, fifths, minor = notes.marks.keys[0]
        tonic = (7 * fifths + (9 if minor else 0)) % 12
    else:
        tonic, minor = key_of(notes.pitch, notes.end - notes.start)
    name = (_MINOR if minor else _MAJOR)[tonic]
    return to_c(tonic), f"{name} {'stated' if stated else 'guessed'}"


def named(text: str) -> tuple[int, bool]:
    """A key as users write it: its tonic's pitch class (0 = C), and whether it is minor.

    Raises:
        UserError: it is none.

    Example:
        >>> named("F#m"), named("B♭"), named("E minor")
        ((6, True), (10, False), (4, True))
    """
    found = _NAMED.fullmatch(text.strip())
    if found is None:
        raise UserError(
            f"expected {argument('key')} guessed, stated, or a key such as D, Bb or F#m, found {text!r}"
        )
    mode = (found[3] or "").lstrip(" -")
    return (_STEPS[found[1]] + _SIGNS[found[2]]) % 12, mode == "m" or mode.startswith("min")


def in_words(called: str) -> str:
    """What `key` calls a key, in words.

    Example:
        >>> in_words("D guessed"), in_words("Bm given")
        ('in D, guessed from the notes', 'in Bm, as given')
    """
    name, _, by = called.partition(" ")
    how = {"guessed": "guessed from the notes", "stated": "as the file states", "given": "as given"}
    return f"in {name}, {how[by]}"
