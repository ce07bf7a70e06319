"""Scoring series: nats per step in the data's own units, errors, CRPS and coverage, each with its error.

Shapes: T time, B streams, D columns, N steps that count, C clusters.
"""

import math
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace

import numpy as np
import torch

from ostinato.data.placement import moved
from ostinato.domains.series.predictor import SeriesPredictor
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part
from ostinato.domains.series.streams import SeriesStreams
from ostinato.evaluation.numbers import counted
from ostinato.evaluation.scores import Score, pooled_score

# For speed only.
STREAMS, SEGMENT_LENGTH = 16, 200

# Fewer series than this say little of the spread between them: then blocks of consecutive steps do.
FEWEST_SERIES, BLOCKS = 5, 20

COVERAGE = 0.9


@dataclass(frozen=True)
class StepScores:
    """What a predictor made of each step that counts, series after series, in the order of time.

    Arguments:
        log_prob: log-density of the step's observed values given all before, standardised, (N,).
        observed: which values there are, boolean (N, D); where there is none the fields below are 0.
        squared: squared distance from the predicted mean, standardised, (N, D).
        crps: continuous ranked probability score, standardised, (N, D).
        covered: 1 for a value between the 5% and the 95% quantile predicted for it, (N, D).
        series: which series a step is of, (N,).
    """

    log_prob: np.ndarray
    observed: np.ndarray
    squared: np.ndarray
    crps: np.ndarray
    covered: np.ndarray
    series: np.ndarray

    def own_log_prob(self, scaling: Scaling) -> np.ndarray:
        """Log-density in the data's own units, (N,): standardised, less log scale of each observed column."""
        return np.asarray(self.log_prob - scaling.log_scale(self.observed))

    @property
    def by_series(self) -> bool:
        """Whether there are series enough to take errors over."""
        return len(np.unique(self.series)) >= FEWEST_SERIES

    def clusters(self) -> np.ndarray:
        """Whom errors are taken over, (N,): the series, or where these are few, blocks of their steps."""
        names, index, counts = np.unique(self.series, return_inverse=True, return_counts=True)
        if len(names) >= FEWEST_SERIES:
            return np.asarray(index)
        blocks = np.maximum(1, np.round(BLOCKS * counts / max(1, counts.sum()))).astype(int)
        first = np.cumsum(blocks) - blocks
        parts = [b + np.arange(n) * k // n for b, k, n in zip(first, blocks, counts, strict=True)]
        return np.concatenate(parts) if parts else np.empty(0, int)

    def totals(self, scaling: Scaling) -> tuple[np.ndarray, np.ndarray]:
        """Sums of log-density in own units, and steps, by cluster, each (C,): to compare systems by."""
        clusters = self.clusters()
        return np.bincount(clusters, self.own_log_prob(scaling)), np.bincount(clusters).astype(float)


def score_steps(
    predictor: SeriesPredictor,
    parts: SequenceOf[Part],
    scaling: Scaling,
    *,
    streams: int = STREAMS,
    segment_length: int = SEGMENT_LENGTH,
) -> StepScores:
    """Every step of these series, predicted from those before it; a part's context is read and not scored.

    Args:
        predictor: a `SeriesModel` in evaluation mode, a baseline, or anything called like them.
        parts: series in their own units.
        scaling: that of training.
        streams: parallel streams, for speed only.
        segment_length: steps at a time, for speed and memory only.
    """
    whole = [part for part in parts if part.scored > 0]
    layout = SeriesStreams(
        whole,
        scaling,
        min(streams, len(whole)),
        segment_length,
        with_mask=predictor.with_mask,
        dtype=predictor.dtype,
    )
    found: list[list[np.ndarray]] = []
    states = None
    with torch.no_grad():
        for index, there in enumerate(layout):
            segment = moved(there, predictor.device)
            predicted, states = predictor(segment.inputs, states, segment.starts)
            targets, place = segment.targets, layout.positions(index)
            counts = torch.ones_like(segment.starts) if segment.mask is None else segment.mask
            chance = predicted.cdf(targets)
            columns = (
                segment.sequences,
                place,
                predicted.log_prob(targets),
                (targets - predicted.mean).square(),
                predicted.crps(targets),
                (chance >= (1 - COVERAGE) / 2) & (chance <= (1 + COVERAGE) / 2),
                ~targets.isnan(),
            )
            found.append([column[counts.to(column.device)].cpu().numpy() for column in columns])
    series, places, log_prob, squared, crps, covered, observed = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    order = np.lexsort((places, series))

    def kept(values: np.ndarray) -> np.ndarray:
        return np.where(observed, values, 0).astype(np.float64)[order]

    total = log_prob.astype(np.float64)[order]
    return StepScores(total, observed[order], kept(squared), kept(crps), kept(covered), series[order])


def evaluate_series(
    predictor: SeriesPredictor, parts: SequenceOf[Part], scaling: Scaling
) -> dict[str, Score]:
    """Every score by name: of all columns together, and of each column, "rmse/NAME", in its own unit.

    Example:
        >>> from ostinato.domains.series.baselines import fit_persistence
        >>> from ostinato.domains.series.generated import autoregression
        >>> parts = [Part(str(k), autoregression(500, k).reshape(-1, 1)) for k in range(6)]
        >>> scaling = Scaling.fit(("x",), [part.values for part in parts])
        >>> scores = evaluate_series(fit_persistence(parts, scaling), parts, scaling)
        >>> list(scores)
        ['log_likelihood', 'rmse', 'crps', 'coverage_90', 'rmse/x', 'crps/x', 'coverage_90/x']
        >>> round(scores["rmse/x"].value, 1), round(scores["coverage_90"].value)
        (1.0, 90)
    """
    return summarise(score_steps(predictor, parts, scaling), scaling)


def summarise(steps: StepScores, scaling: Scaling) -> dict[str, Score]:
    """The scores of `evaluate_series` from the steps'."""
    clusters, songs = steps.clusters(), len(np.unique(steps.series))
    count = int(clusters.max()) + 1 if len(clusters) else 0
    over = (
        f"{songs} series"
        if steps.by_series
        else counted(count, "block of consecutive steps", "blocks of consecutive steps")
    )
    first = "the first of a series predicted from zeros"

    def score(values: np.ndarray, counts: np.ndarray, unit: str, convention: str) -> Score:
        sums, numbers = (np.bincount(clusters, x, minlength=count) for x in (values, counts))
        pooled = pooled_score(sums, numbers, unit, f"{convention}; error over {over}")
        return replace(pooled, songs=songs)

    def each(columns: slice, scale: np.ndarray, unit: str, what: str, suffix: str) -> dict[str, Score]:
        counts = steps.observed[:, columns].sum(1)
        square = score(
            steps.squared[:, columns] @ scale**2, counts, unit, f"root of the mean square over {what}"
        )
        crps = score(steps.crps[:, columns] @ scale, counts, unit, f"mean over {what}, lower is better")
        covered = score(
            100 * steps.covered[:, columns].sum(1), counts, "%", f"of {what}, in their central 90% interval"
        )
        return {f"rmse{suffix}": _root(square), f"crps{suffix}": crps, f"coverage_90{suffix}": covered}

    scores = {
        "log_likelihood": score(
            steps.own_log_prob(scaling),
            np.ones(len(clusters)),
            "nats/step",
            f"log-density of each step's observed values in the data's own units, {first}",
        )
    }
    size = len(scaling.columns)
    scores |= each(slice(None), np.ones(size), "training sd", "observed values, standardised by training", "")
    for k, name in enumerate(scaling.columns):
        own = f"observed values of column {name!r}"
        scores |= each(slice(k, k + 1), scaling.scale[k : k + 1], "unit of the column", own, f"/{name}")
    return scores


def _root(square: Score) -> Score:
    """The root of a mean square, its error by the delta method."""
    value = math.sqrt(square.value) if square.value >= 0 else math.nan
    error = square.standard_error / (2 * value) if value > 0 else 0.0 * square.standard_error
    return replace(square, value=value, standard_error=error)
