"""What a training loop asks of any optimizer, besides a step.

Two kinds have it: `GradientDescent`, over any `torch.optim.Optimizer`, whose `step` uses the gradients that
are there, and `HessianFree`, whose `step` takes an operator that computes its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor


class TrainingOptimizer(Protocol):
    """An optimizer that a run can log, slow down, save and take up again bit for bit."""

    @property
    def steps(self) -> int:
        """Steps taken so far."""

    def pace(self) -> dict[str, float]:
        """What governs the length of the next step, by name, for the log."""

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate from the next step on; a `UserError` from what has none, unless by 1."""

    def flat_state(self, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next step depends on, as named tensors and JSON values.

        Args:
            parameters: all of the optimizer's; their places in this order are their names.
        """

    def load_flat_state(
        self, parameters: Sequence[Tensor], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """Take up what `flat_state` gave.

        With the tensors of one moment and the values of another, what was learned goes back to the one while
        rates and counts stay those of the other.
        """
