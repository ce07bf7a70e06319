"""One voice of a tune: tokens -> bars of notes, as they are written. Times are in quarter notes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from ostinato.domains.music.notes import moved_fifths
from ostinato.domains.music.reading.abc.fields import ACCIDENTALS, SEMITONES, Key, Metre
from ostinato.domains.music.reading.abc.tokens import Token, length, note, numbers
from ostinato.errors import UserError

_MIDDLE_C = 60

# What an accidental holds for to the end of its bar: nothing, its letter in its octave, or in all of them.
Hold = Literal["not", "octave", "pitch"]


@dataclass(slots=True)
class Sounding:
    """A note in its bar; `tied` to the next of its pitch."""

    offset: Fraction
    length: Fraction
    pitch: int
    tied: bool = False


class Mark(NamedTuple):
    """Something else in a bar: a "key", "metre", "tempo" or "chord" symbol and where."""

    offset: Fraction
    kind: str
    value: object


@dataclass(slots=True)
class Bar:
    """A bar and the signs of repetition at its ends.

    Arguments:
        notes, marks: what is in it.
        length: in quarter notes.
        opens: dots of a repeat that begins here.
        closes: dots of a repeat that ends here.
        ending: the passes in which it is the first bar played of an ending; empty where it is of none.
        double: whether a double or thick bar line ends it.
        part: the label of the part it is in.
    """

    notes: list[Sounding] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    length: Fraction = Fraction(0)
    opens: int = 0
    closes: int = 0
    ending: tuple[int, ...] = ()
    double: bool = False
    part: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing lasts in it."""
        return not self.length and not self.notes


@dataclass(slots=True)
class _Element:
    """A note, chord or rest that was read last: a tie or a dotted rhythm may still change it."""

    bar: Bar
    notes: list[Sounding]
    names: list[tuple[str, int, int]]
    length: Fraction


@dataclass(slots=True)
class _Tuplet:
    factor: Fraction
    left: int


