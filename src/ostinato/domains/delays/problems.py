"""Problems with long-term dependencies, generated from a seed: what a recurrent network has to remember.

Shapes: T time, B sequences.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostinato.data.listing import GENERATED, Listed
from ostinato.data.sequences import SPLITS, Skipped
from ostinato.domains.answer import Part
from ostinato.domains.delays.arithmetic import Arithmetic
from ostinato.domains.delays.symbols import Memorization, Permutation, Recall, TemporalOrder, TemporalOrder3
from ostinato.domains.delays.task import Task, TaskSegment
from ostinato.errors import UserError, near_names

# Sequences to judge a network by: Pascanu, Mikolov & Bengio 2013.
TEST_SEQUENCES = 10_000

# Below SHORTEST there is no tenth of a sequence to put a symbol in.
DEFAULT_LENGTH, SHORTEST = 50, 10

_HOCHREITER, _MARTENS = "Hochreiter & Schmidhuber 1997", "Martens & Sutskever 2011"


@dataclass(frozen=True)
class Problem:
    """What is known of a problem by name.

    Arguments:
        make: of a length, the task.
        about: what is asked.
        source: where it is from.
    """

    make: Callable[[int], Task]
    about: str
    source: str


PROBLEMS = {
    "temporal-order": Problem(
        TemporalOrder, "which of two symbols came first, and which second", _HOCHREITER
    ),
    "temporal-order-3": Problem(TemporalOrder3, "in which order two symbols came, three times", _HOCHREITER),
    "permutation": Problem(
        Permutation, "the first of many symbols, after a random order of others", _HOCHREITER
    ),
    "memorization": Problem(Memorization, "five bits, a long delay, the five bits again", _HOCHREITER),
    "memorization-20": Problem(
        lambda length: Recall(length, "memorization-20", 5, 10),
        "ten symbols of five, a long delay, the ten again",
        _MARTENS,
    ),
    "copy": Problem(
        lambda length: Recall(length, "copy", 8, 10),
        "ten symbols of eight, a long delay, the ten again",
        "Arjovsky, Shah & Bengio 2016",
    ),
    "addition": Problem(
        lambda length: Arithmetic(length, "addition"), "the mean of two marked numbers of many", _HOCHREITER
    ),
    "multiplication": Problem(
        lambda length: Arithmetic(length, "multiplication", product=True),
        "the product of two marked numbers of many",
        _HOCHREITER,
    ),
    "addition-distractors": Problem(
        lambda length: Arithmetic(length, "addition-distractors", distractors=True),
        "the mean of two marked numbers, where others are marked otherwise",
        "ostinato",
    ),
}


def names() -> tuple[str, ...]:
    """The names that `find_task` knows."""
    return tuple(PROBLEMS)


def listed(name: str) -> Listed:
    """What a task is, and where it comes from.

    Example:
        >>> all(listed(name).ready for name in names())
        True
    """
    known = PROBLEMS[name]
    about = (known.about, known.source, "none needed", GENERATED, "ostinato, from a seed")
    return Listed(name, "delays", *about)


def find_task(name: str, length: int) -> Task:
    """The task of this name.

    Example:
        >>> find_task("temporal", 50)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: no task 'temporal': did you mean temporal-order or temporal-order-3?
    """
    if name not in PROBLEMS:
        raise UserError(f"no task {name!r}: {near_names(name, set(PROBLEMS))}")
    return PROBLEMS[name].make(length)


@dataclass(frozen=True)
class TaskData:
    """A task as data: an epoch is fresh sequences, validation and test 10,000 others.

    Arguments:
        task: the problem.
        name: of the task and its length.
        epoch_sequences: of an epoch.
    """

    task: Task
    epoch_sequences: int = TEST_SEQUENCES
    skipped: tuple[Skipped, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as temporal-order-50."""
        return f"{self.task.name}-{self.task.length}"

    @property
    def version(self) -> str:
        """A fingerprint of what is generated."""
        sample = self.task.generate(64, np.random.default_rng(0))
        digest = hashlib.sha256(self.name.encode())
        for x in (sample.inputs, sample.targets, sample.mask):
            digest.update(x.numpy().tobytes())
        return digest.hexdigest()

    def frames(self, split: str) -> int:
        """Sequences in one epoch, in validation or in test."""
        return self.epoch_sequences if split == "train" else TEST_SEQUENCES

    def sequences(self, split: str, seed: int = 0) -> TaskSegment:
        """The sequences of "valid" or "test"; training never meets these draws."""
        generator = np.random.default_rng([{"valid": 1, "test": 2}[split], seed, 0xBEEF])
        return self.task.generate(TEST_SEQUENCES, generator)


