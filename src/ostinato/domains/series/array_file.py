"""Series from NumPy's files: NPY, one array, and NPZ, several. Nothing is unpickled."""

import os
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ostinato.domains.series.table import Table, check_finite
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted
from ostinato.files import open_regular
from ostinato.foreign import Memory, check_memory, check_packed

_SHAPES = "(T,), (T, D) or (N, T, D): T steps, D columns, N series"


def read_arrays(path: Path) -> Table:
    """The series in a .npy or .npz file: (T,) is one column, (N, T, D) is N series; NaN is missing.

    Raises:
        UserError: not such a file, objects or text in it, another shape, an infinite value, or arrays with
            different numbers of columns.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, first=np.zeros(3), second=np.zeros((5, 1)))
        >>> {name: values.shape for name, values in read_arrays(path).series.items()}
        {'a/first': (3, 1), 'a/second': (5, 1)}
    """
    series: dict[str, np.ndarray] = {}
    notices: list[str] = []
    for name, array in _arrays(path).items():
        where = path if not name else Path(f"{path}[{name}]")
        found = _series(array, where)
        stem = path.stem if not name else f"{path.stem}/{name}"
        for number, values in enumerate(found):
            check_finite(values, where, None)
            series[stem if len(found) == 1 else f"{stem}/{number + 1}"] = values
        steps, columns = found[0].shape
        if len(found) == 1 and columns > steps:
            notices.append(
                f"{where} is taken as {counted(steps, 'step')} of {counted(columns, 'column')}; transpose it "
                "if it is not"
            )
    widths = {values.shape[1]: name for name, values in series.items()}
    if len(widths) > 1:
        (few, one), (many, other), *_ = sorted(widths.items())
        raise UserError(
            f"expected arrays with as many columns in {path}, found {few} in {one} and {many} in {other}"
        )
    return Table(None, series, tuple(notices))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays by name; that of an NPY file has none."""
    try:
        # a file of our own: NumPy leaves its own open where an archive is cut off
        with open(open_regular(path.resolve()), "rb") as file:
            memory = Memory(str(path))
            check_memory(os.fstat(file.fileno()).st_size, str(path))
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return {"": found}
            check_packed(found.zip, str(path))
            arrays = {name: found[name] for name in memory.along(found.files, every=1)}
    except UserError:
        raise
    except ValueError as error:
        if str(error).startswith("Object arrays"):
            raise UserError(
                f"expected arrays of numbers in {path}, found Python objects; save it with a numeric dtype"
            ) from error
        raise UserError(f"expected a NumPy file, found {path}, which is cut off or none") from error
    # of a damaged header NumPy makes what Python's tokenizer makes of it, or an array of any size
    except (
        *(EOFError, zipfile.BadZipFile, zlib.error, KeyError, SyntaxError, tokenize.TokenError),
        *(TypeError, OverflowError, NotImplementedError, RuntimeError, MemoryError),
    ) as error:
        raise UserError(f"expected a NumPy file, found {path}, which is cut off or none") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if not arrays:
        raise UserError(f"expected arrays in {path}, found none")
    return arrays


def _series(array: np.ndarray, where: Path) -> list[np.ndarray]:
    """Its series, each (T, D) float64."""
    if array.dtype.kind not in "fiub":
        raise UserError(f"expected an array of real numbers in {where}, found one of {array.dtype}")
    if array.size == 0:
        raise UserError(f"expected numbers in {where}, found an empty array of shape {array.shape}")
    if array.ndim not in (1, 2, 3):
        raise UserError(f"expected an array {_SHAPES}, found shape {array.shape} in {where}")
    copied = 0 if array.dtype == np.float64 else 8
    check_memory(array.size * (array.itemsize + copied), str(where))
    values = array.astype(np.float64, copy=False)
    if array.ndim == 1:
        return [values[:, np.newaxis]]
    return [values] if array.ndim == 2 else list(values)
