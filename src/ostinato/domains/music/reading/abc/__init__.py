"""ABC 2.1 (https://abcnotation.com/wiki/abc:standard:v2.1): a book of tunes -> the notes of each.

Where the standard leaves a choice, what abc2midi plays is right: the notes agree with it, in time and pitch,
but for what it adds of its own. Grace notes and decorations leave the written notes as they are; D.C., D.S.
and fine are words for the player.
"""

from collections.abc import Iterator
from dataclasses import replace

from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.abc.book import tunes
from ostinato.domains.music.reading.abc.notes import notes_of
from ostinato.domains.music.reading.abc.tune import TuneReader
from ostinato.errors import UserError

__all__ = ["read_book"]


def read_book(text: str, *, repeats: bool = True, chords: bool = False) -> Iterator[Notes | UserError]:
    """The tunes of a book, one by one; in the place of one that cannot be read, the reason.

    Args:
        text: of the file.
        repeats: whether repeats, endings and the order of parts are played.
        chords: whether chord symbols sound.

    Example:
        >>> (tune,) = read_book("X:1\\nL:1/4\\nK:D\\n|: FA :|")
        >>> tune.pitch.tolist(), tune.start.tolist()
        ([66, 69, 66, 69], [0.0, 1.0, 2.0, 3.0])
    """
    for tune in tunes(text.splitlines()):
        number = int(tune.number) if tune.number.isdecimal() else None
        try:
            yield replace(notes_of(TuneReader(tune), repeats=repeats, chords=chords), number=number)
        except UserError as error:
            yield UserError(f"X:{tune.number}, {error}")
