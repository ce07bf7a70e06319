"""Problems with long delays whose inputs are numbers, two of which are marked: add them, multiply them.

Shapes: T time, B sequences.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ostinato.domains.delays.task import Criterion, TaskSegment, at_the_end
from ostinato.errors import UserError

# An answer whose squared error is above this is wrong: Pascanu, Mikolov & Bengio 2013, by their program.
SQUARED_ERROR = 0.04

# An answer that is off by more is wrong: Hochreiter & Schmidhuber 1997, experiments 4 and 5.
STRICT = 0.04

WRONG = "sequences whose expected value has a squared error above 0.04, of fresh ones; solved below 1%"
OFF = "sequences whose expected value is off by more than 0.04, of fresh sequences"


@dataclass(frozen=True)
class Arithmetic:
    """Two marked numbers, at the end of a sequence of others: their mean, or their product.

    An input is a number, uniform in [0, 1), and a mark: 1 for two of them, one in [0, T/10) and one in
    [T/10, 5T/10), else 0. With distractors, a tenth of the others are marked too, by -1, and do not count.
    The target of the last step is the mean of both ("addition") or their product ("multiplication").

    Sources: Hochreiter & Schmidhuber 1997, experiments 4 and 5, as Martens & Sutskever 2011 and Pascanu,
    Mikolov & Bengio 2013 have them. Solved where fewer than 1% of 10,000 fresh sequences have a squared
    error above 0.04, as in the last of these; how many are off by more than 0.04, which is the first's
    criterion, is told beside it. The marks of -1 are our own.

    Args:
        length: T, at least 10.
        name: what users call it.
        product: whether they are multiplied.
        distractors: whether others are marked by -1.

    Example:
        >>> batch = Arithmetic(20, "addition").generate(3, np.random.default_rng(0))
        >>> batch.inputs.shape, batch.inputs[..., 1].sum(0)
        (torch.Size([20, 3, 2]), tensor([2., 2., 2.]))
        >>> marked = (batch.inputs[..., 0] * batch.inputs[..., 1]).sum(0) / 2
        >>> bool((marked - batch.targets[-1, :, 0]).abs().max() < 1e-6)
        True
    """

    length: int
    name: str
    product: bool = False
    distractors: bool = False
    symbols: int = 2
    classes: int = 1
    told: str = "a number and a mark; a number"
    criteria: ClassVar = {
        "error": Criterion(WRONG, lambda found, x: (found.mean - x).square().sum(-1) > SQUARED_ERROR),
        "off": Criterion(OFF, lambda found, x: (found.mean - x).abs().amax(-1) > STRICT),
    }

    @property
    def guessed_wrong(self) -> float:
        """Of the mean of all targets: P(|x - 1/2| > 1/5) of a mean, P(|x - 1/4| > 1/5) of a product, whose
        distribution function is x (1 - log x).
        """
        if not self.product:
            return float(0.6**2)

        def below(x: float) -> float:
            return x * (1 - float(np.log(x)))

        return 1 - below(0.45) + below(0.05)

    @property
    def delay(self) -> int:
        """From the latest place of the first marked number to the last step."""
        return self.length - self.length // 10

    def generate(self, sequences: int, generator: np.random.Generator) -> TaskSegment:
        """Draw sequences."""
        steps, tenth, each = self.length, self.length // 10, np.arange(sequences)
        values = generator.random((steps, sequences), dtype=np.float32)
        first = generator.integers(0, tenth, sequences)
        second = generator.integers(tenth, 5 * tenth, sequences)
        marks = np.zeros_like(values)
        if self.distractors:
            marks[generator.random(marks.shape, dtype=np.float32) < 1 / 10] = -1
        marks[first, each] = marks[second, each] = 1
        one, other = values[first, each], values[second, each]
        last = one * other if self.product else (one + other) / 2
        return at_the_end(np.stack([values, marks], -1), last[:, np.newaxis])

    def checked(self, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers and marks (T, 2), and answers (T,) or (T, 1), of which NaN does not count."""
        answers = targets[:, np.newaxis] if targets.ndim == 1 else targets
        for name, part, size in (("inputs", inputs, self.symbols), ("targets", answers, self.classes)):
            if part.dtype.kind != "f" or part.shape != (len(inputs), size) or not len(part):
                raise UserError(f"expected {name} (T, {size}) of floats, found others")
        if not np.isfinite(inputs).all() or np.isinf(answers).any():
            raise UserError("expected finite numbers, and NaN where an answer does not count, found others")
        counts = ~np.isnan(answers).any(-1)
        return inputs, np.where(counts[:, np.newaxis], answers, 0), counts
