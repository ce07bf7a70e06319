"""A user's own music: one file, or a folder with all that is in it, of MIDI, MusicXML, ABC or kern.

Split: by piece, 60/20/20, in an order made from the names; pieces that are identical (in any key, silence at
the ends aside) stay together. With fewer than three different pieces, each is cut in time instead. A file
that cannot be used costs nothing but itself: it is listed in `Splits.skipped` with the reason.
"""

import os
from collections import Counter
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Skipped, Splits
from ostinato.data.splitting import SHARES, assign, connected, cut_in_time, gather, same
from ostinato.domains.music.grid import Cost, Quantize, fitting
from ostinato.domains.music.layout import begun, roll
from ostinato.domains.music.metre import side_of_notes, usual_metres
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.frames import USUAL, AsFrames, report_lines, report_of
from ostinato.domains.music.reading.notation import SUFFIXES, labels
from ostinato.domains.music.reading.stored import Reading
from ostinato.errors import UserError

FRAMES_PER_BEAT = 2  # in samples, where nothing is said: eighth notes, as in the published sets


def load(
    path: Path,
    how: AsFrames = USUAL,
    *,
    split_seed: int = 0,
    use_cache: bool = True,
    progress: bool = True,
) -> Splits:
    """A file or folder as a data set.

    Raises:
        UserError: there is no music there, or none that can be used.
    """
    files, skipped = find(path)
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files]
    readings = read_files(files, how.playing, use_cache=use_cache, progress=progress)
    pieces, reasons = _pieces(names, readings, pedal=how.pedal)
    quantize = how.quantize or "nearest"
    grid = _grid(how.frames_per_beat, quantize, pieces)
    songs, unusable, report = _songs(pieces, grid, quantize, how)
    skipped = sorted([*skipped, *reasons, *unusable], key=lambda skip: skip.path)
    if not songs:
        raise UserError(_nothing_usable(path, skipped))
    splits, dealt = split_songs(songs, split_seed)
    return Splits(
        path.resolve().name,
        splits["train"],
        splits["valid"],
        splits["test"],
        details={
            "source": str(path.resolve()),
            "frames_per_beat": grid,
            "transposed": how.transpose,
            "split": dealt,
            "split_seed": split_seed,
            "shares": SHARES,
            **how.convention(quantize),
            **({"metre": _told(pieces, how)} if how.metre else {}),
            "reading": report,
            "notices": report_lines(report),
        },
        skipped=tuple(skipped),
    )


def _told(pieces: SequenceOf[tuple[str, Notes]], how: AsFrames) -> dict[str, Any]:
    """What a run keeps of its songs' metres."""
    return usual_metres([notes for _, notes in pieces]) | {"look_back": how.look_back}


def split_songs(songs: SequenceOf[Sequence], seed: int = 0) -> tuple[dict[str, tuple[Sequence, ...]], str]:
    """The songs by split, and how they were dealt: "by piece", or "in time" where they are too few."""
    # the pitches above the piece's lowest: identical pieces in different keys are identical
    groups = connected(len(songs), same([_outline(song.values) for song in songs]))
    if len(set(groups)) >= len(SPLITS):
        return gather(songs, assign([song.name for song in songs], groups, seed=seed)), "by piece"
    cut = cut_in_time(songs)
    return {
        split: tuple(Sequence(part.name, begun(part.values), part.side) for part in parts)
        for split, parts in cut.items()
    }, "in time"


def find(path: Path) -> tuple[list[Path], list[Skipped]]:
    """All files under a folder with a suffix of music, in a fixed order; hidden ones are left out.

    Links are followed, each file is taken once, and a circle of links ends. A path to a file is that file.

    Raises:
        UserError: no file has such a suffix.
    """
    if not path.is_dir():
        return [path], []
    files: dict[str, Path] = {}
    skipped: list[Skipped] = []
    seen: set[str] = set()
    others: Counter[str] = Counter()

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(os.path.relpath(error.filename, path), f"cannot be read: {error.strerror}"))

    for folder, below, inside in os.walk(path, followlinks=True, onerror=unreadable):
        if os.path.realpath(folder) in seen:
            below.clear()
            continue
        seen.add(os.path.realpath(folder))
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(name for name in inside if not name.startswith(".")):
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES:
                files.setdefault(os.path.realpath(file), file)
            else:
                others[file.suffix.lower() or "no suffix"] += 1
    if not files and not skipped:
        raise UserError(_no_music(path, others))
    return sorted(files.values(), key=lambda file: file.relative_to(path).as_posix()), skipped


