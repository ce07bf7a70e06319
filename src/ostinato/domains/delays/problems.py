"""Problems with long-term dependencies, generated from a seed: what a recurrent network has to remember.

Shapes: T time, B sequences.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ostinato.data.listing import GENERATED, Listed
from ostinato.data.sequences import SPLITS, Skipped
from ostinato.domains.answer import Part
from ostinato.errors import UserError, near_names

# Sequences to judge a network by: Pascanu, Mikolov & Bengio 2013.
TEST_SEQUENCES = 10_000

# Below SHORTEST there is no tenth of a sequence to put a symbol in.
DEFAULT_LENGTH, SHORTEST = 50, 10


@dataclass(frozen=True)
class TaskSegment:
    """B whole sequences of a task.

    Arguments:
        inputs: symbols, (T, B) int64.
        targets: classes, (T, B) int64.
        mask: boolean (T, B), the steps whose class counts.
        starts: boolean (T, B), True at the first step of every sequence.
        judged: boolean (T,), the steps that a sequence is judged by: right where all of them are.
    """

    inputs: Tensor
    targets: Tensor
    mask: Tensor
    starts: Tensor
    judged: Tensor


class Task(Protocol):
    """A generated problem: symbols in, classes out."""

    @property
    def name(self) -> str:
        """What users call it."""

    @property
    def length(self) -> int:
        """Steps of its sequences, or of its delay."""

    @property
    def symbols(self) -> int:
        """Different inputs."""

    @property
    def classes(self) -> int:
        """Different targets."""

    @property
    def delay(self) -> int:
        """The least number of steps between what must be remembered and the step that asks for it."""

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""


def _segment(inputs: np.ndarray, targets: np.ndarray, mask: np.ndarray, judged: np.ndarray) -> TaskSegment:
    starts = np.zeros(inputs.shape, dtype=bool)
    starts[0] = True
    return TaskSegment(*(torch.from_numpy(x) for x in (inputs, targets, mask, starts, judged)))


@dataclass(frozen=True)
class TemporalOrder:
    """Which of two symbols came first, and which second, at the end of a sequence of distractors.

    Of T symbols all are drawn from the distractors c, d, e, f, but two: one in [T/10, 2T/10), one in
    [5T/10, 6T/10), each A or B. The class of the last step is the pair: AA, AB, BA or BB.

    Source: Hochreiter & Schmidhuber 1997, experiment 6a, with the positions scaled to the length as in
    Martens & Sutskever 2011. Solved where fewer than 1% of 10,000 fresh sequences are classified wrongly.

    Args:
        length: T, at least 10.

    Example:
        >>> batch = TemporalOrder(50).generate(3, np.random.default_rng(0))
        >>> batch.inputs.shape, int(batch.mask.sum())
        (torch.Size([50, 3]), 3)
    """

    length: int
    name: str = "temporal-order"
    symbols: int = 6
    classes: int = 4

    @property
    def delay(self) -> int:
        """From the latest place of the first symbol to the last step."""
        return self.length - 2 * (self.length // 10)

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        steps, tenth = self.length, self.length // 10
        inputs = generator.integers(2, 6, (steps, sequences))
        each = np.arange(sequences)
        first, second = generator.integers(0, 2, (2, sequences))
        inputs[tenth + generator.integers(0, tenth, sequences), each] = first
        inputs[5 * tenth + generator.integers(0, tenth, sequences), each] = second
        targets = np.zeros((steps, sequences), dtype=np.int64)
        targets[-1] = 2 * first + second
        judged = np.arange(steps) == steps - 1
        return _segment(inputs, targets, np.repeat(judged[:, np.newaxis], sequences, 1), judged)


@dataclass(frozen=True)
class Memorization:
    """Five bits, a long delay, a cue, and the five bits again: noiseless memorisation.

    Symbols: 0 and 1 for the bits, 2 while nothing happens, 3 for the cue. There are 5 bits, `length` steps
    of which the last is the cue, and 5 steps of recall: length + 10 in all. The class is 2 until the
    recall, then the bits. Every step counts in the loss; a sequence is right where all five bits are.

    Source: Hochreiter & Schmidhuber 1997 and Martens & Sutskever 2011, the 5-bit problem. Solved where
    fewer than 1% of the sequences are recalled wrongly; there are only 32, so: none.

    Args:
        length: of the delay.

    Example:
        >>> batch = Memorization(10).generate(2, np.random.default_rng(0))
        >>> bool((batch.targets[-5:] == batch.inputs[:5]).all()), batch.inputs[14].tolist()
        (True, [3, 3])
    """

    length: int
    name: str = "memorization"
    symbols: int = 4
    classes: int = 3
    bits: int = 5

    @property
    def delay(self) -> int:
        """From a bit to its recall."""
        return self.length + self.bits

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences; 32 or more hold every string of bits nearly equally often."""
        every, bits = 2**self.bits, self.bits
        strings = np.concatenate([generator.permutation(every) for _ in range(-(-sequences // every))])
        drawn = (strings[:sequences] >> np.arange(bits)[:, np.newaxis]) & 1
        steps = self.length + 2 * bits
        inputs = np.full((steps, sequences), 2, dtype=np.int64)
        inputs[:bits], inputs[bits + self.length - 1] = drawn, 3
        targets = np.full((steps, sequences), 2, dtype=np.int64)
        targets[-bits:] = drawn
        return _segment(inputs, targets, np.ones_like(inputs, dtype=bool), np.arange(steps) >= steps - bits)


TASKS: dict[str, type[TemporalOrder] | type[Memorization]] = {
    "temporal-order": TemporalOrder,
    "memorization": Memorization,
}


ABOUT = {
    "temporal-order": ("which of two symbols came first, and which second", "Hochreiter & Schmidhuber 1997"),
    "memorization": ("five bits, a long delay, the five bits again", "Hochreiter & Schmidhuber 1997"),
}


def names() -> tuple[str, ...]:
    """The names that `find_task` knows."""
    return tuple(TASKS)


def listed(name: str) -> Listed:
    """What a task is, and where it comes from.

    Example:
        >>> all(listed(name).ready for name in names())
        True
    """
    about, source = ABOUT[name]
    return Listed(name, "delays", about, source, "none needed", GENERATED, "ostinato, from a seed")


def find_task(name: str, length: int) -> Task:
    """The task of this name.

    Example:
        >>> find_task("temporal", 50)
        Traceback (most recent call last):
        ...
        ostinato.errors.UserError: no task 'temporal': did you mean temporal-order?
    """
    if name not in TASKS:
        raise UserError(f"no task {name!r}: {near_names(name, set(TASKS))}")
    return TASKS[name](length)


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
        self, task: Task, batch: int, seed: int, epoch: int, sequences: int = TEST_SEQUENCES
    ) -> None:
        self._task, self._batch, self._seed, self._epoch = task, batch, seed, epoch
        self.frames = sequences

    def __len__(self) -> int:
        return -(-self.frames // self._batch)

    def __getitem__(self, index: int) -> TaskSegment:
        if not 0 <= index < len(self):
            raise IndexError(f"minibatch {index} of {len(self)}")
        number = min(self._batch, self.frames - index * self._batch)
        return self._task.generate(number, np.random.default_rng([self._seed, self._epoch, index]))

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
        "about": ABOUT[data.task.name][0],
        "symbols": data.task.symbols,
        "classes": data.task.classes,
        "steps": len(sample.inputs),
        "judged_steps": judged,
        "splits": {split: {"sequences": data.frames(split)} for split in SPLITS},
        "sample": {
            "inputs": sample.inputs[:, 0].tolist(),
            "targets": sample.targets[judged, 0].tolist(),
        },
        "skipped": [],
    }
