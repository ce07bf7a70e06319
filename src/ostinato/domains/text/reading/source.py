"""Where text comes from: strings in memory, or ranges of UTF-8 files that are read a block at a time."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ostinato.errors import UserError, argument

BLOCK = 4 << 20
_LONGEST_LINE = 1 << 20  # a longer one is cut at a space


@dataclass(frozen=True)
class MemorySource:
    """A text that is there already."""

    text: str

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.text)

    def blocks(self) -> Iterator[str]:
        """The text, with an end to its last line."""
        if self.text:
            yield self.text if self.text.endswith("\n") else self.text + "\n"


@dataclass(frozen=True)
class FileSource:
    """The bytes [begin, end) of a UTF-8 file, both at line starts.

    Arguments:
        path: the file.
        begin, end: the range.
    """

    path: Path
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.begin

    def blocks(self) -> Iterator[str]:
        """The text in pieces that end at a line end, or at a space where a line is longer than a piece.

        Line ends become \\n, and the last line gets one.

        Raises:
            UserError: the file cannot be read, or is not UTF-8: says at which byte.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                yield from self._decoded(file)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror}; check its permissions") from error

    def _decoded(self, file: BinaryIO) -> Iterator[str]:
        at, left, rest = self.begin, self.size, b""
        while left > 0 and (data := file.read(min(BLOCK, left))):
            left -= len(data)
            rest += data
            # A cut at a space leaves a word behind it: that line is not over yet.
            inside = rest.rstrip(b" ").rfind(b" ") + 1
            cut = len(rest) if left <= 0 else (rest.rfind(b"\n") + 1 or inside)
            if cut > 0:
                text = self._text(rest[:cut], at)
                yield text if left > 0 or text.endswith("\n") else text + "\n"
                at, rest = at + cut, rest[cut:]

    def _text(self, data: bytes, at: int) -> str:
        if (zero := data.find(b"\0")) >= 0:
            raise UserError(
                f"expected text in {self.path}, found a zero byte at byte {at + zero:,}: a binary file, or "
                "UTF-16; give a UTF-8 text file"
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"expected UTF-8 in {self.path}, found byte 0x{data[error.start]:02x} at byte "
                f"{at + error.start:,} ({error.reason}); convert it, say: iconv -f latin1 -t utf-8"
            ) from None
        if at == 0:
            text = text.removeprefix("\ufeff")
        return text.replace("\r\n", "\n") if "\r" in text else text


Source = MemorySource | FileSource


def whole_file(path: Path) -> FileSource:
    """A whole file as a source.

    Raises:
        UserError: there is no such file, or it is empty.
    """
    try:
        if path.is_dir():
            raise UserError(f"expected a text file, found a folder: {path}")
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the name and its permissions") from None
    if size == 0:
        raise UserError(f"expected text in {path}, found an empty file")
    return FileSource(path, 0, size)


def split_by_lines(source: FileSource, held_out: float = 0.05, most: int = 4 << 20) -> list[FileSource]:
    """A file cut at line ends in three: training text, then validation and test text of equal size.

    Args:
        source: the file.
        held_out: share of each of the last two.
        most: bytes of each of the last two at most: scoring is sequential.

    Raises:
        UserError: there are not enough lines.
    """
    each = min(int(source.size * held_out), most)
    cuts = [source.begin]
    with source.path.open("rb") as file:
        for target in (source.end - 2 * each, source.end - each):
            file.seek(max(target - 1, source.begin))
            window = file.read(_LONGEST_LINE)
            place = window.find(b"\n") if b"\n" in window else window.find(b" ")
            cuts.append(max(target - 1, source.begin) + place + 1)
    cuts.append(source.end)
    if any(b <= a for a, b in itertools.pairwise(cuts)):
        raise UserError(
            f"expected lines to hold out for validation and test in {source.path}, found too few; "
            f"give {argument('valid_data')} and {argument('test_data')}"
        )
    return [FileSource(source.path, a, b) for a, b in itertools.pairwise(cuts)]
