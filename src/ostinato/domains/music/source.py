"""A user's piece: its notes as they came, what a model sees of them, and the way back from frames.

Shapes: N notes, T time (frames), V = 88 notes of the piano, D rows of a frame.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ostinato.domains.music.grid import Placed
from ostinato.domains.music.harmonize import Constraint, Region, held_cells
from ostinato.domains.music.notes import COLUMNS, LOWEST, Marks, Notes, checked, spans
from ostinato.domains.music.reading.content import bytes_of, out_of_riff
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.midi import strikes
from ostinato.domains.music.reading.notation import MIDI
from ostinato.domains.music.reading.pieces import Piece, one_of, parted, piece_of
from ostinato.domains.music.writing.midi_file import Played, Voice, fraction
from ostinato.domains.music.writing.score import Score
from ostinato.domains.music.writing.voices import Line, led
from ostinato.errors import MissingExtra, UserError

# How early a hand may come, and how late it may leave, in quarter notes, for a note to count as on the line.
_EARLY, _LATE = 1 / 16, 1 / 8


@dataclass(frozen=True)
class Source:
    """A user's piece.

    Arguments:
        notes: as they came, in their own key.
        piece: what the model sees.
        placed: where each note lies in the frames, (N,); the piece's first frame is 0.
        midi: the file, if it is one of MIDI.
        drums: how many of its notes are drums.
    """

    notes: Notes
    piece: Piece
    placed: Placed
    midi: bytes | None = None
    drums: int = 0

    @property
    def origin(self) -> Fraction:
        """Where the first frame lies, in quarter notes from the piece's beginning."""
        return fraction(self.piece.time(0))

    @property
    def unseen(self) -> int:
        """Notes that are in no frame: off the keyboard, too short for the frames, or drums."""
        return int((~self.placed.kept & ~self.placed.unison).sum()) + self.drums

    def cells(self, given: np.ndarray, frames: int) -> np.ndarray:
        """Where chosen notes (N,) lie in so many frames, (T, 88) boolean."""
        found = np.zeros((frames, COLUMNS), dtype=bool)
        for n in np.flatnonzero(given & (self.placed.kept | self.placed.unison)):
            begin = max(int(self.placed.first[n]), 0)
            found[begin : max(int(self.placed.last[n]), 0), self._column(n)] = True
        return found

    def selection(self, fixed: Sequence[Region], free: Sequence[Region]) -> tuple[np.ndarray, Constraint]:
        """Which notes are given, (N,), and what that means for frames of which regions are composed anew.

        A note that sounds in what is held is given from its beginning to its end, and so is one off the
        keyboard. At a region's edges a note may come a little early, or end a little late.
        """
        frames = self.piece.frames
        held = held_cells(len(frames), fixed=fixed, free=free, semitones=self.piece.semitones)
        grid = self.piece.frames_per_beat
        begins = (self.notes.start - float(self.origin) + _EARLY) * grid
        ends = (self.notes.end - float(self.origin) - _LATE) * grid
        given = np.ones(len(self.notes), dtype=bool)
        for n in range(len(self.notes)):
            column = self._column(n)
            if 0 <= column < COLUMNS:
                begin = min(max(math.floor(begins[n]), 0), len(held) - 1)
                given[n] = held[begin : max(math.ceil(ends[n]), begin + 1), column].any()
        cells = self.cells(given, len(frames))
        rows = frames.shape[1] // COLUMNS
        values = frames & np.tile(cells, (1, rows))
        return given, Constraint(np.tile(held | cells, (1, rows)), values.astype(np.uint8))

    def with_frames(
        self, frames: np.ndarray, given: np.ndarray, *, cut: int | None = None, tempo: float | None = None
    ) -> Score:
        """Given notes as they came, and what else sounds in frames (T, D) as new voices on the piece's grid.

        Args:
            frames: of the model, in its key; the first is the piece's first.
            given: which of the piece's notes are written, (N,).
            cut: nothing of the piece that begins in this frame or later is written.
            tempo: quarter notes a minute, in the place of the piece's own.
        """
        cells = self.cells(given, len(checked(frames)))
        added = frames * ~np.tile(cells, (1, frames.shape[1] // COLUMNS))
        up = LOWEST - self.piece.semitones
        lines = [Line(b, e, column + up) for b, e, column in spans(added) if 0 <= column + up <= 127]
        voices = led(lines)
        named = [
            Voice(f"ostinato {k}", [Played(self._at(n.begin), self._at(n.end), n.pitch) for n in own])
            for k, own in enumerate(voices, start=1)
        ]
        limit = None if cut is None else self._at(cut)
        pickup = self.piece.bars.pickup if self.notes.pickup else 0.0
        return Score(
            self.notes,
            given,
            tuple(named),
            self._at(len(frames)),
            tempo,
            self.midi,
            limit,
            pickup,
            self.drums,
        )

    def _at(self, frame: int) -> Fraction:
        return self.origin + Fraction(frame, self.piece.frames_per_beat)

    def _column(self, n: int | np.integer) -> int:
        return int(self.notes.pitch[int(n)]) + self.piece.semitones - LOWEST


def read_source(path: str | os.PathLike[str], how: AsFrames, *, semitones: int | None = None) -> Source:
    """A user's piece from a file.

    Args:
        path: of a MIDI, MusicXML, ABC or kern file, or a piece of a collection (`book.abc#3`).
        how: the frames that the model knows.
        semitones: how far it is moved up for the model; by default as `how` says.

    Raises:
        UserError: as for `reading.pieces.read_piece`.
    """
    try:
        file, _ = parted(Path(path))
        notes = one_of(Path(path), how)
        piece = piece_of(Path(path).name, notes, how, semitones)
        data = out_of_riff(bytes_of(file)) if file.suffix.lower() in MIDI else None
    except MissingExtra:
        raise
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    drums = 0 if data is None else len(strikes(data)[1])
    return source_of(notes, piece, how, data, drums)


def source_of(notes: Notes, piece: Piece, how: AsFrames, midi: bytes | None = None, drums: int = 0) -> Source:
    """Notes and the frames that were made of them."""
    seen = (notes.pedalled() if how.pedal else notes).transposed(piece.semitones)
    grid, quantize = piece.frames_per_beat, how.quantize or "nearest"
    placed = seen.placed(grid, quantize)
    begin = placed.first[placed.kept].min()
    begin = max(begin, 0.0) if quantize == "sample" else begin
    placed = replace(placed, first=placed.first - begin, last=placed.last - begin)
    return Source(notes, piece, placed, midi, drums)


def source_of_frames(piece: Piece) -> Source:
    """Frames that a program has, (T, V), as a piece: each held note is one."""
    grid = piece.frames_per_beat
    lines = np.array(list(spans(piece.frames)), dtype=int).reshape(-1, 3)
    first, last, column = lines.T
    bars = piece.bars
    notes = Notes(
        first / grid,
        last / grid,
        column + LOWEST,
        pickup=bars.pickup,
        parts=("given",) if len(lines) else (),
        marks=Marks(metres=bars.metres),
    )
    every = np.ones(len(notes), dtype=bool)
    return Source(notes, piece, Placed(first.astype(float), last.astype(float), every, ~every))