def _pieces(
    names: SequenceOf[str], readings: SequenceOf[Reading], *, pedal: bool
) -> tuple[list[tuple[str, Notes]], list[Skipped]]:
    """Every piece with its name: the file's, and in a collection the tune's number or place after it."""
    pieces: list[tuple[str, Notes]] = []
    skipped: list[Skipped] = []
    for file, reading in zip(names, readings, strict=True):
        skipped += [Skipped(file, reason) for reason in (reading.reason, *reading.faults) if reason]
        for label, notes in zip(labels(reading), reading.pieces, strict=True):
            name = f"{file}#{label}" if len(reading.pieces) > 1 else file
            pieces.append((name, notes.pedalled() if pedal else notes))
    return pieces, skipped


def _grid(
    asked: int | Literal["auto"] | None, quantize: Quantize, pieces: SequenceOf[tuple[str, Notes]]
) -> int:
    """The frames to a quarter note that were asked for, or those that suit the pieces."""
    if isinstance(asked, int):
        return asked
    if asked is None and quantize == "sample":
        return FRAMES_PER_BEAT
    return fitting([(notes.start, notes.end, notes.pitch, notes.pickup) for _, notes in pieces])


def _songs(
    pieces: SequenceOf[tuple[str, Notes]], grid: int, quantize: Quantize, how: AsFrames
) -> tuple[list[Sequence], list[Skipped], dict[str, Any]]:
    """The pieces as frames, those that have none, and what the frames cost the others."""
    songs: list[Sequence] = []
    skipped: list[Skipped] = []
    costs, played = Cost(), (0.0, 0.0)
    for name, notes in pieces:
        try:
            moved = notes.transposed(notes.to_c()) if how.transpose and len(notes) else notes
            frames = moved.frames(grid, quantize=quantize, onsets=how.onsets)
            side = side_of_notes(moved, len(frames), grid, quantize, look_back=how.look_back)
            songs.append(Sequence(name, frames, side if how.metre else None))
            costs += moved.cost(grid, quantize)
            total, sounding = notes.polyphony()
            played = played[0] + total, played[1] + sounding
        except UserError as error:
            skipped.append(Skipped(name, str(error)))
    return songs, skipped, report_of(costs, played, [song.values for song in songs])


def _outline(frames: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    """The frames without the key: columns from the lowest note that sounds to the highest."""
    sounding = np.flatnonzero(roll(frames).any(axis=0))
    if len(sounding) == 0:  # silence, which a program may have
        return (len(frames), 0), b""
    outline = frames[:, sounding[0] : sounding[-1] + 1]
    return outline.shape, outline.tobytes()


def _no_music(path: Path, others: Counter[str]) -> str:
    if not others:
        return f"{path} is an empty folder; expected files of {', '.join(SUFFIXES)} in it"
    found = ", ".join(f"{count} of {suffix}" for suffix, count in others.most_common(3))
    return f"no music in {path}: expected files of {', '.join(SUFFIXES)}, found {found}"


def _nothing_usable(path: Path, skipped: SequenceOf[Skipped]) -> str:
    if not path.is_dir():
        return f"{path}: {skipped[0].reason}"
    more = f", and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    reasons = "; ".join(str(skip) for skip in skipped[:3])
    files = "the only file" if len(skipped) == 1 else f"none of the {len(skipped)} files"
    return f"{files} in {path} {'cannot' if len(skipped) == 1 else 'can'} be used: {reasons}{more}"
