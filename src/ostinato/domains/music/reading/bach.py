"""`bach`: the four-part chorales of the corpus that comes with music21.

Which: the corpus' pieces by Bach (MusicXML, kern) with exactly four parts, called Soprano, Alto, Tenor and
Bass. That leaves out movements with instruments of their own and keyboard pieces, and keeps 365 chorales.

Frames: of piano-rolls one a quarter note, as in the published `jsb`, so that the two can be compared: a
chorale's harmony changes with the beat, and with two frames a beat half of all frames repeat the one before.
With onsets those that suit the notes, two, so that passing notes and repeated ones are there. Repeats are not
played twice.

Split: by work, 60/20/20. Chorales are kept in one split when they share the number in Bach's catalogue (so
BWV 244.10 and 244.15, of one Passion), the title of their hymn (where music21 knows it), or a tune or harmony
in any key (`similarity.versions`: most hymns were harmonised several times, and many chorales appear under
two numbers). A model is therefore never tested on a hymn that it has seen.

Some encodings of the corpus are for non-commercial use: nothing made from it is part of ostinato.
"""

import re
from collections.abc import Sequence as SequenceOf
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ostinato.data.sequences import Sequence, Splits
from ostinato.data.splitting import SHARES, assign, connected, gather, same
from ostinato.domains.music.grid import fitting
from ostinato.domains.music.metre import side_of_notes, usual_metres
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.frames import USUAL, AsFrames
from ostinato.domains.music.reading.notation import SUFFIXES
from ostinato.domains.music.reading.similarity import versions
from ostinato.errors import UserError, argument, needs

VOICES = ("Soprano", "Alto", "Tenor", "Bass")
FRAMES_PER_BEAT = 1
LICENCE = "the encoders' own, some for non-commercial use only: corpus/license.txt of music21"


def load(
    how: AsFrames = USUAL,
    *,
    split_seed: int = 0,
    use_cache: bool = True,
    progress: bool = True,
) -> Splits:
    """The chorales; read once (some 20 seconds on two processors), later from the cache."""
    chorales = read_chorales(use_cache=use_cache, progress=progress)
    names = list(chorales)
    groups = works(chorales)
    quantize = how.quantize or ("nearest" if how.onsets else "sample")
    grid = how.frames_per_beat or ("auto" if how.onsets else FRAMES_PER_BEAT)
    if grid == "auto":
        grid = fitting([(notes.start, notes.end, notes.pitch, notes.pickup) for notes in chorales.values()])
    songs = []
    for name, notes in chorales.items():
        frames = notes.frames(grid, transpose=how.transpose, quantize=quantize, onsets=how.onsets)
        side = side_of_notes(notes, len(frames), grid, quantize, look_back=how.look_back)
        songs.append(Sequence(name, frames, side if how.metre else None))
    splits = gather(songs, assign(names, groups, seed=split_seed))
    return Splits(
        "bach",
        splits["train"],
        splits["valid"],
        splits["test"],
        details={
            "source": f"chorales of the corpus of music21 {version('music21')}",
            "frames_per_beat": grid,
            "transposed": how.transpose,
            "split": "by work",
            "split_seed": split_seed,
            "shares": SHARES,
            "works": len(set(groups)),
            **({} if how.quantize is None and not how.onsets else {"quantize": quantize}),
            **({} if how.frames is None else {"frames": how.frames}),
            **(
                {"metre": usual_metres(list(chorales.values())) | {"look_back": how.look_back}}
                if how.metre
                else {}
            ),
        },
    )


def read_chorales(*, use_cache: bool = True, progress: bool = True) -> dict[str, Notes]:
    """The chorales as notes, by their file's name without suffix (`bwv66.6`), in the catalogue's order."""
    paths = corpus_files()
    readings = read_files(paths, use_cache=use_cache, progress=progress)
    chorales = {
        path.stem: piece
        for path, reading in zip(paths, readings, strict=True)
        for piece in reading.pieces
        if piece.parts == VOICES
    }
    if not chorales:
        raise UserError(
            f"found no chorales in music21's corpus; reinstall music21, or use {argument('data')} jsb"
        )
    return chorales


def corpus_files() -> list[Path]:
    """The files of the corpus that hold pieces by Bach."""
    with needs("music"):
        from music21 import corpus

    paths = [Path(path) for path in corpus.getComposer("bach")]
    paths = [path for path in paths if path.suffix in SUFFIXES]
    if not paths:
        raise UserError(
            "expected music21's corpus of music, found none: this copy of music21 comes without it; "
            f"install music21 from the Python package index, or use {argument('data')} jsb"
        )
    return sorted(
        paths, key=lambda path: ([int(number) for number in re.findall(r"\d+", path.stem)], path.name)
    )


def works(chorales: dict[str, Notes]) -> list[int]:
    """Number the works: chorales with the same number are kept in one split."""
    names = list(chorales)
    links = same([catalogue_number(name) for name in names])
    links += same(_titles(names))
    links += [(i, j) for i, j, _ in versions([notes.frames(1) for notes in chorales.values()])]
    return connected(len(names), links)


def catalogue_number(name: str) -> str:
    """The work that a file's chorale belongs to.

    Example:
        >>> catalogue_number("bwv248.12-2")
        'bwv248'
    """
    return name.split(".")[0].split("-")[0]


def _titles(names: SequenceOf[str]) -> list[str | None]:
    """The hymns' titles, letters only, where music21's list of chorales has them."""
    with needs("music"):
        from music21.corpus import chorales

    entries: list[dict[str, Any]] = list(chorales.ChoraleListRKBWV().byRiemenschneider.values())
    known = {f"bwv{entry['bwv']}": re.sub(r"[^a-z]", "", entry["title"].lower()) for entry in entries}
    return [known.get(name) for name in names]
