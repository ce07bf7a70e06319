"""Adding voices to a melody, or notes to any part of a piece: which notes are fixed, and which are free.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column), D = V rows of a frame, or 2 V with onsets.
"""

import math
import re
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

import numpy as np

from ostinato.domains.music.layout import COLUMNS, LOWEST, checked, roll, struck
from ostinato.domains.music.reading.pieces import Piece
from ostinato.errors import UserError

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NUMBER = r"\d+(?:\.\d+)?"
_PITCH = r"([A-Ga-g])([#♯b♭]?)(-?\d)"
_BEATS = re.compile(rf"({_NUMBER})?-({_NUMBER})?")
_BARS = re.compile(r"bars?[ :]*(\d+)?\s*(-)?\s*(\d+)?", re.IGNORECASE)
_PITCHES = re.compile(rf"{_PITCH}(?:-{_PITCH})?")


@dataclass(frozen=True)
class Constraint:
    """Which notes are given.

    Arguments:
        fixed: boolean (T, D).
        values: (T, D) uint8; zero where nothing is fixed.
    """

    fixed: np.ndarray
    values: np.ndarray


def melody(frames: np.ndarray, *, above: bool = False) -> Constraint:
    """Hold every note of a melody (or of several given voices); all else is free.

    In each frame the rows above the highest given note are held silent, unless `above`: the melody stays the
    top voice. Where it rests, its last note (at the beginning its first) is the limit.

    Args:
        frames: the melody, (T, D); with onsets a given note is struck where it is, and held.
        above: whether notes may be added above it.

    Example:
        >>> constraint = melody(np.eye(88, dtype=np.uint8)[[39]])
        >>> int(constraint.fixed.sum()), int(constraint.values.sum())
        (49, 1)
    """
    given = checked(frames) != 0
    if not given.any():
        raise UserError("expected a melody, found no notes in it")
    fixed = roll(given).copy()
    if not above:
        fixed |= np.arange(COLUMNS) > _top_line(roll(given))[:, None]
    return Constraint(_both(fixed, given), given.astype(np.uint8))


