"""One update: a segment in, what was done out; by gradient descent, or by Hessian-free optimisation.

The training loop asks both in the same words, `Updates`, and the recipe's optimizer decides which it has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.errors import argument
from ostinato.nn import SequenceModel
from ostinato.nn.cells import State
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.model import Segment
from ostinato.nn.outputs.base import Objective
from ostinato.nn.streamwise import Minibatch, clipped_backward
from ostinato.nn.vanishing import recurrent_weights, vanishing_penalty
from ostinato.optim import GradientDescent, HessianFree, TrainingOptimizer, clip_grad_norm
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.recipe import Recipe
from ostinato.training.bounds import Bound, bounds
from ostinato.training.build import build_curvature_optimizer, build_gradient_descent


@dataclass(frozen=True)
class Batch:
    """What one update is made on.

    Arguments:
        segment: the minibatch.
        states: carried into it; zero if None.
        objective: what it is to lower.
        epoch: the epoch that it belongs to.
        index: the segment's place in the epoch.
        clip_at: threshold of the gradient's norm; None for no clipping.
        watch: called with number and objective of what an update repeats; it may raise.
        before: called with the summed loss, its frames and the norms before anything is changed; with None,
            0 and [] where an update finds out only while it changes things.
    """

    segment: Segment
    states: State | None
    objective: Objective
    epoch: int
    index: int
    clip_at: float | None
    watch: Callable[[int, float], None]
    before: Callable[[float | None, int, Sequence[float]], None] = lambda *_: None


@dataclass(frozen=True)
class Update:
    """What one update did, and what was seen on the way, at the parameters before it.

    Arguments:
        usable: whether loss and gradient were finite; if not, nothing was changed.
        nll: sum over the segment's steps of -log p.
        frames: the steps that count.
        states: after the segment, as `nn.model.Loss` has them.
        norms: of what is clipped, before it is: the gradient, or that of each stream.
        clipped: the share of these that were clipped.
        record: a line for the run's metrics, if there is more to say.
        notice: what a person should know, "" for nothing.
    """

    usable: bool
    nll: float
    frames: int
    states: State
    norms: Sequence[float]
    clipped: float = 0
    record: dict[str, Any] | None = None
    notice: str = ""

    @property
    def norm(self) -> float:
        """The mean of the norms."""
        return sum(self.norms) / max(len(self.norms), 1)


class Updates(Protocol):
    """How a model is updated on a segment."""

    @property
    def optimizer(self) -> TrainingOptimizer:
        """Whose steps they are."""

    def __call__(self, batch: Batch) -> Update:
        """One update."""


class GradientUpdates:
    """Loss, gradient, clipping, step.

    Args:
        model: the model.
        optimizer: over all of its parameters.
        by_stream: whether each stream's own gradient is clipped, where there is more than one.
        bounds: what is kept from growing after each step.
        rate: the optimizer's, whose schedule is that of parts that learn apart; by default the first step's.
        vanishing: weight of the regulariser against vanishing gradients; see `nn.vanishing`. Not by stream.
    """

    def __init__(
        self,
        model: SequenceModel,
        optimizer: GradientDescent,
        *,
        by_stream: bool = False,
        bounds: Sequence[Bound] = (),
        rate: float | None = None,
        vanishing: float = 0.0,
    ) -> None:
        self.model, self.optimizer, self.by_stream, self._bounds = model, optimizer, by_stream, bounds
        self._vanishing = vanishing
        self._parameters = list(model.parameters())
        self._rate = optimizer.learning_rates()[0] if rate is None else rate

    def __call__(self, batch: Batch) -> Update:
        """See `Updates`."""
        for parameter in self._parameters:
            parameter.grad = None
        for part in self.model.apart:
            part.forget()
        segment = batch.segment
        if self.by_stream and segment.targets.shape[1] > 1:
            return self._by_stream(batch)
        loss = self.model.loss(
            segment.inputs, segment.targets, batch.states, segment.starts, segment.mask, batch.objective
        )
        loss.objective.backward()
        if self._vanishing:
            self._against_vanishing(batch)
        clip = clip_grad_norm(self._parameters, batch.clip_at)
        nll = float(loss.nll)
        batch.before(nll, loss.frames, [clip.norm])
        if clip.finite:
            self._step()
        return Update(clip.finite, nll, loss.frames, loss.states, [clip.norm], clip.clipped)

    def _against_vanishing(self, batch: Batch) -> None:
        segment = batch.segment
        found = vanishing_penalty(
            self.model,
            segment.inputs,
            segment.targets,
            batch.states,
            segment.starts,
            segment.mask,
            batch.objective,
        )
        for weight, gradient in zip(recurrent_weights(self.model), found.gradients, strict=True):
            if weight.grad is not None:
                weight.grad.add_(gradient, alpha=self._vanishing)

    def _step(self) -> None:
        for part in self.model.apart:  # at the rate of this step, as everything else
            part.learn(self.optimizer.learning_rates()[0] / self._rate)
        self.optimizer.step()
        for bound in self._bounds:
            bound.apply()

    def _by_stream(self, batch: Batch) -> Update:
        segment, threshold = batch.segment, batch.clip_at
        minibatch = Minibatch(
            segment.inputs, segment.targets, batch.states, segment.starts, segment.mask, batch.objective
        )
        found = clipped_backward(self.model, minibatch, threshold)
        batch.before(float(found.loss.nll), found.loss.frames, found.norms)
        if found.finite:
            self._step()
        clipped = sum(threshold is not None and norm > threshold for norm in found.norms)
        loss, notice = found.loss, ""
        if found.uncovered:
            notice = (
                f"{argument('clip_by')} sequence: the streams' own gradients of {found.uncovered} are not "
                "known from one pass, so that each stream gets a pass of its own, which is slower"
            )
        share = clipped / max(len(found.norms), 1)
        return Update(
            found.finite, float(loss.nll), loss.frames, loss.states, found.norms, share, notice=notice
        )


class HessianFreeUpdates:
    """The quadratic model of a whole segment, conjugate gradients, the step they lead to.

    Of the joint objective: a recipe that asks for another one is refused (`Recipe`).

    Args:
        model: the model.
        recipe: its recipe.
        optimizer: over all of its parameters.
    """

    def __init__(self, model: SequenceModel, recipe: Recipe, optimizer: HessianFree) -> None:
        self.model, self.recipe, self.optimizer = model, recipe, optimizer

    def __call__(self, batch: Batch) -> Update:
        """See `Updates`; gradient and losses on all of the segment, curvature on some of its streams."""
        segment = batch.segment
        chosen = curvature_streams(self.recipe, batch.epoch, batch.index, segment.targets.shape[1])
        few = len(chosen) < segment.targets.shape[1]
        operator = GaussNewton(
            self.model,
            segment.inputs,
            segment.targets,
            batch.states,
            segment.starts,
            segment.mask,
            curvature_streams=chosen.to(segment.targets.device) if few else None,
        )
        batch.before(None, 0, [])
        report = self.optimizer.step(operator, batch.watch)
        assert operator.last_states is not None  # `step` takes the gradient
        usable = math.isfinite(report.loss_before) and math.isfinite(report.gradient_norm)
        record = {
            "event": "hessian-free update",
            "epoch": batch.epoch,
            "update": self.optimizer.steps,
            **asdict(report),
        }
        frames, norm = int(operator.frames), report.gradient_norm
        return Update(usable, operator.last_nll, frames, operator.last_states, [norm], record=record)


def build_updates(
    recipe: Recipe, model: SequenceModel, updates: int, used: Callable[[], float] | None = None
) -> Updates:
    """How the recipe updates a model.

    Args:
        recipe: the settings.
        model: what is updated.
        updates: of the whole training, for schedules that know its end.
        used: the share of a budget of time that is used, for the same; None without one.
    """
    if OPTIMIZERS[recipe.optimizer].curvature:
        return HessianFreeUpdates(model, recipe, build_curvature_optimizer(recipe, model))
    descent = build_gradient_descent(recipe, model, updates, used)
    return GradientUpdates(
        model,
        descent,
        by_stream=clips_streams(recipe),
        bounds=bounds(recipe, model),
        rate=recipe.learning_rate,
        vanishing=recipe.get("vanishing_penalty", 0.0),
    )


def clips_streams(recipe: Recipe) -> bool:
    """Whether a recipe clips each stream's own gradient."""
    return recipe.get("clip", "none") != "none" and recipe.get("clip_by") == "sequence"


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
