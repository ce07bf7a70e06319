"""Music that took long to read is kept in the cache folder, so that it is read once.

The key is the SHA-256 of everything that decides the result: the files' bytes and kinds, and the versions of
the readers. What is kept are notes, before any choice of frames or key: options never need another reading.
"""

import hashlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.data import cache
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.readers import Reading, read_all
from ostinato.errors import needs

# Raised whenever `notation.read` changes its answer for a file.
FORMAT = 1
_WORTH_SECONDS = 2.0


def read_files(paths: Sequence[Path], *, use_cache: bool = True, progress: bool = True) -> list[Reading]:
    """Read every file: from the cache, else in parallel behind a progress bar on standard error."""
    name = f"scores-{_key(paths)}"
    if use_cache and (kept := cache.load(name)) and (readings := _unpack(*kept, count=len(paths))):
        return readings
    begun = time.monotonic()
    readings = _read(paths, progress)
    if use_cache and time.monotonic() - begun > _WORTH_SECONDS and all(reading.final for reading in readings):
        cache.save(name, *_pack(readings))
    return readings


def _read(paths: Sequence[Path], progress: bool) -> list[Reading]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading music"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # in a log file, a bar is an empty line
    hidden = not (progress and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("", total=len(paths))
        return read_all(paths, tick=lambda: bar.advance(task))


def _key(paths: Sequence[Path]) -> str:
    with needs("music"):
        versions = version("music21"), version("symusic")
    digest = hashlib.sha256(repr((FORMAT, *versions)).encode())
    for path in paths:
        try:
            # only regular files: opening a named pipe would wait for ever
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        except OSError:
            content = "unreadable"
        digest.update(repr((path.suffix.lower(), content)).encode())
    return digest.hexdigest()[:32]


def _pack(readings: Sequence[Reading]) -> tuple[dict[str, np.ndarray], Any]:
    """All notes in three long arrays; how they fall into files and pieces in the JSON part."""
    pieces: list[Notes] = [piece for reading in readings for piece in reading.pieces]
    empty = Notes(np.empty(0), np.empty(0), np.empty(0, dtype=int))
    arrays = {
        key: np.concatenate([getattr(piece, key) for piece in (*pieces, empty)])
        for key in ("start", "end", "pitch")
    }
    meta = [
        {"reason": reading.reason, "pieces": [[len(p), p.pickup, p.parts] for p in reading.pieces]}
        for reading in readings
    ]
    return arrays, meta


def _unpack(arrays: dict[str, np.ndarray], meta: Any, *, count: int) -> list[Reading] | None:
    """The inverse of `_pack`; None when the parts do not fit together."""
    try:
        lengths = [piece[0] for entry in meta for piece in entry["pieces"]]
        cuts = np.cumsum(lengths)
        if len(meta) != count or {len(array) for array in arrays.values()} != {sum(lengths)}:
            return None
        columns = [np.split(arrays[key], cuts[:-1]) if lengths else [] for key in ("start", "end", "pitch")]
        pieces = zip(*columns, strict=True)
        readings = []
        for entry in meta:
            kept = [(*next(pieces), pickup, tuple(parts)) for _, pickup, parts in entry["pieces"]]
            readings.append(Reading(tuple(Notes(*piece) for piece in kept), entry["reason"]))
        return readings
    except (KeyError, TypeError, IndexError, ValueError):
        return None
