"""Optimizers of `torch.optim`, and classes like them, as a recipe knows them."""

import inspect
from typing import Any

import torch

from ostinato.errors import UserError
from ostinato.optim.settings import ADAPTIVE, DESCENT, FURTHER, MOMENTUM, Optimizer

# Why a class of torch.optim cannot train here, where its `step` does not say so by asking for a closure.
_REFUSED = {"SparseAdam": "it takes sparse gradients only; use adam"}


def torch_optimizers() -> dict[str, type[Any]]:
    """The classes of torch.optim by their names without capitals."""
    kinds = {name: kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind)}
    return {
        name.lower(): kind
        for name, kind in kinds.items()
        if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }


def refusal(name: str) -> str:
    """Why the class of torch.optim cannot train here; nothing if it can, or if there is none.

    Example:
        >>> refusal("lbfgs")
        'it asks for the loss several times a step, which training by segments does not give'
    """
    kind = torch_optimizers().get(name)
    if kind is None:
        return ""
    if kind.__name__ in _REFUSED:
        return _REFUSED[kind.__name__]
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        return "it asks for the loss several times a step, which training by segments does not give"
    return ""


def declared(name: str) -> Optimizer | None:
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
        ...
        ostinato.errors.UserError: sparseadam cannot train here: it takes sparse gradients only; use adam
    """
    key = name.lower()
    kind = torch_optimizers().get(key)
    if kind is None:
        return None
    if why := refusal(key):
        raise UserError(f"{name} cannot train here: {why}")
    return of_class(key, kind)


def of_class(name: str, kind: type[torch.optim.Optimizer]) -> Optimizer:
    """What a recipe is to know of an optimizer, from its constructor.

    It has a momentum if the constructor has an argument of this name, and learns at the constructor's own
    rate by default.
    """
    known = inspect.signature(kind).parameters
    rate = known["lr"].default if "lr" in known else None
    return Optimizer(
        name=name,
        place=kind,
        summary=f"{kind.__name__} of {kind.__module__.partition('.')[0]}",
        settings=(*DESCENT, *((MOMENTUM,) if "momentum" in known else ()), FURTHER),
        defaults=ADAPTIVE | ({"learning_rate": float(rate)} if isinstance(rate, int | float) else {}),
    )
