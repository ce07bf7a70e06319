"""A piece to be written: given notes as they came, and new voices. As MIDI, MusicXML, sound or picture.

Shapes: N notes.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from ostinato.domains.music.grid import fitting
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading import midi
from ostinato.domains.music.reading.notation import MIDI
from ostinato.domains.music.writing import audio, midi_file, musicxml, pictures
from ostinato.domains.music.writing.midi_file import VELOCITY, Voice, fraction
from ostinato.errors import UserError, argument, check_installed
from ostinato.evaluation.numbers import counted
from ostinato.files import atomic_write

TEMPO = 100.0
_SUFFIXES = (*MIDI[:2], ".musicxml", ".wav")


@dataclass(frozen=True)
class Score:
    """What is written.

    Arguments:
        source: the notes of the user's piece.
        given: which of them are written, (N,).
        voices: the new ones, the highest first.
        end: where the piece ends, in quarter notes.
        tempo: quarter notes a minute in the place of the piece's own.
        midi: the user's file, if it is one of MIDI.
        cut: what begins there or later is not written.
        pickup: length of an incomplete first bar.
        drums: notes of the user's file that `source` does not have.
    """

    source: Notes
    given: np.ndarray
    voices: tuple[Voice, ...]
    end: Fraction
    tempo: float | None = None
    midi: bytes | None = None
    cut: Fraction | None = None
    pickup: float = 0.0
    drums: int = 0

    @property
    def added(self) -> int:
        """How many notes are new."""
        return sum(len(voice.notes) for voice in self.voices)

    @cached_property
    def wanted(self) -> Notes:
        """The given notes, with what the piece says of tempo, metre and key up to the cut."""
        marks = self.source.marks
        if self.cut is not None:
            names = ("tempi", "metres", "keys")
            early = {k: tuple(m for m in getattr(marks, k) if m[0] < self.cut) for k in names}
            marks = replace(marks, **early)
        if self.tempo is not None:
            marks = replace(marks, tempi=((0.0, self.tempo),))
        columns = ("start", "end", "pitch", "track", "voice", "velocity", "sustained")
        chosen = {name: getattr(self.source, name)[self.given] for name in columns}
        return replace(self.source, marks=marks, **chosen)

    @cached_property
    def as_midi(self) -> bytes:
        """The MIDI file."""
        if self.midi is None:
            return midi_file.of_notes(
                self.wanted, self.voices, end=self.end, tempo=self.tempo or TEMPO, pickup=self.pickup
            )
        left_out = frozenset(np.flatnonzero(~self.given).tolist())
        return midi_file.with_voices(
            self.midi, self.voices, end=self.end, left_out=left_out, cut=self.cut, tempo=self.tempo
        )

    def counted(self) -> tuple[int, int]:
        """Given notes, drums among them, and how many of these are in the MIDI file, read back, as they came.

        Compared are time, length, pitch, velocity and track.
        """
        if self.midi is not None:
            left_out = frozenset(np.flatnonzero(~self.given).tolist())
            late: frozenset[int] = frozenset()
            if self.cut is not None:
                pitched, drums = midi.strikes(self.midi)
                limit = self.cut * midi_file.ticks_of(self.midi)
                late = frozenset(n for n, one in enumerate([*pitched, *drums]) if one.start >= limit)
            wanted = len(self.source) + self.drums - len(left_out | late)
            return wanted, midi_file.kept(self.midi, self.as_midi, left_out | late)
        found = self._rows(midi.notes_of(self.as_midi)) if len(self.wanted) or self.added else Counter()
        rows = self._rows(self.wanted)
        return len(self.wanted), (rows & found).total()

    def _rows(self, notes: Notes) -> Counter[tuple[object, ...]]:
        columns = (notes.start, notes.end, notes.pitch, notes.velocity, notes.track)
        return Counter(
            (
                fraction(start),
                fraction(end),
                pitch,
                velocity if velocity > 0 else VELOCITY,
                notes.parts[track] if track < len(notes.parts) else "",
            )
            for start, end, pitch, velocity, track in zip(*(c.tolist() for c in columns), strict=True)
        )

    @cached_property
    def notes(self) -> Notes:
        """All of it as notes: a part of each given one, then one of each new voice."""
        given = self.wanted
        parts = max(len(given.parts), int(given.track.max(initial=-1)) + 1)
        names = (*given.parts, *[""] * (parts - len(given.parts)))
        new = [(n, parts + k) for k, voice in enumerate(self.voices) for n in voice.notes]
        programs = (*given.marks.programs, *[-1] * (parts - len(given.marks.programs)))
        marks = replace(given.marks, programs=programs + (0,) * len(self.voices))
        if not marks.tempi and self.midi is None:
            marks = replace(marks, tempi=((0.0, self.tempo or TEMPO),))
        return Notes(
            np.concatenate([given.start, [float(n.begin) for n, _ in new]]),
            np.concatenate([given.end, [float(n.end) for n, _ in new]]),
            np.concatenate([given.pitch, [n.pitch for n, _ in new]]).astype(int),
            given.pickup,
            (*names, *(voice.name for voice in self.voices)),
            track=np.concatenate([given.track, [track for _, track in new]]).astype(int),
            velocity=np.concatenate([given.velocity, [VELOCITY] * len(new)]).astype(int),
            marks=marks,
            title=given.title,
        )

    def write(self, path: str | os.PathLike[str], *, title: str = "") -> list[str]:
        """Write it as what the file's ending says; what had to be changed for that, in words.

        Args:
            path: the file; it is written in one step.
            title: of a picture.
        """
        check_writable(path)
        suffix = Path(path).suffix.lower()
        if suffix in MIDI:
            atomic_write(path, self.as_midi)
            return []
        notices = []
        if self.drums:
            notices.append(f"without {counted(self.drums, 'drum note')}; MIDI has them")
        if suffix == ".musicxml":
            data, notice = musicxml.of_notes(self.notes, end=self.end)
            atomic_write(path, data)
            notices += [notice] if notice else []
        elif suffix == ".wav":
            # without a tempo, MIDI has 120 quarter notes a minute
            tempi = self.notes.marks.tempi or ((0.0, 120.0),)
            atomic_write(path, audio.wav_of_notes(self.notes, float(self.end), tempi))
        else:
            self._picture(path, title)
        return notices

    def _picture(self, path: str | os.PathLike[str], title: str) -> None:
        notes = self.notes
        grid = fitting([(notes.start, notes.end, notes.pitch, notes.pickup)]) if len(notes) else 1
        frames = np.zeros((max(round(float(self.end) * grid), 1), 88), np.uint8)
        if len(notes):
            begin = notes.first_beat(grid, "nearest") + notes.pickup
            drawn = notes.frames(grid, quantize="nearest")[:, :88]
            first = max(round(begin * grid), 0)
            frames = np.zeros((max(len(frames), first + len(drawn)), 88), np.uint8)
            frames[first : first + len(drawn)] = drawn
        most = pictures.MOST_FRAMES
        pictures.picture(frames, path, frames_per_beat=grid, title=title, max_frames=most)


def check_writable(path: str | os.PathLike[str]) -> None:
    """A UserError if `Score.write` could not write there: better before long work than after it."""
    pictures.check_writable(path, (*_SUFFIXES, *pictures.FORMATS))
    suffix = Path(path).suffix.lower()
    if suffix == ".musicxml":
        check_installed("music", "music21")


def checked_tempo(tempo: float | None) -> None:
    """A UserError where a tempo is none."""
    if tempo is not None and not 4 <= tempo <= 1000:
        raise UserError(f"expected {argument('tempo')} of 4 to 1000 quarter notes a minute, found {tempo:g}")
