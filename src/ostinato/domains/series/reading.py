"""Series from a file or a folder: CSV, NPY and NPZ, one or many, of any lengths, with the same columns."""

from dataclasses import dataclass
from pathlib import Path

from ostinato.data.sequences import Sequence
from ostinato.domains.series.array_file import read_arrays
from ostinato.domains.series.csv_file import read_csv
from ostinato.domains.series.table import Table
from ostinato.errors import UserError

CSV = (".csv", ".tsv", ".txt")
ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Collection:
    """Series with the same columns, before they are split.

    Arguments:
        name: of the data set.
        columns: their names, D of them.
        series: each with values (T, D) float64, NaN where one is missing.
        source: where they are from.
        notices: what the user should know of how they were read.

    Example:
        >>> import numpy as np
        >>> collection = Collection("walk", ("x",), (Sequence("walk", np.zeros((5, 1))),), "a seed")
        >>> collection.steps
        5
    """

    name: str
    columns: tuple[str, ...]
    series: tuple[Sequence, ...]
    source: str
    notices: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of all series together."""
        return sum(len(series) for series in self.series)


def read_series(path: str | Path) -> Collection:
    """The series in a file, or in all files of a folder (not of folders in it), in the order of their names.

    Columns without names are called "1", "2" and so on.

    Raises:
        UserError: nothing there, a file that cannot be used, or files with different columns.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "walk.csv"
        >>> _ = path.write_text("x;y\\n1;2\\n3;\\n")
        >>> read = read_series(path)
        >>> read.name, read.columns, read.series[0].values.tolist()
        ('walk', ('x', 'y'), [[1.0, 2.0], [3.0, nan]])
    """
    path = Path(path).expanduser()
    files, notices = _files(path)
    tables = {file: read_csv(file) if file.suffix.lower() in CSV else read_arrays(file) for file in files}
    columns = _columns(tables)
    series: dict[str, Sequence] = {}
    for file, table in tables.items():
        notices += [f"{file.name}: {notice}" if len(files) > 1 else notice for notice in table.notices]
        for name, values in table.series.items():
            # a.csv beside a.npy
            own = name if name not in series else f"{file.name}{name.removeprefix(file.stem)}"
            series[own] = Sequence(own, values)
    return Collection(path.stem, columns, tuple(series.values()), str(path), tuple(notices))


def _files(path: Path) -> tuple[list[Path], list[str]]:
    known = CSV + ARRAYS
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        files = [file for file in inside if file.suffix.lower() in known]
        if not files:
            raise UserError(f"expected files ending in {', '.join(known)} in {path}, found none")
        others = len(inside) - len(files)
        return files, [f"{others} other files in {path} were not read"] if others else []
    if not path.exists():
        raise UserError(f"expected a file or folder of series, found nothing at {path}")
    if path.suffix.lower() not in known:
        raise UserError(f"expected a file ending in {', '.join(known)}, found {path}")
    return [path], []


def _columns(tables: dict[Path, Table]) -> tuple[str, ...]:
    """The names of the columns, which are the same in every file."""
    (first, one), *others = tables.items()
    for file, table in others:
        if table.width != one.width:
            raise UserError(
                f"expected files with as many columns, found {one.width} in {first} and "
                f"{table.width} in {file}"
            )
        if table.names != one.names:
            shown = [", ".join(t.names) if t.names else "no names" for t in (one, table)]
            raise UserError(
                f"expected files with the same columns in the same order, found {shown[0]} in {first} and "
                f"{shown[1]} in {file}"
            )
    return one.names or tuple(str(k + 1) for k in range(one.width))
