"""Which key a piece is in: what its file states, or what its notes say; and how far that is from C."""

from typing import Literal

from ostinato.domains.music.notes import Notes, key_of, to_c

KeyFrom = Literal["guessed", "stated"]

_MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR = ("Cm", "C#m", "Dm", "Ebm", "Em", "Fm", "F#m", "Gm", "G#m", "Am", "Bbm", "Bm")


def key(notes: Notes, by: KeyFrom = "guessed") -> tuple[int, str]:
    """Semitones to C by a piece's key, and the key with where it is from.

    Args:
        notes: of the piece.
        by: "guessed" from the notes, or "stated": the first key signature of the file; where it has none, it
            is guessed.

    Example:
        >>> import numpy as np
        >>> from ostinato.domains.music.notes import Marks
        >>> chord = np.array([62, 66, 69])
        >>> key(Notes(np.zeros(3), np.ones(3), chord, marks=Marks(keys=((0.0, 1, False),))), "stated")
        (5, 'G stated')
        >>> key(Notes(np.zeros(3), np.ones(3), chord), "stated")
        (-2, 'D guessed')
    """
    stated = by == "stated" and bool(notes.marks.keys)
    if stated:
        _, fifths, minor = notes.marks.keys[0]
        tonic = (7 * fifths + (9 if minor else 0)) % 12
    else:
        tonic, minor = key_of(notes.pitch, notes.end - notes.start)
    name = (_MINOR if minor else _MAJOR)[tonic]
    return to_c(tonic), f"{name} {'stated' if stated else 'guessed'}"