def _both(pitches: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """What is said of pitches (T, V), of all the rows that frames (T, D) have for them."""
    return np.tile(pitches, (1, frames.shape[1] // COLUMNS))


def _top_line(given: np.ndarray) -> np.ndarray:
    """Column of the highest note of each frame (T,), carried on through rests."""
    sounding = given.any(axis=1)
    top = COLUMNS - 1 - given[:, ::-1].argmax(axis=1)
    last = np.maximum.accumulate(np.where(sounding, np.arange(len(given)), -1))
    return top[np.where(last < 0, sounding.argmax(), last)]


@dataclass(frozen=True)
class Region:
    """Frames `begin` to `end` (exclusive) of the rows `low` to `high` (MIDI pitches, inclusive).

    Example:
        >>> Region.parse("4-8@C4-G5", frames_per_beat=2)
        Region(begin=8, end=16, low=60, high=79)
    """

    begin: int = 0
    end: int | None = None
    low: int = LOWEST
    high: int = LOWEST + COLUMNS - 1

    @classmethod
    def parse(cls, text: str, frames_per_beat: int) -> "Region":
        """A region as users write it: `BEATS`, `PITCHES` or `BEATS@PITCHES`.

        Beats are quarter notes from the first frame, `FROM-TO`, either left out for the beginning or the end;
        pitches are a name, or two, the lower first.

        Example:
            >>> Region.parse("16-", 1), Region.parse("C2-B♭3", 1)
            (Region(begin=16, end=None, low=21, high=108), Region(begin=0, end=None, low=36, high=58))
        """
        beats, at, pitches = text.strip().partition("@")
        if not at and _PITCHES.fullmatch(beats):
            beats, pitches = "-", beats
        time = _BEATS.fullmatch(beats)
        rows = _PITCHES.fullmatch(pitches) if at or pitches else None
        if time is None or ((at or pitches) and rows is None):
            raise UserError(
                'expected a region like "bars 5-8", 16-24 (quarter notes), C4-G5 (pitches) or 16-24@C4-G5, '
                f"found {text!r}"
            )
        begin = round(float(time[1] or 0) * frames_per_beat)
        end = math.ceil(float(time[2]) * frames_per_beat - 1e-9) if time[2] else None
        low, high = LOWEST, LOWEST + COLUMNS - 1
        if rows is not None:
            low = _pitch(*rows.groups()[:3])
            high = low if rows[4] is None else _pitch(*rows.groups()[3:])
        if (end is not None and end <= begin) or high < low:
            raise UserError(f"expected a region that is not empty, the smaller number first, found {text!r}")
        if low < LOWEST or high >= LOWEST + COLUMNS:
            raise UserError(f"expected pitches within A0-C8, which the model knows, found {text!r}")
        return cls(begin, end, low, high)

    def mask(self, frames: int, semitones: int = 0) -> np.ndarray:
        """Boolean (T, 88): the region in a piece of T frames that was moved up by `semitones`.

        Example:
            >>> int(Region(0, 2, 60, 61).mask(8).sum())
            4
        """
        inside = np.zeros((frames, COLUMNS), dtype=bool)
        if self.begin >= frames:
            raise UserError(f"expected regions within the {frames} frames of a piece, one is after its end")
        rows = np.arange(COLUMNS) + LOWEST - semitones
        inside[self.begin : self.end] = (rows >= self.low) & (rows <= self.high)
        return inside


def _pitch(name: str, sign: str, octave: str) -> int:
    return 12 * (int(octave) + 1) + _STEPS[name.upper()] + {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(sign, 0)


def regions(
    frames: np.ndarray,
    *,
    fixed: SequenceOf[Region] = (),
    free: SequenceOf[Region] = (),
    semitones: int = 0,
) -> Constraint:
    """Hold parts of a piece as they are, notes and silences; the rest is free.

    Args:
        frames: the piece, (T, D); a note that comes out of a free region may go on or be struck anew.
        fixed: the regions that are held; the whole piece if none is named.
        free: regions that are taken out of them: gaps to fill.
        semitones: how far the piece was moved up since the regions' pitches were named.

    Example:
        >>> constraint = regions(np.eye(88, dtype=np.uint8), free=[Region(10, 20)])
        >>> np.flatnonzero(~constraint.fixed.all(axis=1))
        array([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    """
    held = held_cells(len(checked(frames)), fixed=fixed, free=free, semitones=semitones)
    rows = _both(held, frames)
    if rows.shape != held.shape:
        # whether it was held depends on what is composed before it
        rows[1:, COLUMNS:] &= held[:-1] | struck(frames)[1:] | (roll(frames)[1:] == 0)
    return Constraint(rows, ((np.asarray(frames) != 0) & rows).astype(np.uint8))


def held_cells(
    frames: int, *, fixed: SequenceOf[Region] = (), free: SequenceOf[Region] = (), semitones: int = 0
) -> np.ndarray:
    """Boolean (T, 88): what `regions` holds of so many frames.

    Rows that are off the keyboard in the piece's own key are always held.

    Example:
        >>> int(held_cells(2, free=[Region(0, 1)]).sum())
        88
    """
    held = np.full((frames, COLUMNS), not fixed)
    for region in fixed:
        held |= region.mask(frames, semitones)
    for region in free:
        held &= ~region.mask(frames, semitones)
    own = np.arange(COLUMNS) - semitones
    held[:, (own < 0) | (own >= COLUMNS)] = True
    return held


def region_of(text: str, piece: Piece) -> Region:
    """A region of a piece as users write it: as for `Region.parse`, or in bars, `bars 5-8@C4-G5`.

    Bars have the piece's own numbers and metres, and both are in the region; a pickup is bar 0.

    Example:
        >>> from ostinato.domains.music.bars import Bars
        >>> piece = Piece("waltz", np.zeros((24, 88), np.uint8), 2, bars=Bars(metres=((0.0, 3, 4),)))
        >>> region_of("bars 2-3", piece), region_of("bar 4", piece).begin
        (Region(begin=6, end=18, low=21, high=108), 18)
    """
    grid, first = piece.frames_per_beat, piece.time(0)
    least = 0 if piece.bars.pickup else 1
    last = piece.bars.last(first + len(piece) / grid)
    if not text.strip().lower().startswith("bar"):
        return _within(Region.parse(text, grid), text, piece, piece.bars.begin(last + 1) - first)
    beats, at, rows = text.strip().partition("@")
    found = _BARS.fullmatch(beats)
    begin = int(found[1]) if found and found[1] else least
    end = last if found is None or (found[2] and not found[3]) else int(found[3]) if found[3] else begin
    if found is None or not (found[1] or found[2]) or not least <= begin <= end <= last:
        raise UserError(_no_bars(text, piece, (least, last), (begin, end) if found else None))
    try:
        pitches = Region.parse(f"-{at}{rows}", grid)
    except UserError as error:
        raise UserError(f'expected pitches like "bars {least}-{last}@C4-G5", found {text!r}') from error
    frames = [
        min(max(math.ceil((time - first) * grid - 1e-6), 0), len(piece))
        for time in (piece.bars.begin(begin), piece.bars.begin(end + 1))
    ]
    if frames[0] == frames[1]:
        raise UserError(f"expected bars with a frame of the model in them, found {text!r}")
    return Region(frames[0], frames[1], pitches.low, pitches.high)


def _no_bars(text: str, piece: Piece, there: tuple[int, int], asked: tuple[int, int] | None) -> str:
    """Why these are no bars of the piece, and which there are."""
    least, last = there
    message = f"expected bars within {least}-{last}, those of {piece.name}, found {text!r}"
    if asked is None or asked[0] <= asked[1]:
        pickup = "; it has no pickup, which would be bar 0" if asked and asked[0] < least else ""
        return f'{message}{pickup}; write "bars {least}-{last}" or some of them'
    return f'{message}; write the smaller number first, "bars {asked[1]}-{asked[0]}"'


def _within(region: Region, text: str, piece: Piece, quarters: float) -> Region:
    """The region, unless it goes on after the piece's last bar, which ends after so many quarter notes."""
    frames = len(piece)
    if region.begin >= frames or (region.end or 0) > max(frames, math.ceil(quarters * piece.frames_per_beat)):
        raise UserError(
            f"expected quarter notes within 0-{quarters:g}, those of {piece.name}, found {text!r}; leave the "
            'last number out for all up to the end, like "4-"'
        )
    return region
