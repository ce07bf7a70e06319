"""Batches for a network of a program's own, from pairs in memory or from its own loaders."""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ostinato.data.sequences import SPLITS, Skipped
from ostinato.data.splitting import assign
from ostinato.domains.given import UNSPLIT, Given, LossFunction
from ostinato.errors import UserError, argument


@dataclass(frozen=True)
class Batch:
    """What one update is made on.

    Arguments:
        inputs: what the network is given.
        targets: what its loss, or its distribution, is asked about.
        starts, mask: None: the network and its loss know what is in a batch.
    """

    inputs: Tensor
    targets: Tensor
    starts: None = None
    mask: None = None


@dataclass(frozen=True)
class ModuleData:
    """Batches in train, valid and test, and the network that learns from them.

    Arguments:
        loaders: by split; of those that a split lacks none.
        module: the network.
        loss: what it is trained on; None for the log-probability of the distributions that it returns.
        details: how the batches are made; can be written as JSON.
    """

    loaders: dict[str, DataLoader[Any]]
    module: torch.nn.Module
    loss: LossFunction | None = None
    details: dict[str, Any] = field(default_factory=dict)
    name: str = "memory"
    skipped: tuple[Skipped, ...] = ()

    @functools.cached_property
    def version(self) -> str:
        """Of how many sequences and batches there are, and of the shapes in the first one: no loader is read
        to its end for it.
        """
        digest = hashlib.sha256()
        for split, loader in self.loaders.items():
            digest.update(repr((split, len(loader), _sequences(loader))).encode())
        batch = next(iter(LoaderStreams(self.loaders["train"], 0, 0)))
        for part in (batch.inputs, batch.targets):
            digest.update(repr((part.dtype, tuple(part.shape[1:]))).encode())
        return digest.hexdigest()

    def frames(self, split: str) -> int:
        """Sequences of a split; batches where a loader does not say."""
        return _sequences(self.loaders[split]) if split in self.loaders else 0


def wrap(given: Given, batch_size: int) -> ModuleData:
    """Loaders as they are; pairs of tensors, or a data set, in batches of `batch_size`.

    Raises:
        UserError: one loader alone, which cannot be split, or one without a length; too few pairs.
    """
    assert given.module is not None
    if not given.is_split:
        if _is_loader(given.splits[UNSPLIT]):
            raise UserError(
                f"expected {argument('data')} with a loader for validation too, found one loader: give "
                "{'train': ..., 'valid': ...}, and 'test' if there is one"
            )
        splits = _dealt(given.splits[UNSPLIT])
    else:
        splits = dict(given.splits)
    some = {split: each for split, each in splits.items() if _is_loader(each) or len(each)}
    loaders = {split: _loader(each, batch_size) for split, each in some.items()}
    how = "given" if given.is_split else "by sequence"
    details = {"source": "memory", "split": how, "module": type(given.module).__name__}
    return ModuleData(loaders, given.module, given.loss, details)


def _is_loader(given: Any) -> bool:
    return isinstance(given, DataLoader)


def _dealt(pairs: Sequence[Any]) -> dict[str, Sequence[Any]]:
    if len(pairs) < len(SPLITS):
        raise UserError(
            f"expected at least {len(SPLITS)} pairs to deal to train, valid and test, found {len(pairs)}"
        )
    where = assign([str(k) for k in range(len(pairs))], range(len(pairs)))
    return {s: [p for p, w in zip(pairs, where, strict=True) if w == s] for s in SPLITS}


def _loader(given: Any, batch_size: int) -> DataLoader[Any]:
    if not _is_loader(given):
        pairs: Any = [tensors_of(one) for one in given]
        return DataLoader(pairs, batch_size=batch_size, shuffle=True)
    loader: DataLoader[Any] = given
    try:
        len(loader)
    except TypeError:
        raise UserError(
            "expected a loader that says how many batches it has, found one of a data set without a length"
        ) from None
    return loader


def tensors_of(pair: Any) -> tuple[Tensor, ...]:
    """A pair as tensors, real values in PyTorch's default type.

    Raises:
        UserError: it is none.
    """
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise UserError(f"expected pairs (inputs, targets), found {type(pair).__name__}")
    tensors = (torch.as_tensor(part) for part in pair)
    return tuple(x.to(torch.get_default_dtype()) if x.is_floating_point() else x for x in tensors)


def _sequences(loader: DataLoader[Any]) -> int:
    try:
        return len(loader.dataset)  # type: ignore[arg-type]
    except TypeError:
        return len(loader)


class LoaderStreams:
    """An epoch of a loader's batches, in the order that it gives them.

    What it draws from PyTorch's global source of randomness, its order among it, is a function of seed and
    epoch here, and nobody else's draws change; a loader with a generator of its own draws from that.

    Args:
        loader: gives pairs of tensors.
        seed, epoch: of the draws.
    """

    def __init__(self, loader: DataLoader[Any], seed: int, epoch: int) -> None:
        self._loader, self._seed = loader, (seed * 1_000_003 + epoch) % 2**63
        self._batches: Iterator[Any] = iter(())
        self._next, self._state = -1, torch.get_rng_state()
        self.frames = _sequences(loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        if index < self._next or self._next < 0:
            self._begin()
        while True:
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(self._state)
                batch = next(self._batches, None)
                self._state = torch.get_rng_state()
            self._next += 1
            if batch is None:
                raise UserError(f"expected {len(self)} batches of a loader, found {self._next - 1}")
            if self._next > index:
                return batch_of(batch)

    def _begin(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._batches, self._next = iter(self._loader), 0
            self._state = torch.get_rng_state()

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))

    def describe(self, index: int) -> str:
        """Which batch, for messages."""
        return f"batch {index}"


def batch_of(given: Any) -> Batch:
    """A loader's batch.

    Raises:
        UserError: it is no pair of tensors.
    """
    pair = isinstance(given, tuple | list) and len(given) == 2
    if not pair or not all(isinstance(part, Tensor) for part in given):
        raise UserError(
            "expected batches (inputs, targets), two tensors, found another; a collate_fn can make them so"
        )
    return Batch(*given)
