"""Gradient descent with momentum, where rate and momentum may change at every step.

Letters: t the step, 1, 2, ...; theta the parameters, v their velocity (v_0 = 0), g the gradient; eps the
learning rate, mu the momentum and lambda the weight decay.

As in `torch.optim`, `lr`, `momentum` and `weight_decay` are entries of the parameter groups, where a
scheduler reads and sets them. Rate and momentum may instead be functions of k, the number of steps taken so
far, given at construction (see `ostinato.optim.schedules`).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, overload

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.optim.schedules import Schedule


class _Momentum(torch.optim.Optimizer):
    """What both kinds of momentum share: groups, schedules, the count of steps, the choice of tensors."""

    takes_sparse_gradients = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        # One pair of functions per group, None for a number. They stay out of the groups, which
        # `state_dict` would save.
        self._schedules: list[tuple[Schedule | None, Schedule | None]] = []
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters that have a rate, momentum or decay of their own, or the optimizer's by default.

        The schedules of a group added late go on at the step where the others are. Entries that others keep
        in a group, such as a name, stay there.

        Raises:
            UserError: A number is out of range, or an entry is a setting that this optimizer does not have.
        """
        _check_entries(type(self).__name__, param_group)
        given = {name: param_group.get(name, self.defaults[name]) for name in self.defaults}
        rate, momentum, steps = given["lr"], given["momentum"], self.steps
        _check("learning rate", rate, below=None)
        _check("momentum", momentum, below=1.0)
        _check("weight decay", given["weight_decay"], below=None)
        now = float(momentum(steps) if callable(momentum) else momentum)
        numbers = {
            # A number is the group's `lr` itself; a function is scaled by an `lr` of 1.
            "lr": 1.0 if callable(rate) else float(rate),
            "momentum": now,
            "weight_decay": float(given["weight_decay"]),
            # mu_{t-1}, which the last step looked ahead by
            "last_momentum": now,
            "steps": steps,
        }
        super().add_param_group(param_group | numbers)
        self._schedules.append((rate if callable(rate) else None, momentum if callable(momentum) else None))

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
            group["lr"] if rate is None else group["lr"] * rate(group["steps"])
            for group, (rate, _) in zip(self.param_groups, self._schedules, strict=True)
        ]

    def momenta(self) -> list[float]:
        """The momentum of each group: mu_k of a function of k, else the number in the group."""
        return [
            group["momentum"] if momentum is None else momentum(group["steps"])
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

        Raises:
            UserError: A scheduler set the momentum of a group whose momentum is a function of the step.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, rate, schedule in zip(
            self.param_groups, self.learning_rates(), self._schedules, strict=True
        ):
            before, after = self._momenta_of(group, schedule[1])
            self._step_group(group, rate, before, after)
            group["steps"] += 1
            group["last_momentum"] = after
            if schedule[1] is not None:
                group["momentum"] = after
        return loss

    def _momenta_of(self, group: dict[str, Any], schedule: Schedule | None) -> tuple[float, float]:
        """mu_{t-1} and mu_t of the step about to be taken."""
        if schedule is None:
            return self._momenta_of_number(group["last_momentum"], group["momentum"])
        if group["momentum"] != group["last_momentum"]:
            raise UserError(
                f"a scheduler set the momentum to {group['momentum']}, but it is a function of the step; "
                "give the optimizer a number to let a scheduler set it"
            )
        return schedule(group["steps"]), schedule(group["steps"] + 1)

    def _momenta_of_number(self, last: float, now: float) -> tuple[float, float]:
        """mu_{t-1} and mu_t where the group had one number at the step before, and has another now."""
        return last, now

    def _step_group(self, group: dict[str, Any], eps: float, before: float, after: float) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        decay = group["weight_decay"]
        if before == 0 == after and not any(self.state.get(p) for p in parameters):
            _descend(parameters, eps, decay)
        elif parameters:
            gradients = [_with_decay(p, decay, dense=True) for p in parameters]
            self._update(parameters, gradients, self._velocities(parameters), eps, before, after)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            UserError: It is the state of an optimizer of another kind.
        """
        found = {key for entry in state_dict["state"].values() for key in entry}
        if found - {"velocity"} or not all("steps" in group for group in state_dict["param_groups"]):
            kept = ", ".join(sorted(found)) or "no count of steps"
            raise UserError(
                f"expected the state of {type(self).__name__}, velocities and a count of steps, found that "
                f"of another optimizer ({kept})"
            )
        super().load_state_dict(state_dict)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A state dict of before momentum and decay were entries of the groups: this optimizer's own stay.
        own = self.__dict__.get("param_groups", [])
        super().__setstate__(state)
        for group, mine in zip(self.param_groups, own, strict=False):
            for name in ("momentum", "last_momentum", "weight_decay"):
                group.setdefault(name, mine[name])

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
        before: float,
        after: float,
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
    takes the same steps from the first one on while mu and eps are constant (dampening 0), with any weight
    decay: g is then g + lambda Theta. When its `momentum` or `lr` is changed on the way, it is another
    method: its one momentum stands for both mu_{t-1} and mu_t, and its b scales old gradients with the new
    rate.

    Source: Bengio, Boulanger-Lewandowski, Pascanu 2012, "Advances in Optimizing Recurrent Networks",
    section 3.5.

    Args:
        params: Parameters, or groups of them as in any `torch.optim.Optimizer`; a group may have its own
            `lr`, `momentum` and `weight_decay`.
        lr: The learning rate eps: a number at least 0, or a function of k, the number of steps taken.
        momentum: The momentum mu: a number in [0, 1), or a function of k.
        weight_decay: lambda, at least 0: lambda Theta is added to the gradient.

    The rate that a step uses is `group["lr"] * lr(k)`: where `lr` is a number, `group["lr"]` is that number
    and the function is 1; where it is a function, `group["lr"]` starts as 1. So `scale_learning_rate`, or
    whatever sets `group["lr"]`, works with both.

    Where `momentum` is a number, it is `group["momentum"]`, and a scheduler may set it, as torch's
    OneCycleLR and CyclicLR do: what it is at step t is mu_t, what it was at the step before is mu_{t-1}, so
    the equations hold whatever it does. Where it is a function, `group["momentum"]` shows mu_k, and setting
    it is an error. Velocities are kept from the first step on whose momenta are not 0.

    `state_dict` holds velocities, the groups' numbers and the count of steps, no functions; an optimizer made
    with the same schedules goes on from it bit for bit.

    Raises:
        UserError: A rate, momentum or decay given as a number is out of range.

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
        before: float,
        after: float,
    ) -> None:
        torch._foreach_mul_(velocity, before)
        torch._foreach_add_(velocity, gradient, alpha=-eps)
        # mu_t v_t - eps g is equation 7's mu_t mu_{t-1} v_{t-1} - (1 + mu_t) eps g, with v_t put in.
        torch._foreach_add_(theta, velocity, alpha=after)
        torch._foreach_add_(theta, gradient, alpha=-eps)


class PlainDescent(SimplifiedNesterov):
    """Gradient descent without momentum: theta_t = theta_{t-1} - eps g, with weight decay.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> weight.grad = torch.tensor([2.0])
        >>> PlainDescent([weight], lr=0.25).step()
        >>> weight.item()
        0.5
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Schedule,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr, 0.0, weight_decay)


