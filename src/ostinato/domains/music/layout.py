"""What the rows of a frame mean: a piano-roll, or one with onsets; and the notes that frames hold.

A piano-roll frame (V,) says of each pitch whether it sounds. One with onsets (2 V,) says so in its first V
rows, and in the others whether the pitch is struck: row V + i belongs to pitch i. So a pitch is

    silent   0, 0
    struck   1, 1    a note begins here
    held     1, 0    a note that sounded in the frame before goes on

and frames are valid where nothing else occurs: what is struck sounds, and what begins to sound is struck.
Which of the two a piece's frames are follows from their width: 88 or 176.
Shapes: T time (frames), V = 88 notes of the piano (MIDI pitch 21 + column), D = V or 2 V rows.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from ostinato.errors import UserError

Frames = Literal["onsets", "piano-roll"]

LOWEST, HIGHEST = 21, 108
COLUMNS = HIGHEST - LOWEST + 1


def has_onsets(frames: np.ndarray) -> bool:
    """Whether frames (T, D) of the piano say where notes begin.

    Example:
        >>> has_onsets(np.zeros((3, 88))), has_onsets(np.zeros((3, 176)))
        (False, True)
    """
    return frames.shape[-1] == 2 * COLUMNS


def roll(frames: np.ndarray) -> np.ndarray:
    """What sounds, (..., 88), of frames (..., D)."""
    return frames[..., :COLUMNS]


def struck(frames: np.ndarray) -> np.ndarray:
    """Where notes begin, (T, 88) boolean: what is struck, or sounds and did not in the frame before.

    Example:
        >>> struck(np.ones((2, 88)))[:, 0], struck(np.ones((2, 176)))[:, 0]
        (array([ True, False]), array([ True,  True]))
    """
    frames = np.asarray(frames) != 0
    begins = roll(frames).copy()
    begins[1:] &= ~roll(frames)[:-1]
    return begins | (roll(frames) & frames[:, COLUMNS:]) if has_onsets(frames) else begins


def begun(frames: np.ndarray) -> np.ndarray:
    """Frames (T, D) cut out of a piece: a note that was held into them begins with them.

    Example:
        >>> held = np.zeros((2, 176), dtype=np.uint8)
        >>> held[:, 39] = 1
        >>> begun(held)[:, 88 + 39]
        array([1, 0], dtype=uint8)
    """
    if not has_onsets(frames):
        return frames
    frames = frames.copy()
    frames[:, COLUMNS:] = struck(frames)
    return frames


def invalid(frames: np.ndarray) -> str:
    """Why frames (T, 2 V) with onsets are none, of any number of pitches; "" where they are valid.

    Example:
        >>> invalid(np.array([[1, 1], [1, 0], [0, 0]]))
        ''
        >>> invalid(np.array([[0, 1]])), invalid(np.array([[0, 0], [1, 0]]))
        ('row 0 is struck in frame 0 and silent', 'row 0 begins in frame 1 and is not struck')
    """
    pitches = frames.shape[1] // 2
    sounds, begins = frames[:, :pitches] != 0, frames[:, pitches:] != 0
    silent = np.argwhere(begins & ~sounds)
    if len(silent):
        return f"row {silent[0][1]} is struck in frame {silent[0][0]} and silent"
    before = np.concatenate([np.zeros_like(sounds[:1]), sounds[:-1]])
    odd = np.argwhere(sounds & ~before & ~begins)
    return f"row {odd[0][1]} begins in frame {odd[0][0]} and is not struck" if len(odd) else ""


def spans(frames: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Held notes (first frame, frame after the last, column), in the order of their beginnings.

    With onsets a note ends where its pitch falls silent or is struck again.

    Example:
        >>> list(spans(np.array([[1, 0], [1, 1], [0, 1]])))
        [(0, 2, 0), (1, 3, 1)]
        >>> list(spans(np.ones((2, 176))))[:2], len(list(spans(np.ones((2, 176)))))
        ([(0, 1, 0), (0, 1, 1)], 176)
    """
    frames = np.asarray(frames)
    begins = struck(frames)
    sounds = roll(frames) != 0
    goes_on = np.zeros_like(sounds)
    goes_on[:-1] = sounds[1:] & ~begins[1:]
    # column by column, beginnings and ends alternate, so the k-th of each belong together
    columns, first = np.nonzero((begins & sounds).T)
    last = np.nonzero((sounds & ~goes_on).T)[1]
    order = np.lexsort((columns, first))
    return zip(first[order].tolist(), (last[order] + 1).tolist(), columns[order].tolist(), strict=True)


def shifted(frames: np.ndarray, semitones: int) -> np.ndarray:
    """The frames (T, D) moved up by `semitones`; what leaves the keyboard is dropped.

    Example:
        >>> shifted(np.eye(88), 2)[0].argmax(), shifted(np.eye(88), 2).sum()
        (np.int64(2), np.float64(86.0))
    """
    return shifted_values(checked(frames), semitones)


def shifted_values(frames: np.ndarray, semitones: int) -> np.ndarray:
    """`shifted`, of what has a number for each row of frames (T, D), such as surprisals.

    Example:
        >>> shifted_values(np.full((1, 88), 0.5), 87)[0, -2:]
        array([0. , 0.5])
    """
    moved = np.zeros_like(shaped(frames))
    kept = COLUMNS - abs(semitones)
    if kept > 0:
        low = max(semitones, 0)
        for first in range(0, moved.shape[1], COLUMNS):
            rows = slice(first + low, first + low + kept)
            moved[:, rows] = frames[:, first + low - semitones : first + low - semitones + kept]
    return moved


def shaped(frames: np.ndarray) -> np.ndarray:
    """The same array, if its shape is that of frames, (T, 88), or (T, 176) with onsets."""
    frames = np.asarray(frames)
    if frames.ndim != 2 or frames.shape[1] not in (COLUMNS, 2 * COLUMNS):
        wanted = f"(T, {COLUMNS}), or (T, {2 * COLUMNS}) with onsets"
        raise UserError(f"expected frames of shape {wanted}, found {frames.shape}")
    return frames


def checked(frames: np.ndarray) -> np.ndarray:
    """The same frames, if their shape is (T, 88), or (T, 176) with onsets, and their values are 0 and 1."""
    frames = shaped(frames)
    if not is_binary(frames):
        raise UserError("expected frames of 0 and 1, found other values")
    return frames


def is_binary(frames: np.ndarray) -> bool:
    """Whether all values are 0 or 1.

    Example:
        >>> is_binary(np.array([[0, 1]])), is_binary(np.array([[9]])), is_binary(np.array([[np.nan]]))
        (True, False, False)
    """
    return bool(((frames == 0) | (frames == 1)).all())
