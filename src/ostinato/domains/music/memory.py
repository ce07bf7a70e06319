"""Songs that a program has in memory, as frames: arrays (T, V) of zeros and ones. Shapes: T time, V notes."""

from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np

from ostinato.data.sequences import SPLITS, Sequence, Splits
from ostinato.domains.given import UNSPLIT, Given
from ostinato.domains.music.layout import invalid, is_binary
from ostinato.domains.music.reading.folder import FRAMES_PER_BEAT, SHARES, split_songs
from ostinato.errors import UserError, argument


def knows(given: Given) -> bool:
    """Whether a program's data are frames: whole numbers or truth values, none but 0 and 1, in arrays (T, V).

    Real numbers are not: arrays of them are series, also where all are 0 or 1.

    Example:
        >>> knows(Given({UNSPLIT: [np.eye(88, dtype=np.uint8)]})), knows(Given({UNSPLIT: [np.eye(88)]}))
        (True, False)
    """
    first = given.first
    if given.module is not None or not isinstance(first, np.ndarray):
        return False
    return first.ndim == 2 and first.dtype.kind in "bui" and is_binary(first)


def wrap(given: Given, frames_per_beat: int | str | None, *, onsets: bool = False) -> Splits:
    """Frames as a data set; where they are not split, as files of music are.

    Raises:
        UserError: other values than 0 and 1, or songs of different widths.

    Example:
        >>> songs = [np.roll(np.eye(12, dtype=np.uint8), k, 1)[: 5 + k] for k in range(10)]
        >>> data = wrap(Given({UNSPLIT: songs}), None)
        >>> [len(data[split]) for split in SPLITS], data.details["split"]
        ([6, 2, 2], 'by piece')
    """
    if isinstance(frames_per_beat, str):
        raise UserError(
            f"expected {argument('frames_per_beat')} as a number with frames, found {frames_per_beat}: "
            "they are made already"
        )
    songs = {
        split: [Sequence(n, frames(x, n)) for n, x in each] for split, each in given.named("song").items()
    }
    widths = {song.values.shape[1]: song.name for each in songs.values() for song in each}
    if len(widths) > 1:
        (few, one), (many, other), *_ = sorted(widths.items())
        raise UserError(f"expected songs of one width, found {few} in {one} and {many} in {other}")
    if onsets:
        _check_onsets([song for each in songs.values() for song in each])
    details: dict[str, Any] = {
        "source": "memory",
        "frames_per_beat": frames_per_beat or FRAMES_PER_BEAT,
        "transposed": False,
        "split": "given",
        **({"frames": "onsets"} if onsets else {}),
    }
    if not given.is_split:
        dealt, how = split_songs(songs[UNSPLIT])
        details |= {"split": how, "split_seed": 0, "shares": SHARES}
    else:
        dealt = {split: tuple(songs.get(split, ())) for split in SPLITS}
    return Splits("memory", dealt["train"], dealt["valid"], dealt["test"], details=details)


def _check_onsets(songs: SequenceOf[Sequence]) -> None:
    """A UserError where a song has no frames with onsets."""
    for song in songs:
        odd = song.values.shape[1] % 2
        reason = "an odd number of rows" if odd else invalid(song.values)
        if reason:
            raise UserError(
                f"expected frames (T, 2 P) for {song.name}, the P pitches that sound and then those that are "
                f"struck, found {reason}; {argument('frames')} piano-roll says what sounds alone"
            )


def frames(values: Any, name: str, width: int | None = None) -> np.ndarray:
    """A song's frames, (T, V) uint8.

    Raises:
        UserError: it has other values, or another shape.
    """
    array = np.asarray(values)
    wanted = "V" if width is None else width
    if array.ndim != 2 or array.size == 0 or (width is not None and array.shape[1] != width):
        raise UserError(f"expected frames (T, {wanted}) for {name}, found shape {array.shape}")
    if array.dtype.kind not in "buif" or not is_binary(array):
        raise UserError(
            f"expected frames of 0 and 1 for {name}, found other values; real values are for "
            f"{argument('domain')} series"
        )
    return array.astype(np.uint8)
