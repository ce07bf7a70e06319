"""Splits that a folder says itself: in folders train, valid and test, or in a file splits.csv."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from ostinato.data.sequences import SPLITS
from ostinato.errors import UserError

FILE = "splits.csv"

_CALLED = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid"} | {
    "test": "test"
}


def given_splits(path: Path, pieces: Sequence[str], skipped: Sequence[str] = ()) -> dict[str, str] | None:
    """The split of each piece, where the folder says it; None where it does not.

    `splits.csv` has the columns file and split: a line for each file, or for a tune of a book, `book.abc#3`.
    Without it, a folder has splits where it has a folder train and one of valid and test.

    Args:
        path: the folder.
        pieces: their names, from the folder on.
        skipped: files in it that cannot be used, which a line may be about.

    Raises:
        UserError: a piece has no split, a split no piece, or a line is about no file.
    """
    if not path.is_dir():
        return None
    if (path / FILE).is_file():
        found = _of_file(path / FILE, pieces, skipped)
    else:
        inside = {_CALLED.get(one.name.lower(), "") for one in path.iterdir() if one.is_dir()}
        if "train" not in inside or not inside & {"valid", "test"}:
            return None
        found = _of_folders(path, pieces)
    empty = [split for split in SPLITS if split not in found.values()]
    if empty:
        raise UserError(
            f"expected music in each of train, valid and test of {path}, found none in {' and '.join(empty)}"
        )
    return found


def _of_folders(path: Path, pieces: Sequence[str]) -> dict[str, str]:
    found = {}
    for piece in pieces:
        folder = piece.split("/")[0] if "/" in piece else ""
        if folder.lower() not in _CALLED:
            raise UserError(
                f"expected all music of {path} in its folders train, valid and test, found {piece} beside "
                f"them; move it, or say all splits in {FILE}"
            )
        found[piece] = _CALLED[folder.lower()]
    return found


def _of_file(path: Path, pieces: Sequence[str], skipped: Sequence[str]) -> dict[str, str]:
    said = _lines(path)
    found = {}
    used = set()
    for piece in pieces:
        names = [name for name in (piece, piece.rpartition("#")[0]) if name in said]
        if not names:
            raise UserError(f"expected a line of {path} for each piece, found none for {piece}")
        found[piece] = said[names[0]]
        used.update(names)
    unusable = {name for one in skipped for name in (one, one.rpartition("#")[0])}
    for name in said:
        if name not in used and name not in unusable and name.rpartition("#")[0] not in unusable:
            raise UserError(f"expected files of music in {path}, found a line for {name}, which is none")
    return found


def _lines(path: Path) -> Mapping[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: expected lines of file,split, found {error}") from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if header != ["file", "split"]:
        raise UserError(f"expected the first line of {path} to be file,split, found {','.join(header)!r}")
    said: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != 2 or row[1].strip().lower() not in _CALLED:
            raise UserError(f"{path}, line {number}: expected a file and train, valid or test, found {row}")
        name, split = row[0].strip().removeprefix("./"), _CALLED[row[1].strip().lower()]
        if said.setdefault(name, split) != split:
            raise UserError(f"{path}, line {number}: expected one split for {name}, found two")
    return said
