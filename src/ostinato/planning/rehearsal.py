"""A few real updates of a run on a copy that leaves nothing behind: what an update takes."""

import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ostinato.data.placement import moved
from ostinato.domains.domain import Data, Segments
from ostinato.optim.declared import OPTIMIZERS
from ostinato.planning.memory import PeakMemory
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.loop import Trainer
from ostinato.training.monitor import SilentMonitor
from ostinato.training.pretraining import pretraining_epochs
from ostinato.training.threshold import asks_for_a_pass

# Seconds of updates to measure, and updates at most; a whole validation is measured where it takes less.
SECONDS, UPDATES = 2.0, 30

# Conjugate-gradient iterations of an update that are measured.
ITERATIONS = 12


@dataclass(frozen=True)
class Rehearsal:
    """What was measured.

    Arguments:
        updates_per_epoch: segments of an epoch.
        updates: updates that were measured.
        update_seconds: of one update; of Hessian-free optimisation at most, with all its iterations.
        validation_seconds: of one validation.
        validation_measured: whether that was measured, or follows from the time of a loss.
        parameters: name, shape and number of elements of each.
        parameter_bytes: of all.
        optimizer_bytes: of the optimizer's state, and of the average of the weights.
        update_bytes: of all tensors that one update makes, at its peak: gradients and activations.
    """

    updates_per_epoch: int
    updates: int
    update_seconds: float
    validation_seconds: float
    validation_measured: bool
    parameters: tuple[tuple[str, tuple[int, ...], int], ...]
    parameter_bytes: int
    optimizer_bytes: int
    update_bytes: int

    @property
    def epoch_seconds(self) -> float:
        """Of all updates of an epoch, and its validation."""
        return self.updates_per_epoch * self.update_seconds + self.validation_seconds


class _Enough(Exception):
    """So much of an update was measured."""


class _Clock(SilentMonitor):
    """When the iterations of a Hessian-free update end; stops it after some of them."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def iteration(self, number: int, objective: float) -> None:
        """Stop once there are enough; an update that is stopped changes nothing."""
        self.times.append(time.perf_counter())
        if number >= ITERATIONS:
            raise _Enough


def rehearse(recipe: Recipe, data: Data, device: torch.device | str = "cpu") -> Rehearsal:
    """Measure updates of a fresh model, in a temporary folder.

    They are of the joint training: stages of pre-training are taken to be as long.

    Args:
        recipe: the settings.
        data: what would be trained on.
        device: where.
    """
    with (
        tempfile.TemporaryDirectory(prefix="ostinato-") as folder,
        Run.create(Path(folder) / "run", recipe.to_dict()) as run,
    ):
        clock = _Clock()
        trainer = Trainer(recipe, data, run, clock, device=device)
        if asks_for_a_pass(recipe):  # to measure, any threshold will do
            trainer.threshold.load_state_dict({"value": 1.0})
        trainer.progress.epoch = pretraining_epochs(recipe)
        return _measured(trainer, data, clock)


def _measured(trainer: Trainer, data: Data, clock: _Clock) -> Rehearsal:
    streams = trainer.streams(trainer.progress.epoch)
    number = len(streams)
    chosen = list(dict.fromkeys(round(k * (number - 1) / (UPDATES - 1)) for k in range(UPDATES)))
    with PeakMemory() as memory:
        _update(trainer, streams, chosen[0])
    loss = _loss_seconds(trainer, streams)
    if OPTIMIZERS[trainer.recipe.optimizer].curvature:
        updates, seconds = 1, _hessian_free_seconds(trainer, streams, clock, loss)
    else:
        times: list[float] = []
        for index in chosen:
            times.append(_timed(partial(_update, trainer, streams, index)))
            if sum(times) > SECONDS:
                break
        # the mean: the last segment is shorter, and its share is among the chosen ones
        updates, seconds = len(times), statistics.fmean(times)
    validation = number * loss * data.frames("valid") / max(data.frames("train"), 1)
    measured = validation < SECONDS
    if measured:
        validation = _timed(lambda: trainer.domain.validate(trainer.model.eval(), trainer.data))
    parameters = dict(trainer.model.named_parameters())
    size = sum(p.numel() * p.element_size() for p in parameters.values())
    return Rehearsal(
        number,
        updates,
        seconds,
        validation,
        measured,
        tuple((name, tuple(p.shape), p.numel()) for name, p in parameters.items()),
        size,
        _optimizer_bytes(trainer, size),
        memory.peak,
    )


def _update(trainer: Trainer, streams: Segments, index: int) -> None:
    with contextlib.suppress(_Enough):
        trainer.update(streams, index)


def _loss_seconds(trainer: Trainer, streams: Segments) -> float:
    """Of the loss of a segment without its gradient."""
    segment = moved(streams[0], trainer.device)

    def loss() -> None:
        with torch.no_grad():
            trainer.model.loss(segment.inputs, segment.targets, None, segment.starts, segment.mask)

    loss()
    return _timed(loss)


def _hessian_free_seconds(trainer: Trainer, streams: Segments, clock: _Clock, loss: float) -> float:
    """An update at most: gradient, all iterations, and a loss for each candidate on their way."""
    clock.times.clear()
    begin = time.perf_counter()
    _update(trainer, streams, 0)
    times = clock.times or [time.perf_counter()]
    each = (times[-1] - times[0]) / max(len(times) - 1, 1)
    iterations = trainer.recipe.cg_iterations
    candidates = 2 + math.ceil(math.log(iterations, 1.3))
    return times[0] - begin + each * (iterations - 1) + candidates * loss


def _optimizer_bytes(trainer: Trainer, size: int) -> int:
    """Of its state; Hessian-free's is one direction, which an update that was stopped has not left yet."""
    state, _ = trainer.optimizer.flat_state(list(trainer.model.parameters()))
    found = sum(x.numel() * x.element_size() for x in state.values())
    if OPTIMIZERS[trainer.recipe.optimizer].curvature:
        found = size
    return found + (size if trainer.recipe.averaging > 0 else 0)


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin
