"""Back-off n-gram models in the ARPA format, as Kneser-Ney models are written by SRILM, KenLM and others.

p(w | h) = p*(w | h)            if the n-gram h w is listed
         = b(h) p(w | h')       else, where h' is h without its first word and b(h) = 1 if h is not listed
"""

import gzip
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ostinato.errors import UserError

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
_TEN = math.log(10)


class BackoffModel:
    """An n-gram model: probabilities and back-off weights by n-gram.

    Args:
        tables: for each order 1, 2, ..., n-gram (a tuple of words) -> (log10 p, log10 b).

    Example:
        >>> unigrams = {("a",): (-0.30103, -1.0), ("</s>",): (-0.30103, 0.0)}
        >>> model = BackoffModel([unigrams, {("a", "a"): (-0.1, 0.0)}])
        >>> (model.score(["a", "a", "</s>"]) / math.log(10)).round(5).tolist()
        [-0.30103, -0.1, -1.30103]
    """

    def __init__(self, tables: Sequence[dict[tuple[str, ...], tuple[float, float]]]) -> None:
        self.tables = list(tables)
        self._unknown = next((w for w in (UNKNOWN, UNKNOWN.upper()) if (w,) in self.tables[0]), None)

    @property
    def order(self) -> int:
        """n."""
        return len(self.tables)

    def score(self, words: Sequence[str]) -> np.ndarray:
        """log p of each word of a text of sentences that end with </s>, in nats, shape (N,).

        A word that the model does not know is its <unk>; where it has none, the probability is 0.
        """
        result = np.empty(len(words))
        history: tuple[str, ...] = (BEGIN,)
        for n, word in enumerate(words):
            known = word if (word,) in self.tables[0] else self._unknown
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

    Raises:
        UserError: the file cannot be read or is not in the format; says in which line.
    """
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else open(path, encoding="utf-8") as file
        ):
            return BackoffModel(_read(path, enumerate(file, 1)))
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise UserError(f"expected an ARPA file, cannot read {path}: {error}") from error


def _read(path: Path, lines: Iterator[tuple[int, str]]) -> list[dict[tuple[str, ...], tuple[float, float]]]:
    tables: list[dict[tuple[str, ...], tuple[float, float]]] = []
    announced: list[int] = []
    for number, line in lines:
        text = line.strip()
        if text.startswith("ngram ") and not tables:
            announced.append(int(text.partition("=")[2] or 0))
        elif text.endswith("-grams:"):
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
    return tables


def _entry(path: Path, number: int, text: str, order: int) -> tuple[tuple[str, ...], tuple[float, float]]:
    parts = text.split()
    try:
        if not order + 1 <= len(parts) <= order + 2:
            raise ValueError
        weight = float(parts[order + 1]) if len(parts) == order + 2 else 0.0
        return tuple(parts[1 : order + 1]), (float(parts[0]), weight)
    except ValueError:
        raise UserError(
            f"expected a log-probability, {order} words and a back-off weight in line {number} of {path}, "
            f"found {text!r}"
        ) from None
