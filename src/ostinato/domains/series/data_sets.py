"""The series by name, and files of one's own: `load` makes each the same `Splits`, with its scaling."""

from dataclasses import replace
from pathlib import Path

from ostinato.data.sequences import Splits
from ostinato.domains.series import generated
from ostinato.domains.series.reading import read_series
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import split


def names() -> tuple[str, ...]:
    """The names that `load` knows, the default first."""
    return ("mackey-glass", *(name for name in generated.names() if name != "mackey-glass"))


def load(name_or_path: str | Path = "mackey-glass", *, seed: int = 0) -> Splits:
    """Series in train, valid and test; `details` has the columns, their scaling, and what was noticed.

    Args:
        name_or_path: one of `names()`, or a CSV, NPY or NPZ file, or a folder of such files.
        seed: deals whole series to the splits.

    Raises:
        UserError: nothing there, or files that cannot be used.

    Example:
        >>> data = load("lorenz")
        >>> data.details["columns"], len(data.train), data.details["missing"]
        (['x', 'y', 'z'], 12, False)
    """
    name = str(name_or_path)
    read = generated.generate(name) if name in names() else read_series(name)
    data = split(read, seed)
    scaling = Scaling.fit(tuple(data.details["columns"]), [part.values for part in data.train])
    return replace(data, details=data.details | {"scaling": scaling.to_dict()})
