"""A run's model, as composing and scoring use it: with the frames and the key that its data had."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ostinato.data.sequences import Skipped
from ostinato.domains.music.reading.frames import BEFORE, AsFrames, convention_of
from ostinato.domains.music.reading.pieces import Piece, read_piece, read_pieces
from ostinato.domains.music.source import Source, read_source, source_of_frames
from ostinato.domains.trained import TrainedModel
from ostinato.errors import UserError, call
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
    """

    model: SequenceModel
    visible_size: int = 88
    frames_per_beat: int = 1
    transposed: bool = True
    data: str = ""
    how: AsFrames = BEFORE

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
        )

    def read(self, path: str | os.PathLike[str], *, semitones: int | None = None) -> Piece:
        """A piece as the model reads it: with its frames to a beat, moved to C if its data were.

        Args:
            path: a MIDI, MusicXML, ABC or kern file.
            semitones: how far to move it up instead.
        """
        return read_piece(path, self._how, semitones=semitones)

    def source(self, path: str | os.PathLike[str], *, semitones: int | None = None) -> Source:
        """A user's piece: what `read` gives, and its notes as they came, to be written again."""
        return read_source(path, self._how, semitones=semitones)

    def source_of_frames(self, frames: np.ndarray, name: str) -> Source:
        """Frames that a program has, in the model's key, as a piece."""
        return source_of_frames(Piece(name, frames, self.frames_per_beat))

    def read_all(
        self, paths: Sequence[Path], *, semitones: int | None = None
    ) -> tuple[list[tuple[str, Piece]], list[Skipped]]:
        """The pieces of files, collections and folders, as `read` reads them, by name; and the unusable."""
        return read_pieces(paths, self._how, semitones=semitones, progress=True)

    @property
    def _how(self) -> AsFrames:
        return replace(self.how, frames_per_beat=self.frames_per_beat, transpose=self.transposed)
