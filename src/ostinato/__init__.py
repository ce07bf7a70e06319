"""Recurrent networks on sequences: music, text and time series."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__version__ = "0.1.0"


def lazily(package: str, places: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` that import what is asked for, when it is asked for.

    So a settings file or a help page, which need names alone, do not wait for PyTorch.

    Args:
        package: the package's `__name__`.
        places: by public name, the module of the package that has it, or "" for a module of that name.

    Example:
        >>> get, names = lazily("ostinato", {"UserError": "errors", "errors": ""})
        >>> get("UserError").__name__, get("errors").__name__, names()
        ('UserError', 'ostinato.errors', ['UserError', 'errors'])
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{places[name] or name}")
        return getattr(module, name) if places[name] else module

    return get, lambda: sorted(places)
