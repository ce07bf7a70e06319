"""Scores of an output whose likelihood and samples can only be had by Markov chains, and how sure they are.

Shapes: N frames, n of them looked at closely, V visible, S songs, D drawn frames.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.domains.music.evaluation.accuracy import BAY, PER_FRAME, ExpectedAccuracy, accuracy_of
from ostinato.domains.music.evaluation.measures import Sampling
from ostinato.evaluation.numbers import number
from ostinato.evaluation.scores import Score, pooled_score

ANNEALED = (
    "a lower bound by annealing from the data (RAISE; of the annealed sampler), 99% interval from backward "
    "to forward annealing with their errors"
)
CHAINS = (
    "from Gibbs chains that start at the true frames and annealed ones, led on until both agree; 99% "
    "interval over both"
)

# Percentage points between both kinds of chains that do not matter.
_ACCURACY_TOLERANCE = 0.3

# Of a normal distribution: 99 % lie within so many standard deviations.
_REACH = 2.5758


@dataclass(frozen=True)
class ChainAccuracy:
    """The accuracy of n frames, by chains from both sides.

    Arguments:
        near, far: of the chains that started at the true frames, and of the annealed ones, (D, n).
        songs: whose frame each is, (n,).
        total: N, of which the n are a random sample.
        met: whether both sides agree.
        effort: steps, and how far apart both sides are.
    """

    near: ExpectedAccuracy
    far: ExpectedAccuracy
    songs: np.ndarray
    total: int
    met: bool
    effort: dict[str, Any]

    def scores(self) -> dict[str, Score]:
        """Both accuracies."""
        count = len(self.songs)
        return {
            "accuracy_bay": self._score("hits", "errors", BAY),
            "accuracy_per_frame": self._score("overlap", np.ones(count), PER_FRAME),
        }

    def _score(self, above: str, below: str | np.ndarray, convention: str) -> Score:
        """A ratio of sums, 100 times; both sides' with the errors that their frames' chains have."""
        sides = []
        for side in (self.near, self.far):
            x = 100 * getattr(side, above).mean(0).cpu().numpy()
            n = below if isinstance(below, np.ndarray) else getattr(side, below).mean(0).cpu().numpy()
            sides.append((x, n))
        x, n = ((a + b) / 2 for a, b in zip(*sides, strict=True))
        used = np.unique(self.songs)
        sums, counts = (np.bincount(self.songs, y)[used] for y in (x, n))
        score = pooled_score(sums, counts, "%", convention)
        near, far = (float(own.sum() / each.sum()) for own, each in sides)
        error = self._error(sides, score.value)
        interval = (min(near, far) - _REACH * error, max(near, far) + _REACH * error)
        effort = self.effort | {"near": near, "far": far, "frames": len(self.songs)}
        return _counted(score, len(self.songs)).estimated(
            error, interval, CHAINS, told=self.met, effort=effort
        )

    def _error(self, sides: list[tuple[np.ndarray, np.ndarray]], ratio: float) -> float:
        """Standard error of the ratio: from the chains, and from the frames left out."""
        count, size = len(self.songs), float(np.mean([n.mean() for _, n in sides]))
        near, far = ((x - ratio * n) / size for x, n in sides)
        if count < 2:
            return math.inf
        noise = float((near - far).var(ddof=1)) / 4
        spread = float(((near + far) / 2).var(ddof=1))
        return math.sqrt((noise + (1 - count / self.total) * spread) / count)


def _counted(score: Score, frames: int) -> Score:
    return replace(score, count=frames)


def chain_accuracy(
    frames: Any, gathered: Any, songs: np.ndarray, sampling: Sampling, generator: torch.Generator
) -> ChainAccuracy:
    """The accuracy of the frames that an estimator keeps.

    Args:
        frames: a distribution of the same output; see `nn.outputs.base.EstimatedFrames`.
        gathered: the estimator.
        songs: whose frame each of all is, (N,).
        sampling: how many frames are drawn of each, from both sides together.
        generator: source of randomness.
    """

    # of what sounds, as published
    rows = getattr(frames, "pitches", None)

    def overlap(drawn: Tensor, observed: Tensor) -> Tensor:
        return 100 * accuracy_of([drawn[:, :rows]], observed[:, :rows]).overlap[0]

    draws = max(2, sampling.samples // 2)
    found = frames.bracketed(gathered, overlap, draws, _ACCURACY_TOLERANCE, generator)
    observed = gathered.kept.observed[:, :rows]
    near, far = (accuracy_of(side[..., :rows].unbind(0), observed) for side in (found.near, found.far))
    effort = {
        "gibbs_steps": found.steps,
        "mixed": found.met,
        "rhat": found.rhat if math.isfinite(found.rhat) else None,
    }
    own = songs[gathered.kept_rows.numpy()]
    return ChainAccuracy(near, far, own, len(songs), found.met, effort)


def annealed_score(score: Score, estimate: Any, weights: Tensor | None = None) -> Score:
    """A score of lower bounds, with what is known of the exact value; nothing but an interval where both
    directions of annealing do not agree.

    Args:
        score: of the bounds.
        estimate: `nn.outputs.agreement.Estimate` of the same frames.
        weights: of the frames in the score, (N,); equal by default.
    """
    middle = estimate.mean(estimate.middle, weights)
    possible = middle <= 0
    effort = {
        "estimate": middle if estimate.agreed and possible else None,
        "lower_bound": estimate.mean(estimate.bound, weights),
        "agreed": estimate.agreed,
        "gap": estimate.gap,
        "tolerance": estimate.tolerance,
        "ais_steps": estimate.steps,
        "capped": estimate.capped,
        "ais_chains": estimate.chains,
        "frames": len(estimate.rows),
        "frames_above_probability_1": int(estimate.impossible.sum()),
    }
    return score.estimated(
        estimate.error(estimate.bound, weights),
        estimate.interval(weights),
        ANNEALED,
        told=estimate.agreed and possible,
        bound=True,
        effort=effort,
    )


def efforts(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How the estimates of a split were come by, a sentence each.

    Args:
        scores: `Score.effort` by name of the score.

    Example:
        >>> next(efforts({"accuracy_bay": {"gibbs_steps": 64, "mixed": True, "near": 31.5, "far": 31.4}}))
        'chains from both sides are 0.1 points apart (31.4, 31.5) after 64 Gibbs steps'
    """
    for name in ("log_likelihood", "accuracy_bay"):
        effort = scores.get(name, {})
        if "gap" in effort:
            yield _annealing_told(effort)
        if effort.get("frames_above_probability_1"):
            yield (
                f"{effort['frames_above_probability_1']} of {effort['frames']} frames came out above "
                "probability 1: not enough annealing steps for these"
            )
        if "near" in effort:
            yield _chains_told(effort)


def _annealing_told(effort: Mapping[str, Any]) -> str:
    work = f"{effort['ais_steps']:,} annealing steps, {effort['frames']:,} frames"
    if effort["agreed"]:
        estimate = "" if effort["estimate"] is None else f"; halfway: {number(effort['estimate'], 'nats')}"
        return f"forward and backward agree to {abs(effort['gap']):.3f} nats ({work}){estimate}"
    capped = ", as many steps as were allowed" if effort["capped"] else ""
    return f"forward and backward are {abs(effort['gap']):.3f} nats apart ({work}{capped}): cannot tell"


def _chains_told(effort: Mapping[str, Any]) -> str:
    low, high = sorted((effort["near"], effort["far"]))
    apart = (
        f"{high - low:.1f} points apart ({low:.1f}, {high:.1f}) after {effort['gibbs_steps']:,} Gibbs steps"
    )
    return f"chains from both sides are {apart}" + ("" if effort["mixed"] else ", as many as were allowed")
