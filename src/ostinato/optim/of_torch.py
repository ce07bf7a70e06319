"""Optimizers of `torch.optim`, and classes like them, as a recipe knows them."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError, near_names
from ostinato.optim.settings import (
    ADAPTIVE,
    DESCENT,
    FURTHER,
    MOMENTUM,
    Optimizer,
    further,
)

# Settings that would turn training around, or that take a step apart.
_HIDDEN = {"self", "params", "lr", "momentum", "weight_decay", "maximize", "differentiable"}
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


def check_names(name: str, kind: type[torch.optim.Optimizer], settings: Mapping[str, Any]) -> None:
    """A UserError where an optimizer's class has no argument of a name, or none to set here."""
    known = inspect.signature(kind).parameters
    for setting in settings:
        if setting not in known or setting in _HIDDEN:
            names = near_names(setting, known.keys() - _HIDDEN)
            raise UserError(f"{name} has no setting {setting!r}: {names}")


def constructed(
    name: str,
    kind: type[torch.optim.Optimizer],
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    learning_rate: float,
    settings: Mapping[str, Any],
) -> torch.optim.Optimizer:
    """An optimizer of this class; what its constructor refuses is a UserError."""
    try:
        return kind(params, lr=learning_rate, **settings)  # type: ignore[call-arg]
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{name} does not take these settings or parameters: {error}") from None
    except TypeError as error:  # a setting of another type: Python's words for that help nobody
        if not settings:
            raise UserError(f"{name} does not take these parameters: {error}") from None
        known = inspect.signature(kind).parameters
        usual = ", ".join(f"{setting} = {_plain(known[setting].default)}" for setting in settings)
        found = ", ".join(f"{setting} = {_plain(value)}" for setting, value in settings.items())
        raise UserError(f"expected settings of {name} like {usual}, found {found}") from None


def check_further(name: str, kind: type[torch.optim.Optimizer], text: str, learning_rate: float) -> None:
    """A UserError where a class does not take the further settings of a recipe.

    Example:
        >>> check_further("adam", torch.optim.Adam, "betas = 3", 0.1)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: expected settings of adam like betas = [0.9, 0.999], found betas = 3
    """
    settings = further(text)
    check_names(name, kind, settings)
    constructed(name, kind, [torch.zeros(1, requires_grad=True)], learning_rate, settings)


@dataclass(frozen=True)
class Further:
    """The check of a recipe whose optimizer has this name, and is of this class."""

    name: str
    kind: type[torch.optim.Optimizer]

    def __call__(self, recipe: Any) -> None:
        """A UserError where the class does not take the recipe's further settings."""
        if recipe.optimizer_settings:
            check_further(self.name, self.kind, recipe.optimizer_settings, recipe.learning_rate)


def _plain(value: Any) -> Any:
    """A value as a file of settings has it: lists for tuples, true for True."""
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else value


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
        check=Further(name, kind),
        settings=(*DESCENT, *((MOMENTUM,) if "momentum" in known else ()), FURTHER),
        defaults=ADAPTIVE | ({"learning_rate": float(rate)} if isinstance(rate, int | float) else {}),
    )
