"""Scoring a task: how many sequences go wrong, and the log-likelihood of the classes.

Shapes: T time, B sequences.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from ostinato.data.placement import moved
from ostinato.domains.delays.declared import MOST_ERRORS
from ostinato.domains.delays.task import Task, TaskSegment
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.nn import SequenceModel
from ostinato.nn.devices import device_of

LIKELIHOOD = "mean over the steps that count"
# Sequences scored at a time.
PIECE = 1000


def score_task(model: SequenceModel, batch: TaskSegment, task: Task) -> dict[str, Score]:
    """Log-likelihood in nats per step that counts, and the share of wrong sequences in %; of numbers also how
    many are off by more than 0.04, which is the stricter criterion of Hochreiter & Schmidhuber 1997.

    Example:
        >>> from ostinato.domains.delays.evaluation import chance
        >>> from ostinato.domains.delays.symbols import TemporalOrder
        >>> round(chance(TemporalOrder(50))["error"].value)
        75
    """
    nll, counted, wrong = 0.0, 0, dict.fromkeys(task.criteria, 0)
    if batch.inputs.is_floating_point():
        batch = batch.of(next(model.parameters()).dtype)
    batch = moved(batch, device_of(model))
    sums: list[Tensor] = []
    counts: list[Tensor] = []
    with torch.no_grad():
        for first in range(0, batch.inputs.shape[1], PIECE):
            part = slice(first, first + PIECE)
            distribution, _ = model(batch.inputs[:, part], None, batch.starts[:, part])
            mask, targets = batch.mask[:, part], batch.targets[:, part]
            log_p = distribution.log_prob(targets)
            nll -= float(log_p[mask].double().sum())
            counted += int(mask.sum())
            sums.append((log_p.double() * mask).sum(0))
            counts.append(mask.sum(0).double())
            for name, criterion in task.criteria.items():
                wrong[name] += int(criterion.wrong(distribution, targets)[batch.judged].any(0).sum())
    shares = {name: (task.criteria[name].convention, number) for name, number in wrong.items()}
    return _scores(-nll / counted, shares, torch.cat(sums).cpu(), torch.cat(counts).cpu())


def chance(task: Task) -> dict[str, Score]:
    """What guessing gives at the judged steps: every class equally often, of numbers the mean of all targets;
    for temporal order 75% wrong.
    """
    return {"error": Score(100 * task.guessed_wrong, "%", "guessing", 0, 0, math.nan)}


def _scores(
    likelihood: float, wrong: dict[str, tuple[str, int]], sums: Tensor, counts: Tensor
) -> dict[str, Score]:
    """The log-likelihood and shares of wrong sequences; `sums` (B,) and `counts` (B,) of the log-likelihood
    are each sequence's, for its error.
    """
    sequences = len(sums)
    pooled = pooled_score(sums.numpy(), counts.numpy(), "nats/step", LIKELIHOOD)
    # the value in the order of summation that validation has always had, to the last bit
    scores = {"log_likelihood": replace(pooled, value=likelihood)}
    for name, (convention, number) in wrong.items():
        share = number / sequences
        spread = 100 * math.sqrt(share * (1 - share) / sequences)
        scores[name] = Score(100 * share, "%", convention, sequences, sequences, spread)
    return scores


def is_solved(scores: dict[str, Score]) -> bool:
    """Whether the published criterion is met: fewer than 1% wrong."""
    return scores["error"].value < 100 * MOST_ERRORS
