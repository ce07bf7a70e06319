"""Text that a program has in memory: strings, or sequences of token ids. Shapes: N tokens."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS
from ostinato.domains.given import UNSPLIT, Given
from ostinato.domains.text.reading.data_sets import from_sources
from ostinato.domains.text.reading.source import MemorySource, Source
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import Unit, Vocabulary, Wanted
from ostinato.errors import UserError, argument

# Of what is not split, for validation and for test each, as of files.
HELD_OUT = 0.05


def knows(given: Given) -> bool:
    """Whether a program's data are text, or token ids: whole numbers, (N,).

    Example:
        >>> knows(Given({UNSPLIT: ["the cat sat"]})), knows(Given({UNSPLIT: [np.array([3, 0, 7])]}))
        (True, True)
    """
    return given.module is None and (isinstance(given.first, str) or _are_ids(given.first))


def wrap(given: Given, unit: Unit, wanted: Wanted, vocabulary: Vocabulary | None = None) -> TextData:
    """Texts, one after the other, as a data set; what is not split is cut by lines, as files are.

    Of token ids every sequence is a sentence, whose words are the numbers. A vocabulary that is there already
    is used instead of the texts' own.

    Raises:
        UserError: something else is among them, or there are too few lines.

    Example:
        >>> data = wrap(Given({UNSPLIT: ["a b c\\n"] * 20}), "words", Wanted(size=100))
        >>> [data.frames(split) for split in SPLITS]
        [72, 4, 4]
    """
    ids = _are_ids(given.first)
    if ids and unit != "words":
        raise UserError(f"expected text for {argument('domain')} {unit}, found token ids; they are words")
    texts = {split: [line_of(one, ids=ids) for one in each] for split, each in given.splits.items()}
    details: dict[str, Any] = {"source": "memory", "split": "given", "token_ids": ids}
    if not given.is_split:
        details["split"] = "by lines: the last 5 % each"
        texts = _cut(texts[UNSPLIT], anywhere=unit in ("chars", "bytes"))
    sources: dict[str, list[Source]] = {
        split: [MemorySource("".join(texts.get(split, [])))] for split in SPLITS
    }
    needed = tuple(split for split in SPLITS if split != "test" or split in texts)
    return from_sources("memory", sources, details, wanted, unit, vocabulary, needed=needed)


def line_of(one: Any, *, ids: bool) -> str:
    """A text whose last line ends; token ids as one line of numbers.

    Example:
        >>> line_of(np.array([3, 0]), ids=True), line_of("a b", ids=False)
        ('3 0\\n', 'a b\\n')
    """
    if ids != _are_ids(one) or not (ids or isinstance(one, str)):
        wanted = "token ids: whole numbers of at least 0, (N,)" if ids else "text"
        raise UserError(f"expected {wanted}, found {_described(one)}")
    if ids:
        return " ".join(map(str, np.asarray(one).tolist())) + "\n"
    text = str(one).replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") or not text else text + "\n"


def ids_of(text: str) -> list[np.ndarray]:
    """Token ids that a model of them has written, an array for each of its sequences.

    Example:
        >>> ids_of("3 0\\n7 ")
        [array([3, 0]), array([7])]
    """
    return [np.array(line.split(), dtype=np.int64) for line in text.split("\n") if line.strip()]


def _are_ids(one: Any) -> bool:
    if not isinstance(one, np.ndarray) or one.ndim != 1 or one.dtype.kind not in "ui":
        return False
    return one.size == 0 or int(one.min()) >= 0


def _described(one: Any) -> str:
    return f"an array {one.shape} of {one.dtype}" if isinstance(one, np.ndarray) else type(one).__name__


def _cut(texts: Sequence[str], *, anywhere: bool) -> dict[str, list[str]]:
    """Lines of all texts: the last twentieth for test, as much before it for validation; at least one.

    A single line is cut at spaces; one without spaces, if it may be cut anywhere, between characters.
    """
    lines = [line for text in texts for line in text.splitlines(keepends=True) if line.strip()]
    if len(lines) == 1:  # one long sequence
        between = " " if not anywhere or " " in lines[0] else ""
        words = lines[0].split(between) if between else list(lines[0])
        cuts = [round(len(words) * (1 - k * HELD_OUT)) for k in (2, 1)]
        parts = [words[a:b] for a, b in itertools.pairwise([0, *cuts, len(words)])]
        if not all(parts):
            raise UserError(f"expected a longer text to hold some out, found {len(words)} words")
        return {split: [between.join(p).rstrip("\n") + "\n"] for split, p in zip(SPLITS, parts, strict=True)}
    if len(lines) < len(SPLITS):
        raise UserError(f"expected at least {len(SPLITS)} lines of text to hold some out, found {len(lines)}")
    ends = np.cumsum([len(line) for line in lines])
    last = len(lines)
    test = min(int(np.searchsorted(ends, ends[-1] * (1 - HELD_OUT), "right")), last - 1)
    valid = min(int(np.searchsorted(ends, ends[-1] * (1 - 2 * HELD_OUT), "right")), test - 1)
    valid, test = max(valid, 1), max(test, 2)
    return {"train": lines[:valid], "valid": lines[valid:test], "test": lines[test:]}
