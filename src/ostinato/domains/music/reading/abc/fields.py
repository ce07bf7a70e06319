"""What the fields of a tune say: key, metre, unit note length, tempo, a voice's properties."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ostinato.errors import UserError

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ACCIDENTALS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}

_SHARPS, _FLATS = "FCGDAEB", "BEADGCF"
# how many sharps the signature of a mode has more than that of major with the same tonic
_MODES = {
    "maj": 0,
    "ion": 0,
    "mix": -1,
    "dor": -2,
    "m": -3,
    "min": -3,
    "aeo": -3,
    "phr": -4,
    "loc": -5,
    "lyd": 1,
}
_KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
_ACCIDENTAL = re.compile(r"(\^\^|\^|__|_|=)([A-Ga-g])$")
_PROPERTY = re.compile(r'([A-Za-z]+)=("[^"]*"|\S+)')
_CLEF = re.compile(r"(?:[A-Za-z]+\d?)?([+-])8")
_CLEF_NAME = re.compile(r"(?:treble|alto|tenor|bass|soprano|mezzo|baritone|perc)?\d?(?:[+-]8(?:va)?)?")
_FRACTION = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")

QUARTER = Fraction(1, 4)


@dataclass(frozen=True)
class Key:
    """A key signature: the semitones of each letter that has an accidental.

    Arguments:
        accidentals: by letter.
        fifths: sharps (flats, if negative) of the signature, without what is written beside it.
        minor: whether the key is minor, in any of its names.
    """

    accidentals: Mapping[str, int] = field(default_factory=dict)
    fifths: int = 0
    minor: bool = False


@dataclass(frozen=True)
class Metre:
    """A time signature: `beats` / `unit`; `free` where there is none.

    Example:
        >>> metre("2+3/8").bar
        Fraction(5, 2)
    """

    beats: int = 4
    unit: int = 4
    free: bool = False

    @property
    def bar(self) -> Fraction:
        """Quarter notes in a bar; a bar of free metre counts four, as abc2midi has it."""
        return Fraction(4 * self.beats, self.unit)

    @property
    def compound(self) -> bool:
        """Whether beats come in threes, as tuplets ask."""
        return not self.free and self.beats % 3 == 0

    @property
    def unit_length(self) -> Fraction:
        """The note length that goes without saying, in quarter notes."""
        short = not self.free and Fraction(self.beats, self.unit) < Fraction(3, 4)
        return Fraction(1, 4) if short else Fraction(1, 2)


def properties(text: str) -> dict[str, str]:
    """`name=value` in a K: or V: field, and the octave that a clef shifts by as `shift`.

    Example:
        >>> properties('T1 clef=treble-8 name="Violin I" octave=1')
        {'clef': 'treble-8', 'name': 'Violin I', 'octave': '1', 'shift': '-1'}
    """
    found = {name.lower(): value.strip('"') for name, value in _PROPERTY.findall(text)}
    rest = _PROPERTY.sub(" ", text).split()
    for word in [found.get("clef", ""), *rest]:
        clef = _CLEF.fullmatch(word)
        if clef:
            found["shift"] = f"{clef[1]}1"
    return found


def key(text: str) -> Key | None:
    """A K: field's key; None where it names none and only has properties.

    Raises:
        UserError: there is no such key.

    Example:
        >>> key("D mix"), key("C exp _B ^F").accidentals
        (Key(accidentals={'F': 1}, fifths=1, minor=False), {'B': -1, 'F': 1})
        >>> key("clef=bass") is None
        True
    """
    words = _PROPERTY.sub(" ", text).split()
    while words and _is_clef(words[-1]):
        words.pop()
    own = {}
    while words and (accidental := _ACCIDENTAL.match(words[-1])):
        own[accidental[2].upper()] = ACCIDENTALS[accidental[1]]
        words.pop()
    explicit = bool(words) and words[-1].lower() == "exp"
    if explicit:
        words.pop()
    name = " ".join(words)
    if not name and not own and not explicit:
        return Key() if not text.strip() else None
    signature = _signature(name)
    fifths = 0 if explicit else signature.fifths
    accidentals = {} if explicit else dict(signature.accidentals)
    return Key(accidentals | dict(reversed(own.items())), fifths, signature.minor)


def _is_clef(word: str) -> bool:
    return _CLEF_NAME.fullmatch(word) is not None


def _signature(name: str) -> Key:
    if name.lower() in ("", "none"):
        return Key()
    if name in ("HP", "Hp"):
        return Key({"F": 1, "C": 1}, 2)
    found = _KEY.fullmatch(name)
    mode = found[3].lower()[:3] if found else "?"
    if found is None or mode not in {"", *_MODES}:
        raise UserError(f"expected a key like G, Am or D dorian, found K:{name}")
    fifths = "FCGDAEB".index(found[1]) - 1 + 7 * {"#": 1, "b": -1, "": 0}[found[2]] + _MODES.get(mode, 0)
    if abs(fifths) > 7:
        raise UserError(f"expected a key of at most seven sharps or flats, found K:{name}")
    letters = _SHARPS[:fifths] if fifths > 0 else _FLATS[:-fifths]
    accidentals = dict.fromkeys(letters, 1 if fifths > 0 else -1)
    return Key(accidentals, fifths, mode in ("m", "min", "aeo"))


def metre(text: str) -> Metre:
    """An M: field.

    Raises:
        UserError: it is no metre.

    Example:
        >>> metre("C|"), metre("none").free
        (Metre(beats=2, unit=2, free=False), True)
    """
    text = text.strip()
    if text in ("C", "C|"):
        return Metre() if text == "C" else Metre(2, 2)
    if text.lower() in ("none", ""):
        return Metre(free=True)
    above, slash, below = text.replace("(", "").replace(")", "").replace(" ", "").partition("/")
    beats = re.split(r"[+.]", above)
    if not slash or not below.isdecimal() or not all(part.isdecimal() for part in beats):
        raise UserError(f"expected a metre like 4/4, found M:{text}")
    found = Metre(sum(int(part) for part in beats), int(below))
    if not (0 < found.beats < 256 and 0 < found.unit < 256):
        raise UserError(f"expected a metre like 4/4, found M:{text}")
    return found


def unit_length(text: str) -> Fraction:
    """An L: field, in quarter notes.

    Example:
        >>> unit_length("1/8")
        Fraction(1, 2)
    """
    found = _FRACTION.fullmatch(text)
    if found and int(found[1]) and int(found[2]):
        return Fraction(4 * int(found[1]), int(found[2]))
    if text.strip() == "1":
        return Fraction(4)
    raise UserError(f"expected a note length like 1/8, found L:{text.strip()}")


def tempo(text: str, unit: Fraction) -> float | None:
    """A Q: field in quarter notes a minute; None where it has words only.

    Example:
        >>> tempo('"Allegro" 3/8=80', QUARTER), tempo("120", Fraction(1, 2)), tempo('"Slow"', QUARTER)
        (120.0, 60.0, None)
    """
    text = re.sub(r'"[^"]*"', "", text).strip()
    lengths, equals, rate = text.rpartition("=")
    number = re.match(r"\s*(\d+(?:\.\d+)?)", rate)
    if number is None:
        return None
    beats = [Fraction(4 * int(a), int(b)) for a, b in re.findall(r"(\d+)\s*/\s*(\d+)", lengths) if int(b)]
    if equals and not beats:  # Q:C=100, Q:C3=100: so many unit lengths
        count = re.search(r"\d+", lengths)
        beats = [unit * int(count[0] if count else 1)]
    found = float(number[1]) * float(sum(beats) if equals else unit)
    return found if 0 < found < 10_000 else None
