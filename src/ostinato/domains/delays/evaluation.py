"""Scoring a task: how many sequences go wrong, and the log-likelihood of the classes.

Shapes: T time, B sequences.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from ostinato.data.placement import moved
from ostinato.domains.delays.declared import MOST_ERRORS
from ostinato.domains.delays.problems import Task, TaskSegment
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of

WRONG = "sequences with any judged step wrong (most probable class), of fresh sequences; solved below 1%"
LIKELIHOOD = "mean over the steps that count"
# Sequences scored at a time.
PIECE = 1000


def score_task(model: SequenceModel, batch: TaskSegment) -> dict[str, Score]:
    """Log-likelihood in nats per step that counts, and the share of wrong sequences in %.

    Example:
        >>> from ostinato.domains.delays.evaluation import chance
        >>> from ostinato.domains.delays.problems import TemporalOrder
        >>> round(chance(TemporalOrder(50))["error"].value)
        75
    """
    nll, counted, wrong, sequences = 0.0, 0, 0, batch.inputs.shape[1]
    batch = moved(batch, device_of(model))
    sums: list[Tensor] = []
    counts: list[Tensor] = []
    with torch.no_grad():
        for first in range(0, sequences, PIECE):
            part = slice(first, first + PIECE)
            distribution, _ = model(batch.inputs[:, part], None, batch.starts[:, part])
            mask, targets = batch.mask[:, part], batch.targets[:, part]
            log_p = distribution.log_prob(targets)
            nll -= float(log_p[mask].double().sum())
            counted += int(mask.sum())
            sums.append((log_p.double() * mask).sum(0))
            counts.append(mask.sum(0).double())
            guess = distribution.logits[batch.judged].argmax(-1)
            wrong += int((guess != targets[batch.judged]).any(0).sum())
    return _scores(-nll / counted, wrong / sequences, torch.cat(sums).cpu(), torch.cat(counts).cpu())


def chance(task: Task) -> dict[str, Score]:
    """What guessing every class equally often gives at the judged steps; for temporal order 75% wrong."""
    steps = getattr(task, "bits", 1)
    right = (1 / 2) ** steps if task.name == "memorization" else 1 / task.classes
    return {"error": Score(100 * (1 - right), "%", "guessing", 0, 0, math.nan)}


def _scores(likelihood: float, error: float, sums: Tensor, counts: Tensor) -> dict[str, Score]:
    """Both scores; `sums` (B,) and `counts` (B,) of the log-likelihood are each sequence's, for its error."""
    sequences, spread = len(sums), math.sqrt(error * (1 - error) / len(sums))
    pooled = pooled_score(sums.numpy(), counts.numpy(), "nats/step", LIKELIHOOD)
    return {
        # the value in the order of summation that validation has always had, to the last bit
        "log_likelihood": replace(pooled, value=likelihood),
        "error": Score(100 * error, "%", WRONG, sequences, sequences, 100 * spread),
    }


def is_solved(scores: dict[str, Score]) -> bool:
    """Whether the published criterion is met: fewer than 1% wrong."""
    return scores["error"].value < 100 * MOST_ERRORS