class ClassicalMomentum(_Momentum):
    """Gradient descent with the ordinary momentum (equations 3 to 5), to compare Nesterov's with.

        v_t     = mu_{t-1} v_{t-1} - eps_{t-1} g(theta_{t-1})
        theta_t = theta_{t-1} + v_t

    Equals `torch.optim.SGD(momentum=mu)` while mu and eps are constant. A momentum that is a number is, at
    step t, mu_{t-1}. Everything else is as in `SimplifiedNesterov`.

    Source: Polyak 1964; Bengio, Boulanger-Lewandowski, Pascanu 2012, section 3.5.

    Args:
        params: Parameters, or groups of them.
        lr: The learning rate eps: a number at least 0, or a function of k, the number of steps taken.
        momentum: The momentum mu: a number in [0, 1), or a function of k.
        weight_decay: lambda, at least 0: lambda theta is added to the gradient.

    Raises:
        UserError: A rate, momentum or decay given as a number is out of range.

    Example:
        >>> weight = torch.tensor([1.0], requires_grad=True)
        >>> optimizer = ClassicalMomentum([weight], lr=0.25, momentum=0.5)
        >>> for _ in range(2):
        ...     weight.grad = 2 * weight.detach()
        ...     optimizer.step()
        >>> weight.item()  # 1, then 1 - 0.5, then 0.5 + 0.5 (-0.5) - 0.25
        0.0
    """

    def _momenta_of_number(self, last: float, now: float) -> tuple[float, float]:
        return now, now

    def _update(
        self,
        theta: list[Tensor],
        gradient: list[Tensor],
        velocity: list[Tensor],
        eps: float,
        before: float,
        after: float,
    ) -> None:
        torch._foreach_mul_(velocity, before)
        torch._foreach_add_(velocity, gradient, alpha=-eps)
        torch._foreach_add_(theta, velocity)


def _with_decay(parameter: Tensor, decay: float, *, dense: bool) -> Tensor:
    """g + lambda theta, dense if it must be or if theta makes it so."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.is_sparse and (dense or decay != 0):
        gradient = gradient.to_dense()
    return gradient if decay == 0 else gradient.add(parameter, alpha=decay)


def _descend(parameters: list[Tensor], eps: float, decay: float) -> None:
    """Plain gradient descent, theta - eps g, without velocities; a sparse gradient touches its rows only."""
    pairs = [(p, _with_decay(p, decay, dense=False)) for p in parameters]
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


# Settings of optimizers in torch.optim that ours do not have.
_OTHERS = {
    "amsgrad",
    "betas",
    "capturable",
    "dampening",
    "differentiable",
    "eps",
    "foreach",
    "fused",
    "learning_rate",
    "maximize",
    "nesterov",
}
_OWN = ("lr", "momentum", "weight_decay")


def _check_entries(optimizer: str, group: Mapping[str, Any]) -> None:
    """A UserError for an entry of a group that would have no effect where its name promises one."""
    for name in group.keys() - {*_OWN, "last_momentum", "steps"}:
        if name in _OTHERS or get_close_matches(name, _OWN, cutoff=0.85):
            raise UserError(
                f"{optimizer} has no {name} for a group of parameters, only {', '.join(_OWN)}; leave it out"
            )
