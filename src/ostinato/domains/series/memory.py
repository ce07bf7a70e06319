"""Series that a program has in memory: arrays of real values, (T,) or (T, D), NaN where one is missing."""

from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Splits
from ostinato.domains.given import Given
from ostinato.domains.series.reading import Collection
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import Part, collected, split
from ostinato.errors import UserError


def knows(given: Given) -> bool:
    """Whether a program's data are real values, (T,) or (T, D).

    Example:
        >>> knows(Given({"": [np.zeros(5)]})), knows(Given({"": [np.zeros(5, np.int64)]}))
        (True, False)
    """
    first = given.first
    if given.module is not None or not isinstance(first, np.ndarray):
        return False
    return first.ndim in (1, 2) and first.dtype.kind == "f"


def wrap(given: Given, split_seed: int) -> Splits:
    """Series as a data set; where they are not split, as files of series are.

    Raises:
        UserError: an infinite value, series with different columns, or too few steps.

    Example:
        >>> walk = np.cumsum(np.random.default_rng(0).standard_normal(500))
        >>> data = wrap(Given({"": [walk]}), 0)
        >>> data.details["columns"], data.details["split"], [data.frames(split) for split in SPLITS]
        (['1'], 'by time: the first 60%, 20%, 20%', [300, 200, 200])
    """
    named = given.named("series")
    series = {s: [Sequence(n, values_of(x, n)) for n, x in each] for s, each in named.items()}
    every = tuple(one for each in series.values() for one in each)
    widths = {one.values.shape[1]: one.name for one in every}
    if len(widths) != 1:
        (few, one), (many, other), *_ = sorted(widths.items())
        raise UserError(f"expected series with as many columns, found {few} in {one} and {many} in {other}")
    (width,) = widths
    collection = Collection("memory", tuple(str(k + 1) for k in range(width)), every, "memory")
    if given.is_split:
        parts = {s: tuple(Part(one.name, one.values) for one in series.get(s, ())) for s in SPLITS}
        data = collected(collection, parts, "given")
    else:
        data = split(collection, split_seed)
    scaling = Scaling.fit(tuple(data.details["columns"]), [part.values for part in data.train])
    return replace(data, details=data.details | {"scaling": scaling.to_dict()})


def values_of(values: Any, name: str, columns: SequenceOf[str] | None = None) -> np.ndarray:
    """A series' values, (T, D) float64.

    Raises:
        UserError: another shape, no numbers, an infinite one, or other columns than a model's.
    """
    array = np.asarray(values)
    wanted = "(T,) or (T, D)" if columns is None else f"(T, {len(columns)})"
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or array.size == 0:
        kind = f"shape {array.shape} of {array.dtype}"
        raise UserError(f"expected real values of shape {wanted} for {name}, found {kind}")
    found = array.astype(np.float64)
    found = found[:, np.newaxis] if found.ndim == 1 else found
    if columns is not None and found.shape[1] != len(columns):
        raise UserError(f"expected real values of shape {wanted} for {name}, found shape {array.shape}")
    if np.isinf(found).any():
        step, column = np.argwhere(np.isinf(found))[0].tolist()
        raise UserError(
            f"expected finite values in {name}, found {found[step, column]} at step {step}; NaN is for one "
            "that is missing"
        )
    return found
