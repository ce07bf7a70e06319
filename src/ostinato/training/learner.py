"""What training changes, all of it: what a checkpoint holds besides where training stands."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ostinato.nn import SequenceModel
from ostinato.optim import TrainingOptimizer
from ostinato.optim.averaging import WeightAverage
from ostinato.optim.schedules import Rule
from ostinato.optim.thresholds import Threshold
from ostinato.training.build import MODEL_PREFIX
from ostinato.training.flights import FlightRecorder
from ostinato.training.progress import averages_anew, learned, says_turned, take_learned

BEFORE_PREFIX = "before."


class Learner:
    """A model with what trains it.

    Args:
        model: what is trained.
        optimizer: steps.
        rule: of the learning rate, by validation.
        threshold: that gradients are clipped at.
        average: of the weights, or None.
        recorder: of the last updates.
    """

    def __init__(
        self,
        model: SequenceModel,
        optimizer: TrainingOptimizer,
        rule: Rule,
        threshold: Threshold,
        average: WeightAverage | None,
        recorder: FlightRecorder,
    ) -> None:
        self.model, self.optimizer, self.rule, self.threshold = model, optimizer, rule, threshold
        self.average, self.recorder = average, recorder
        self._before: dict[str, Tensor] = {}

    def remember(self) -> None:
        """Weights and optimizer as they are, for a rule that may take an epoch back."""
        self._before = learned(self.model, BEFORE_PREFIX, self.optimizer)

    def obey_rule(self, score: float) -> bool:
        """Do what the rule of the rate makes of a validation; whether training is to stop."""
        decision = self.rule.update(score)
        if decision.restore and self._before:
            take_learned(self._before, BEFORE_PREFIX, self.model, self.optimizer, self._numbers())
        self.optimizer.scale_learning_rate(decision.learning_rate_factor)
        return decision.stop

    def tensors(self) -> dict[str, Tensor]:
        """Copies of all tensors, by names that do not collide."""
        tensors = learned(self.model, MODEL_PREFIX, self.optimizer) | self._before
        if self.average is not None:
            tensors |= self.average.tensors()
        if self.model.generator is not None:
            tensors["generator"] = self.model.generator.get_state()
        return tensors

    def state(self) -> dict[str, Any]:
        """The rest, of which JSON can be made."""
        return {
            "rule": self.rule.state_dict(),
            "threshold": self.threshold.state_dict(),
            "optimizer": self._numbers(),
            "averaged": self.average.updates if self.average is not None else 0,
            "recorder": self.recorder.state_dict(),
        }

    def restore(
        self, tensors: dict[str, Tensor], state: Mapping[str, Any], notice: Callable[[str], None] | None
    ) -> None:
        """Go on from what `tensors` and `state` gave; `notice` is told where that cannot be to the bit."""
        # a run of before there were others than our own has its groups alone
        numbers = state.get("optimizer") or {"groups": state["groups"]}
        turned = take_learned(tensors, MODEL_PREFIX, self.model, self.optimizer, numbers)
        if turned and notice is not None:
            notice(says_turned(turned))
        if self.average is not None:
            self.average.restore(tensors | averages_anew(self.model, turned), state["averaged"])
        self.rule.load_state_dict(state["rule"])
        # a run of before there were rules for it other than a number and "auto" has its number alone
        threshold = state.get("threshold", {"value": state["progress"].get("clip_threshold")})
        self.threshold.load_state_dict(threshold)
        if "recorder" in state:  # a run of before there was one begins it here
            self.recorder.load_state_dict(state["recorder"])
        self._before = {k: v for k, v in tensors.items() if k.startswith(BEFORE_PREFIX)}
        if self.model.generator is not None:
            self.model.generator.set_state(tensors["generator"])

    def _numbers(self) -> dict[str, Any]:
        return self.optimizer.flat_state(list(self.model.parameters()))[1]
