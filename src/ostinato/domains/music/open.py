"""A run's model, as composing and scoring use it: with the frames and the key that its data had."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from ostinato.data.sequences import Skipped
from ostinato.domains.music.bars import COMMON_TIME, Bars
from ostinato.domains.music.metre import parsed
from ostinato.domains.music.reading.frames import BEFORE, AsFrames, convention_of
from ostinato.domains.music.reading.keys import KeyFrom, named
from ostinato.domains.music.reading.pieces import Piece, read_piece, read_pieces
from ostinato.domains.music.source import Source, read_source, source_of_frames
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, argument, call
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


@dataclass(frozen=True)
class MusicModel:
    """A model of music and how its pieces were made into frames.

    Arguments:
        model: the model, in evaluation mode.
        visible_size: V, rows of a frame: 88 notes, and as many with onsets (`layout`).
        frames_per_beat: frames to a quarter note.
        transposed: whether its pieces were moved to C major or C minor.
        data: name of the data set it was trained on.
        how: in what else its pieces were read; by default as before there was a choice.
        metres: of a model that reads bars: the usual one, and the usual pickups (`metre.usual_metres`).
    """

    model: SequenceModel
    visible_size: int = 88
    frames_per_beat: int = 1
    transposed: bool = True
    data: str = ""
    how: AsFrames = BEFORE
    metres: Mapping[str, Any] | None = None

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, device: torch.device | str = "cpu") -> "MusicModel":
        """The best model of the run in a folder, on a device (see `nn.devices.find_device`).

        Raises:
            UserError: the folder is no run, has no model yet, or its data are no music.
        """
        return cls.of(load_model(Run.open(folder), device=device))

    @classmethod
    def of(cls, trained: TrainedModel) -> "MusicModel":
        """A run's model, as composing and scoring use it.

        Raises:
            UserError: its data are no music.
        """
        details = trained.data.get("details", {})
        if "frames_per_beat" not in details:
            raise UserError(
                f"expected a run on music, found one on {trained.data['name']} in {trained.folder}; "
                f"train one with: {call('train', data='bach')}"
            )
        return cls(
            trained.model,
            trained.data["visible_size"],
            details["frames_per_beat"],
            details["transposed"],
            trained.data["name"],
            convention_of(details),
            details.get("metre"),
        )

    def bars(self, metre: str | None = None, pickup: float | None = None) -> Bars:
        """The bars of a piece that has none: in a metre, by default the usual one of the data.

        Args:
            metre: such as "3/4".
            pickup: quarter notes before the first full bar; by default as many as is usual in the metre, or
                0 where the data do not have it.

        Raises:
            UserError: the model was trained without metre, or the pickup is no whole number of its frames.

        Example:
            >>> from ostinato.nn import RNN
            >>> from ostinato.nn.outputs import Bernoulli
            >>> model = SequenceModel(RNN(88, 10), Bernoulli(10, 88))
            >>> known = {"usual": "2/4", "pickups": {"2/4": 0.5}, "pieces": {"2/4": 9}}
            >>> str(MusicModel(model, metres=known).bars().place(0.0).metre)
            '2/4'
        """
        if self.metres is None:
            for name, value in (("metre", metre), ("pickup", pickup)):
                if value is not None:
                    raise UserError(
                        f"expected no {argument(name)} of a run trained without metre, found {value}; leave "
                        f"it out, or train on files, or bach, with {argument('metre')}"
                    )
            return COMMON_TIME
        asked = parsed(metre or self.metres["usual"])
        usual = self.metres["pickups"].get(str(asked), 0.0)
        before = usual if pickup is None else pickup
        if not 0 <= before < asked.bar:
            raise UserError(
                f"expected {argument('pickup')} of at least 0 and less than a bar of {asked} "
                f"({asked.bar:g} quarter notes), found {before:g}"
            )
        if pickup is not None and not float(pickup * self.frames_per_beat).is_integer():
            near = round(pickup * self.frames_per_beat) / self.frames_per_beat
            raise UserError(
                f"expected {argument('pickup')} in whole frames, of which this model has "
                f"{self.frames_per_beat} to a quarter note, found {pickup:g}; the nearest is {near:g}"
            )
        return Bars(before, ((0.0, *asked),))

    def piece(self, name: str, frames: np.ndarray, bars: Bars | None = None) -> Piece:
        """Frames of a program's own, in the model's key, as a piece; by default in the usual metre."""
        there = self.bars() if bars is None else bars
        metre = self.metres is not None
        return Piece(name, frames, self.frames_per_beat, 0, -there.pickup, there, metre, self.how.look_back)

    def read(
        self, path: str | os.PathLike[str], *, semitones: int | None = None, key: str | None = None
    ) -> Piece:
        """A piece as the model reads it: with its frames to a beat, moved to C if its data were.

        Args:
            path: a MIDI, MusicXML, ABC or kern file.
            semitones: how far to move it up instead.
            key: what it is moved to C by: "guessed", "stated" or its name (`keys.named`); by default what the
                run's data were moved by.

        Raises:
            UserError: both are given, or a key where the data were not moved to C.
        """
        return read_piece(path, self._told(semitones, key), semitones=semitones)

    def source(
        self, path: str | os.PathLike[str], *, semitones: int | None = None, key: str | None = None
    ) -> Source:
        """A user's piece: what `read` gives, and its notes as they came, to be written again."""
        return read_source(path, self._told(semitones, key), semitones=semitones)

    def source_of_frames(self, frames: np.ndarray, name: str, bars: Bars | None = None) -> Source:
        """Frames that a program has, in the model's key, as a piece; see `piece`."""
        return source_of_frames(self.piece(name, frames, bars))

    def read_all(
        self, paths: Sequence[Path], *, semitones: int | None = None, key: str | None = None
    ) -> tuple[list[tuple[str, Piece]], list[Skipped]]:
        """The pieces of files, collections and folders, as `read` reads them, by name; and the unusable."""
        return read_pieces(paths, self._told(semitones, key), semitones=semitones, progress=True)

    def _told(self, semitones: int | None, key: str | None) -> AsFrames:
        """How pieces are read, where a key may have been named."""
        how = replace(self.how, frames_per_beat=self.frames_per_beat, transpose=self.transposed)
        if key is None:
            return how
        if semitones is not None:
            raise UserError(
                f"expected {argument('key')} or {argument('semitones')}, found both; leave one of them out"
            )
        if key not in get_args(KeyFrom):
            named(key)  # or no file was to blame
        if not self.transposed:
            raise UserError(
                f"expected no {argument('key')} of a run whose pieces stayed in their own keys, found {key}; "
                f"leave it out, or say {argument('semitones')}"
            )
        return replace(how, key=key)
