"""Words or characters, numbered: the end of a sentence first, then the most frequent ones.

Shapes: V vocabulary, N tokens.
"""

import functools
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ostinato import seal
from ostinato.errors import UserError, call
from ostinato.runs.folder import VOCABULARY as FILE

Unit = Literal["words", "chars"]
UNITS: tuple[Unit, ...] = ("words", "chars")
END = {"words": "</s>", "chars": "\n"}
UNKNOWN = {"words": "<unk>", "chars": "\ufffd"}
END_ID = 0

# Beyond so many distinct tokens the rarest are forgotten while counting: a bound on memory.
MOST_DISTINCT = 2_000_000


@dataclass(frozen=True)
class Vocabulary:
    """V tokens and how often each occurs in the training text.

    Arguments:
        unit: "words" or "chars".
        tokens: by id; id 0 ends a sentence.
        counts: of each, in the training text; the unknown token's is that of all tokens it stands for.

    Example:
        >>> vocabulary = Vocabulary.count("words", ["the cat saw the dog\\n", "the cat saw\\n"])
        >>> vocabulary.tokens
        ('</s>', 'the', 'cat', 'saw', '<unk>')
        >>> vocabulary.encode("the bird saw\\n").tolist()
        [1, 4, 3, 0]
        >>> vocabulary.decode([1, 2, 0, 1])
        'the cat\\nthe'
    """

    unit: Unit
    tokens: tuple[str, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def count(cls, unit: Unit, blocks: Iterable[str], size: int = 10_000) -> "Vocabulary":
        """The most frequent tokens of a text.

        What does not fit is unknown. Where all fits, and the text has no unknown token of its own, tokens
        seen only once are taken as unknown, so that its probability is learned from something.

        Args:
            unit: "words", separated by white space, or "chars".
            blocks: the text, in pieces that end between words.
            size: largest V, with the end of a sentence and the unknown token.
        """
        found: Counter[str] = Counter()
        floor = forgotten = 0
        for block in blocks:
            found.update(split_words(block) if unit == "words" else block)
            while len(found) > MOST_DISTINCT:
                floor += 1
                kept = Counter({token: n for token, n in found.items() if n > floor})
                forgotten += found.total() - kept.total()
                found = kept
        total = found.total() + forgotten
        ends, unknown = found.pop(END[unit], 0), found.pop(UNKNOWN[unit], 0)
        ranked = sorted(found, key=lambda token: (-found[token], token))
        known = ranked[: max(size - 2, 0)]
        if len(known) == len(ranked) and unknown + forgotten == 0:
            known = [token for token in known if found[token] > 1]
        unknown = total - ends - sum(found[token] for token in known)
        rest = [(-found[token], token) for token in known] + [(-unknown, UNKNOWN[unit])]
        rest.sort()
        return cls(unit, (END[unit], *(t for _, t in rest)), (ends, *(-n for n, _ in rest)))

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id; what is not in it is unknown."""
        return {token: k for k, token in enumerate(self.tokens)}

    @property
    def unknown_id(self) -> int:
        """The id of the unknown token."""
        return self.ids[UNKNOWN[self.unit]]

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that token files use for these ids."""
        return np.dtype("<u2") if len(self) <= 1 << 16 else np.dtype("<i4")

    def frequencies(self) -> np.ndarray:
        """Smoothed frequency of each token, (n + 1/2) / sum, shape (V,)."""
        counts = np.asarray(self.counts, dtype=np.float64) + 0.5
        return counts / counts.sum()

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text whose lines all end: words and sentence ends, or characters; shape (N,)."""
        if self.unit == "chars":
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            return self._by_code_point[points]
        ids, unknown = self.ids, self.unknown_id
        return np.array([ids.get(word, unknown) for word in split_words(text)], dtype=self.dtype)

    @functools.cached_property
    def _by_code_point(self) -> np.ndarray:
        table = np.full(0x110000, self.unknown_id, dtype=self.dtype)
        for k, token in enumerate(self.tokens):
            table[ord(token)] = k
        return table

    def numbers(self, tokens: Iterable[str]) -> np.ndarray:
        """The ids of tokens, (N,) int64, unknown ones as the one unknown token's."""
        ids, unknown = self.ids, self.unknown_id
        return np.array([ids.get(token, unknown) for token in tokens], dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids: words separated by spaces, sentences by line ends."""
        tokens = [self.tokens[k] for k in ids]
        if self.unit == "chars":
            return "".join(tokens)
        return " ".join(tokens).replace(f" {END['words']}", "\n").replace("\n ", "\n")

    def to_text(self) -> str:
        """What `read` finds in a run's folder."""
        content = {"unit": self.unit, "tokens": self.tokens, "counts": self.counts}
        return json.dumps(content, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Vocabulary":
        """The vocabulary of a run's folder.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = folder / FILE
        try:
            content = json.loads(seal.read(folder, FILE))
            return cls(content["unit"], tuple(content["tokens"]), tuple(content["counts"]))
        except FileNotFoundError:
            raise UserError(
                f"expected a run on text, found no {FILE} in {folder}; "
                f"make one with: {call('train', domain='words')}, or {call('train', domain='chars')}"
            ) from None
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"expected a vocabulary in {path}, found a damaged file: {error}") from error


def split_words(text: str) -> list[str]:
    """The words of a text and its sentence ends: one at every line end; lines without words are left out.

    Example:
        >>> split_words("a b\\n\\n c\\n")
        ['a', 'b', '</s>', 'c', '</s>']
        >>> split_words("a b ")
        ['a', 'b']
    """
    *lines, unfinished = text.split("\n")
    whole = [line for line in lines if line and not line.isspace()]
    return f"{' </s> '.join(whole)} {'</s>' if whole else ''} {unfinished}".split()