class Voice:
    """Reads one voice: `take` its tokens in order, then `finish`.

    Args:
        name: of the voice.
        key, metre, unit: signature, time signature and unit note length that it begins with.
    """

    def __init__(self, name: str, key: Key, metre: Metre, unit: Fraction) -> None:
        self.name = name
        self.key, self.metre, self.unit = key, metre, unit
        self.octave, self.shift = 0, 0
        self.transpose, self.sounds_higher = 0, 0
        self.program: int | None = None
        self.accidentals_hold: Hold = "pitch"
        self.bars = [Bar()]
        self._open = 0  # the bar that is being written; the last, but in an overlay of several bars
        self._offset = Fraction(0)
        self._others = Fraction(0)  # how far the other layers of an overlay reach in that bar
        self._most_dots = 0
        self._accidentals: dict[tuple[str, int], int] = {}
        self._carried: dict[tuple[str, int], int] = {}
        self._last: _Element | None = None
        self._dotted: Fraction | None = None
        self._tuplet: _Tuplet | None = None
        self._chord: list[tuple[str, bool]] | None = None
        self._takes: dict[str, Callable[[str], None]] = {
            "note": self._take_note,
            "rest": self._take_rest,
            "bar": self._take_bar,
            "ending": self._take_ending,
            "open": self._take_open,
            "close": self._take_close,
            "tie": self._take_tie,
            "broken": self._take_broken,
            "tuplet": self._take_tuplet,
            "overlay": self._take_overlay,
        }

    @property
    def bar(self) -> Bar:
        """The bar that is being read."""
        return self.bars[self._open]

    def take(self, token: Token) -> None:
        """Read a token.

        Raises:
            UserError: it cannot stand here.
        """
        self._takes[token.kind](token.text)

    def mark(self, kind: str, value: object) -> None:
        """Note a change, or a chord symbol, where the voice has come to."""
        self.bar.marks.append(Mark(self._offset, kind, value))

    def mark_key(self) -> None:
        """Note the key that sounds: the written one, moved as the notes are."""
        moved = moved_fifths(self.key.fifths, self.transpose + self.sounds_higher)
        self.mark("key", replace(self.key, fifths=moved))

    def set_part(self, label: str) -> None:
        """What follows is in another part."""
        if self.bar.empty:
            self.bar.part = label
        else:
            self._next_bar(part=label)

    def finish(self) -> list[Bar]:
        """The bars, all of them.

        Raises:
            UserError: the tune ends within a chord.
        """
        if self._chord is not None:
            raise UserError("expected ] at the end of a chord, found the end of the tune")
        if len(self.bars) > 1 and self.bars[-1].empty and not self.bars[-1].marks:
            self.bars.pop()
        return self.bars

    # notes

    def _take_note(self, sign: str) -> None:
        if self._chord is not None:
            self._chord.append((sign, False))
        else:
            self._sound([(sign, False)], Fraction(1))

    def _take_open(self, sign: str) -> None:
        if self._chord is not None:
            raise UserError("expected ] at the end of a chord, found [")
        self._chord = []

    def _take_close(self, sign: str) -> None:
        chord, self._chord = self._chord, None
        if chord:
            self._sound(chord, length(sign[1:]))

    def _sound(self, signs: list[tuple[str, bool]], times: Fraction) -> None:
        """A note or a chord, as long as its first note; `signs` say which are tied."""
        written = [note(sign) for sign, _ in signs]
        lasts = self._lasting(written[0].length * times * self.unit)
        names = [self._named(*one[:3]) for one in written]
        self._carried = {}
        notes = [
            Sounding(self._offset, lasts, self._pitch(*name), tied)
            for name, (_, tied) in zip(names, signs, strict=True)
        ]
        self.bar.notes += notes
        self._last = _Element(self.bar, notes, names, lasts)
        self._carry([name for name, (_, tied) in zip(names, signs, strict=True) if tied])
        self._advance(lasts)

    def _named(self, sign: str, letter: str, octave: int) -> tuple[str, int, int]:
        """Letter, octave, semitones. An accidental holds to the end of its bar, for what the tune says."""
        place = letter, octave if self.accidentals_hold == "octave" else 0
        if sign:
            semitones = ACCIDENTALS[sign]
            if self.accidentals_hold != "not":
                self._accidentals[place] = semitones
        elif (letter, octave) in self._carried:
            semitones = self._carried[letter, octave]
        else:
            semitones = self._accidentals.get(place, self.key.accidentals.get(letter, 0))
        return letter, octave, semitones

    def _pitch(self, letter: str, octave: int, semitones: int) -> int:
        octaves = octave + self.octave + self.shift
        pitch = _MIDDLE_C + SEMITONES[letter] + semitones + 12 * octaves + self.transpose + self.sounds_higher
        if not 0 <= pitch <= 127:
            raise UserError(
                f"found a note {pitch - _MIDDLE_C:+d} semitones from middle C, which MIDI has not"
            )
        return pitch

    def _take_rest(self, sign: str) -> None:
        times = length(sign[1:])
        if self._chord is not None:
            return
        if sign[0] in "ZX":
            self._rest_bars(times)
            return
        lasts = self._lasting(times * self.unit)
        self._carried = {}
        self._last = _Element(self.bar, [], [], lasts)
        self._advance(lasts)

    def _rest_bars(self, count: Fraction) -> None:
        if count.denominator != 1 or count > 10_000:
            raise UserError(f"expected a whole number of bars of rest, found {count}")
        self._carried, self._last = {}, None
        for k in range(int(count)):
            if k:
                self._next_bar()
            self._advance(self.metre.bar)

    def _lasting(self, lasts: Fraction) -> Fraction:
        """A written length with its tuplet and the dot of the note before it."""
        if self._tuplet is not None:
            lasts *= self._tuplet.factor
            self._tuplet.left -= 1
            if not self._tuplet.left:
                self._tuplet = None
        if self._dotted is not None:
            lasts *= self._dotted
            self._dotted = None
        return lasts

    def _advance(self, lasts: Fraction) -> None:
        self._offset += lasts
        self.bar.length = max(self.bar.length, self._offset)

    # what changes notes

    def _take_tie(self, sign: str) -> None:
        if self._chord:
            self._chord[-1] = (self._chord[-1][0], True)
        elif self._last is not None:
            for one in self._last.notes:
                one.tied = True
            self._carry(self._last.names)

    def _carry(self, names: list[tuple[str, int, int]]) -> None:
        """An accidental holds over a bar line where its note is tied."""
        self._carried.update({(letter, octave): semitones for letter, octave, semitones in names})

    def _take_broken(self, sign: str) -> None:
        last, count = self._last, len(sign)
        if (
            last is None
            or last.bar is not self.bar
            or count > 4
            or len(set(sign)) > 1
            or self._chord is not None
        ):
            raise UserError(f"expected {sign} between two notes, found it elsewhere")
        shorter = Fraction(1, 2**count)
        here, self._dotted = (2 - shorter, shorter) if sign[0] == ">" else (shorter, 2 - shorter)
        changed = last.length * (here - 1)
        for one in last.notes:
            one.length += changed
        whole = last.bar.length == self._offset
        self._offset += changed
        if whole:  # no longer layer of an overlay reaches further
            last.bar.length = max(self._offset, self._others)
        last.length += changed

    def _take_tuplet(self, sign: str) -> None:
        parts = sign[1:].split(":")
        count = int(parts[0])
        beats = 3 if self.metre.compound else 2
        usual = {2: 3, 3: 2, 4: 3, 5: beats, 6: 2, 7: beats, 8: 3, 9: beats}.get(count)
        time = int(parts[1]) if len(parts) > 1 and parts[1] else usual
        notes = int(parts[2]) if len(parts) > 2 and parts[2] else count
        if time is None or not (count and time and notes):
            raise UserError(f"expected a tuplet like (3 or (3:2:3, found {sign}")
        self._tuplet = _Tuplet(Fraction(time, count), notes)

    # bars

    def _take_bar(self, sign: str) -> None:
        if self._chord is not None:
            raise UserError("expected ] at the end of a chord, found a bar line")
        self._accidentals = {}
        if self._open < len(self.bars) - 1:  # in an overlay of several bars
            self._begin_layer(self._open + 1)
            return
        line = sign.lstrip(".")
        inside = line.strip(":")
        closes = len(line) - len(line.lstrip(":"))
        opens = len(line) - len(line.rstrip(":")) if inside else 1
        if not self.bar.empty:
            self._next_bar()
        # signs that follow one another are those of one bar line
        self.bar.opens = max(self.bar.opens, opens)
        self._most_dots = max(self._most_dots, opens)
        if self._most_dots < 2:
            closes = min(closes, 1)  # two dots are for |:: only, where a section is played three times
        if len(self.bars) > 1:
            before = self.bars[-2]
            before.closes = max(before.closes, closes if inside else 1)
            before.double = before.double or len(inside) > 1

    def _next_bar(self, part: str | None = None) -> None:
        self.bars.append(Bar(part=self.bars[-1].part if part is None else part))
        self._begin_layer(len(self.bars) - 1)

    def _begin_layer(self, index: int) -> None:
        self._open, self._offset = index, Fraction(0)
        self._others = max((n.offset + n.length for n in self.bar.notes), default=Fraction(0))

    def _take_ending(self, sign: str) -> None:
        if not self.bar.empty:
            self._next_bar()
        self.bar.ending = numbers(sign)

    def _take_overlay(self, sign: str) -> None:
        """Each & goes back by a bar line: what follows sounds together with what came before."""
        back = sign.count("&") - 1
        if self._chord is not None:
            raise UserError("expected ] at the end of a chord, found &")
        if back > self._open or self._open < len(self.bars) - 1:
            raise UserError(f"found {sign} with fewer than {back + 1} bars before it")
        self._begin_layer(self._open - back)
        self._accidentals, self._carried, self._last = {}, {}, None
