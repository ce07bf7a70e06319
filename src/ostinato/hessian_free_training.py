"""One update of a Hessian-free training run: a segment in, what was done out."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.nn import SequenceModel
from ostinato.nn.cells import State
from ostinato.nn.gauss_newton import GaussNewton
from ostinato.optim import HessianFree
from ostinato.optim.hessian_free import StepReport
from ostinato.recipe import Recipe


class AnySegment(Protocol):
    """T steps of B streams, of music, text or a task."""

    @property
    def inputs(self) -> Tensor:
        """What the network reads."""

    @property
    def targets(self) -> Tensor:
        """What it should predict."""

    @property
    def starts(self) -> Tensor | None:
        """Where sequences start."""

    @property
    def mask(self) -> Tensor | None:
        """Which frames count."""


@dataclass(frozen=True)
class Update:
    """What one update did, and what was seen on the way, at the parameters before it.

    Arguments:
        report: of the optimizer.
        nll: sum over the segment's frames of -log p.
        frames: the frames that count.
        states: after the segment, as `nn.model.Loss` has them.
    """

    report: StepReport
    nll: float
    frames: int
    states: State

    @property
    def usable(self) -> bool:
        """Whether loss and gradient were finite."""
        return math.isfinite(self.report.loss_before) and math.isfinite(self.report.gradient_norm)

    def record(self, epoch: int, update: int) -> dict[str, Any]:
        """The update as a line of the run's metrics."""
        return {"event": "hessian-free update", "epoch": epoch, "update": update, **asdict(self.report)}


def curvature_streams(recipe: Recipe, epoch: int, index: int, streams: int) -> Tensor:
    """The streams that an update takes its curvature on: drawn from seed, epoch and segment alone.

    Example:
        >>> recipe = Recipe.parse("HF", curvature_share=0.5)
        >>> len(curvature_streams(recipe, epoch=0, index=0, streams=8))
        4
    """
    generator = np.random.default_rng([recipe.seed, epoch, index])
    number = max(1, round(recipe.curvature_share * streams))
    return torch.from_numpy(np.sort(generator.choice(streams, number, replace=False)))


def hessian_free_update(
    model: SequenceModel,
    optimizer: HessianFree,
    segment: AnySegment,
    states: State | None,
    chosen: Tensor,
    callback: Callable[[int, float], None] | None = None,
) -> Update:
    """Take one step on a segment: gradient and losses on all of it, curvature on the chosen streams.

    Args:
        model: the model.
        optimizer: over all of its parameters.
        segment: the minibatch.
        states: carried into the segment; zero if None.
        chosen: indices of streams.
        callback: called after every conjugate-gradient iteration.
    """
    few = len(chosen) < segment.targets.shape[1]
    operator = GaussNewton(
        model,
        segment.inputs,
        segment.targets,
        states,
        segment.starts,
        segment.mask,
        curvature_streams=chosen.to(segment.targets.device) if few else None,
    )
    report = optimizer.step(operator, callback)
    assert operator.last_states is not None  # `step` takes the gradient
    return Update(report, operator.last_nll, int(operator.frames), operator.last_states)
