"""A piece as notes in beats, and what follows from notes alone: binary frames, the key, transposition.

Shapes: N notes, T time (frames), V = 88 notes of the piano (MIDI pitch 21 + column), or 2 V where frames have
onsets: see `layout`.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ostinato.domains.music.grid import Cost, Placed, Quantize, Timed, cost, place
from ostinato.domains.music.layout import COLUMNS as COLUMNS
from ostinato.domains.music.layout import HIGHEST as HIGHEST
from ostinato.domains.music.layout import LOWEST as LOWEST
from ostinato.domains.music.layout import checked as checked
from ostinato.domains.music.layout import shifted as shifted
from ostinato.domains.music.layout import spans as spans
from ostinato.errors import UserError, argument

# Far beyond any real piece (14 hours of eighths at tempo 120 are 201,600): longer ones have damaged times.
MAX_FRAMES = 200_000

# Craig Sapp's key profiles ("simple weights"): tonic and fifth count double, the scale's other notes once,
# and either seventh of minor half.
_MAJOR = np.array([2, 0, 1, 0, 1, 1, 0, 2, 0, 1, 0, 1], dtype=float)
_MINOR = np.array([2, 0, 1, 1, 0, 1, 0, 2, 1, 0, 0.5, 0.5], dtype=float)

_UNSAID = np.empty(0, dtype=int)


@dataclass(frozen=True)
class Marks:
    """What a file says beside its notes; times are in quarter notes.

    Arguments:
        tempi: (time, quarter notes a minute).
        metres: (time, beats, unit): time signatures.
        keys: (time, fifths, minor): sharps of the signature (flats, if negative), and whether it is minor.
        programs: MIDI program of each part, -1 where none is said.
    """

    tempi: tuple[tuple[float, float], ...] = ()
    metres: tuple[tuple[float, int, int], ...] = ()
    keys: tuple[tuple[float, int, bool], ...] = ()
    programs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Notes:
    """A piece: note n sounds from `start[n]` to `end[n]` (quarter notes) at MIDI pitch `pitch[n]`; (N,) each.

    `pickup` is the length of an incomplete first bar: the beats are at `pickup` plus whole numbers.
    `parts` are the names of the piece's parts, as far as the file names them; `track[n]` says which of them
    note n is in, `voice[n]` its voice there (in MIDI, its channel), `velocity[n]` how loud it is; -1 where
    the file does not say. `sustained[n]` is its end with the pedal. `number` is the tune's in its book,
    `lost` counts notes of the file that cannot be read: in MIDI, those that nothing ends.

    Example:
        >>> Notes(np.array([0.0]), np.array([1.0]), np.array([60])).frames(frames_per_beat=2).sum()
        np.uint64(2)
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    pickup: float = 0.0
    parts: tuple[str, ...] = ()
    track: np.ndarray = field(default_factory=lambda: _UNSAID)
    voice: np.ndarray = field(default_factory=lambda: _UNSAID)
    velocity: np.ndarray = field(default_factory=lambda: _UNSAID)
    sustained: np.ndarray = field(default_factory=lambda: _UNSAID)
    marks: Marks = Marks()
    title: str = ""
    number: int | None = None
    lost: int = 0

    def __post_init__(self) -> None:
        for name, value in (("track", 0), ("voice", -1), ("velocity", -1)):
            if getattr(self, name) is _UNSAID:
                object.__setattr__(self, name, np.full(len(self.pitch), value))
        if self.sustained is _UNSAID:
            object.__setattr__(self, "sustained", self.end)

    def pedalled(self) -> "Notes":
        """The same with every note held as long as the sustain pedal holds it."""
        return replace(self, end=self.sustained)

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def timed(self) -> Timed:
        """What a grid is fitted to."""
        return self.start, self.end, self.pitch, self.pickup

    def frames(
        self,
        frames_per_beat: int,
        *,
        transpose: bool = False,
        quantize: Quantize = "sample",
        onsets: bool = False,
    ) -> np.ndarray:
        """Binary (T, 88) uint8: what sounds in each frame, from the first sounding frame to the last.

        There are `frames_per_beat` frames to a quarter note and the beats fall on frames; notes outside
        21..108 are dropped. How others are placed says `quantize`: see `grid.place`. A held and a repeated
        note look alike, unless `onsets` adds 88 rows that say where notes begin: (T, 176), see `layout`.
        With `transpose`, the piece is first moved to C major or C minor: see `tonic`.

        Raises:
            UserError: no note is left, or the times are absurd; the message is a reason, without a file's
            name.

        Example:
            >>> chord = Notes(np.zeros(3), np.full(3, 2.0), np.array([62, 66, 69]))
            >>> np.flatnonzero(chord.frames(1, transpose=True)[0]) + 21
            array([60, 64, 67])
        """
        if transpose and len(self):
            moved = self.transposed(self.to_c())
            return moved.frames(frames_per_beat, quantize=quantize, onsets=onsets)
        placed = self.placed(frames_per_beat, quantize)
        first, last = placed.first[placed.kept], placed.last[placed.kept]
        start = _begin(placed, quantize)
        length = last.max() - start
        if not length <= MAX_FRAMES:
            raise UserError(f"lasts {length:.3g} frames, more than {MAX_FRAMES:,}: its times look damaged")
        frames = np.zeros((int(length), 2 * COLUMNS if onsets else COLUMNS), dtype=np.uint8)
        begins = np.maximum(first - start, 0).astype(int)
        columns = self.pitch[placed.kept] - LOWEST
        for begin, stop, column in zip(begins, (last - start).astype(int), columns, strict=True):
            frames[begin:stop, column] = 1
        if onsets:
            frames[begins, COLUMNS + columns] = 1
        return frames

    def to_c(self) -> int:
        """Semitones that `frames(transpose=True)` moves the piece by: -6 to 5.

        Example:
            >>> Notes(np.zeros(3), np.full(3, 2.0), np.array([62, 66, 69])).to_c()
            -2
        """
        return to_c(tonic(self.pitch, self.end - self.start))

    def transposed(self, semitones: int) -> "Notes":
        """The same notes, higher by so many semitones."""
        return replace(self, pitch=self.pitch + semitones)

    def first_beat(self, frames_per_beat: int, quantize: Quantize = "sample") -> float:
        """Where the first frame lies: quarter notes after the first full bar begins, negative in a pickup.

        Example:
            >>> Notes(np.array([0.0]), np.array([4.0]), np.array([60]), pickup=1.0).first_beat(2)
            -1.0
        """
        placed = self.placed(frames_per_beat, quantize)
        phase = self.pickup % (1 / frames_per_beat)
        return float(_begin(placed, quantize) / frames_per_beat + phase - self.pickup)

    def placed(self, frames_per_beat: int, quantize: Quantize = "sample") -> Placed:
        """First frame and frame after the last of each note, before silence is cut off; which notes stay.

        Raises:
            UserError: none stays.
        """
        if not len(self):
            raise UserError("no notes")
        phase = self.pickup % (1 / frames_per_beat)
        placed = place(self.start, self.end, self.pitch, frames_per_beat, phase, quantize)
        kept = placed.kept & (self.pitch >= LOWEST) & (self.pitch <= HIGHEST)
        if not kept.any():
            raise UserError("no note is long enough to fill a frame and within the piano's 88 keys")
        return replace(placed, kept=kept)

    def cost(self, frames_per_beat: int, quantize: Quantize = "sample") -> Cost:
        """What these frames cost: how many notes are moved, how far, and how many are lost.

        Notes that the reader had to leave out are lost too.
        """
        placed = self.placed(frames_per_beat, quantize)
        own = cost(self.start, placed, frames_per_beat, self.pickup % (1 / frames_per_beat))
        return own + Cost(notes=self.lost, lost=self.lost)

    def polyphony(self) -> tuple[float, float]:
        """Quarter notes of all notes together, and those in which at least one sounds.

        Example:
            >>> Notes(np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([60, 64])).polyphony()
            (4.0, 3.0)
        """
        order = np.argsort(self.start)
        start, end = self.start[order], self.end[order]
        reached = np.maximum.accumulate(np.concatenate([[-np.inf], end[:-1]])) if len(end) else end
        sounding = np.maximum(end - np.maximum(start, reached), 0).sum()
        return float((end - start).sum()), float(sounding)


