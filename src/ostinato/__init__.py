"""Recurrent networks on sequences: music, text and time series.

    import ostinato

    run = ostinato.train("SGD+CRM", data="jsb", epochs=20)
    run.evaluate(), run.generate(steps=64), run.save("runs/jsb")

What is named here is loaded when it is asked for: `import ostinato` does not wait for PyTorch.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostinato import dynamics as dynamics
    from ostinato import optim as optim
    from ostinato import search as search
    from ostinato.api.asking import compare as compare
    from ostinato.api.asking import evaluate as evaluate
    from ostinato.api.asking import generate as generate
    from ostinato.api.asking import score as score
    from ostinato.api.run import TrainedRun as TrainedRun
    from ostinato.api.run import TrainingStopped as TrainingStopped
    from ostinato.api.training import load_data as load_data
    from ostinato.api.training import open_run as open_run
    from ostinato.api.training import train as train
    from ostinato.domains.text.language_model import LanguageModel as LanguageModel
    from ostinato.errors import UserError as UserError
    from ostinato.nn import CTRNN as CTRNN
    from ostinato.nn import GRU as GRU
    from ostinato.nn import LSTM as LSTM
    from ostinato.nn import RNN as RNN
    from ostinato.nn import SequenceModel as SequenceModel
    from ostinato.nn import outputs as outputs
    from ostinato.readouts import fit_readout as fit_readout
    from ostinato.readouts import reservoir as reservoir
    from ostinato.recipe.recipe import Recipe as Recipe

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


_PLACES = {
    "CTRNN": "nn",
    "GRU": "nn",
    "LSTM": "nn",
    "LanguageModel": "domains.text.language_model",
    "RNN": "nn",
    "Recipe": "recipe.recipe",
    "SequenceModel": "nn",
    "TrainedRun": "api.run",
    "TrainingStopped": "api.run",
    "UserError": "errors",
    "compare": "api.asking",
    "dynamics": "",
    "evaluate": "api.asking",
    "fit_readout": "readouts",
    "generate": "api.asking",
    "load_data": "api.training",
    "open_run": "api.training",
    "optim": "",
    "outputs": "nn",
    "reservoir": "readouts",
    "score": "api.asking",
    "search": "",
    "train": "api.training",
}

__all__ = [*_PLACES]

if not TYPE_CHECKING:  # a type checker knows the names above, and no others
    __getattr__, __dir__ = lazily(__name__, _PLACES)
