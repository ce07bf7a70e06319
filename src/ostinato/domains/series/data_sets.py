"""The series by name, and files of one's own: `load` makes each the same `Splits`, with its scaling."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.listing import GENERATED, Listed
from ostinato.data.sequences import Splits
from ostinato.domains.answer import Part
from ostinato.domains.series import generated
from ostinato.domains.series.reading import ARRAYS, CSV, Collection, read_series
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import parts_of, select, split
from ostinato.errors import no_such_data
from ostinato.evaluation.numbers import counted

# A .txt file by itself is taken for a text, until someone says that it holds a series.
OWN = tuple(ending for ending in CSV + ARRAYS if ending != ".txt")
READ_AS_MEAN = "missing values are read as training's mean: the model was trained without any"
ABOUT = {
    "mackey-glass": ("the chaotic delay equation, tau 17, one column", "Mackey & Glass 1977"),
    "lorenz": ("the chaotic system of three equations, 20 series", "Lorenz 1963"),
}


def names() -> tuple[str, ...]:
    """The names that `load` knows, the default first."""
    return ("mackey-glass", *(name for name in generated.names() if name != "mackey-glass"))


def listed(name: str) -> Listed:
    """What a named data set is, and where it comes from.

    Example:
        >>> all(listed(name).ready for name in names())
        True
    """
    about, source = ABOUT[name]
    return Listed(name, "series", about, source, "none needed", GENERATED, "ostinato, from a seed")


def owns(path: Path) -> bool:
    """Whether a file has an ending of series, or a folder holds one that has.

    Example:
        >>> owns(Path("walk.csv")), owns(Path("news.txt"))
        (True, False)
    """
    if path.is_dir():
        return any(file.suffix.lower() in OWN for file in path.iterdir())
    return path.suffix.lower() in OWN


def load(name_or_path: str | Path = "mackey-glass", *, split_seed: int = 0) -> Splits:
    """Series in train, valid and test; `details` has the columns, their scaling, and what was noticed.

    Args:
        name_or_path: one of `names()`, or a CSV, NPY or NPZ file, or a folder of such files.
        split_seed: deals whole series to the splits.

    Raises:
        UserError: nothing there, or files that cannot be used.

    Example:
        >>> data = load("lorenz")
        >>> data.details["columns"], len(data.train), data.details["missing"]
        (['x', 'y', 'z'], 12, False)
    """
    data = split(_read(name_or_path), split_seed)
    scaling = Scaling.fit(tuple(data.details["columns"]), [part.values for part in data.train])
    return replace(data, details=data.details | {"scaling": scaling.to_dict()})


def load_like(name_or_path: str | Path, details: Mapping[str, Any], *, split_seed: int = 0) -> Splits:
    """Other series as a model reads them that was trained on data with these details: its columns of them, in
    its scaling.

    Raises:
        UserError: nothing there, files that cannot be used, or without the model's columns.

    Example:
        >>> data = load("lorenz")
        >>> load_like("lorenz", data.details).details["scaling"] == data.details["scaling"]
        True
    """
    read = _read(name_or_path)
    left_out = [name for name in read.columns if name not in details["columns"]]
    data = split(select(read, tuple(details["columns"])), split_seed, every_column=True)
    notices = list(data.details["notices"])
    if left_out:
        notices.append(f"left out, for the model does not know them: {', '.join(map(repr, left_out))}")
    if data.details["missing"] and not details["missing"]:
        notices.append(READ_AS_MEAN)
    kept = {name: details[name] for name in ("scaling", "missing")}
    return replace(data, details=data.details | kept | {"notices": notices})


def _read(name_or_path: str | Path) -> Collection:
    name = str(name_or_path)
    if name in names():
        return generated.generate(name)
    if not Path(name).expanduser().exists():
        raise no_such_data("a data set, or a file or folder of series", name, names())
    return read_series(name)


def content(data: Splits) -> str:
    """How much there is.

    Example:
        >>> content(load("lorenz"))
        '20 series of 3 columns, 10,000 steps'
    """
    steps = sum(part.scored for name in ("train", "valid", "test") for part in parts_of(data, name))
    columns = len(data.details["columns"])
    return f"{len(data):,} series of {counted(columns, 'column')}, {counted(steps, 'step')}"


def describe(data: Splits) -> dict[str, Any]:
    """A whole data set: its splits and columns, how it was made, what was skipped; can be written as JSON.

    Example:
        >>> describe(load("lorenz"))["splits"]["test"]
        {'series': 4, 'steps': 2000, 'missing': 0.0}
    """
    train = np.concatenate([part.values for part in data.train])
    scaling = Scaling.from_dict(data.details["scaling"])
    columns = {
        name: {
            "mean": float(scaling.mean[k]),
            "sd": float(scaling.scale[k]),
            "least": float(np.nanmin(train[:, k])),
            "greatest": float(np.nanmax(train[:, k])),
        }
        for k, name in enumerate(data.details["columns"])
    }
    return {
        "name": data.name,
        "kind": data.kind,
        "version": data.version,
        "details": data.details,
        "splits": {name: _counts(data, name) for name in ("train", "valid", "test")},
        "columns": columns,
        "skipped": [{"path": skip.path, "reason": skip.reason} for skip in data.skipped],
    }


def _counts(data: Splits, name: str) -> dict[str, Any]:
    parts = parts_of(data, name)
    values = [part.values[part.context :] for part in parts]
    missing = sum(int(np.isnan(own).sum()) for own in values)
    return {
        "series": len(parts),
        "steps": sum(part.scored for part in parts),
        "missing": missing / max(sum(own.size for own in values), 1),
    }


def described(found: dict[str, Any]) -> Iterator[Part]:
    """As `shown.described`."""
    from ostinato.domains.series import shown

    return shown.described(found)


def draw(data: Splits, path: Path) -> None:
    """The first training series."""
    from ostinato.domains.series.pictures import series_picture

    first = data.train[0]
    series_picture(tuple(data.details["columns"]), first.values, path, title=f"{data.name}: {first.name}")
