"""How long the sentences of a text are in words and in characters, whatever the unit of a model is.

Perplexities per word and bits per character of models of different units compare, since these counts are the
text's own. Shapes: S sentences.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ostinato.domains.text.reading.words import WhiteSpace, splitter

# Units whose sentences are the lines that have words; of the others every line is one.
OF_WORDS = ("words", "subwords")


class Extents(NamedTuple):
    """Of each sentence, with its end: words (S,) and characters (S,)."""

    words: np.ndarray
    characters: np.ndarray


@dataclass
class Measure:
    """Counts as a text goes by.

    Args:
        unit: what the sentences are sentences of.
        white_space: what separates words.
        most: sentences, after which no more are counted.

    Example:
        >>> [each.tolist() for each in extents(["the cat\\n\\na\\n"], "words")]
        [[3, 2], [8, 2]]
        >>> [each.tolist() for each in extents(["the cat\\n\\na\\n"], "chars")]
        [[3, 0, 2], [8, 1, 2]]
    """

    unit: str
    white_space: WhiteSpace = "unicode"
    most: int | None = None

    def __post_init__(self) -> None:
        self._words: list[int] = []
        self._characters: list[int] = []
        self._open = (0, 0)

    def add(self, block: str) -> None:
        """Count a piece that ends between words, or within a line at a space."""
        if self.most is not None and len(self._words) >= self.most:
            return
        split, lines = splitter(self.white_space), block.split("\n")
        for place, line in enumerate(lines):
            words = split(line)
            if self.unit in OF_WORDS:
                own = len(words), sum(map(len, words)) + len(words)
            else:
                own = len(words), len(line)
            self._open = self._open[0] + own[0], self._open[1] + own[1]
            if place < len(lines) - 1:
                self._close()

    def _close(self) -> None:
        words, characters = self._open
        self._open = (0, 0)
        if self.unit in OF_WORDS:
            # the spaces between words, and the end
            if words:
                self._words.append(words + 1)
                self._characters.append(characters)
        else:
            self._words.append(words + 1 if words else 0)
            self._characters.append(characters + 1)

    def found(self) -> Extents:
        """What was counted, a last sentence without an end included."""
        if self._open != (0, 0):
            words, characters = self._open
            self._words.append(words)
            self._characters.append(characters)
            self._open = (0, 0)
        return Extents(np.array(self._words, np.int64), np.array(self._characters, np.int64))


def extents(blocks: Iterable[str], unit: str, white_space: WhiteSpace = "unicode") -> Extents:
    """Of every sentence of a text."""
    measure = Measure(unit, white_space)
    for block in blocks:
        measure.add(block)
    return measure.found()
