"""The training loop: segments -> loss -> step; validation, early stopping, checkpoints, resume.

Everything random is a function of the seed and the epoch, and everything else that the next step depends
on is in the checkpoint, so a resumed run ends bit for bit where the unbroken one does.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from ostinato.data.placement import moved
from ostinato.domains.domain import Data, Segments, Validation, domain_named
from ostinato.errors import UserError, argument
from ostinato.evaluation.numbers import counted
from ostinato.nn import SequenceModel
from ostinato.nn.cells.state import State, finite, from_named_tensors, map_state, named_tensors, zeros_like
from ostinato.nn.devices import find_device
from ostinato.nn.outputs.base import Objective
from ostinato.nn.outputs.distribution import seen_targets
from ostinato.optim.averaging import WeightAverage
from ostinato.optim.schedules import END_WITH_TRAINING
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.budget import Budget
from ostinato.training.build import MODEL_PREFIX, RULES, build_rule
from ostinato.training.diagnosing import SEGMENTS, check_diagnosed, figures
from ostinato.training.environment import Surroundings
from ostinato.training.flights import FlightRecorder, Place
from ostinato.training.initial import take_weights, told
from ostinato.training.learner import Learner
from ostinato.training.monitor import Diverged, Interrupted, Monitor, SilentMonitor, Start
from ostinato.training.pretraining import objective_at
from ostinato.training.progress import (
    ALL_DONE,
    NO_BETTER,
    EpochSums,
    Progress,
    check_same_run,
    check_same_settings,
    go_on,
    learned,
)
from ostinato.training.recorder import GO_ON, STOP
from ostinato.training.threshold import (
    asks_for_a_pass,
    build_threshold,
    first_pass,
    found_threshold,
    mostly_clipped,
)
from ostinato.training.updates import Batch, Update, build_updates

# Ends the name of a validation score that is an average's which is tracked alone.
OF_AVERAGE = "_of_average"

# So many updates in a row without a usable gradient mean that the run has diverged for good.
HOPELESS = 50


# A state that is carried over a whole text and has begun to grow goes on growing. Where it shows, as a
# gradient of so many times the threshold, it is forgotten.
BURST = 20.0


class Conditions(TypedDict, total=False):
    """How a training is computed, watched and kept, whatever is trained: see `Trainer`."""

    device: torch.device | str
    checkpoint_seconds: float
    stop_requested: Callable[[], int]
    track_average: float
    exact: bool
    on_failure: str
    diagnose_every: int


class Trainer:
    """Trains the recipe's model on the data in the run's folder; `fit` starts or continues.

    Args:
        recipe: the settings.
        data: what to train on, and to validate on.
        run: the run's folder; if it holds a checkpoint, training goes on from there.
        monitor: what to report to.
        device: where the model computes; see `nn.devices.find_device`. Everything random is drawn on the CPU.
        checkpoint_seconds: time between checkpoints; the work a kill can cost.
        stop_requested: returns the number of a signal that asks to stop, or 0.
        track_average: decay of an average of the weights that is validated and written down beside them, and
            changes nothing else; 0 for none. A recipe with `averaging` has its own.
        on_failure: where loss or gradient is not finite, jumps, or the loss diverges: "go-on" writes a bundle
            that `ostinato.training.replay` repeats and goes on, "stop" writes one and stops, "ignore" writes
            none.
        diagnose_every: epochs between two diagnoses, whose figures (`training.diagnosing`) are in the epochs'
            records; 0 for none. Nothing else changes.
        exact: refuse to go on where something that the order of sums depends on is another one than before,
            such as the kernels' instruction set; otherwise the monitor gets a notice.

    A run that is there may be given other `epochs` and another `patience`: they say when it ends, and change
    nothing on the way (see `training.progress.go_on`).

    Raises:
        UserError: the run was made with other settings or other data, or the data has no training or
            validation songs; or there is no such device.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Data,
        run: Run,
        monitor: Monitor | None = None,
        *,
        device: torch.device | str = "cpu",
        checkpoint_seconds: float = 15.0,
        stop_requested: Callable[[], int] = lambda: 0,
        track_average: float = 0.0,
        exact: bool = False,
        on_failure: str = GO_ON,
        diagnose_every: int = 0,
    ) -> None:
        self.domain = domain_named(recipe.domain)
        for split in ("train", "valid"):
            if data.frames(split) == 0:
                raise UserError(
                    f"expected {split} {self.domain.what} in {data.name}, found none; give it more files"
                )
        self.recipe, self.data, self.run = recipe, data, run
        self.monitor: Monitor = monitor or SilentMonitor()
        self.checkpoint_seconds, self._stop_requested = checkpoint_seconds, stop_requested
        self.data_identity = self.domain.identity(data)
        self.device = find_device(device)
        self.model = self._fresh_model()
        self._budget = Budget(recipe)
        self._used = self._budget.share if recipe.minutes is not None else None
        self._updates_in_all = self._count_updates()
        self._updates = build_updates(recipe, self.model, self._updates_in_all, self._used)
        self.optimizer, self.threshold = self._updates.optimizer, build_threshold(recipe)
        decay = recipe.averaging or track_average
        self._learner = Learner(
            self.model,
            self.optimizer,
            build_rule(recipe),
            self.threshold,
            WeightAverage(self.model, decay) if decay > 0 else None,
            FlightRecorder(run, recipe, self.model, self.optimizer, on_failure),
        )
        self.progress = Progress()
        check_diagnosed(self.model, diagnose_every)
        self._diagnose_every = diagnose_every
        self._carried: State | None = None
        self._best: dict[str, Tensor] | None = None
        self._surroundings = Surroundings(self.device, exact=exact)
        self._told: set[str] = set()
        self._saved_at = time.monotonic()
        self._resumed_at = time.monotonic()

    def fit(self) -> Progress:
        """Train until the epochs are over or validation stops improving; return where it ended.

        Raises:
            Interrupted: a stop was requested; everything up to here is in the checkpoint.
            UserError: the run cannot be written.
            Diverged: 50 updates in a row had no finite gradient, or an update failed and training is to stop
                where one does.
        """
        self.run.lock()
        if self.run.has_checkpoint("last"):
            self._restore(*self.run.load_checkpoint("last"))
        else:
            self.run.check_not_begun()
            check_same_settings(self.recipe, Recipe.from_dict(self.run.config()))
            self.run.truncate_metrics(0)
            self.domain.prepare(self.data, self.run)
            if self.recipe.get("init_from") is not None:
                self._start_from(Path(self.recipe.init_from))
            self._save()
        self._keep_settings()
        self._resumed_at = self._saved_at = time.monotonic()
        self._budget.begin(self.progress.budget_seconds, self.progress.budget_reserve)
        if asks_for_a_pass(self.recipe) and self.threshold.value is None:
            self._find_threshold()
        self.progress.clip_threshold = self.threshold.value
        self.monitor.started(self._start())
        with seen_targets():  # by `streams`
            while not self.progress.stopped_because and self.progress.epoch < self.recipe.epochs:
                self._train_epoch()
        self.progress.stopped_because = self.progress.stopped_because or ALL_DONE
        self._save()
        return self.progress

    # One epoch

    def streams(self, epoch: int) -> Segments:
        """The training data as an epoch meets them."""
        return self.domain.streams(self.recipe, self.data, epoch)

    def _start(self) -> Start:
        return Start(
            self.recipe,
            self.run.folder,
            sum(p.numel() for p in self.model.parameters()),
            self.data.frames("train"),
            self.domain.declared.step,
            self.model.score_name,
            self.progress,
        )

    def _fresh_model(self) -> SequenceModel:
        return self.domain.model(self.recipe, self.data_identity, self.data).to(self.device)

    def _start_from(self, folder: Path) -> None:
        """Take the weights of another run's best model; what they reach is the score to be better than."""
        take_weights(self.model, folder)
        if (average := self._learner.average) is not None:
            self._learner.average = WeightAverage(self.model, average.decay)
        found = self.domain.validate(self.model.eval(), self.data)
        self.model.train()
        self.progress.best_score, self._best = found.score, learned(self.model, MODEL_PREFIX)
        record, text = told(folder, {f"valid_{self.model.score_name}": found.score, **found.record})
        self.run.append_metrics(record)
        self.monitor.notice(text)

    def _count_updates(self) -> int:
        """Of the whole training, for schedules that know its end; the others need not count."""
        knows = self.recipe.get("learning_rate_rule") in END_WITH_TRAINING
        return len(self.streams(0)) * self.recipe.epochs if knows else 1

    def _train_epoch(self) -> None:
        progress = self.progress
        streams = self.streams(progress.epoch)
        if progress.segment == 0 and self.recipe.get("learning_rate_rule") in RULES:
            self._learner.remember()
        while progress.segment < len(streams) and not self._time_is_over():
            self._heed_stop()
            self.update(streams, progress.segment)
            if self._learner.average is not None:
                self._learner.average.update()
            progress.segment += 1
            self.monitor.segment(progress.epoch, progress.segment, len(streams), streams.frames)
            if time.monotonic() - self._saved_at > self.checkpoint_seconds:
                self._save()
        self._finish_epoch()

    def _time_is_over(self) -> bool:
        """Whether the budget has room for no more than a validation; not before the first update."""
        progress = self.progress
        begun = progress.epoch + progress.segment > 0
        return begun and self._budget.over(progress.sums.frames, self.data.frames("valid"))

    def update(self, streams: Segments, index: int) -> None:
        """One update on one segment; a step of `fit`, which does the rest."""
        segment, sums, progress = moved(streams[index], self.device), self.progress.sums, self.progress

        def watch(number: int, objective: float) -> None:
            self.monitor.iteration(number, objective)
            self._heed_stop()

        epoch, objective, clip_at = progress.epoch, self._objective(), self.threshold.value
        look = self._learner.recorder.begin(clip_at, objective.name)
        batch = Batch(segment, self._carried, objective, epoch, index, clip_at, watch, look)
        update = self._updates(batch)
        self._carried = update.states if self.domain.carries_state else None
        if not update.usable:
            self._skip(streams, index)
            self._record(batch, update, streams)
            return
        self._record(batch, update, streams)
        self._tell_once(update.notice, update.notice)
        burst = BURST * (self.threshold.value or 1.0)
        if self.domain.forgets_bursts and update.clipped and max(update.norms, default=0.0) > burst:
            self._carried = zeros_like(update.states)
        if update.record is not None:
            self.run.append_metrics(update.record)
        sums.add(update, self.domain.lost_to_scaling(self.data, segment))
        for norm in update.norms:
            self.threshold.add(norm)
        progress.clip_threshold = self.threshold.value

    def _record(self, batch: Batch, update: Update, streams: Segments) -> None:
        """Keep what an update was like; where it failed, write a bundle, and stop if that is asked for."""
        place = Place(streams.describe(batch.index), self._updates_in_all, self.data_identity)
        found = self._learner.recorder.after(batch, update, place)
        if found is None:
            return
        text, event = found
        self.run.append_metrics(event)
        if self._learner.recorder.on_failure == STOP:
            raise Diverged(f"training stopped: {text}")
        self.monitor.notice(text)

    def _skip(self, streams: Segments, index: int) -> None:
        """Leave the parameters alone, say where it happened, and start the songs from a zero state."""
        sums = self.progress.sums
        sums.skipped += 1
        sums.skipped_in_a_row += 1
        where = f"epoch {self.progress.epoch}, {streams.describe(index)}"
        self.run.append_metrics(
            {"event": "non-finite gradient", "epoch": self.progress.epoch, "where": where}
        )
        if sums.skipped_in_a_row == 1:
            self.monitor.notice(f"gradient not finite, update skipped: {where}")
        if self._carried is not None:
            self._carried = finite(self._carried)
        if sums.skipped_in_a_row == HOPELESS:
            raise Diverged(
                f"training diverged: {HOPELESS} updates in a row had no finite gradient (the last at "
                f"{where}); use a smaller {argument('learning_rate')} or a recipe with C (clipping)"
            )

    def _objective(self) -> Objective:
        """Of the epoch under way."""
        return objective_at(self.recipe, self.model.output, self.progress.epoch)

    def _validate(self) -> tuple[Validation, bool]:
        """How the weights do, or their average, on the validation data, and whether it is the best so far."""
        progress = self.progress
        average, own = self._learner.average, self.recipe.averaging > 0
        with average.in_place() if average is not None and own else nullcontext():
            found = self.domain.validate(self.model.eval(), self.data)
            # What pre-training reaches is no model to keep.
            better = found.score > progress.best_score and self._objective().joint
            if better:
                progress.best_score, progress.best_epoch = found.score, progress.epoch
                self._best = learned(self.model, MODEL_PREFIX)
        if average is not None and not own:
            with average.in_place():
                tracked = self.domain.validate(self.model, self.data).score
            found.record[f"valid_{self.model.score_name}{OF_AVERAGE}"] = tracked
        self.model.train()
        return found, better

    def _finish_epoch(self) -> None:
        progress, sums = self.progress, self.progress.sums
        objective, name = self._objective(), self.model.score_name
        with self._budget.validating():
            found, better = self._validate()
        record: dict[str, Any] = {
            "epoch": progress.epoch,
            f"train_{name}": -sums.nll / max(sums.frames, 1),
            f"valid_{name}": found.score,
            **found.record,
            "best": better,
            **sums.record(),
            "updates": self.optimizer.steps,
            **self.optimizer.pace(),
            "frames": sums.frames,
            "seconds": self._elapsed(),
        }
        if self.threshold.value is not None:
            record["clip_threshold"] = self.threshold.value
        if not objective.joint:
            record["stage"] = objective.name
        record |= self._figures()
        self.run.append_metrics(record)
        self._end_pass(record["clipped"])
        if objective.joint and self._learner.obey_rule(found.score):
            progress.stopped_because = "the learning-rate rule: validation stopped improving"
        in_a_row = sums.skipped_in_a_row
        progress.sums = EpochSums(skipped_in_a_row=in_a_row)
        progress.segment, self._carried = 0, None
        progress.epoch += 1
        if found.solved:
            progress.stopped_because = "the task is solved"
        elif progress.since_best(self.recipe) >= self.recipe.patience:
            progress.stopped_because = f"{NO_BETTER} for {counted(self.recipe.patience, 'epoch')}"
        elif self._time_is_over() and not progress.stopped_because:
            progress.stopped_because = self._budget.told
        self.monitor.epoch(record)

    def _figures(self) -> dict[str, Any]:
        """Of a diagnosis, where one is due."""
        every = self._diagnose_every
        if every == 0 or (self.progress.epoch + 1) % every:
            return {}
        streams = self.streams(self.progress.epoch)
        segments = [moved(streams[k], self.device) for k in range(min(SEGMENTS, len(streams)))]
        return figures(self.model, segments, carries_state=self.domain.carries_state)

    def _end_pass(self, clipped: float) -> None:
        """Let the threshold know, and say once that most updates were clipped."""
        self._tell_once("mostly clipped", mostly_clipped(self.recipe, clipped, self.threshold.value))
        self.threshold.end_pass()
        self.progress.clip_threshold = self.threshold.value

    def _tell_once(self, what: str, text: str) -> None:
        if text and what not in self._told:
            self._told.add(what)
            self.monitor.notice(text)

    def _find_threshold(self) -> None:
        """The average gradient norm over one pass that trains a twin of the model."""
        twin = self._fresh_model()
        if self.recipe.get("init_from") is not None:
            twin.load_state_dict(self.model.state_dict())
        average = first_pass(
            build_updates(self.recipe, twin, self._updates_in_all, self._used),
            twin.objective,
            self.streams(0),
            carries_state=self.domain.carries_state,
            device=self.device,
            before_each=self._heed_stop,
        )
        value = self.recipe.clip_factor * average.value
        self.threshold.load_state_dict({"value": value})
        self.monitor.notice(found_threshold(self.recipe, value, average.count))

    # Stopping, saving, resuming

    def _heed_stop(self) -> None:
        signal = self._stop_requested()
        if signal:
            self._save()
            raise Interrupted(signal)

    def _elapsed(self) -> float:
        return self.progress.seconds + time.monotonic() - self._resumed_at

    def _state(self) -> dict[str, Any]:
        progress = asdict(self.progress) | {"seconds": self._elapsed()}
        if self._used is not None:
            progress |= {"budget_seconds": self._budget.seconds(), "budget_reserve": self._budget.reserve}
        return {
            "recipe": self.recipe.to_dict(),
            "data": self.data_identity,
            "progress": progress,
            **self._learner.state(),
            "metrics_offset": self.run.metrics_offset(),
        } | self._surroundings.state()

    def _save(self) -> None:
        """The best model, if it is new, then where training stands: a kill between the two loses nothing."""
        state = self._state()
        if self._best is not None:
            self.run.save_checkpoint("best", self._best, state)
            self._best = None
        tensors = self._learner.tensors()
        if self._carried is not None:
            tensors |= named_tensors(self._carried, "carried")
        self.run.save_checkpoint("last", tensors, state)
        self._saved_at = time.monotonic()

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        check_same_run(self.recipe, self.data_identity, state)
        self.progress = Progress.from_dict(state["progress"])
        go_on(self.progress, Recipe.from_dict(state["recipe"]), self.recipe)
        self._surroundings.go_on(state, self.monitor.notice, done=bool(self.progress.stopped_because))
        notice = None if self.progress.stopped_because else self.monitor.notice
        self._learner.restore(tensors, state, notice)
        carried = from_named_tensors(tensors, "carried")
        self._carried = None if carried is None else map_state(lambda x: x.to(self.device), carried)
        self.run.truncate_metrics(state["metrics_offset"])

    def _keep_settings(self) -> None:
        """Settings that have become others on resume, `go_on` allowing, are the run's from here on."""
        settings = self.recipe.to_dict()
        if self.run.config() != settings:
            self.run.write_config(settings)
