"""A user's own music: one file, or a folder with all that is in it, of MIDI, MusicXML, ABC or kern.

Split: as the folder says itself (`given_splits`), else by work, 60/20/20, in an order made from the names:
versions of one work (`works.works`) stay together, and identical pieces. With fewer than three different
works, each piece is cut in time instead. A file that cannot be used costs nothing but itself: it is listed in
`Splits.skipped` with the reason.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Skipped, Splits
from ostinato.data.splitting import SHARES, assign, connected, cut_in_time, deal, gather, same
from ostinato.domains.music.grid import Cost, Quantize, fitting
from ostinato.domains.music.layout import begun, roll
from ostinato.domains.music.metre import side_of_notes, usual_metres
from ostinato.domains.music.notes import Notes
from ostinato.domains.music.reading.cache import read_files
from ostinato.domains.music.reading.frames import USUAL, AsFrames, report_lines, report_of
from ostinato.domains.music.reading.given_splits import given_splits
from ostinato.domains.music.reading.keys import key
from ostinato.domains.music.reading.notation import SUFFIXES, labels
from ostinato.domains.music.reading.off_grid import off_grid_lines
from ostinato.domains.music.reading.stored import Reading
from ostinato.domains.music.reading.works import LEAST_NOTES, too_short, works
from ostinato.errors import UserError
from ostinato.evaluation.numbers import counted

SplitBy = Literal["work", "piece"]

_NAMED = 3  # of many pieces

FRAMES_PER_BEAT = 2  # in samples, where nothing is said: eighth notes, as in the published sets


def load(
    path: Path,
    how: AsFrames = USUAL,
    *,
    split_seed: int = 0,
    split_by: SplitBy = "work",
    use_cache: bool = True,
    progress: bool = True,
) -> Splits:
    """A file or folder as a data set.

    Args:
        path: of it.
        how: the frames.
        split_seed: another number, another split.
        split_by: "piece" is as in runs of before: only identical pieces stay together, and splits that the
            folder says itself are not looked at.
        use_cache: whether what is read is kept.
        progress: whether to show a progress bar.

    Raises:
        UserError: there is no music there, or none that can be used; the folder's own splits do not fit it.
    """
    files, skipped = find(path)
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files]
    readings = read_files(files, how.playing, use_cache=use_cache, progress=progress)
    pieces, reasons = _pieces(names, readings, pedal=how.pedal)
    quantize = how.quantize or "nearest"
    grid = _grid(how.frames_per_beat, quantize, pieces)
    songs, kept, unusable, report = _songs(pieces, grid, quantize, how)
    skipped = sorted([*skipped, *reasons, *unusable], key=lambda skip: skip.path)
    if not songs:
        raise UserError(_nothing_usable(path, skipped))
    asked = _Asked(split_by, split_seed, progress)
    splits, dealt, notices = _split(path, songs, [one.notes for one in kept], skipped, asked)
    where = {song.name.removesuffix(f" [{split}]"): split for split, own in splits.items() for song in own}
    cut, near = dealt == "in time", quantize == "nearest"
    listing = [
        one.record("in time" if cut else where[song.name]) for song, one in zip(songs, kept, strict=True)
    ]
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
            "notices": [
                *report_lines(report),
                *(off_grid_lines([(one.name, one.notes, one.cost) for one in kept], grid) if near else []),
                *notices,
                *_key_lines(listing, how),
            ],
        },
        skipped=tuple(skipped),
        listing=tuple(listing),
    )


@dataclass(frozen=True)
class _Asked:
    """How to split."""

    by: SplitBy
    seed: int
    progress: bool


@dataclass(frozen=True)
class _Kept:
    """A piece that can be used, and what became of it."""

    name: str
    notes: Notes
    shift: int
    key: str
    cost: Cost

    def record(self, split: str) -> dict[str, Any]:
        """A line of the listing."""
        own = {"name": self.name, "split": split, "shift": self.shift, "key": self.key}
        return own | {"notes": self.cost.notes, "moved": self.cost.moved, "lost": self.cost.lost}


def _split(
    path: Path,
    songs: SequenceOf[Sequence],
    notes: SequenceOf[Notes],
    skipped: SequenceOf[Skipped],
    asked: _Asked,
) -> tuple[dict[str, tuple[Sequence, ...]], str, list[str]]:
    """The songs by split, how they were dealt, and what is to be said of it."""
    if asked.by == "piece":
        return *split_songs(songs, asked.seed), []
    names = [song.name for song in songs]
    given = given_splits(path, names, [one.path for one in skipped])
    links = works(notes, names) + same([_outline(song.values) for song in songs])
    groups = connected(len(songs), links)
    short = _short_lines([name for name, own in zip(names, notes, strict=True) if too_short(own)])
    if given is not None:
        said = _leaks(names, groups, given) + short
        return gather(songs, [given[name] for name in names]), "as given", said
    if len(set(groups)) < len(SPLITS):
        return _cut_in_time(songs), "in time", []
    together = len(songs) - len(set(groups))
    lines = [f"{counted(len(set(groups)), 'work')}; versions of one stay in one split"] if together else []
    return gather(songs, deal(names, groups, seed=asked.seed)), "by work", lines + short


def _short_lines(names: SequenceOf[str]) -> list[str]:
    """Which pieces' versions cannot be found."""
    if not names:
        return []
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return [
        f"{counted(len(names), 'piece')} too short or too uniform for versions to be found, which takes "
        f"{LEAST_NOTES} notes of a tune, repeated ones aside: {', '.join(names[:_NAMED])}{more}; only "
        "identical ones stay together"
    ]


