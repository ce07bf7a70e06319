"""Files from elsewhere, changed at random, before every reader: an answer or a line, soon, in little memory.

`corpus/` holds the files that they begin as, each for the readers of its kind.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostinato import seal
from ostinato.errors import UserError
from torture.mutations import foreign
from torture.places import digest
from torture.trials import REFUSED, RIGHT, SILENT, Found, each

CORPUS = Path(__file__).parent / "corpus"

# Every so manieth file is read twice, and both answers compared.
_TWICE = 8


@dataclass(frozen=True)
class Reader:
    """What reads files of a kind.

    Args:
        pattern: of the seeds in the corpus.
        name: of the file as the reader finds it.
        read: the file's path -> something that `digest` takes.
        share: of the trials, beside the others': less where a reader is slow.
        most: bytes of a file: music21 is given minutes for a long one.
    """

    pattern: str
    name: str
    read: Callable[[Path], Any]
    share: float = 1.0
    most: int = 1 << 20


@dataclass(frozen=True)
class Foreign:
    """A reader and the number of its file; the text is the file's seed."""

    reader: str
    number: int

    def __str__(self) -> str:
        return f"{self.reader}:{self.number}"


def _music(path: Path) -> Any:
    """As the commands read a piece: notes, and frames of them."""
    from ostinato.domains.music.reading.notation import labels
    from ostinato.domains.music.reading.pieces import EIGHTHS, piece_of
    from ostinato.domains.music.reading.readers import read_few

    reading = read_few(path)  # in a process with limits, but for small files of MIDI
    if reading.reason and not reading.pieces:
        raise UserError(reading.reason)
    found: list[Any] = [labels(reading)]
    for notes in reading.pieces:
        try:
            piece = piece_of(path.name, notes, EIGHTHS, None)
            found.append([piece.frames, piece.semitones, piece.first_beat])
        except UserError as error:
            found.append(str(error))
    return found


