"""Problems with long delays whose inputs are symbols: orders to tell, and strings to remember.

Shapes: T time, B sequences, S symbols of a string.
"""

from dataclasses import dataclass

import numpy as np

from ostinato.domains.delays.task import OfSymbols, TaskSegment, at_the_end, segment_of


@dataclass(frozen=True)
class TemporalOrder(OfSymbols):
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
    guessed_wrong: float = 3 / 4

    @property
    def delay(self) -> int:
        """From the latest place of the first symbol to the last step."""
        return self.length - 2 * (self.length // 10)

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        inputs, (first, second) = in_tenths(self.length, (1, 5), sequences, generator)
        return at_the_end(inputs, 2 * first + second)


@dataclass(frozen=True)
class TemporalOrder3(OfSymbols):
    """As `TemporalOrder`, of three symbols: in [T/10, 2T/10), [3T/10, 4T/10) and [6T/10, 7T/10).

    Source: Hochreiter & Schmidhuber 1997, experiment 6b, with the positions scaled to the length as in
    Pascanu, Mikolov & Bengio 2013. Solved where fewer than 1% of 10,000 fresh sequences are classified
    wrongly.

    Args:
        length: T, at least 10.

    Example:
        >>> batch = TemporalOrder3(50).generate(3, np.random.default_rng(0))
        >>> (batch.inputs < 2).sum(0)
        tensor([3, 3, 3])
    """

    length: int
    name: str = "temporal-order-3"
    symbols: int = 6
    classes: int = 8
    guessed_wrong: float = 7 / 8

    @property
    def delay(self) -> int:
        """From the latest place of the first symbol to the last step."""
        return self.length - 2 * (self.length // 10)

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        inputs, (first, second, third) = in_tenths(self.length, (1, 3, 6), sequences, generator)
        return at_the_end(inputs, 4 * first + 2 * second + third)


@dataclass(frozen=True)
class Permutation(OfSymbols):
    """Which of two symbols a sequence began with, after T - 1 distractors, drawn from 98 others.

    The class of the last step is the first symbol, one of 100 classes as there are 100 symbols.

    Source: Hochreiter & Schmidhuber 1997, experiment 2b, as Martens & Sutskever 2011 have it ("random
    permutation"). Solved where fewer than 1% of 10,000 fresh sequences are classified wrongly.

    Args:
        length: T, at least 10.

    Example:
        >>> batch = Permutation(20).generate(3, np.random.default_rng(0))
        >>> bool((batch.targets[-1] == batch.inputs[0]).all()), bool((batch.inputs[1:] > 1).all())
        (True, True)
    """

    length: int
    name: str = "permutation"
    symbols: int = 100
    classes: int = 100
    guessed_wrong: float = 1 / 2

    @property
    def delay(self) -> int:
        """From the first step to the last."""
        return self.length - 1

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        inputs = generator.integers(2, self.symbols, (self.length, sequences))
        inputs[0] = generator.integers(0, 2, sequences)
        return at_the_end(inputs, inputs[0].copy())


@dataclass(frozen=True)
class Memorization(OfSymbols):
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
    guessed_wrong: float = 1 - 2**-5

    @property
    def delay(self) -> int:
        """From a bit to its recall."""
        return self.length + self.bits

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences; 32 or more hold every string of bits nearly equally often."""
        every, bits = 2**self.bits, self.bits
        strings = np.concatenate([generator.permutation(every) for _ in range(-(-sequences // every))])
        drawn = (strings[:sequences] >> np.arange(bits)[:, np.newaxis]) & 1
        return recall(drawn, self.length, 2)


@dataclass(frozen=True)
class Recall(OfSymbols):
    """A string of S symbols, a long delay, a cue, and the string again; laid out as `Memorization` is.

    Sources: Martens & Sutskever 2011, the 20-bit problem (10 symbols of 5 values; S is `size`); Hochreiter &
    Schmidhuber 1997 and Arjovsky, Shah & Bengio 2016, the copying problem (10 symbols of 8). Solved where
    fewer than 1% of 10,000 fresh sequences are recalled wrongly.

    Args:
        length: of the delay; its last step is the cue.
        name: what users call it.
        values: different symbols of a string.
        size: S.

    Example:
        >>> batch = Recall(10, "copy", 8, 10).generate(2, np.random.default_rng(0))
        >>> batch.inputs.shape, bool((batch.targets[-10:] == batch.inputs[:10]).all())
        (torch.Size([30, 2]), True)
    """

    length: int
    name: str
    values: int
    size: int

    @property
    def symbols(self) -> int:
        """Those of the strings, one while nothing happens, the cue."""
        return self.values + 2

    @property
    def classes(self) -> int:
        """Those of the strings, and one until the recall."""
        return self.values + 1

    @property
    def guessed_wrong(self) -> float:
        """All S have to be right."""
        return 1 - float(self.values) ** -self.size

    @property
    def delay(self) -> int:
        """From a symbol to its recall."""
        return self.length + self.size

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        return recall(generator.integers(0, self.values, (self.size, sequences)), self.length, self.values)


def in_tenths(
    length: int, tenths: tuple[int, ...], sequences: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Distractors 2 to 5, (T, B), among them a symbol 0 or 1 in each of some tenths; and these, (S, B).

    Args:
        length: T.
        tenths: S of them, the first is 0.
        sequences: B.
        generator: source of randomness.

    Example:
        >>> inputs, told = in_tenths(20, (1, 5), 3, np.random.default_rng(0))
        >>> (inputs < 2).sum(0), bool((inputs[2:4].min(0) == told[0]).all())
        (array([2, 2, 2]), True)
    """
    tenth = length // 10
    inputs = generator.integers(2, 6, (length, sequences))
    told = generator.integers(0, 2, (len(tenths), sequences))
    for place, symbol in zip(tenths, told, strict=True):
        inputs[place * tenth + generator.integers(0, tenth, sequences), np.arange(sequences)] = symbol
    return inputs, told


def recall(strings: np.ndarray, delay: int, values: int) -> TaskSegment:
    """Strings, a delay whose last step is the cue, and the strings again.

    Args:
        strings: symbols below `values`, (S, B).
        delay: steps.
        values: different symbols; the next is for nothing, the one after it is the cue.

    Example:
        >>> segment = recall(np.array([[1], [0]]), 3, 2)
        >>> segment.inputs.flatten().tolist(), segment.targets.flatten().tolist()
        ([1, 0, 2, 2, 3, 2, 2], [2, 2, 2, 2, 2, 1, 0])
    """
    size, sequences = strings.shape
    steps = delay + 2 * size
    inputs = np.full((steps, sequences), values, dtype=np.int64)
    inputs[:size], inputs[size + delay - 1] = strings, values + 1
    targets = np.full((steps, sequences), values, dtype=np.int64)
    targets[-size:] = strings
    return segment_of(inputs, targets, np.ones_like(inputs, dtype=bool), np.arange(steps) >= steps - size)
