"""Words, characters, sub-words or bytes, numbered: the end of a sentence first, then the most frequent ones.

Shapes: V vocabulary, N tokens.
"""

import base64
import functools
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ostinato import foreign, seal
from ostinato.domains.text.reading.subwords import Subwords, learned
from ostinato.domains.text.reading.words import WhiteSpace, split_words, splitter, word_lines
from ostinato.errors import UserError, argument, call
from ostinato.runs.folder import VOCABULARY as FILE

Unit = Literal["words", "chars", "subwords", "bytes"]
UNITS: tuple[Unit, ...] = ("words", "chars", "subwords", "bytes")
END = {"words": "</s>", "chars": "\n", "subwords": "</s>", "bytes": "\n"}
UNKNOWN = {"words": "<unk>", "chars": "\ufffd"}
# Of units that spell everything.
NO_ID = -1
END_ID = 0

# Beyond so many distinct tokens the rarest are forgotten while counting: a bound on memory.
MOST_DISTINCT = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which tokens of a training text a vocabulary takes.

    Arguments:
        size: largest V, with the end of a sentence and the unknown token.
        minimum_count: tokens seen less often are unknown.
        keep_singletons: whether tokens seen only once stay where all would fit.
        words: no others than these; None for all that the text has.
        unknown_types: how many types the unknown token stands for; None for what the text says of it.
        white_space: what separates words.
    """

    size: int = 10_000
    minimum_count: int = 1
    keep_singletons: bool = False
    words: frozenset[str] | None = None
    unknown_types: int | None = None
    white_space: WhiteSpace = "unicode"


@dataclass(frozen=True)
class Vocabulary:
    """V tokens and how often each occurs in the training text.

    Arguments:
        unit: "words", "chars", "subwords" or "bytes".
        tokens: by id; id 0 ends a sentence.
        counts: of each, in the training text; the unknown token's is that of all tokens it stands for.
        stated_types: how many types the unknown token stands for; None in runs of before.
        white_space: what separates words.
        subwords: the model of sub-words, as it is stored.

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
    stated_types: int | None = None
    white_space: WhiteSpace = "unicode"
    subwords: bytes | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def count(
        cls, unit: Unit, blocks: Iterable[str], size: int = 10_000, wanted: Wanted | None = None
    ) -> "Vocabulary":
        """The most frequent tokens of a text.

        What does not fit is unknown. Where all fits, and the text has no unknown token of its own, tokens
        seen only once are taken as unknown, so that its probability is learned from something; unless they
        are to be kept, or the words are given. Sub-words and bytes spell every text: nothing is unknown.

        Args:
            unit: "words", separated by white space, "chars", "subwords" or "bytes".
            blocks: the text, in pieces that end between words.
            size: largest V, with the end of a sentence and the unknown token.
            wanted: more about which tokens, with a size of its own.
        """
        wanted = Wanted(size=size) if wanted is None else wanted
        if unit == "bytes":
            return _of_bytes(blocks)
        if unit == "subwords":
            return _of_subwords(blocks if iter(blocks) is not blocks else list(blocks), wanted)
        split = functools.partial(split_words, white_space=wanted.white_space)
        found, forgotten, types = _counted(blocks, split if unit == "words" else list)
        return _chosen(unit, found, forgotten, types, wanted)

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Token -> id; what is not in it is unknown."""
        return {token: k for k, token in enumerate(self.tokens)}

    @property
    def unknown_id(self) -> int:
        """The id of the unknown token; -1 where nothing is unknown."""
        return self.ids[UNKNOWN[self.unit]] if self.unit in UNKNOWN else NO_ID

    @property
    def unknown_types(self) -> int:
        """How many types the unknown token stands for.

        As stated when the vocabulary was made; else at least as many as its occurrences in the training text
        come to if none is more frequent than the rarest known token.

        Example:
            >>> Vocabulary("words", ("</s>", "a", "<unk>"), (9, 3, 7)).unknown_types
            3
        """
        if self.unknown_id == NO_ID:
            return 0
        if self.stated_types is not None:
            return self.stated_types
        known = [n for k, n in enumerate(self.counts) if k not in (END_ID, self.unknown_id) and n > 0]
        return _at_least(self.counts[self.unknown_id], known)

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that token files use for these ids."""
        return np.dtype("<u2") if len(self) <= 1 << 16 else np.dtype("<i4")

    def frequencies(self) -> np.ndarray:
        """Smoothed frequency of each token, (n + 1/2) / sum, shape (V,)."""
        counts = np.asarray(self.counts, dtype=np.float64) + 0.5
        return counts / counts.sum()

    def split(self, text: str) -> list[str]:
        r"""The tokens of a text whose lines end, also those that are not in the vocabulary.

        Example:
            >>> Vocabulary.count("bytes", ["a\n"]).split("ä\n")
            ['Ã', '¤', '\n']
        """
        if self.unit == "words":
            return split_words(text, self.white_space)
        if self.unit == "chars":
            return list(text)
        if self.unit == "bytes":
            return list(_utf8(text).decode("latin-1"))
        found: list[str] = []
        lines = text.split("\n")
        for place, line in enumerate(lines, 1):
            if words := splitter(self.white_space)(line):
                found += self._pieces.pieces(" ".join(words))
                found += [END["subwords"]] if place < len(lines) else []
        return found

    def encode(self, text: str) -> np.ndarray:
        """The ids of a text whose lines all end: words and sentence ends, or characters; shape (N,)."""
        if self.unit == "chars":
            points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
            return self._by_code_point[points]
        if self.unit == "bytes":
            return self._by_code_point[np.frombuffer(_utf8(text), np.uint8)]
        ids, unknown = self.ids, self.unknown_id
        return np.array([ids.get(word, unknown) for word in self.split(text)], dtype=self.dtype)

    @functools.cached_property
    def _by_code_point(self) -> np.ndarray:
        size = 0x110000 if self.unit == "chars" else 256
        table = np.full(size, max(self.unknown_id, 0), dtype=self.dtype)
        for k, token in enumerate(self.tokens):
            table[ord(token)] = k
        return table

    @functools.cached_property
    def _pieces(self) -> Subwords:
        if self.subwords is None:
            raise UserError("expected a model of subwords with their vocabulary, found none")
        return Subwords(self.subwords)

    def numbers(self, tokens: Iterable[str]) -> np.ndarray:
        """The ids of tokens, (N,) int64, unknown ones as the one unknown token's.

        Raises:
            UserError: a token is unknown to a vocabulary of sub-words or bytes, which have none.
        """
        ids, unknown = self.ids, self.unknown_id
        found = np.array([ids.get(token, unknown) for token in tokens], dtype=np.int64)
        if unknown == NO_ID and (found == NO_ID).any():
            raise UserError(f"expected {self.unit} of the vocabulary, found others")
        return found

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids: words separated by spaces, sentences by line ends."""
        return self.joined([self.tokens[k] for k in ids])

    def joined(self, tokens: Sequence[str]) -> str:
        r"""The text of some tokens.

        Example:
            >>> Vocabulary.count("bytes", ["a\n"]).joined(["Ã", "¤", "\n"])
            'ä\n'
        """
        if self.unit == "chars":
            return "".join(tokens)
        if self.unit == "bytes":
            return "".join(tokens).encode("latin-1").decode("utf-8", "replace")
        if self.unit == "words":
            return " ".join(tokens).replace(f" {END['words']}", "\n").replace("\n ", "\n")
        lines: list[list[str]] = [[]]
        for token in tokens:
            if token == END["subwords"]:
                lines.append([])
            else:
                lines[-1].append(token)
        return "\n".join(self._pieces.text(line) for line in lines)

    def to_text(self) -> str:
        """What `read` finds in a run's folder; a model of sub-words in base 64."""
        content: dict[str, Any] = {"unit": self.unit, "tokens": self.tokens, "counts": self.counts}
        if self.stated_types is not None:
            content["unknown_types"] = self.stated_types
        if self.white_space != "unicode":
            content["white_space"] = self.white_space
        if self.subwords is not None:
            content["subwords"] = base64.b64encode(self.subwords).decode("ascii")
        return json.dumps(content, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, folder: Path) -> "Vocabulary":
        """The vocabulary of a run's folder.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = folder / FILE
        try:
            data = seal.read(folder, FILE, foreign.MOST_JSON)
        except FileNotFoundError:
            raise UserError(
                f"expected a run on text, found no {FILE} in {folder}; "
                f"make one with: {call('train', domain='words')}, or {call('train', domain='chars')}"
            ) from None
        try:
            content = foreign.of_json(data)
            unit, tokens = content["unit"], tuple(content["tokens"])
            subwords = base64.b64decode(content["subwords"], validate=True) if unit == "subwords" else None
            types, space = content.get("unknown_types"), content.get("white_space", "unicode")
            return cls(unit, tokens, tuple(content["counts"]), types, space, subwords)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"expected a vocabulary in {path}, found a damaged file: {error}") from error


def read_word_list(text: str, name: str) -> frozenset[str]:
    """The words of a list: the first of each line, as in a vocabulary of SRILM, or Kaldi's words.txt.

    Marks of sentences and of the unknown word are no words, and neither are lines without any.

    Raises:
        UserError: the list has no words.

    Example:
        >>> sorted(read_word_list("the 12\\ncat\\n<unk>\\n</s>\\n", "words.txt"))
        ['cat', 'the']
    """
    marks = {"<s>", END["words"], UNKNOWN["words"], "<eps>", "#0"}
    lines = foreign.Memory(name, share=0.4).along(word_lines(text, "ascii"))
    found = frozenset(words[0] for words in lines) - marks
    if not found:
        raise UserError(f"expected words, one a line, in {name}, found none")
    return found


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _counted(blocks: Iterable[str], split: Any) -> tuple[Counter[str], int, int]:
    """How often each token occurs; occurrences and types, at least, of those that were forgotten."""
    found: Counter[str] = Counter()
    floor = forgotten = types = 0
    for block in foreign.Memory("the words of a text").along(blocks, every=1):
        found.update(split(block))
        while len(found) > MOST_DISTINCT:
            floor += 1
            kept = Counter({token: n for token, n in found.items() if n > floor})
            forgotten += found.total() - kept.total()
            # one that comes back is counted again
            types = max(types, len(found) - len(kept))
            found = kept
    return found, forgotten, types


def _chosen(unit: Unit, found: Counter[str], forgotten: int, types: int, wanted: Wanted) -> Vocabulary:
    total = found.total() + forgotten
    ends, unknown = found.pop(END[unit], 0), found.pop(UNKNOWN[unit], 0)
    ranked = sorted(found, key=lambda token: (-found[token], token))
    known = [t for t in ranked if found[t] >= wanted.minimum_count]
    if ranked and not known:
        raise UserError(
            f"expected {argument('minimum_count')} of at most {found[ranked[0]]:,}, the count of the most "
            f"frequent of the training {unit}, found {wanted.minimum_count:,}: all would be unknown"
        )
    if wanted.words is not None:
        if known and wanted.words.isdisjoint(known):
            raise UserError(
                f"expected {unit} of the training text in {argument('vocabulary')}, found none of them: all "
                "would be unknown; check the list's spelling, and that a word comes first in its line"
            )
        known = _from_list(known, found, wanted)
    known = known[: max(wanted.size - 2, 0)]
    every = wanted.words is None and len(known) == len(ranked) and unknown + forgotten == 0
    if every and not wanted.keep_singletons:
        known = [token for token in known if found[token] > 1]
    elsewhere = total - ends - sum(found[token] for token in known)
    rest = [(-found[token], token) for token in known] + [(-elsewhere, UNKNOWN[unit])]
    rest.sort()
    stated = wanted.unknown_types
    if stated is None:
        seen = len(found) - len(set(known) & set(found)) + types
        stated = max(seen, _at_least(elsewhere, [found[token] for token in known if found[token] > 0]))
    return Vocabulary(
        unit,
        (END[unit], *(t for _, t in rest)),
        (ends, *(-n for n, _ in rest)),
        stated,
        wanted.white_space,
    )


def _from_list(known: list[str], found: Counter[str], wanted: Wanted) -> list[str]:
    """The listed words: those of the text, most frequent first, then those that it does not have."""
    listed = wanted.words or frozenset()
    if len(listed) > max(wanted.size - 2, 0):
        raise UserError(
            f"expected at most {wanted.size - 2:,} words in {argument('vocabulary')}, as many as "
            f"{argument('vocabulary_size')} has room for, found {len(listed):,}; raise it"
        )
    unseen = sorted(listed - set(found)) if wanted.minimum_count <= 1 else []
    return [token for token in known if token in listed] + unseen


def _at_least(occurrences: int, known: Sequence[int]) -> int:
    """How many types so many occurrences are of, if none is more frequent than the rarest of those known."""
    return max(1, math.ceil(occurrences / min(known))) if known else max(1, occurrences)


def _of_bytes(blocks: Iterable[str]) -> Vocabulary:
    counts = np.zeros(256, dtype=np.int64)
    for block in blocks:
        counts += np.bincount(np.frombuffer(_utf8(block), np.uint8), minlength=256)
    end = ord(END["bytes"])
    order = sorted((k for k in range(256) if k != end), key=lambda k: (-counts[k], k))
    return Vocabulary(
        "bytes", tuple(chr(k) for k in (end, *order)), tuple(int(counts[k]) for k in (end, *order))
    )


def _of_subwords(blocks: Iterable[str], wanted: Wanted) -> Vocabulary:
    lines = (" ".join(words) for block in blocks for words in word_lines(block, wanted.white_space))
    model = learned(lines, wanted.size)
    end, pieces = END["subwords"], Subwords(model).tokens
    bare = Vocabulary("subwords", tuple(pieces), (0,) * len(pieces), None, wanted.white_space, model)
    found: Counter[str] = Counter()
    for block in blocks:
        found.update(bare.split(block))
    order = sorted((piece for piece in pieces if piece != end), key=lambda piece: (-found[piece], piece))
    counts = tuple(found[piece] for piece in (end, *order))
    return Vocabulary("subwords", (end, *order), counts, None, wanted.white_space, model)
