"""Back-off n-gram models in the ARPA format, as Kneser-Ney models are written by SRILM, KenLM and others.

p(w | h) = p*(w | h)            if the n-gram h w is listed
         = b(h) p(w | h')       else, where h' is h without its first word and b(h) = 1 if h is not listed
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ostinato import foreign
from ostinato.domains.text.reading.source import whole_file
from ostinato.domains.text.reading.words import BEGIN, END
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted

UNKNOWN = "<unk>"
_TEN = math.log(10)

# What rounding may make of the logarithm of 1.
_ROUNDED = 1e-5

# No other white space separates fields: a no-break space is part of a word.
_BLANK = " \t\r"
_FIELD = re.compile(r"[^ \t\r]+")


class BackoffModel:
    """An n-gram model: probabilities and back-off weights by n-gram.

    Args:
        tables: for each order 1, 2, ..., n-gram (a tuple of words) -> (log10 p, log10 b).

    Attributes:
        unknown: what the model calls an unknown word; None where it has nothing of the kind.
        words: those that it knows, the end of a sentence among them.

    Example:
        >>> unigrams = {("a",): (-0.30103, -1.0), ("</s>",): (-0.30103, 0.0)}
        >>> model = BackoffModel([unigrams, {("a", "a"): (-0.1, 0.0)}])
        >>> (model.score(["a", "a", "</s>"]) / math.log(10)).round(5).tolist()
        [-0.30103, -0.1, -1.30103]
    """

    def __init__(self, tables: Sequence[dict[tuple[str, ...], tuple[float, float]]]) -> None:
        self.tables = list(tables)
        self.unknown = next((w for w in (UNKNOWN, UNKNOWN.upper()) if (w,) in self.tables[0]), None)
        self.words = frozenset(word for (word,) in self.tables[0]) - {BEGIN, self.unknown}

    @property
    def order(self) -> int:
        """n."""
        return len(self.tables)

    def score(self, words: Sequence[str]) -> np.ndarray:
        """log p of each word of a text of sentences that end with </s>, in nats, shape (N,).

        A word that the model does not know is its <unk>; where it has none, the probability is 0.
        """
        result = np.empty(len(words))
        history: tuple[str, ...] = (BEGIN,) if self.order > 1 else ()
        for n, word in enumerate(words):
            known = word if word in self.words else self.unknown
            result[n] = -math.inf if known is None else _TEN * self._log10(history, known)
            after = (BEGIN,) if word == END else (*history, known or word)
            history = after[-(self.order - 1) :] if self.order > 1 else ()
        return result

    def _log10(self, history: tuple[str, ...], word: str) -> float:
        total = 0.0
        for first in range(len(history) + 1):
            given = history[first:]
            if found := self.tables[len(given)].get((*given, word)):
                return total + found[0]
            if given and (weight := self.tables[len(given) - 1].get(given)):
                total += weight[1]
        return -math.inf


def read_arpa(path: Path) -> BackoffModel:
    """Read an ARPA file, or a gzipped one.

    Fields are separated by spaces and tabs alone.

    Raises:
        UserError: the file cannot be read, is not in the format (says in which line), or takes more memory
            than a reader may.
    """
    memory = foreign.Memory(str(path), share=0.85)  # a table takes half as much again while it grows
    lines = (line for block in whole_file(path).blocks() for line in block.removesuffix("\n").split("\n"))
    return BackoffModel(_read(path, memory.along(enumerate(lines, 1))))


def _read(path: Path, lines: Iterator[tuple[int, str]]) -> list[dict[tuple[str, ...], tuple[float, float]]]:
    tables: list[dict[tuple[str, ...], tuple[float, float]]] = []
    announced: list[int] = []
    for number, line in lines:
        text = line.strip(_BLANK)
        if text.startswith("ngram ") and not tables:
            announced.append(_announced(path, number, text))
        elif re.fullmatch(r"\\\d+-grams:", text):
            if text != f"\\{len(tables) + 1}-grams:":
                raise UserError(
                    f"expected \\{len(tables) + 1}-grams: in line {number} of {path}, found {text!r}"
                )
            tables.append({})
        elif text == "\\end\\":
            break
        elif text and tables:
            tables[-1].update([_entry(path, number, text, len(tables))])
    found = [len(table) for table in tables]
    if not tables or found != announced:
        raise UserError(f"expected an ARPA file with {announced or 'some'} n-grams in {path}, found {found}")
    if (END,) not in tables[0]:
        raise UserError(
            f"expected {END} among the 1-grams of {path}, found none: no sentence could end there"
        )
    return tables


def _announced(path: Path, number: int, text: str) -> int:
    count = text.partition("=")[2].strip(_BLANK)
    if not count.isdecimal():
        raise UserError(f"expected a count of n-grams in line {number} of {path}, found {text!r}")
    return int(count)


def _entry(path: Path, number: int, text: str, order: int) -> tuple[tuple[str, ...], tuple[float, float]]:
    parts = _FIELD.findall(text)
    try:
        if not order + 1 <= len(parts) <= order + 2:
            raise ValueError
        weight = float(parts[order + 1]) if len(parts) == order + 2 else 0.0
        log_p = float(parts[0])
        if not log_p <= _ROUNDED or math.isnan(weight) or weight == math.inf:
            raise ValueError
        return tuple(parts[1 : order + 1]), (log_p, weight)
    except ValueError:
        raise UserError(
            f"expected a log-probability of at most 0, {counted(order, 'word')} and a back-off weight in "
            f"line {number} of {path}, found {text!r}"
        ) from None
