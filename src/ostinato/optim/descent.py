"""GradientDescent: any `torch.optim.Optimizer`, with a schedule of its rate, as a training loop wants it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.optim import state as states
from ostinato.optim.schedules import Constant, Schedule


class GradientDescent:
    """An optimizer that steps along the gradients that are there, and all that a run asks of it.

        lr_k = lr * scale * rate(k)   for every group, k the number of steps taken

    The optimizer's `lr` entries belong to this class, which sets them after every step; what it was made with
    are the rates that the schedule and `scale_learning_rate` multiply. Sparse gradients become dense for an
    optimizer that does not say, by an attribute `takes_sparse_gradients`, that it takes them.

    Args:
        optimizer: the optimizer; its learning rates are numbers.
        rate: a function of k that multiplies the learning rates.

    Raises:
        UserError: the optimizer has a learning rate that is itself a function.

    Example:
        >>> from ostinato.optim.schedules import Cosine
        >>> weight = torch.ones(1, requires_grad=True)
        >>> optimizer = GradientDescent(torch.optim.Adam([weight], lr=0.2), Cosine(total=2))
        >>> for _ in range(2):
        ...     weight.grad = torch.ones(1)
        ...     print(optimizer.pace())
        ...     optimizer.step()
        {'learning_rate': 0.2, 'momentum': 0.9}
        {'learning_rate': 0.1, 'momentum': 0.9}
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rate: Schedule = Constant(1.0)) -> None:  # noqa: B008
        if callable(optimizer.defaults.get("lr")):
            raise UserError("expected an optimizer whose rate is a number; give its schedule as `rate`")
        self.optimizer, self.rate, self.steps = optimizer, rate, 0
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._takes_sparse = getattr(optimizer, "takes_sparse_gradients", False)
        self._set_rates()

    def step(self) -> None:
        """One step with the gradients that are there, at the rate of this moment."""
        self._set_rates()
        if not self._takes_sparse:
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None and parameter.grad.is_sparse:
                        parameter.grad = parameter.grad.to_dense()
        self.optimizer.step()
        self.steps += 1
        self._set_rates()

    def _set_rates(self) -> None:
        factor = self.rate(self.steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def learning_rates(self) -> list[float]:
        """The rate of each group that the next step will use."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def momenta(self) -> list[float]:
        """The momentum of each group, or the first of its betas; 0 where there is neither."""
        return [
            float(group["momentum"] if "momentum" in group else group.get("betas", (0.0,))[0])
            for group in self.optimizer.param_groups
        ]

    def pace(self) -> dict[str, float]:
        """Learning rate and momentum of the first group."""
        return {"learning_rate": self.learning_rates()[0], "momentum": self.momenta()[0]}

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the rate of every group by `factor`, from the next step on, whatever its schedule is."""
        self._rates = [rate * factor for rate in self._rates]
        self._set_rates()

    def flat_state(self, parameters: Sequence[Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See `TrainingOptimizer`."""
        tensors, state = states.flat_state(self.optimizer, parameters)
        own = {"steps": self.steps, "rates": self._rates, "schedule": self._schedule()}
        return tensors, state | own

    def load_flat_state(
        self, parameters: Sequence[Tensor], tensors: Mapping[str, Tensor], state: Mapping[str, Any]
    ) -> None:
        """See `TrainingOptimizer`.

        Raises:
            UserError: the state was reached under another schedule.
        """
        schedule = state.get("schedule", self._schedule())
        if schedule != self._schedule():
            raise UserError(
                f"expected the schedule of the learning rate that training began with, {schedule}, "
                f"found {self._schedule()}"
            )
        states.load_flat_state(self.optimizer, parameters, tensors, state)
        # A run of before there were schedules: its groups say all.
        self.steps = state.get("steps", state["groups"][0].get("steps", 0))
        self._rates = list(state.get("rates", [group["lr"] for group in state["groups"]]))
        self._set_rates()

    def _schedule(self) -> dict[str, Any] | None:
        """The schedule's kind and settings; None for a function, which cannot be compared."""
        if not dataclasses.is_dataclass(self.rate):
            return None
        return {"kind": type(self.rate).__name__} | dataclasses.asdict(self.rate)
