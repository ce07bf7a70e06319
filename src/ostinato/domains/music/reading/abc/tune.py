"""A tune -> its voices' bars: fields and music, line by line."""

import re
from collections.abc import Callable
from fractions import Fraction
from typing import cast, get_args

from ostinato.domains.music.reading.abc import fields, symbols
from ostinato.domains.music.reading.abc.book import Line, Tune
from ostinato.domains.music.reading.abc.fields import Key, Metre
from ostinato.domains.music.reading.abc.tokens import Token, tokens
from ostinato.domains.music.reading.abc.voice import Hold, Voice
from ostinato.domains.music.reading.repeats import part_order
from ostinato.errors import UserError

_FIRST = "1"  # the voice of a tune that names none
_MIDI = re.compile(r"MIDI\s*=?\s*(\w+)\s*(.*)")
_PROPAGATE = re.compile(r"propagate-accidentals\s*=?\s*(.*)")


class TuneReader:
    """What a tune says: `title`, `voices` in the order in which they begin, `parts` as they are played.

    Raises:
        UserError: something in it is not ABC; the message names the line.
    """

    def __init__(self, tune: Tune) -> None:
        self.title = ""
        self.voices: dict[str, Voice] = {}
        self.parts: tuple[str, ...] = ()
        self.names: dict[str, str] = {}
        self._key: Key | None = None
        self._metre = Metre(free=True)
        self._unit: Fraction | None = None
        self._tempo = ""
        self._of_all: dict[str, str] = {}  # properties in the header's K:
        self._of_each: dict[str, dict[str, str]] = {}  # those in V:
        self._voice: Voice | None = None
        self._transpose = 0
        self._program: int | None = None
        self._accidentals_hold: Hold = "pitch"
        self._part = ""
        self._after_bar = False
        self._fields: dict[str, Callable[[str], None]] = {
            "K": self._take_key,
            "M": self._take_metre,
            "L": self._take_unit,
            "Q": self._take_tempo,
            "V": self._take_voice,
            "P": self._take_part,
            "T": self._take_title,
            "I": self._take_directive,
            "%": self._take_directive,
            "m": self._take_macro,
        }
        for line in tune.lines:
            try:
                self._take(line)
            except UserError as error:
                raise UserError(f"line {line.number}: {error}") from error

    def _take(self, line: Line) -> None:
        if line.field:
            self._take_field(line.field, line.text)
        elif self._key is not None:
            for token in tokens(line.text, after_bar=self._after_bar):
                self._take_token(token)
                self._after_bar = token.kind == "bar"

    def _take_token(self, token: Token) -> None:
        kind, sign = token
        if kind == "inline":
            self._take_field(sign[1], sign[3:-1])
        elif kind == "string":
            text = sign[1:-1].strip()
            if not symbols.is_annotation(text):
                self.voice.mark("chord", text)
        else:
            self.voice.take(token)

    def _take_field(self, letter: str, text: str) -> None:
        if letter in self._fields:
            self._fields[letter](text.strip())

    @property
    def voice(self) -> Voice:
        """The voice that is being written."""
        if self._voice is None:
            self._use(_FIRST)
        assert self._voice is not None
        return self._voice

    # fields: in the header they hold for all voices, in the body for the one that is being written

    def _take_title(self, text: str) -> None:
        self.title = self.title or text

    def _take_key(self, text: str) -> None:
        found, properties = fields.key(text), fields.properties(text)
        for other in ("shift", "sound"):
            if re.search(rf"\b{other}=", text):
                raise UserError(f"found {other}= in K:{text}, which the standard has not; use transpose=")
        if self._key is None:
            self._key, self._of_all = found or Key(), properties
            return
        if found is not None:
            self.voice.key = found
        _set(self.voice, properties)
        self.voice.mark_key()

    def _take_metre(self, text: str) -> None:
        found = fields.metre(text)
        if self._key is None:
            self._metre = found
        else:
            self.voice.metre = found
            self.voice.mark("metre", found)

    def _take_unit(self, text: str) -> None:
        found = fields.unit_length(text)
        if self._key is None:
            self._unit = found
        else:
            self.voice.unit = found

    def _take_tempo(self, text: str) -> None:
        if self._key is None:
            self._tempo = text
        elif rate := fields.tempo(text, self.voice.unit):
            self.voice.mark("tempo", rate)

    def _take_voice(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        if not name:
            raise UserError("expected the name of a voice after V:, found none")
        properties = fields.properties(rest)
        self._of_each[name] = self._of_each.get(name, {}) | properties
        if called := properties.get("name") or properties.get("nm"):
            self.names[name] = called
        if self._key is not None:
            self._use(name)
            _set(self.voice, properties)
            self.voice.mark_key()

    def _use(self, name: str) -> None:
        if name not in self.voices:
            unit = self._unit or self._metre.unit_length
            voice = Voice(name, self._key or Key(), self._metre, unit)
            voice.mark("metre", voice.metre)
            if rate := fields.tempo(self._tempo, unit):
                voice.mark("tempo", rate)
            voice.sounds_higher = self._transpose
            voice.program = self._program
            voice.accidentals_hold = self._accidentals_hold
            _set(voice, self._of_all)
            _set(voice, self._of_each.get(name, {}))
            voice.mark_key()
            self.voices[name] = voice
        self._voice = self.voices[name]
        # a part's label holds for the voices that are written after it
        if self._part and self._voice.bars[-1].part != self._part:
            self._voice.set_part(self._part)

    def _take_part(self, text: str) -> None:
        if self._key is None:
            self.parts = part_order(text)
            return
        self._part = text.strip(' "')
        if self._voice is not None:
            self._voice.set_part(self._part)

    def _take_directive(self, text: str) -> None:
        """%%MIDI transpose and program, as abc2midi has them, and how long accidentals hold; all others are
        for printing.
        """
        if hold := _PROPAGATE.match(text):
            self._take_hold(hold[1].strip())
            return
        found = _MIDI.match(text)
        if found is None:
            return
        words = found[2].split()
        if found[1] == "transpose" and words:
            self._transpose = _number(words[0], -127, 127, text)
            for voice in self.voices.values():
                voice.sounds_higher = self._transpose
                voice.mark_key()
        elif found[1] == "program" and words:
            program = _number(words[-1], 0, 127, text)
            if self._voice is None:
                self._program = program
            else:
                self._voice.program = program

    def _take_hold(self, text: str) -> None:
        if text not in get_args(Hold):
            raise UserError(f"expected propagate-accidentals not, octave or pitch, found {text!r}")
        self._accidentals_hold = cast(Hold, text)
        for voice in self.voices.values():
            voice.accidentals_hold = self._accidentals_hold

    def _take_macro(self, text: str) -> None:
        raise UserError(f"found the macro m:{text}; expand it, macros are not read")


def _set(voice: Voice, properties: dict[str, str]) -> None:
    if "octave" in properties:
        voice.octave = _number(properties["octave"], -9, 9, "octave")
    if "transpose" in properties:
        voice.transpose = _number(properties["transpose"], -127, 127, "transpose")
    if "clef" in properties or "shift" in properties:
        voice.shift = int(properties.get("shift", "0"))


def _number(word: str, low: int, high: int, name: str) -> int:
    try:
        number = int(word)
    except ValueError:
        number = high + 1
    if not low <= number <= high:
        raise UserError(f"expected a whole number from {low} to {high} in {name}, found {word}")
    return number
