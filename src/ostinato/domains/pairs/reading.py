"""Pairs as arrays: what is read and what is predicted at each step of a sequence.

Shapes: T time, B sequences, I inputs, V targets.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import padded
from ostinato.data.sequences import SPLITS, Skipped
from ostinato.data.splitting import assign
from ostinato.domains.given import UNSPLIT, Given
from ostinato.errors import UserError

# What a target of a step that does not count holds; its mask says so.
NONE = -1


@dataclass(frozen=True)
class Pair:
    """One sequence.

    Arguments:
        name: of it.
        inputs: (T, I) real or binary, or token ids (T,).
        targets: (T, V) real or binary, or classes (T,); NONE where a step does not count.
    """

    name: str
    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def counts(self) -> np.ndarray:
        """Which steps do, boolean (T,)."""
        if self.targets.ndim == 1:
            return np.asarray(self.targets != NONE)
        return np.ones(len(self.targets), dtype=bool)


@dataclass(frozen=True)
class PairData:
    """Pairs in train, valid and test.

    Arguments:
        train, valid, test: the sequences.
        details: sizes of inputs and targets, whether inputs are token ids; can be written as JSON.
    """

    train: tuple[Pair, ...]
    valid: tuple[Pair, ...]
    test: tuple[Pair, ...]
    details: dict[str, Any] = field(default_factory=dict)
    name: str = "memory"
    skipped: tuple[Skipped, ...] = ()

    def __getitem__(self, split: str) -> tuple[Pair, ...]:
        found: tuple[Pair, ...] = getattr(self, split)
        return found

    @functools.cached_property
    def version(self) -> str:
        """SHA-256 of all values, their types and shapes, by split."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for pair in self[split]:
                for part in (pair.inputs, pair.targets):
                    digest.update(repr((split, part.dtype.str, part.shape)).encode())
                    digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def frames(self, split: str) -> int:
        """Steps that count."""
        return sum(int(pair.counts.sum()) for pair in self[split])


def kind_of(given: Any) -> str:
    """What the targets of a pair are: "category", "binary" or "real"; "" of what is no pair of arrays.

    Example:
        >>> kind_of((np.zeros((5, 2)), np.array([0, 1, 2, 0, 0]))), kind_of((np.zeros((5, 2)), np.zeros(5)))
        ('category', 'real')
    """
    if not isinstance(given, tuple) or len(given) != 2:
        return ""
    targets = np.asarray(given[1])
    if targets.dtype.kind == "f":
        return "real"
    if targets.dtype.kind not in "bui":
        return ""
    return "category" if targets.ndim < 2 else "binary"


def wrap(given: Given, kind: str) -> PairData:
    """Pairs as a data set; what is not split is dealt 60/20/20, whole sequences each.

    Raises:
        UserError: what is no pair, pairs of different sizes, or too few of them.

    Example:
        >>> pairs = [(np.ones((4, 3)), np.array([0, 1, 2, 1])) for _ in range(10)]
        >>> data = wrap(Given({UNSPLIT: pairs}), "category")
        >>> [data.frames(split) for split in SPLITS], data.details["inputs"], data.details["targets"]
        ([24, 8, 8], 3, 3)
    """
    pairs = {s: [pair_of(one, name, kind) for name, one in each] for s, each in given.named("pair").items()}
    how = "given"
    if not given.is_split:
        whole = pairs[UNSPLIT]
        if len(whole) < len(SPLITS):
            raise UserError(
                f"expected at least {len(SPLITS)} sequences to deal to train, valid and test, found "
                f"{len(whole)}"
            )
        where = assign([pair.name for pair in whole], range(len(whole)))
        pairs = {s: [p for p, w in zip(whole, where, strict=True) if w == s] for s in SPLITS}
        how = "by sequence"
    train, valid, test = (tuple(pairs.get(split, ())) for split in SPLITS)
    details = {"source": "memory", "split": how, **sizes_of([*train, *valid, *test])}
    return PairData(train, valid, test, details)


