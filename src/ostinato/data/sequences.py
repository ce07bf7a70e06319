"""What every data set is, whatever it was read from: named sequences in three splits, and a version.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import hashlib
from collections.abc import Iterator
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ostinato.data.side import Side

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Sequence:
    """One piece: a song as (T, 88) uint8 of zeros and ones, or a text as (T,) int32 token ids.

    Arguments:
        name: of the piece.
        values: its steps.
        side: what is known of each step before it comes, if anything is.

    Example:
        >>> song = Sequence("scale", np.eye(88, dtype=np.uint8))
        >>> len(song), song.values.shape
        (88, (88, 88))
    """

    name: str
    values: np.ndarray
    side: Side | None = None

    def __len__(self) -> int:
        return len(self.values)

    def part(self, name: str, begin: int, end: int) -> "Sequence":
        """The steps from `begin` to before `end`, under another name."""
        return Sequence(name, self.values[begin:end], None if self.side is None else self.side[begin:end])

    def without_side(self) -> "Sequence":
        """The same for those who know nothing besides."""
        return Sequence(self.name, self.values)


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used, and why.

    Example:
        >>> str(Skipped("songs/a.mid", "no notes"))
        'songs/a.mid: no notes'
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Splits:
    """A data set: its train, valid and test sequences, and what is known about them.

    Arguments:
        name: name of the data set, as a user would ask for it.
        train, valid, test: the sequences of each split.
        kind: what the values are: "piano-roll", later "tokens".
        details: how the data were made (frames_per_beat, transposed, source, ...); can be written as JSON.
        skipped: the files that could not be used.
        listing: a record of each sequence, where its reader has more to say of it; can be written as JSON.

    `version` is the SHA-256 of the sequences' names, values, sides and split membership: equal versions,
    equal data.

    Example:
        >>> song = Sequence("scale", np.eye(88, dtype=np.uint8))
        >>> data = Splits("scales", train=(song,), valid=(), test=())
        >>> data.version[:8], len(data), data.frames("train")
        ('1d2ffbbd', 1, 88)
    """

    name: str
    train: tuple[Sequence, ...]
    valid: tuple[Sequence, ...]
    test: tuple[Sequence, ...]
    kind: str = "piano-roll"
    version: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    listing: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", fingerprint(self.train, self.valid, self.test))

    def __len__(self) -> int:
        return len(self.train) + len(self.valid) + len(self.test)

    def __getitem__(self, split: str) -> tuple[Sequence, ...]:
        if split not in SPLITS:
            raise KeyError(f"expected one of {', '.join(SPLITS)}, found {split!r}")
        sequences: tuple[Sequence, ...] = getattr(self, split)
        return sequences

    def items(self) -> Iterator[tuple[str, tuple[Sequence, ...]]]:
        """The splits by name, in the order train, valid, test."""
        return ((split, self[split]) for split in SPLITS)

    def frames(self, split: str) -> int:
        """Total frames of one split."""
        return sum(len(sequence) for sequence in self[split])


def under_name(data: Splits, name: str, version: str) -> Splits:
    """The same data under the name that they had, where that makes them the version that they were.

    A single file's name is part of its sequences' names; one that has been renamed holds what it held.

    Arguments:
        data: as they are now.
        name, version: of before.

    Returns:
        `data` itself where it is that version already, or other data.

    Example:
        >>> song, other = (Sequence(f"{name} [train]", np.eye(88, dtype=np.uint8)) for name in "ab")
        >>> before, now = Splits("a", (song,), (), ()), Splits("b", (other,), (), ())
        >>> before.version == now.version, under_name(now, "a", before.version).version == before.version
        (False, True)
    """
    if data.version == version or data.name == name:
        return data

    def called(now: str) -> str:
        return name + now.removeprefix(data.name) if _is_of(now, data.name) else now

    def own(sequences: tuple[Sequence, ...]) -> tuple[Sequence, ...]:
        return tuple(replace(one, name=called(one.name)) for one in sequences)

    renamed = replace(
        data,
        name=name,
        train=own(data.train),
        valid=own(data.valid),
        test=own(data.test),
        version="",
        listing=tuple({**one, "name": called(one["name"])} for one in data.listing),
    )
    return renamed if renamed.version == version else data


def _is_of(sequence: str, file: str) -> bool:
    """Whether a sequence is named by its file: a, a [train], a/speed, a.abc#3."""
    return sequence.startswith(file) and not sequence.removeprefix(file)[:1].isalnum()


def fingerprint(train: SequenceOf[Sequence], valid: SequenceOf[Sequence], test: SequenceOf[Sequence]) -> str:
    """SHA-256 over names, split membership, values and sides (type, shape and bytes, little-endian).

    Example:
        >>> song = Sequence("scale", np.eye(88, dtype=np.uint8))
        >>> fingerprint([song], [], []) == fingerprint([], [song], [])
        False
    """
    digest = hashlib.sha256()
    for split, sequences in zip(SPLITS, (train, valid, test), strict=True):
        for sequence in sequences:
            side = sequence.side
            for values in (sequence.values, *(() if side is None else (side.features, side.back))):
                little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
                # repr keeps the fields apart: no two different data sets make the same stream of bytes
                digest.update(repr((split, sequence.name, little.dtype.str, little.shape)).encode())
                digest.update(little.tobytes())
    return digest.hexdigest()
