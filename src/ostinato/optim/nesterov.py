"""Gradient descent with momentum, where rate and momentum may change at every step.

Letters: t the step, 1, 2, ...; theta the parameters, v their velocity (v_0 = 0), g the gradient; eps the
learning rate and mu the momentum, both schedules (see `ostinato.optim.schedules`) given at construction.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.optim.schedules import Constant, Schedule, as_schedule


class _Momentum(torch.optim.Optimizer):
    """What both kinds of momentum share: groups, schedules, the count of steps, the choice of tensors."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
    ) -> None:
        # One pair of schedules per group. They stay out of the groups, which `state_dict` would save.
        self._schedules: list[tuple[Schedule, Schedule]] = []
        super().__init__(params, {"lr": lr, "momentum": momentum})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters that have a rate or momentum of their own, or the optimizer's by default.

        The schedules of a group added late go on at the step where the others are.
        """
        given = {name: param_group.get(name, self.defaults[name]) for name in ("lr", "momentum")}
        rate, momentum = given["lr"], given["momentum"]
        _check("learning rate", rate, below=None)
        _check("momentum", momentum, below=1.0)
        # A number is the group's `lr` itself, which others may set; a function is scaled by an `lr` of 1.
        numbers = {"lr": 1.0 if callable(rate) else float(rate), "steps": self.steps}
        group = {name: value for name, value in param_group.items() if name != "momentum"} | numbers
        super().add_param_group(group)
        del self.param_groups[-1]["momentum"]
        rate_schedule = rate if callable(rate) else Constant(1.0)
        self._schedules.append((rate_schedule, as_schedule(momentum)))

    @property
    def steps(self) -> int:
        """How many steps have been taken: the k at which the schedules stand."""
        return self.param_groups[0]["steps"] if self.param_groups else 0

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the rate of every group by `factor`, from the next step on, whatever its schedule is."""
        for group in self.param_groups:
            group["lr"] *= factor

    def learning_rates(self) -> list[float]:
        """The rate eps_k of each group, which the next step will use."""
        return [
            group["lr"] * rate(group["steps"])
            for group, (rate, _) in zip(self.param_groups, self._schedules, strict=True)
        ]

    def momenta(self) -> list[float]:
        """The momentum mu_k of each group, which the next step will apply to its velocity."""
        return [
            momentum(group["steps"])
            for group, (_, momentum) in zip(self.param_groups, self._schedules, strict=True)
        ]

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; parameters without a gradient, and their velocities, stay as they are.

        Args:
            closure: Computes the loss and its gradients anew; called once, before the step.

        Returns:
            What the closure returned, if there is one.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, (rate, momentum) in zip(self.param_groups, self._schedules, strict=True):
            parameters = [p for p in group["params"] if p.grad is not None]
            step, group["steps"] = group["steps"], group["steps"] + 1
            eps = group["lr"] * rate(step)
            if momentum == Constant(0.0):
                _descend(parameters, eps)
            elif parameters:
                gradients = [p.grad.to_dense() if p.grad.is_sparse else p.grad for p in parameters]
                self._update(parameters, gradients, self._velocities(parameters), eps, momentum, step)
        return loss

    def _velocities(self, parameters: list[Tensor]) -> list[Tensor]:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["velocity"] = torch.zeros_like(
                    parameter, memory_format=torch.preserve_format
                )
        return [self.state[parameter]["velocity"] for parameter in parameters]

    def _update(
        self,
        theta: list[Tensor],
        gradient: list[Tensor],
        velocity: list[Tensor],
        eps: float,
        momentum: Schedule,
        step: int,
    ) -> None:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # For copy.deepcopy: the base class would leave the schedules behind.
        return super().__getstate__() | {"_schedules": self._schedules}