def pair_of(given: Any, name: str, kind: str) -> Pair:
    """One sequence, checked.

    Raises:
        UserError: it is no pair, or its parts do not go together.

    Example:
        >>> pair_of((np.array([3, 1]), np.int64(2)), "a", "category").targets  # the class of the whole
        array([-1,  2])
    """
    if kind_of(given) != kind:
        raise UserError(f"expected a pair (inputs, targets) for {name}, with {_KINDS[kind]}, found another")
    inputs, targets = (np.asarray(part) for part in given)
    if inputs.dtype.kind not in "fbui" or inputs.ndim not in (1, 2) or len(inputs) == 0:
        raise UserError(f"expected inputs (T, I) or token ids (T,) for {name}, found shape {inputs.shape}")
    if inputs.ndim == 1 and inputs.dtype.kind in "fb":
        inputs = inputs[:, np.newaxis]
    if kind == "category" and targets.ndim == 0:
        targets = np.concatenate([np.full(len(inputs) - 1, NONE), targets[np.newaxis]])
    if kind == "real" and targets.ndim == 1:
        targets = targets[:, np.newaxis]
    if targets.ndim != (1 if kind == "category" else 2) or len(targets) != len(inputs):
        raise UserError(
            f"expected as many targets as inputs for {name}, {len(inputs)}, found shape {targets.shape}"
        )
    targets = _checked(targets, name, kind)
    if inputs.ndim == 1 and inputs.min() < 0:
        raise UserError(f"expected token ids of at least 0 as inputs of {name}, found {inputs.min()}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise UserError(f"expected finite inputs for {name}, found others")
    if inputs.ndim == 2 and inputs.dtype.kind in "ui" and inputs.max() > 1:
        inputs = inputs.astype(np.float64)
    whole = np.int64 if inputs.ndim == 1 else np.uint8
    return Pair(name, inputs if inputs.dtype.kind == "f" else inputs.astype(whole), targets)


_KINDS = {
    "category": "classes (T,), or one for the whole sequence, as whole numbers",
    "binary": "whole numbers 0 and 1, (T, V)",
    "real": "real values, (T,) or (T, V)",
}


def _checked(targets: np.ndarray, name: str, kind: str) -> np.ndarray:
    if kind == "real":
        if np.isinf(targets).any():
            raise UserError(f"expected finite targets for {name}, found others; NaN is for a missing one")
        return targets.astype(np.float64)
    if kind == "binary":
        if not ((targets == 0) | (targets == 1)).all():
            raise UserError(f"expected targets of 0 and 1 for {name}, found others")
        return targets.astype(np.uint8)
    if targets.min() < NONE:
        raise UserError(
            f"expected classes of at least 0 for {name}, or {NONE} where a step does not count, found others"
        )
    return targets.astype(np.int64)


def sizes_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """The sizes that all pairs share.

    Raises:
        UserError: they do not.
    """
    kinds = {(p.inputs.ndim, p.inputs.shape[1:], p.targets.shape[1:]) for p in pairs}
    if len(kinds) > 1:
        raise UserError("expected inputs and targets of the same sizes in all pairs, found several")
    ((dimensions, inputs, targets),) = kinds
    return {
        "tokens": dimensions == 1,
        "inputs": inputs[0] if inputs else 1 + max(int(p.inputs.max()) for p in pairs),
        "targets": targets[0] if targets else 1 + max(int(p.targets.max()) for p in pairs),
    }


@dataclass(frozen=True)
class PairSegment:
    """B whole sequences.

    Arguments:
        inputs: (T, B, I), or token ids (T, B).
        targets: (T, B, V), or classes (T, B).
        starts: boolean (T, B), True at the first step.
        mask: boolean (T, B), False on filler and where a step does not count.
    """

    inputs: Tensor
    targets: Tensor
    starts: Tensor
    mask: Tensor


def segment_of(pairs: Sequence[Pair], dtype: torch.dtype) -> PairSegment:
    """Pairs side by side, real values in a model's type."""
    inputs, targets = padded([p.inputs for p in pairs]), padded([p.targets for p in pairs])
    mask = padded([p.counts for p in pairs])
    starts = np.zeros(mask.shape, dtype=bool)
    starts[0] = True
    if targets.ndim == 2:
        targets = targets.clip(0)
    tensors = [torch.from_numpy(x) for x in (inputs, targets)]
    read, asked = (x.to(dtype) if x.is_floating_point() else x for x in tensors)
    return PairSegment(read, asked, torch.from_numpy(starts), torch.from_numpy(mask))


class PairStreams:
    """An epoch: whole sequences in an order of its own, B at a time.

    Args:
        pairs: the sequences.
        streams: B.
        dtype: of real values.
        generator: of the order; without it they come as they are.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        streams: int,
        dtype: torch.dtype,
        generator: np.random.Generator | None = None,
    ) -> None:
        order = range(len(pairs)) if generator is None else generator.permutation(len(pairs)).tolist()
        self._pairs, self._streams, self._dtype = [pairs[k] for k in order], streams, dtype
        self.frames = sum(int(pair.counts.sum()) for pair in pairs)

    def __len__(self) -> int:
        return -(-len(self._pairs) // self._streams)

    def __getitem__(self, index: int) -> PairSegment:
        if not 0 <= index < len(self):
            raise IndexError(f"minibatch {index} of {len(self)}")
        return segment_of(self._of(index), self._dtype)

    def __iter__(self) -> Iterator[PairSegment]:
        return (self[index] for index in range(len(self)))

    def _of(self, index: int) -> list[Pair]:
        return self._pairs[index * self._streams : (index + 1) * self._streams]

    def describe(self, index: int) -> str:
        """The sequences of a minibatch, for messages."""
        return ", ".join(pair.name for pair in self._of(index))
