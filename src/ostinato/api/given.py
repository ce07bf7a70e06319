"""What a program gives as data, in any form that people have them in, as sequences."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate

from ostinato.data.sequences import SPLITS
from ostinato.domains.domain import domain_named
from ostinato.domains.given import UNSPLIT, Given, LossFunction
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError, argument


def given_of(data: Any, module: nn.Module | None = None, loss: LossFunction | None = None) -> Given:
    """Data in memory, dealt or not.

    Args:
        data: sequences (see `sequences_of`); or three of these, as a tuple or by name, for train, valid and
            test; test may be missing.
        module: a network of the program's own: loaders of batches are then kept as they are.
        loss: what it is trained on.

    Raises:
        UserError: they are none of these.

    Example:
        >>> given = given_of({"train": ["a b", "c"], "valid": ["d"]})
        >>> given.is_split, given.splits["train"]
        (True, ['a b', 'c'])
    """
    own = module is not None
    if isinstance(data, tuple):
        if len(data) != len(SPLITS):
            raise UserError(
                f"expected {argument('data')} as a list of sequences, or a tuple of train, valid and test, "
                f"found a tuple of {len(data)}; name the parts: {{'train': ..., 'valid': ...}}"
            )
        data = dict(zip(SPLITS, data, strict=True))
    if not isinstance(data, Mapping):
        return Given({UNSPLIT: sequences_of(data, batches=own)}, module, loss)
    if not {"train", "valid"} <= data.keys() <= set(SPLITS):
        raise UserError(
            f"expected {argument('data')} by name as train, valid and perhaps test, found "
            f"{', '.join(map(str, data))}"
        )
    parts = {split: sequences_of(data[split], batches=own) for split in SPLITS if split in data}
    return Given(parts, module, loss)


def sequences_of(data: Any, *, batches: bool = False) -> Any:
    """A list of sequences, each an array, a text, a path or a pair (inputs, targets).

    Args:
        data: a list or any other iterable of sequences, a `torch.utils.data.Dataset` or `DataLoader` of them,
            an array (N, T, V) of N of them, or one array (T,) or (T, V). Tensors are arrays. A loader's
            batches (B, T, V), or pairs of such, are taken apart.
        batches: whether a loader is kept as it is.

    Example:
        >>> [one.shape for one in sequences_of(torch.zeros(3, 5, 88))], len(sequences_of(np.zeros(7)))
        ([(5, 88), (5, 88), (5, 88)], 1)
    """
    if isinstance(data, DataLoader):
        return data if batches else _taken_apart(data)
    if isinstance(data, Tensor | np.ndarray):
        array = _array(data)
        if array.ndim not in (1, 2, 3):
            raise UserError(f"expected an array (T,), (T, V) or (N, T, V), found shape {array.shape}")
        return list(array) if array.ndim == 3 else [array]
    if isinstance(data, str | bytes | Path):
        raise UserError(f"expected sequences in memory, found {data!r}; text is given as a list of strings")
    if isinstance(data, Mapping):
        raise UserError(f"expected sequences, found a mapping of {', '.join(map(str, data)) or 'nothing'}")
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        found = [_sequence(data[k]) for k in range(len(data))]  # a data set need not end its own iteration
    elif isinstance(data, Iterable):
        found = [_sequence(one) for one in data]
    else:
        raise UserError(f"expected sequences as {argument('data')}, found {type(data).__name__}")
    if any(isinstance(one, np.ndarray) and one.ndim == 0 for one in found):
        raise UserError("expected a list of sequences, found a list of numbers; one sequence is [numbers]")
    return found


def domain_of(given: Given, asked: str | None) -> str:
    """The name of the domain that was asked for, or of the first that knows such data.

    Raises:
        UserError: none does.

    Example:
        >>> domain_of(given_of([np.zeros((5, 2))]), None), domain_of(given_of(["a text"]), "chars")
        ('series', 'chars')
    """
    if asked is not None:
        return DOMAINS.name(asked)
    for declared in DOMAINS.every():
        if domain_named(declared.name).knows(given):
            return declared.name
    raise UserError(
        "expected sequences of one of these kinds: frames (T, V) of whole numbers 0 and 1, texts, token ids "
        "(N,) as whole numbers, series (T,) or (T, D) as real numbers, pairs (inputs, targets); found "
        f"{_described(given.first)}; or name the {argument('domain')}"
    )


def _described(one: Any) -> str:
    if isinstance(one, np.ndarray):
        return f"an array {one.shape} of {one.dtype}"
    return "nothing" if one is None else type(one).__name__


def _array(value: Any) -> np.ndarray:
    """A tensor, or numbers in lists, as an array."""
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise UserError(f"expected a dense tensor, found one of layout {value.layout}")
        # NumPy has no bfloat16; every number of it is one of float32
        dense = value.detach().cpu()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value) and value.dtype.kind != "f":
            raise UserError(
                f"expected values, or real numbers where some are masked, found masked {value.dtype}"
            )
        return np.asarray(value.filled(np.nan) if value.dtype.kind == "f" else value.data)
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of different lengths in a list
        raise UserError(f"expected a sequence of numbers, found {error}") from error
    if array.dtype.kind not in "fbui":
        raise UserError(f"expected numbers, texts or pairs, found {type(value).__name__}")
    return array


def _sequence(one: Any) -> Any:
    if isinstance(one, str | Path):
        return one
    if isinstance(one, tuple):
        if len(one) == 1:  # of a TensorDataset
            return _sequence(one[0])
        if len(one) != 2:
            raise UserError(f"expected a sequence, or a pair (inputs, targets), found a tuple of {len(one)}")
        return (_array(one[0]), _array(one[1]))
    return _array(one)


def _taken_apart(loader: DataLoader[Any]) -> list[Any]:
    """All sequences of a loader, read once; what it draws is the same each time, and nobody else's."""
    found: list[Any] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for batch in loader:
            found += [batch] if loader.batch_size is None else _of_batch(batch, loader)
    return [_sequence(one) for one in found]


def _of_batch(batch: Any, loader: DataLoader[Any]) -> Sequence[Any]:
    if isinstance(batch, Tensor):
        return list(batch)
    stacked = isinstance(batch, tuple) or loader.collate_fn is default_collate
    if isinstance(batch, tuple | list):
        if stacked and all(isinstance(part, Tensor) for part in batch):
            return list(zip(*batch, strict=True))
        return list(batch)
    raise UserError(f"expected a loader of tensors, or of lists of sequences, found {type(batch).__name__}")
