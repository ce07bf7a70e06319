"""Scoring piano-rolls: log-likelihood and expected accuracy, summed by song.

Shapes: T time, B streams, V visible, S songs.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from ostinato.data.sequences import Sequence
from ostinato.data.streams import Streams
from ostinato.evaluation.accuracy import BAY, PER_FRAME, expected_accuracy
from ostinato.evaluation.scores import Score, pooled_score

POOLED = "pooled over all frames, first frame of each song included (predicted from a zero input)"
PER_SONG = "mean over songs of each song's mean over frames, first frame included"

# Enough to keep the kernel busy; scores do not depend on either (tests/evaluation/test_frames.py).
STREAMS, SEGMENT_LENGTH = 16, 200


class Predictor(Protocol):
    """A model, as evaluation sees it: carried states in, distributions of every next frame out."""

    def __call__(
        self, inputs: Tensor, states: Any = None, starts: Tensor | None = None
    ) -> tuple[Distribution, Any]:
        """Predict (T, B) frames."""


@dataclass(frozen=True)
class SongTotals:
    """Sums over the frames of each song, each of shape (S,); `frames` is what to divide them by."""

    names: tuple[str, ...]
    frames: np.ndarray
    log_prob: np.ndarray
    hits: np.ndarray | None = None
    errors: np.ndarray | None = None
    overlap: np.ndarray | None = None

    def log_likelihood(self) -> Score:
        """Pooled log-likelihood in nats per frame: the score of the literature's tables."""
        return pooled_score(self.log_prob, self.frames, "nats/frame", POOLED)

    def scores(self) -> dict[str, Score]:
        """Every score by name."""
        each = self.log_prob / self.frames
        scores = {
            "log_likelihood": self.log_likelihood(),
            "log_likelihood_per_song": pooled_score(each, np.ones_like(each), "nats/frame", PER_SONG),
        }
        if self.hits is not None and self.errors is not None and self.overlap is not None:
            accuracy = pooled_score(100 * self.hits, self.errors, "%", BAY)
            frames = round(float(self.frames.sum()))
            scores["accuracy_bay"] = Score(
                accuracy.value, "%", BAY, frames, accuracy.songs, accuracy.standard_error
            )
            scores["accuracy_per_frame"] = pooled_score(100 * self.overlap, self.frames, "%", PER_FRAME)
        return scores


def total_by_song(
    predictor: Predictor,
    songs: SequenceOf[Sequence],
    *,
    accuracy: bool = False,
    streams: int = STREAMS,
    segment_length: int = SEGMENT_LENGTH,
) -> SongTotals:
    """Run a predictor over songs and sum its scores by song; empty songs are left out.

    Args:
        predictor: a `SequenceModel`, a baseline, or anything called like them.
        songs: what to predict.
        accuracy: also take the expected accuracies (a few times as slow).
        streams: parallel streams, for speed only.
        segment_length: steps at a time, for speed and memory only.
    """
    layout = Streams(songs, streams, segment_length)
    sums = np.zeros((4, len(songs)))
    states = None
    with torch.no_grad():
        for segment in layout:
            frames, states = predictor(segment.inputs, states, segment.starts)
            owner = segment.sequences.numpy().ravel()
            kept = owner >= 0
            columns = [frames.log_prob(segment.targets).flatten()]
            if accuracy:
                expected = expected_accuracy(frames.flattened(), segment.targets.flatten(0, 1))  # type: ignore[attr-defined]
                columns += [expected.hits, expected.errors, expected.overlap]
            for row, column in zip(sums, columns, strict=False):
                row += np.bincount(owner[kept], column.double().numpy()[kept], minlength=len(songs))
    used = np.array([len(song) > 0 for song in songs])
    names = tuple(song.name for song in songs if len(song) > 0)
    counts = np.array([len(song) for song in songs], dtype=np.float64)[used]
    log_prob, hits, errors, overlap = sums[:, used]
    if not accuracy:
        return SongTotals(names, counts, log_prob)
    return SongTotals(names, counts, log_prob, hits, errors, overlap)


def evaluate_frames(predictor: Predictor, songs: SequenceOf[Sequence]) -> dict[str, Score]:
    """Log-likelihood and both expected accuracies of a predictor on songs.

    Example:
        >>> from ostinato.evaluation.baselines import fit_baseline
        >>> song = Sequence("a", np.tile(np.array([[1, 0]], np.uint8), (9, 1)))
        >>> scores = evaluate_frames(fit_baseline("1-gram", [song]), [song])
        >>> round(scores["log_likelihood"].value, 4), round(scores["accuracy_per_frame"].value, 1)
        (-0.1026, 92.6)
    """
    return total_by_song(predictor, songs, accuracy=True).scores()
