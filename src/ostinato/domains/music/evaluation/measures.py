"""What is measured on one segment of predicted frames: columns of numbers to be summed by song.

Shapes: N frames, V visible, S frames drawn from each distribution.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.domains.music.evaluation.accuracy import expected_accuracy, sampled_accuracy
from ostinato.nn.outputs import BernoulliFrames


@dataclass(frozen=True)
class Sampling:
    """How scores that can only be estimated are: the frames drawn for the expected accuracy, and the seed."""

    samples: int = 20
    seed: int = 0


def cheap_columns(frames: Any, targets: Tensor) -> dict[str, Tensor]:
    """The log-probability (N,), or the stand-in for it that early stopping watches."""
    measure = getattr(frames, "pseudo_log_prob", frames.log_prob)
    return {"log_prob": measure(targets)}


def likelihood_columns(frames: Any, targets: Tensor) -> dict[str, Tensor]:
    """The log-probability (N,), exact; of frames with onsets also that of what sounds."""
    columns = {"log_prob": frames.log_prob(targets)}
    if hasattr(frames, "roll"):
        columns["log_prob_roll"] = frames.roll.log_prob(targets[..., : frames.pitches])
    return columns


def accuracy_columns(
    frames: Any, targets: Tensor, sampling: Sampling, generator: torch.Generator
) -> dict[str, Tensor]:
    """Expected hits, errors and overlap: exact (N,) for independent notes, else of drawn frames (S, N)."""
    if hasattr(frames, "roll"):  # of what sounds, as published
        frames, targets = frames.roll, targets[..., : frames.pitches]
    if isinstance(frames, BernoulliFrames):
        expected = expected_accuracy(frames, targets)
    else:
        expected = sampled_accuracy(frames, targets, sampling.samples, generator)
    return {"hits": expected.hits, "errors": expected.errors, "overlap": expected.overlap}
