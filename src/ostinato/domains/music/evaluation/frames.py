"""Scoring piano-rolls: log-likelihood and expected accuracy, summed by song.

Shapes: T time, B streams, V visible, S songs, D frames drawn from each distribution.
"""

import math
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.placement import moved
from ostinato.data.sequences import Sequence
from ostinato.data.streams import Streams
from ostinato.domains.music.evaluation.accuracy import BAY, PER_FRAME
from ostinato.domains.music.evaluation.estimated import ChainAccuracy, annealed_score, chain_accuracy
from ostinato.domains.music.evaluation.measures import (
    Sampling,
    accuracy_columns,
    cheap_columns,
    likelihood_columns,
)
from ostinato.evaluation.predictor import Predictor
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.nn.devices import device_of
from ostinato.nn.outputs.agreement import Estimate
from ostinato.nn.outputs.base import EstimatedFrames

POOLED = "pooled over all frames, first frame of each song included (predicted from a zero input)"
ROLL = "of what sounds in each frame, given the frames before with their onsets; pooled over all frames"
PER_SONG = "mean over songs of each song's mean over frames, first frame included"

SAMPLED = "from {} drawn frames; interval: 2 sampling errors"

# Enough to keep the kernel busy; scores do not depend on either (tests/evaluation/test_frames.py).
STREAMS, SEGMENT_LENGTH = 16, 200


def in_quarters(scores: dict[str, Score], frames_per_beat: int) -> dict[str, Score]:
    """The scores, and every pooled log-likelihood in nats per quarter note: those of all grids compare.

    Example:
        >>> frame = Score(-4.0, "nats/frame", POOLED, 9, 3, 0.1)
        >>> quarter = in_quarters({"log_likelihood": frame}, 2)["log_likelihood_per_quarter"]
        >>> quarter.value, quarter.unit, quarter.standard_error
        (-8.0, 'nats/quarter', 0.2)
    """
    added = {}
    for name in ("log_likelihood", "log_likelihood_roll"):
        if name in scores:
            added[f"{name}_per_quarter"] = scores[name].times(frames_per_beat, "nats/quarter")
    return scores | added


@dataclass(frozen=True)
class SongTotals:
    """Sums over the frames of each song; `frames` is what to divide them by.

    Arguments:
        names: of the songs.
        frames: in each song, (S,).
        log_prob: log-likelihood in nats, (S,); with `cheap` totals the stand-in for it.
        log_prob_roll: of frames with onsets, log-likelihood of what sounds in each, given all before, (S,).
        hits: right notes, (S,), or (D, S) where frames were drawn.
        errors: notes predicted or true, likewise.
        overlap: per-frame accuracy, likewise.
        estimate: where log-likelihoods are estimated, what is known of each frame; log_prob then sums bounds.
        songs: whose frame each is, in the estimate's order, (N,).
        chains: where accuracies were taken by Markov chains, these.
    """

    names: tuple[str, ...]
    frames: np.ndarray
    log_prob: np.ndarray
    log_prob_roll: np.ndarray | None = None
    hits: np.ndarray | None = None
    errors: np.ndarray | None = None
    overlap: np.ndarray | None = None
    estimate: Estimate | None = None
    songs: np.ndarray | None = None
    chains: ChainAccuracy | None = None

    def log_likelihood(self) -> Score:
        """Pooled log-likelihood in nats per frame: the score of the literature's tables."""
        score = pooled_score(self.log_prob, self.frames, "nats/frame", POOLED)
        return score if self.estimate is None else annealed_score(score, self.estimate)

    def scores(self) -> dict[str, Score]:
        """Every score by name."""
        each = self.log_prob / self.frames
        per_song = pooled_score(each, np.ones_like(each), "nats/frame", PER_SONG)
        if self.estimate is not None and self.songs is not None:
            per_song = annealed_score(per_song, self.estimate, torch.from_numpy(1 / self.frames[self.songs]))
        scores = {"log_likelihood": self.log_likelihood(), "log_likelihood_per_song": per_song}
        if self.log_prob_roll is not None:
            scores["log_likelihood_roll"] = pooled_score(self.log_prob_roll, self.frames, "nats/frame", ROLL)
        if self.chains is not None:
            scores |= self.chains.scores()
        if self.hits is not None and self.errors is not None and self.overlap is not None:
            accuracy = _pooled_draws(100 * self.hits, self.errors, BAY)
            frames = round(float(self.frames.sum()))
            scores["accuracy_bay"] = replace(accuracy, count=frames)
            counts = np.broadcast_to(self.frames, self.overlap.shape)
            scores["accuracy_per_frame"] = _pooled_draws(100 * self.overlap, counts, PER_FRAME)
        return scores


def _pooled_draws(sums: np.ndarray, counts: np.ndarray, convention: str) -> Score:
    """The pooled score of exact sums (S,), or of the means of drawn ones (D, S) with their spread."""
    if sums.ndim == 1:
        return pooled_score(sums, counts, "%", convention)
    score = pooled_score(sums.mean(0), counts.mean(0), "%", convention)
    each = sums.sum(1) / counts.sum(1)
    error = float(each.std(ddof=1) / math.sqrt(len(each)))
    interval = (score.value - 2 * error, score.value + 2 * error)
    return score.estimated(error, interval, SAMPLED.format(len(each)))


