"""What is in a file, before anyone reads music in it: bytes within a limit, text, what a box holds."""

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ostinato.errors import UserError

# An orchestral work is a few megabytes; what is far larger is no music, and would take hours to parse.
MAX_BYTES = 64 << 20


def bytes_of(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        UserError: it cannot be read, or holds nothing; the message is a reason.
    """
    if not path.is_file():  # follows links; a named pipe would block for ever
        raise UserError(
            "not a file" if path.exists() else "a link to nothing" if path.is_symlink() else "no such file"
        )
    try:
        data = within_limit(path.open("rb"))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error
    if not data.strip(b"\0 \r\n\t"):
        raise UserError("the file is empty" if not data else "the file holds nothing but blanks")
    return data


def within_limit(stream: Any) -> bytes:
    """All that a stream has, which is then closed.

    Raises:
        UserError: it is larger than music is.
    """
    with stream:
        data: bytes = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UserError(f"larger than {MAX_BYTES >> 20} MB: no piece of music is")
    return data


def text_of(data: bytes) -> str:
    """Text in UTF-8, else Latin-1, which decodes everything.

    Example:
        >>> text_of("für".encode("latin-1"))
        'für'
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def out_of_riff(data: bytes) -> bytes:
    """The MIDI file in a RIFF box (.rmi); other data as they are.

    Raises:
        UserError: the box is of another kind, or holds none.

    Example:
        >>> out_of_riff(b"RIFF" + bytes([14, 0, 0, 0]) + b"RMIDdata" + bytes([2, 0, 0, 0]) + b"MT")
        b'MT'
    """
    if data[:4] != b"RIFF":
        return data
    if data[8:12] != b"RMID":
        raise UserError(f"not a MIDI file: expected a RIFF box of kind RMID, found {data[8:12]!r}")
    position = 12
    while position + 8 <= len(data):
        kind, length = (
            data[position : position + 4],
            int.from_bytes(data[position + 4 : position + 8], "little"),
        )
        if kind == b"data":
            return data[position + 8 : position + 8 + length]
        position += 8 + length + length % 2
    raise UserError("truncated MIDI: its RIFF box holds no data")


def line(error: BaseException) -> str:
    """An exception as a few words on one line."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def unzipped(data: bytes) -> bytes:
    """The MusicXML inside a .mxl archive: the file that its container names, else the first XML file."""
    from xml.etree import ElementTree

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith((".xml", ".musicxml"))]
            inside = [name for name in names if not name.startswith("META-INF/")]
            if "META-INF/container.xml" in names:
                container = within_limit(archive.open("META-INF/container.xml"))
                roots = [
                    e.get("full-path") for e in ElementTree.fromstring(container).iter() if e.get("full-path")
                ]
                inside = [name for name in roots if name in names] + inside
            if not inside:
                raise UserError("damaged: the archive holds no MusicXML")
            return within_limit(archive.open(inside[0]))
    except UserError:
        raise
    # whatever a damaged archive makes of Python's reader; RuntimeError: it is encrypted
    except (
        zipfile.BadZipFile,
        zlib.error,
        ElementTree.ParseError,
        ValueError,
        LookupError,
        OSError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
    ) as error:
        raise UserError(f"damaged archive: {line(error)}") from error
