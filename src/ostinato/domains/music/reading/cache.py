"""Music is read once: what came of each file is kept in the cache folder, as soon as it is read.

The key is the SHA-256 of everything that decides the result: the file's bytes and kind, what is played, and
the reader's version. What is kept are notes, before any choice of frames or key: options never need another
reading.
"""

import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from ostinato.data import cache
from ostinato.domains.music.reading.notation import KERN, MIDI, USUAL, Playing
from ostinato.domains.music.reading.readers import read_all
from ostinato.domains.music.reading.stored import FORMAT, Reading, pack, unpack
from ostinato.errors import needs

# Raised whenever a reader changes its answer for a file.
READERS = 6


def read_files(
    paths: Sequence[Path],
    playing: Playing = USUAL,
    *,
    use_cache: bool = True,
    progress: bool = True,
) -> list[Reading]:
    """Read every file: from the cache, else in parallel behind a progress bar on standard error.

    Each file that was read is kept at once, so that a later call, also after an interruption, reads only
    those that are new.
    """
    names = [_key(path, playing) for path in paths] if use_cache else []
    found: dict[int, Reading] = {}
    for index, name in enumerate(names):
        kept = cache.load(name)
        if kept is not None and (reading := unpack(*kept)) is not None:
            found[index] = reading
    missing = [index for index in range(len(paths)) if index not in found]

    def keep(place: int, reading: Reading) -> None:
        if use_cache and reading.final:
            cache.save(names[missing[place]], *pack(reading))

    if missing:
        found |= zip(
            missing, _read([paths[index] for index in missing], playing, keep, progress), strict=True
        )
    return [found[index] for index in range(len(paths))]


def _read(
    paths: list[Path], playing: Playing, keep: Callable[[int, Reading], None], progress: bool
) -> list[Reading]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading music"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # in a log file, a bar is an empty line
    hidden = not (progress and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("", total=len(paths))

        def tick(place: int, reading: Reading) -> None:
            keep(place, reading)
            bar.advance(task)

        return read_all(paths, playing, tick=tick)


def _key(path: Path, playing: Playing) -> str:
    suffix = path.suffix.lower()
    decides: tuple[object, ...] = (FORMAT, READERS, suffix)
    if suffix in KERN:
        with needs("music"):
            decides += (version("music21"), playing.repeats)
    elif suffix not in MIDI:
        decides += (playing.repeats, playing.chords)
    try:
        # only regular files: opening a named pipe would wait for ever
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except OSError:
        content = "unreadable"
    return f"scores-{hashlib.sha256(repr((*decides, content)).encode()).hexdigest()[:32]}"