def _text(unit: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from ostinato.domains.text.reading import data_sets

        data = data_sets.load(str(path), unit)  # type: ignore[arg-type]
        return [data.version, data.vocabulary.tokens, data.train, data.valid, data.test]

    return read


def _arpa(path: Path) -> Any:
    from ostinato.domains.text.evaluation.arpa import read_arpa

    model = read_arpa(path)
    return [model.score(["the", "cat", "other", "</s>"]), sorted(model.words)]


def _nbest(kind: Any) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from ostinato.domains.text.nbest import load_nbest

        return load_nbest([path], kind)

    return read


def _references(path: Path) -> Any:
    from ostinato.domains.text.nbest import read_by_utterance
    from ostinato.domains.text.score import read_text

    return read_by_utterance(read_text(path), path.name)


def _word_list(path: Path) -> Any:
    from ostinato.domains.text.reading.vocabulary import read_word_list
    from ostinato.domains.text.score import read_text

    return sorted(read_word_list(read_text(path), path.name))


def _series(path: Path) -> Any:
    from ostinato.domains.series.reading import read_series

    found = read_series(path)
    return [found.columns, found.notices, [[s.name, s.values] for s in found.series]]


def _settings(path: Path) -> Any:
    from ostinato.recipe.recipe import Recipe

    return Recipe.from_dict(Recipe.read_settings(path)).to_dict()


def _space(path: Path) -> Any:
    from ostinato.search import Space

    return Space.read(path).to_toml()


def _study(path: Path) -> Any:
    from ostinato.search.opening import read_settings

    return read_settings(path.parent)[0].to_dict()


def _journal(path: Path) -> Any:
    """A study whose seal was lost: its journal is all there is."""
    from ostinato.search.opening import join_study

    shutil.copy(CORPUS / "study.toml", path.parent / "study.toml")
    with join_study(str(path.parent)) as study:
        return [str(own) for own in study.ledger.all()]


def _vocabulary(path: Path) -> Any:
    from ostinato.domains.text.reading.vocabulary import Vocabulary

    return Vocabulary.read(path.parent).to_text()


def _metrics(path: Path) -> Any:
    from ostinato.runs.metrics import Metrics

    return Metrics(path.parent).records()


def _seal(path: Path) -> Any:
    return repr(seal.load(path.parent))


def _checkpoint(path: Path) -> Any:
    from ostinato.runs.folder import Run

    return Run(path.parent.parent).load_checkpoint("best")


def _mat(path: Path) -> Any:
    from ostinato.domains.music.reading.published import read_mat

    return [[song.values for song in songs] for songs in read_mat(path).values()]


READERS: dict[str, Reader] = {
    "midi": Reader("*.mid", "a.mid", _music, 2),
    "riff": Reader("*.rmi", "a.rmi", _music),
    "abc": Reader("*.abc", "a.abc", _music, 2),
    "musicxml": Reader("*.musicxml", "a.musicxml", _music, 2),
    "mxl": Reader("*.mxl", "a.mxl", _music),
    "kern": Reader("*.krn", "a.krn", _music, 0.1, 16 << 10),
    "words": Reader("lines.txt", "a.txt", _text("words")),
    "chars": Reader("lines.txt", "a.txt", _text("chars")),
    "gzip": Reader("lines.txt.gz", "a.txt.gz", _text("words")),
    "arpa": Reader("*.arpa", "a.arpa", _arpa, 2),
    "n-best table": Reader("table.nbest", "a.txt", _nbest("table")),
    "n-best kaldi": Reader("kaldi.nbest", "a.txt", _nbest("kaldi")),
    "n-best srilm": Reader("srilm*.nbest", "a.txt", _nbest("srilm"), 2),
    "references": Reader("references.txt", "a.txt", _references),
    "word list": Reader("words.list", "a.txt", _word_list),
    "csv": Reader("*.csv", "a.csv", _series, 2),
    "npz": Reader("series.npz", "a.npz", _series),
    "npy": Reader("series.npy", "a.npy", _series),
    "settings": Reader("*.config.toml", "a.toml", _settings, 2),
    "search space": Reader("space.toml", "a.toml", _space),
    "study": Reader("study.toml", "study.toml", _study),
    "journal": Reader("journal.log", "journal.log", _journal, 0.2),
    "vocabulary": Reader("vocabulary.json", "vocabulary.json", _vocabulary),
    "metrics": Reader("metrics.jsonl", "metrics.jsonl", _metrics),
    "seal": Reader("seal.json", "seal.json", _seal),
    "checkpoint": Reader("best.safetensors", "checkpoints/best.safetensors", _checkpoint),
    "mat": Reader("songs.mat", "a.mat", _mat),
}


def seeds(reader: Reader) -> list[bytes]:
    """The files of the corpus that it begins with."""
    return [path.read_bytes() for path in sorted(CORPUS.glob(reader.pattern))]


class Desk:
    """Reads changed files in a scratch folder.

    Args:
        scratch: a folder.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.seeds = {name: seeds(reader) for name, reader in READERS.items()}

    def trial(self, case: Foreign) -> tuple[str, str]:
        """Write the file, and read it."""
        folder = self.scratch / str(os.getpid())
        data = foreign(self.seeds[case.reader], str(case))[: READERS[case.reader].most]
        first = self.read(case.reader, data, folder)
        if case.number % _TWICE == 0 and self.read(case.reader, data, folder) != first:
            return SILENT, "another answer the second time"
        return first

    def read(self, name: str, data: bytes, folder: Path) -> tuple[str, str]:
        """What a reader makes of these bytes, in a folder of its own."""
        reader = READERS[name]
        path = folder / reader.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        seal._TOLD.clear()
        try:
            with seal.telling(lambda _: None):
                return RIGHT, digest(reader.read(path))
        except UserError as error:
            return REFUSED, str(error)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def cases(count: int) -> Iterator[Foreign]:
    """So many files, for each reader its share."""
    total = sum(reader.share for reader in READERS.values())
    for name, reader in READERS.items():
        for number in range(max(1, round(count * reader.share / total))):
            yield Foreign(name, number)


def run(scratch: Path, count: int) -> Iterator[tuple[Foreign, Found]]:
    """What came of so many files."""
    return each(cases(count), Desk(scratch).trial)