class SimplifiedNesterov(_Momentum):
    """Nesterov's accelerated gradient, written for the point where the gradient is taken (equations 6 and 7).

        v_t     = mu_{t-1} v_{t-1} - eps_{t-1} g(Theta_{t-1})
        Theta_t = Theta_{t-1} + mu_t mu_{t-1} v_{t-1} - (1 + mu_t) eps_{t-1} g(Theta_{t-1})

    The parameters the model holds are Theta: evaluate and save it there. With Theta_t = theta_t + mu_t v_t
    these are the classical equations v_t = mu_{t-1} v_{t-1} - eps_{t-1} g(theta_{t-1} + mu_{t-1} v_{t-1}),
    theta_t = theta_{t-1} + v_t, for any schedules; and with momentum 0, plain gradient descent, Theta - eps
    g.

    `torch.optim.SGD(nesterov=True)` keeps b_t = mu b_{t-1} + g with b_1 = g, that is b_t = -v_t / eps, and
    takes the same steps from the first one on while mu and eps are constant (dampening 0, no weight decay).
    When its `momentum` or `lr` is changed on the way, it is another method: its one momentum stands for both
    mu_{t-1} and mu_t, and its b scales old gradients with the new rate.

    Source: Bengio, Boulanger-Lewandowski, Pascanu 2012, "Advances in Optimizing Recurrent Networks",
    section 3.5.

    Args:
        params: Parameters, or groups of them as in any `torch.optim.Optimizer`; a group may have its own
            `lr` and `momentum`.
        lr: The learning rate eps: a number at least 0, or a function of k, the number of steps taken.
        momentum: The momentum mu: a number in [0, 1), or a function of k.

    The rate that a step uses is `group["lr"] * lr(k)`: where `lr` is a number, `group["lr"]` is that number
    and the function is 1; where it is a function, `group["lr"]` starts as 1. So `scale_learning_rate`, or
    whatever sets `group["lr"]`, works with both. `state_dict` holds velocities, `lr` and the count of steps,
    no functions; an optimizer made with the same schedules goes on from it bit for bit.

    Raises:
        UserError: A rate or momentum given as a number is out of range.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = SimplifiedNesterov([weight], lr=0.1, momentum=lambda k: min(0.5 + k / 100, 0.9))
        >>> for _ in range(60):
        ...     optimizer.zero_grad()
        ...     (weight**2).sum().backward()
        ...     optimizer.step()
        >>> bool(weight.abs() < 1e-4)
        True
    """

    def _update(
        self,
        theta: list[Tensor],
        gradient: list[Tensor],
        velocity: list[Tensor],
        eps: float,
        momentum: Schedule,
        step: int,
    ) -> None:
        mu, mu_next = momentum(step), momentum(step + 1)
        torch._foreach_mul_(velocity, mu)
        torch._foreach_add_(velocity, gradient, alpha=-eps)
        # mu_t v_t - eps g is equation 7's mu_t mu_{t-1} v_{t-1} - (1 + mu_t) eps g, with v_t put in.
        torch._foreach_add_(theta, velocity, alpha=mu_next)
        torch._foreach_add_(theta, gradient, alpha=-eps)


class ClassicalMomentum(_Momentum):
    """Gradient descent with the ordinary momentum (equations 3 to 5), to compare Nesterov's with.

        v_t     = mu_{t-1} v_{t-1} - eps_{t-1} g(theta_{t-1})
        theta_t = theta_{t-1} + v_t

    Equals `torch.optim.SGD(momentum=mu)` while mu and eps are constant. Everything else is as in
    `SimplifiedNesterov`.

    Source: Polyak 1964; Bengio, Boulanger-Lewandowski, Pascanu 2012, section 3.5.

    Args:
        params: Parameters, or groups of them.
        lr: The learning rate eps: a number at least 0, or a function of k, the number of steps taken.
        momentum: The momentum mu: a number in [0, 1), or a function of k.

    Raises:
        UserError: A rate or momentum given as a number is out of range.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = ClassicalMomentum([weight], lr=0.25, momentum=0.5)
        >>> for _ in range(2):
        ...     weight.grad = 2 * weight.detach()
        ...     optimizer.step()
        >>> weight.item()  # 1, then 1 - 0.5, then 0.5 + 0.5 (-0.5) - 0.25
        0.0
    """

    def _update(
        self,
        theta: list[Tensor],
        gradient: list[Tensor],
        velocity: list[Tensor],
        eps: float,
        momentum: Schedule,
        step: int,
    ) -> None:
        torch._foreach_mul_(velocity, momentum(step))
        torch._foreach_add_(velocity, gradient, alpha=-eps)
        torch._foreach_add_(theta, velocity)


def _descend(parameters: list[Tensor], eps: float) -> None:
    """Plain gradient descent, theta - eps g, without velocities; a sparse gradient touches its rows only."""
    pairs = [(p, p.grad) for p in parameters if p.grad is not None]
    dense = [(p, g) for p, g in pairs if not g.is_sparse]
    if dense:
        torch._foreach_add_([p for p, _ in dense], [g for _, g in dense], alpha=-eps)
    for parameter, gradient in pairs:
        if gradient.is_sparse:
            parameter.add_(gradient, alpha=-eps)


def _check(what: str, value: float | Schedule, below: float | None) -> None:
    if callable(value):
        return
    if not 0 <= value < math.inf or (below is not None and value >= below):
        wanted = "of at least 0" if below is None else f"in [0, {below:g})"
        raise UserError(f"expected a {what} {wanted}, found {value}")
