"""Large texts through token files in the cache folder, made once; only pages in use are in memory.

Shapes: N tokens, S sentences.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ostinato import foreign, seal
from ostinato.data.cache import TOKENS, cache_folder
from ostinato.data.sequences import SPLITS
from ostinato.domains.text.reading.extents import Extents, Measure
from ostinato.domains.text.reading.source import BytesSource, FileSource, Source
from ostinato.domains.text.reading.vocabulary import FILE as VOCABULARY
from ostinato.domains.text.reading.vocabulary import Vocabulary
from ostinato.domains.text.reading.words import WhiteSpace, told_of_marks
from ostinato.errors import UserError
from ostinato.files import atomic_write, write_error

# Of training text, whose beginning alone is scored.
_MOST_SENTENCES = 500_000

# Files of before, which lack something, are made again.
_FORMAT = 2
_META = "meta.json"


class Mapped(NamedTuple):
    """What is in a folder of token files."""

    vocabulary: Vocabulary
    arrays: dict[str, np.ndarray]
    extents: dict[str, Extents]
    version: str
    notices: list[str]


def mapped(
    sources: dict[str, list[Source]],
    settings: dict[str, Any],
    vocabulary: Vocabulary | None,
    count: Callable[[Any], Vocabulary],
    read: Callable[[list[Source]], Any],
    white_space: WhiteSpace,
) -> Mapped:
    """A text as files of token ids.

    Args:
        sources: by split.
        settings: that the tokens depend on; can be written as JSON.
        vocabulary: to use instead of the training text's own.
        count: makes the vocabulary of blocks.
        read: makes blocks of sources, which then know how many marks of sentences they left out.
        white_space: what separates words.
    """
    folder = cache_folder() / TOKENS / _key(sources, settings, vocabulary)
    if not _is_whole(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if vocabulary is None:
                vocabulary = count(read(sources["train"]))
            _write(folder, sources, vocabulary, read, white_space)
        except OSError as error:
            advice = "set OSTINATO_CACHE to a folder with room for it"
            raise write_error(folder, error, advice) from error
    meta = foreign.of_json(seal.read(folder, _META, foreign.MOST_JSON))
    vocabulary = Vocabulary.read(folder)
    arrays: dict[str, np.ndarray] = {
        split: np.memmap(folder / f"{split}.tokens", vocabulary.dtype, "r")
        if meta["tokens"][split]
        else np.empty(0, vocabulary.dtype)
        for split in SPLITS
    }
    lengths = {split: Extents(*np.load(folder / f"{split}.extents.npy")) for split in SPLITS}
    return Mapped(vocabulary, arrays, lengths, meta["version"], meta["notices"])


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


def vocabulary_digest(vocabulary: Vocabulary) -> Any:
    """A SHA-256 that has taken in a vocabulary."""
    tokens = json.dumps([vocabulary.unit, vocabulary.tokens, vocabulary.counts])
    return hashlib.sha256(tokens.encode() + (vocabulary.subwords or b""))


def _key(sources: dict[str, list[Source]], settings: dict[str, Any], vocabulary: Vocabulary | None) -> str:
    """Names this text and these settings: changed files have another time or size."""
    parts: list[Any] = [_FORMAT, settings]
    if vocabulary is not None:
        parts.append(vocabulary_digest(vocabulary).hexdigest())
    for split in SPLITS:
        for source in sources[split]:
            if isinstance(source, BytesSource):
                own = [hashlib.sha256(source.data).hexdigest()]
            elif isinstance(source, FileSource):
                status = source.path.stat()
                own = [str(source.path.resolve()), status.st_size, status.st_mtime_ns]  # type: ignore[list-item]
            else:
                continue
            parts.append([*own, source.begin, source.end, split])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def _write(
    folder: Path,
    sources: dict[str, list[Source]],
    vocabulary: Vocabulary,
    read: Callable[[list[Source]], Any],
    white_space: WhiteSpace,
) -> None:
    digest, lengths, marked = vocabulary_digest(vocabulary), {}, 0
    for split in SPLITS:
        temporary = folder / f".{split}.{os.getpid()}.tmp"
        blocks = read(sources[split])
        measure = Measure(vocabulary.unit, white_space, _MOST_SENTENCES if split == "train" else None)
        try:
            with temporary.open("wb") as file:
                for block in blocks:
                    data = vocabulary.encode(block).tobytes()
                    measure.add(block)
                    digest.update(data)
                    file.write(data)
                lengths[split] = file.tell() // vocabulary.dtype.itemsize
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / f"{split}.tokens")
            extents = io.BytesIO()
            np.save(extents, np.stack(measure.found()), allow_pickle=False)
            atomic_write(folder / f"{split}.extents.npy", extents.getvalue())
        finally:
            temporary.unlink(missing_ok=True)
        digest.update(f"{split} {lengths[split]}".encode())
        marked += blocks.marked
    atomic_write(folder / VOCABULARY, vocabulary.to_text())
    notices = [told_of_marks(marked, "the text")] if marked else []
    meta = {"version": digest.hexdigest(), "tokens": lengths, "notices": notices}
    atomic_write(folder / _META, json.dumps(meta) + "\n")
    # Last: where it is, everything is.
    files = [f"{split}.{what}" for split in SPLITS for what in ("tokens", "extents.npy")]
    seal.make(folder, [*files, VOCABULARY, _META])