class TaskStreams:
    """An epoch of fresh sequences in minibatches, each a function of seed, epoch and index alone.

    Example:
        >>> streams = TaskStreams(TemporalOrder(20), batch=4000, seed=0, epoch=0)
        >>> len(streams), streams[2].inputs.shape, bool((streams[1].inputs == streams[1].inputs).all())
        (3, torch.Size([20, 2000]), True)
    """

    def __init__(
        self,
        task: Task,
        batch: int,
        seed: int,
        epoch: int,
        sequences: int = TEST_SEQUENCES,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._task, self._batch, self._seed, self._epoch, self._dtype = task, batch, seed, epoch, dtype
        self.frames = sequences

    def __len__(self) -> int:
        return -(-self.frames // self._batch)

    def __getitem__(self, index: int) -> TaskSegment:
        if not 0 <= index < len(self):
            raise IndexError(f"minibatch {index} of {len(self)}")
        number = min(self._batch, self.frames - index * self._batch)
        drawn = self._task.generate(number, np.random.default_rng([self._seed, self._epoch, index]))
        return drawn.of(self._dtype)

    def __iter__(self) -> Iterator[TaskSegment]:
        return (self[index] for index in range(len(self)))

    def describe(self, index: int) -> str:
        """Which minibatch, for messages."""
        return f"minibatch {index} of {self._task.name}"


def owns(path: Path) -> bool:
    """False: there are no files of tasks."""
    return False


def load(name: str, length: int = DEFAULT_LENGTH) -> TaskData:
    """The task of this name as data.

    Raises:
        UserError: there is no such task, or its sequences cannot be so short.

    Example:
        >>> load("memorization", 20).name
        'memorization-20'
    """
    if length < SHORTEST:
        raise UserError(f"expected a length of at least {SHORTEST}, found {length}")
    return TaskData(find_task(name, length))


def content(data: TaskData) -> str:
    """How much there is.

    Example:
        >>> content(load("temporal-order"))
        'sequences of 50 steps, drawn anew for each epoch'
    """
    return f"sequences of {data.task.length} steps, drawn anew for each epoch"


def described(found: dict[str, Any]) -> Iterator[Part]:
    """As `shown.described`."""
    from ostinato.domains.delays import shown

    return shown.described(found)


def describe(data: TaskData) -> dict[str, Any]:
    """What a task asks: its symbols and classes, and one sequence of it; can be written as JSON.

    Example:
        >>> describe(load("memorization", 10))["judged_steps"]
        [15, 16, 17, 18, 19]
    """
    sample = data.task.generate(1, np.random.default_rng(0))
    judged = torch.nonzero(sample.judged).flatten().tolist()
    return {
        "name": data.name,
        "kind": "delays",
        "version": data.version,
        "details": data.details | {"source": "ostinato, from a seed", "length": data.task.length},
        "about": PROBLEMS[data.task.name].about,
        "symbols": data.task.symbols,
        "classes": data.task.classes,
        "told": data.task.told,
        "steps": len(sample.inputs),
        "judged_steps": judged,
        "splits": {split: {"sequences": data.frames(split)} for split in SPLITS},
        "sample": {
            "inputs": _rounded(sample.inputs[:, 0]),
            "targets": _rounded(sample.targets[judged, 0]),
        },
        "skipped": [],
    }


def _rounded(values: torch.Tensor) -> list[Any]:
    """Symbols as they are; numbers to two digits."""
    return (values.double().round(decimals=2) if values.is_floating_point() else values).tolist()