def _begin(placed: Placed, quantize: Quantize) -> float:
    """The first frame: in samples, none before the file's beginning."""
    begin = float(placed.first[placed.kept].min())
    return max(begin, 0.0) if quantize == "sample" else begin


def seconds_per_frame(frames_per_beat: int, tempo: float) -> float:
    """How long a frame sounds at `tempo` quarter notes a minute.

    Example:
        >>> seconds_per_frame(2, 120)
        0.25
    """
    if frames_per_beat < 1:
        raise UserError(f"expected {argument('frames_per_beat')} of at least 1, found {frames_per_beat}")
    if not 4 <= tempo <= 1000:
        raise UserError(f"expected {argument('tempo')} of 4 to 1000 quarter notes a minute, found {tempo:g}")
    return 60 / tempo / frames_per_beat


def tonic(pitch: np.ndarray, weight: np.ndarray) -> int:
    """The tonic's pitch class (0 = C) of the key that fits the notes best: see `key_of`.

    Example:
        >>> tonic(np.array([62, 66, 69, 74]), np.ones(4))
        2
    """
    return key_of(pitch, weight)[0]


def key_of(pitch: np.ndarray, weight: np.ndarray) -> tuple[int, bool]:
    """The major or minor key that fits the notes best: its tonic's pitch class (0 = C), whether it is minor.

    The total `weight` (duration) of each of the 12 pitch classes is correlated with a profile of each of the
    24 keys. The profiles are Craig Sapp's; measured on the published frames, which are already in C, they
    find C in 91% of JSB, 97% of Nottingham, 96% of MuseData and 95% of Piano-midi (Krumhansl-Kessler: 80, 89,
    78, 81%).

    Example:
        >>> key_of(np.array([62, 65, 69, 74]), np.ones(4))
        (2, True)
    """
    histogram = np.bincount(np.asarray(pitch, dtype=int) % 12, weights=weight, minlength=12)
    histogram = histogram - histogram.mean()
    profiles = np.stack([np.roll(mode, key) for mode in (_MAJOR, _MINOR) for key in range(12)])
    profiles = profiles - profiles.mean(axis=1, keepdims=True)
    # rounded, so that a tie is one on every machine: the first key wins, majors before minors
    fit = np.round(
        profiles @ histogram / np.linalg.norm(profiles, axis=1) / (np.linalg.norm(histogram) + 1e-12), 9
    )
    best = int(np.argmax(fit))
    return best % 12, best >= 12


def moved_fifths(fifths: int, semitones: int) -> int:
    """The sharps of a key signature (flats, if negative) when its music is moved up by so many semitones.

    Example:
        >>> moved_fifths(2, -2), moved_fifths(0, -9), moved_fifths(3, 12), moved_fifths(-4, -1)
        (0, -3, 3, 1)
    """
    found = fifths + (7 * semitones + 6) % 12 - 6 if semitones % 12 else fifths
    return found - 12 * (found > 7) + 12 * (found < -7)


def to_c(tonic: int) -> int:
    """Semitones from a tonic to the nearest C: -6 to 5.

    Example:
        >>> [to_c(tonic) for tonic in (0, 2, 6, 7, 11)]
        [0, -2, -6, 5, 1]
    """
    return -tonic if tonic <= 6 else 12 - tonic
