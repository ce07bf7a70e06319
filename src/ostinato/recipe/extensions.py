"""Modules outside the package that register domains, outputs, cells or optimizers.

They are imported before any registry is asked for a name, in every process: the command line, the workers of
a search and a script all know what they add. An installed distribution names them as entry points of the
group "ostinato.extensions"; others stand in the environment variable OSTINATO_EXTENSIONS.
"""

import importlib
import os
import threading

from ostinato.errors import UserError

GROUP, VARIABLE = "ostinato.extensions", "OSTINATO_EXTENSIONS"

_lock = threading.RLock()
# Modules by name: where each was named. None until they have been imported.
_loaded: dict[str, str] | None = None


def load_extensions() -> dict[str, str]:
    """Import them, unless it is done: by module, where it was named.

    An extension that asks a registry while it is imported finds what was registered until then.

    Raises:
        UserError: one cannot be imported, or registers a name that is taken. Nothing goes on without it: a
            run's settings may be about what it adds.

    Example:
        >>> all(isinstance(where, str) for where in load_extensions().values())
        True
    """
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = {}
            try:
                _loaded = _import_all(named())
            except BaseException:
                _loaded = None
                raise
        return _loaded


def named() -> dict[str, str]:
    """The modules that are to be imported, in their order, and where each is named."""
    from importlib.metadata import entry_points

    found = {
        entry.module: f"an entry point of {entry.dist.name if entry.dist else 'a distribution'}"
        for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name)
    }
    listed = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return found | {name: VARIABLE for name in listed if name and name not in found}


def _import_all(modules: dict[str, str]) -> dict[str, str]:
    for module, where in modules.items():
        try:
            importlib.import_module(module)
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and error.name == module:
                raise UserError(
                    f"expected a module {module} that Python finds, named by {where}; "
                    "put its folder into PYTHONPATH, or name another"
                ) from None
            what = f"{type(error).__name__}: {error}"
            raise UserError(f"cannot import {module}, named by {where}: {what}") from error
    return modules
