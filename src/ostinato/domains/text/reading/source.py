"""Where text comes from: strings in memory, or ranges of UTF-8 files that are read a block at a time.

What is compressed by gzip, and what comes through a pipe or standard input (named -), is read to its end into
memory, within `foreign.most_unpacked`.
"""

import io
import itertools
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ostinato import foreign
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

    @property
    def again(self) -> bool:
        """Whether another process can read the same text by the name of the file."""
        return True

    def open(self) -> BinaryIO:
        """What the bytes are read from."""
        return self.path.open("rb")

    def part(self, begin: int, end: int) -> "FileSource":
        """Another range of the same."""
        return replace(self, begin=begin, end=end)

    def blocks(self) -> Iterator[str]:
        """The text in pieces that end at a line end, or at a space where a line is longer than a piece.

        Line ends, also \\r alone, become \\n, and the last line gets one.

        Raises:
            UserError: the file cannot be read, is not UTF-8 (says at which byte), or has neither line ends
                nor spaces for `foreign.most_unpacked` bytes.
        """
        try:
            with self.open() as file:
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
            # a \r at the very end may be the first half of a line end
            line = max(rest.rfind(b"\n"), rest.rfind(b"\r", 0, -1)) + 1
            cut = len(rest) if left <= 0 else (line or inside)
            if cut > 0:
                text = self._text(rest[:cut], at)
                yield text if left > 0 or text.endswith("\n") else text + "\n"
                at, rest = at + cut, rest[cut:]
            elif len(rest) > foreign.most_unpacked():
                raise foreign.too_large(str(self.path), "without a line end or a space", "write it in lines")

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
        return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


@dataclass(frozen=True)
class BytesSource(FileSource):
    """The bytes of a file that is no plain one: unpacked, or read from a pipe.

    Arguments:
        data: all of them; `begin` and `end` are a range of these.
    """

    data: bytes = b""

    @property
    def again(self) -> bool:
        """Whether another process can read the same: packed files it can, pipes it cannot."""
        return _is_plain(self.path)

    def open(self) -> BinaryIO:
        """The bytes that are there."""
        return io.BytesIO(self.data)


Source = MemorySource | FileSource

# What standard input is called.
STANDARD_INPUT = (Path("-"), Path("/dev/stdin"))
_GZIP = b"\x1f\x8b"


def whole_file(path: Path) -> FileSource:
    """A whole file as a source; - is standard input, and what gzip has packed is unpacked.

    Raises:
        UserError: there is no such file, it is empty, or packed and damaged.
    """
    try:
        if path.is_dir():
            raise UserError(f"expected a text file, found a folder: {path}")
        if not _is_plain(path):
            return _in_memory(path, foreign.piped(path))
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        if packed:
            return _in_memory(path, path.read_bytes())
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the name and its permissions") from None
    if size == 0:
        raise UserError(f"expected text in {path}, found an empty file")
    return FileSource(path, 0, size)


def is_there(path: Path) -> bool:
    """Whether a path is a file, or what is read like one.

    Example:
        >>> is_there(Path("-")), is_there(Path("no such file"))
        (True, False)
    """
    return path in STANDARD_INPUT or path.exists()


def _is_plain(path: Path) -> bool:
    return path not in STANDARD_INPUT and stat.S_ISREG(path.stat().st_mode)


def _in_memory(path: Path, data: bytes) -> BytesSource:
    called = "standard input" if path in STANDARD_INPUT else str(path)
    if data.startswith(_GZIP):
        data = foreign.unpacked(data, called)
    if not data:
        once = "; it can be read once: give - in one place" if path in STANDARD_INPUT else ""
        raise UserError(f"expected text in {called}, found nothing in it{once}")
    return BytesSource(path, 0, len(data), data)


def split_by_lines(
    source: FileSource, held_out: float = 0.05, most: int = 4 << 20, *, anywhere: bool = False
) -> list[FileSource]:
    """A file cut at line ends in three: training text, then validation and test text of equal size.

    Args:
        source: the file.
        held_out: share of each of the last two.
        most: bytes of each of the last two at most: scoring is sequential.
        anywhere: whether a line without spaces may be cut between characters.

    Raises:
        UserError: there are not enough lines.
    """
    each = min(int(source.size * held_out), most)
    cuts = [source.begin]
    with source.open() as file:
        for target in (source.end - 2 * each, source.end - each):
            file.seek(max(target - 1, source.begin))
            window = file.read(_LONGEST_LINE)
            start, place = max(target - 1, source.begin), _end_of_line(window)
            if anywhere and (place == 0 or start + place >= source.end):
                place = _start_of_character(window)
            cuts.append(start + place)
    cuts.append(source.end)
    if any(b <= a for a, b in itertools.pairwise(cuts)):
        raise UserError(
            f"expected lines to hold out for validation and test in {source.path}, found too few; "
            f"give {argument('valid_data')} and {argument('test_data')}"
        )
    return [source.part(a, b) for a, b in itertools.pairwise(cuts)]


def _end_of_line(window: bytes) -> int:
    """Behind the first line end of some bytes, or the first space where there is none; 0 without either."""
    found = re.search(rb"\r?\n|\r(?=[^\n])", window) or re.search(rb" ", window)
    return found.end() if found else 0


def _start_of_character(window: bytes) -> int:
    """Of the second character of some bytes of UTF-8, the first perhaps cut off; 0 where there is none."""
    found = re.search(rb"[\x00-\x7f\xc0-\xff]", window[1:])
    return found.start() + 1 if found else 0