def total_by_song(
    predictor: Predictor,
    songs: SequenceOf[Sequence],
    *,
    accuracy: bool = False,
    cheap: bool = False,
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
    streams: int = STREAMS,
    segment_length: int = SEGMENT_LENGTH,
) -> SongTotals:
    """Run a predictor over songs and sum its scores by song; empty songs are left out.

    Args:
        predictor: a `SequenceModel`, a baseline, or anything called like them.
        songs: what to predict.
        accuracy: also take the expected accuracies (a few times as slow).
        cheap: where the log-likelihood can only be estimated, take what early stopping watches instead.
        sampling: how expectations that are not known exactly are estimated.
        streams: parallel streams, for speed only.
        segment_length: steps at a time, for speed and memory only.
    """
    layout, device = Streams(songs, streams, segment_length), device_of(predictor)
    generator = torch.Generator().manual_seed(sampling.seed)
    sums: dict[str, np.ndarray] = {}
    used = np.array([len(song) > 0 for song in songs])
    counts = np.array([len(song) for song in songs], dtype=np.float64)[used]
    names = tuple(song.name for song in songs if len(song) > 0)
    gathering: _Gathering | None = None
    states = None
    with torch.no_grad():
        for segment in layout:
            there = moved(segment, device)
            predicted, states = predictor(there.inputs, states, there.starts)
            frames: Any = predicted.flattened()  # type: ignore[attr-defined]
            targets, owner = there.targets.flatten(0, 1), segment.sequences.numpy().ravel()
            columns = {}
            if cheap:
                columns = cheap_columns(frames, targets)
            elif getattr(frames, "exact", True):
                columns = likelihood_columns(frames, targets)
            if isinstance(frames, EstimatedFrames) and not cheap and (accuracy or not frames.exact):
                gathering = gathering or _Gathering(frames, int(counts.sum()), generator)
                gathering.add(frames, targets, owner)
            elif accuracy:
                columns |= accuracy_columns(frames, targets, sampling, generator)
            for name, column in columns.items():
                sums[name] = sums.get(name, 0) + _by_song(column, owner, len(songs))
        totals: dict[str, Any] = {name: column[..., used] for name, column in sums.items()}
        if gathering is not None:
            totals |= gathering.totals(used, sampling if accuracy else None)
    return SongTotals(names, counts, **totals)


class _Gathering:
    """The frames of an output whose likelihood is estimated, of all of them together.

    Args:
        frames: the first part of them.
        total: N.
        generator: source of randomness.
    """

    def __init__(self, frames: EstimatedFrames, total: int, generator: torch.Generator) -> None:
        self._estimator, self._generator = frames.estimator(total, generator), generator
        self._owners: list[np.ndarray] = []

    def add(self, frames: EstimatedFrames, targets: Tensor, owner: np.ndarray) -> None:
        """Those that have an owner."""
        self._frames = frames
        (rows,) = np.nonzero(owner >= 0)
        self._owners.append(owner[rows])
        there = torch.from_numpy(rows).to(targets.device)
        frames.gathered(self._estimator, targets, there, rough=not frames.exact)

    def totals(self, used: np.ndarray, sampling: Sampling | None) -> dict[str, Any]:
        """Anneal, where log p is not known exactly, and draw for the accuracies if they are wanted."""
        # songs without frames have no number
        songs, found = (np.cumsum(used) - 1)[np.concatenate(self._owners)], {}
        if not self._frames.exact:
            estimate = self._estimator.finish()
            bounds = np.bincount(songs, estimate.every("bound").numpy(), minlength=used.sum())
            found = {"log_prob": bounds, "estimate": estimate, "songs": songs}
        if sampling is not None:
            found["chains"] = chain_accuracy(self._frames, self._estimator, songs, sampling, self._generator)
        return found


def _by_song(column: Tensor, owner: np.ndarray, songs: int) -> np.ndarray:
    """Sums (..., N) over the frames of each song, (..., S); frames without an owner are left out."""
    kept = owner >= 0
    rows = column.double().cpu().numpy().reshape(-1, len(owner))[:, kept]
    sums = np.stack([np.bincount(owner[kept], row, minlength=songs) for row in rows])
    return sums.reshape(*column.shape[:-1], songs)


def evaluate_frames(
    predictor: Predictor,
    songs: SequenceOf[Sequence],
    sampling: Sampling = Sampling(),  # noqa: B008 (frozen)
) -> dict[str, Score]:
    """Log-likelihood and both expected accuracies of a predictor on songs.

    Example:
        >>> from ostinato.domains.music.evaluation.baselines import fit_baseline
        >>> song = Sequence("a", np.tile(np.array([[1, 0]], np.uint8), (9, 1)))
        >>> scores = evaluate_frames(fit_baseline("1-gram", [song]), [song])
        >>> round(scores["log_likelihood"].value, 4), round(scores["accuracy_per_frame"].value, 1)
        (-0.1026, 92.6)
    """
    return total_by_song(predictor, songs, accuracy=True, sampling=sampling).scores()


def score_songs(model: Predictor, songs: SequenceOf[Sequence]) -> list[dict[str, Any]]:
    """Log-likelihood of each song under a model, in nats per frame; None where it cannot be told."""
    totals = total_by_song(model, songs)
    each = totals.log_prob / totals.frames
    told = each <= 0 if totals.log_likelihood().told else np.zeros_like(each, bool)
    known = told if totals.estimate is not None else np.ones_like(each, bool)
    return [
        {"name": name, "frames": int(frames), "log_likelihood": float(value) if there else None}
        for name, frames, value, there in zip(totals.names, totals.frames, each, known, strict=True)
    ]