def _leaks(names: SequenceOf[str], groups: SequenceOf[int], given: Mapping[str, str]) -> list[str]:
    """What the given splits have in more than one of them."""
    members: dict[int, list[str]] = defaultdict(list)
    for name, group in zip(names, groups, strict=True):
        members[group].append(name)
    leaking = [own for own in members.values() if len({given[name] for name in own}) > 1]
    if not leaking:
        return []
    first = leaking[0][0]
    other = next(name for name in leaking[0] if given[name] != given[first])
    return [
        f"the given splits leak: {counted(len(leaking), 'work')} in more than one of them, such as "
        f"{first} ({given[first]}) and {other} ({given[other]})"
    ]


def _key_lines(listing: SequenceOf[dict[str, Any]], how: AsFrames) -> list[str]:
    """How many files state no key, where their keys were asked for."""
    guessed = sum(one["key"].endswith("guessed") for one in listing)
    if how.key == "guessed" or not guessed:
        return []
    return [f"{counted(guessed, 'piece')} of {len(listing):,} state no key: theirs is guessed"]


def _told(pieces: SequenceOf[tuple[str, Notes]], how: AsFrames) -> dict[str, Any]:
    """What a run keeps of its songs' metres."""
    return usual_metres([notes for _, notes in pieces]) | {"look_back": how.look_back}


def split_songs(songs: SequenceOf[Sequence], seed: int = 0) -> tuple[dict[str, tuple[Sequence, ...]], str]:
    """The songs by split, and how they were dealt: "by piece", or "in time" where they are too few."""
    # the pitches above the piece's lowest: identical pieces in different keys are identical
    groups = connected(len(songs), same([_outline(song.values) for song in songs]))
    if len(set(groups)) >= len(SPLITS):
        return gather(songs, assign([song.name for song in songs], groups, seed=seed)), "by piece"
    return _cut_in_time(songs), "in time"


def _cut_in_time(songs: SequenceOf[Sequence]) -> dict[str, tuple[Sequence, ...]]:
    """Each song cut in three; a note that is held over a cut begins the part behind it."""
    return {
        split: tuple(Sequence(part.name, begun(part.values), part.side) for part in parts)
        for split, parts in cut_in_time(songs).items()
    }


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
) -> tuple[list[Sequence], list[_Kept], list[Skipped], dict[str, Any]]:
    """The pieces as frames with what became of them, those that have none, and what the frames cost."""
    songs: list[Sequence] = []
    kept: list[_Kept] = []
    skipped: list[Skipped] = []
    costs, played = Cost(), (0.0, 0.0)
    for name, notes in pieces:
        try:
            to_c, called = key(notes, how.key)
            shift = to_c if how.transpose else 0
            moved = notes.transposed(shift)
            frames = moved.frames(grid, quantize=quantize, onsets=how.onsets)
            side = side_of_notes(moved, len(frames), grid, quantize, look_back=how.look_back)
            songs.append(Sequence(name, frames, side if how.metre else None))
            kept.append(_Kept(name, notes, shift, called, moved.cost(grid, quantize)))
            costs += kept[-1].cost
            total, sounding = notes.polyphony()
            played = played[0] + total, played[1] + sounding
        except UserError as error:
            skipped.append(Skipped(name, str(error)))
    return songs, kept, skipped, report_of(costs, played, [song.values for song in songs])


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
