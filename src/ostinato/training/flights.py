"""The flight recorder of a training run: looks at every update, keeps what a bundle needs, and writes it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.diagnostics.blame import Blame, blame
from ostinato.errors import UserError, argument, call
from ostinato.nn import SequenceModel
from ostinato.optim import TrainingOptimizer
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training import flight
from ostinato.training.build import MODEL_PREFIX
from ostinato.training.environment import environment
from ostinato.training.progress import OPTIMIZER_PREFIX, learned
from ostinato.training.recorder import (
    IGNORE,
    ON_FAILURE,
    Recorder,
    Seen,
    Trouble,
    advice,
    digest,
    largest,
)
from ostinato.training.updates import Batch, Update


@dataclass(frozen=True)
class Place:
    """Where in a training an update is made.

    Attributes:
        described: the segment, for messages.
        updates: of the whole training, for schedules that know its end.
        data: the identity of the data.
    """

    described: str
    updates: int
    data: Mapping[str, Any]


class FlightRecorder:
    """Of one training; its `recorder` has what the last updates were like.

    Args:
        run: its folder.
        recipe: its settings.
        model: what is trained.
        optimizer: of its updates.
        on_failure: "go-on" writes a bundle and goes on, "stop" writes one and stops, "ignore" does nothing.

    Raises:
        UserError: `on_failure` is none of these.
    """

    def __init__(
        self, run: Run, recipe: Recipe, model: SequenceModel, optimizer: TrainingOptimizer, on_failure: str
    ) -> None:
        if on_failure not in ON_FAILURE:
            raise UserError(
                f"expected {argument('on_failure')} {', '.join(ON_FAILURE)}, found {on_failure!r}"
            )
        self.recorder = Recorder()
        self.on_failure = on_failure
        self._run, self._recipe, self._model, self._optimizer = run, recipe, model, optimizer
        self._parameters = list(model.parameters())
        self._random: Tensor | None = None
        self._kept: tuple[dict[str, Tensor], dict[str, Any]] | None = None
        self._trouble: Trouble | None = None
        self._clip_at: float | None = None

    def begin(
        self, clip_at: float | None, stage: str
    ) -> Callable[[float | None, int, Sequence[float]], None]:
        """Before an update of a stage of training: what its batch's `before` is to be."""
        self.recorder.enter(stage)
        self._kept, self._trouble, self._clip_at = None, None, clip_at
        if self.on_failure == IGNORE:
            return lambda *_: None
        generator = self._model.generator
        self._random = None if generator is None else generator.get_state()
        return self._before

    def _before(self, nll: float | None, frames: int, norms: Sequence[float]) -> None:
        if nll is None:  # nothing is known yet, and an update of this kind is long
            self._keep()
            return
        self._trouble = self.recorder.look(_seen(nll, frames, norms, self._clip_at))
        if self._trouble is not None and self.recorder.wants(self._trouble):
            self._keep()

    def _keep(self) -> None:
        """Weights and optimizer as they are now."""
        tensors = learned(self._model, MODEL_PREFIX, self._optimizer)
        self._kept = tensors, self._optimizer.flat_state(self._parameters)[1]

    def after(self, batch: Batch, update: Update, place: Place) -> tuple[str, dict[str, Any]] | None:
        """After an update: what to say of what went wrong, and a line for the metrics; None for nothing."""
        if self.on_failure == IGNORE:
            return None
        if self._kept is not None and self._trouble is None:
            seen = _seen(update.nll, update.frames, update.norms, batch.clip_at)
            self._trouble = self.recorder.look(seen)
        trouble = self._trouble
        if trouble is None or self._kept is None or not self.recorder.wants(trouble):
            return None
        name = f"epoch-{batch.epoch}-segment-{batch.index}"
        blamed = self._blame(batch)
        settings = (
            {}  # none of them mends data
            if blamed.what == "input"
            else advice(trouble, self._recipe.to_dict(), self.recorder.usual_norm)
        )
        path = self._write(name, batch, update, place, trouble, settings)
        self.recorder.written.append(trouble.why)
        event = {
            "event": "recorded",
            "epoch": batch.epoch,
            "where": place.described,
            "why": trouble.why,
            "what": trouble.what,
            "cause": blamed.what,
            "growth": None if blamed.growth is None else written(blamed.growth),
            "place": blamed.sentence,
            "bundle": name,
        }
        what = f"{trouble.what}, at epoch {batch.epoch}, {place.described}: {blamed.sentence}"
        again = call("replay", bundle=path.with_suffix(""))
        # one segment may be unlike the others, and the next ones fare as those before
        unless = "unless the loss falls again, " if trouble.why == "loss jumped" else ""
        told = MEND if blamed.what == "input" else f"{unless}{_told(settings)}"
        return f"{what}; {told}; {again} shows it", event

    def _blame(self, batch: Batch) -> Blame:
        """Where in the segment it went wrong, at the weights before the update; all is left as it was."""
        assert self._kept is not None
        model, segment, generator = self._model, batch.segment, self._model.generator
        before = {
            name.removeprefix(MODEL_PREFIX): x
            for name, x in self._kept[0].items()
            if not name.startswith(MODEL_PREFIX + OPTIMIZER_PREFIX)
        }
        now = {name: x.detach().clone() for name, x in model.state_dict().items()}
        state = None if generator is None else generator.get_state()
        model.load_state_dict(before)
        try:
            return blame(
                model,
                segment.inputs,
                segment.targets,
                batch.states,
                segment.starts,
                segment.mask,
                batch.objective,
            )
        finally:
            model.load_state_dict(now)
            if generator is not None and state is not None:
                generator.set_state(state)

    def _write(
        self,
        name: str,
        batch: Batch,
        update: Update,
        place: Place,
        trouble: Trouble,
        settings: Mapping[str, Any],
    ) -> Any:
        assert self._kept is not None
        tensors, state = self._kept
        tensors = tensors | flight.tensors_of(batch.segment, batch.states)
        if self._random is not None:
            tensors[flight.GENERATOR] = self._random
        recorder = self.recorder
        about = {
            "why": trouble.why,
            "what": trouble.what,
            "advice": dict(settings),
            "epoch": batch.epoch,
            "segment": batch.index,
            "where": place.described,
            "stage": batch.objective.name,
            "clip_at": batch.clip_at,
            "recipe": self._recipe.to_dict(),
            "data": dict(place.data),
            "optimizer": state,
            "updates": place.updates,
            "threads": torch.get_num_threads(),
            "environment": environment(self._parameters[0].device),
            "last": {
                "losses": [written(x) for x in recorder.losses],
                "norms": [written(x) for x in recorder.norms],
                "thresholds": [*recorder.thresholds],
            },
            "made": made(self._model, self._optimizer, update),
        }
        return flight.write(self._run.folder, name, tensors, about)

    def state_dict(self) -> dict[str, Any]:
        """What the next look depends on, as JSON values."""
        return self.recorder.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.recorder.load_state_dict(state)


def _seen(nll: float, frames: int, norms: Sequence[float], clip_at: float | None) -> Seen:
    return Seen(nll / max(frames, 1), largest(norms), clip_at, frames)


def made(model: SequenceModel, optimizer: TrainingOptimizer, update: Update) -> dict[str, Any]:
    """What a step made: its loss and norms, and the digest of weights and optimizer after it."""
    return {
        "usable": update.usable,
        "nll": written(update.nll),
        "frames": update.frames,
        "norms": [written(norm) for norm in update.norms],
        "digest": digest(learned(model, MODEL_PREFIX, optimizer)),
    }


def written(value: float) -> float | str:
    """A number as JSON has it; of NaN and infinities the name.

    Example:
        >>> written(0.5), written(float("inf"))
        (0.5, 'inf')
    """
    return value if math.isfinite(value) else str(value)


#: What helps where the data are not finite.
MEND = "mend the data there: no setting helps"


def _told(settings: Mapping[str, Any]) -> str:
    """What to change, in words."""
    parts = [f"{argument(name)} {value}" for name, value in settings.items()]
    return f"train with {' and '.join(parts)}" if parts else "train with other settings"
