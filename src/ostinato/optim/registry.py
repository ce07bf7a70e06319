"""Optimizers by name: ours, and any of `torch.optim` that can train a model segment by segment."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError, near_names
from ostinato.optim.declared import ADAPTIVE, DESCENT, FURTHER, MOMENTUM
from ostinato.optim.nesterov import ClassicalMomentum, SimplifiedNesterov
from ostinato.optim.schedules import Schedule
from ostinato.recipe.declared import Declared


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


_OPTIMIZERS: dict[str, type[Any]] = {
    "sgd": PlainDescent,
    "nesterov": SimplifiedNesterov,
    "classical": ClassicalMomentum,
}

# Why a class of torch.optim cannot train here, where its `step` does not say so by asking for a closure.
_REFUSED = {"SparseAdam": "it takes sparse gradients only; use adam"}

# Settings that would turn training around, or that take a step apart.
_HIDDEN = {"self", "params", "lr", "momentum", "weight_decay", "maximize", "differentiable"}


def register_optimizer(name: str, kind: type[torch.optim.Optimizer]) -> None:
    """Make an optimizer known by a name; its constructor takes parameters and `lr`.

    Args:
        name: without capitals.
        kind: the class. Momentum and weight decay can be asked for if it has arguments of these names.

    Raises:
        ValueError: the name is taken, or has capitals.
    """
    if name != name.lower() or name in optimizer_names():
        raise ValueError(f"expected a new name without capitals for an optimizer, got {name!r}")
    _OPTIMIZERS[name] = kind


def optimizer_names() -> list[str]:
    """All names that `make_optimizer` knows, ours first.

    Example:
        >>> optimizer_names()[:5]
        ['sgd', 'nesterov', 'classical', 'adadelta', 'adafactor']
    """
    own = list(_OPTIMIZERS)
    return own + sorted(name for name in _torch_optimizers() if name not in own and not _refusal(name))


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
    kind = _OPTIMIZERS.get(key) or _torch_optimizers().get(key)
    if kind is None:
        raise UserError(f"unknown optimizer {name!r}: {near_names(key, optimizer_names())}")
    _check_usable(name)
    known = inspect.signature(kind).parameters
    for setting in settings:
        if setting not in known or setting in _HIDDEN:
            names = near_names(setting, known.keys() - _HIDDEN)
            raise UserError(f"{name} has no setting {setting!r}: {names}")
    for setting, value in (("momentum", momentum), ("weight_decay", weight_decay)):
        if value is not None and setting in known:
            settings[setting] = value
        elif value:
            raise UserError(f"{name} has no {setting}, found {setting} = {value}; leave it out")
    if callable(momentum) and not issubclass(kind, SimplifiedNesterov | ClassicalMomentum):
        raise UserError(f"{name} takes a number as momentum, found a schedule; use nesterov or classical")
    try:
        return kind(params, lr=learning_rate, **settings)
    except (ValueError, TypeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} does not take these settings or parameters: {error}") from None


def _torch_optimizers() -> dict[str, type[Any]]:
    """The classes of torch.optim by their names without capitals."""
    kinds = {name: kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind)}
    return {
        name.lower(): kind
        for name, kind in kinds.items()
        if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }


def _refusal(name: str) -> str:
    """Why the class of torch.optim cannot train here; nothing if it can."""
    kind = _torch_optimizers()[name]
    if kind.__name__ in _REFUSED:
        return _REFUSED[kind.__name__]
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        return "it asks for the loss several times a step, which training by segments does not give"
    return ""


def _check_usable(name: str) -> None:
    """Refuse a class of torch.optim that cannot train here."""
    key = name.lower()
    if key not in _OPTIMIZERS and (refusal := _refusal(key)):
        raise UserError(f"{name} cannot train here: {refusal}")


def declared(name: str) -> Declared | None:
    """What a recipe is to know of a class of torch.optim; None if there is none of this name.

    Raises:
        UserError: there is, but it cannot train here; the message says why.

    Example:
        >>> found = declared("rmsprop")
        >>> found.defaults["learning_rate"], any(setting.name == "momentum" for setting in found.settings)
        (0.01, True)
        >>> declared("adamm") is None
        True
        >>> declared("sparseadam")
        Traceback (most recent call last):
        ostinato.errors.UserError: sparseadam cannot train here: it takes sparse gradients only; use adam
    """
    key = name.lower()
    kind = _OPTIMIZERS.get(key) or _torch_optimizers().get(key)
    if kind is None:
        return None
    _check_usable(name)
    known = inspect.signature(kind).parameters
    rate = known["lr"].default if "lr" in known else None
    return Declared(
        name=key,
        place=f"{kind.__module__}:{kind.__qualname__}",
        summary=f"{kind.__name__} of {kind.__module__.partition('.')[0]}",
        settings=(*DESCENT, *((MOMENTUM,) if "momentum" in known else ()), FURTHER),
        defaults=ADAPTIVE | ({"learning_rate": float(rate)} if isinstance(rate, int | float) else {}),
    )
