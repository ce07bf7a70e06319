"""Optimizers by name: ours, and any of `torch.optim` that can train a model segment by segment."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError, near_names
from ostinato.optim.declared import OPTIMIZERS
from ostinato.optim.nesterov import ClassicalMomentum, SimplifiedNesterov
from ostinato.optim.of_torch import check_names, constructed, of_class, refusal, torch_optimizers
from ostinato.optim.schedules import Schedule


def register_optimizer(name: str, kind: type[torch.optim.Optimizer]) -> None:
    """Make an optimizer known by a name, to recipes too; its constructor takes parameters and `lr`.

    Args:
        name: without capitals.
        kind: the class. Momentum and weight decay can be asked for if it has arguments of these names.

    Raises:
        ValueError: the name is taken, or has capitals.
    """
    if name != name.lower() or name in OPTIMIZERS or name in torch_optimizers():
        raise ValueError(f"expected a new name without capitals for an optimizer, got {name!r}")
    OPTIMIZERS.register(of_class(name, kind))


def optimizer_names() -> list[str]:
    """All names that `make_optimizer` knows, ours first.

    Example:
        >>> optimizer_names()[:5]
        ['sgd', 'nesterov', 'classical', 'adam', 'adamw']
    """
    own = [entry.name for entry in OPTIMIZERS.entries() if not entry.curvature]
    return own + sorted(name for name in torch_optimizers() if name not in own and not refusal(name))


def make_optimizer(
    name: str,
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    *,
    learning_rate: float,
    momentum: float | Schedule | None = None,
    weight_decay: float | None = None,
    **settings: Any,
) -> torch.optim.Optimizer:
    """The optimizer of a name, whatever its capitals.

    "sgd" is plain gradient descent, "nesterov" `SimplifiedNesterov`, "classical" `ClassicalMomentum`; they
    stand for `torch.optim.SGD`, which takes the same steps while rate and momentum are constant. Any other
    name is that of a class in `torch.optim`.

    Args:
        name: of the optimizer.
        params: parameters, or groups of them with settings of their own.
        learning_rate: eps.
        momentum: for an optimizer that has a setting of this name; a function of the step for ours. None
            leaves it as the class has it.
        weight_decay: as the optimizer has it: lambda theta added to the gradient, or, by adamw, taken from
            theta apart from it. None leaves it as the class has it: 0.01 for adamw, 0 for most.
        settings: further arguments of its class, such as `betas`.

    Raises:
        UserError: there is no such optimizer, it cannot train this way, or has no such setting.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> type(make_optimizer("AdamW", [weight], learning_rate=0.1, betas=(0.9, 0.95))).__name__
        'AdamW'
        >>> make_optimizer("adam", [weight], learning_rate=0.1, momentum=0.9)
        Traceback (most recent call last):
        ostinato.errors.UserError: adam has no momentum, found momentum = 0.9; leave it out
    """
    key = name.lower()
    if key not in OPTIMIZERS and (why := refusal(key)):
        raise UserError(f"{name} cannot train here: {why}")
    if key not in optimizer_names():
        raise UserError(f"unknown optimizer {name!r}: {near_names(key, optimizer_names())}")
    kind = OPTIMIZERS[key].load()
    known = inspect.signature(kind).parameters
    check_names(name, kind, settings)
    for setting, value in (("momentum", momentum), ("weight_decay", weight_decay)):
        if value is not None and setting in known:
            settings[setting] = value
        elif value:
            raise UserError(f"{name} has no {setting}, found {setting} = {value}; leave it out")
    if callable(momentum) and not issubclass(kind, SimplifiedNesterov | ClassicalMomentum):
        raise UserError(f"{name} takes a number as momentum, found a schedule; use nesterov or classical")
    return constructed(name, kind, params, learning_rate, settings)
