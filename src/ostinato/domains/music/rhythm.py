"""How notes of frames with onsets begin: repeated, held, off the beat. Shapes: T time, V = 88 notes."""

from collections.abc import Iterable

import numpy as np

from ostinato.domains.music.layout import roll, struck


def attacks(pieces: Iterable[np.ndarray], frames_per_beat: int, first_beat: float = 0.0) -> dict[str, float]:
    """Shares over all pieces (T, 2 V), as numbers from 0 to 1; 0 where there is nothing to share.

        repeated    of the strikes, those of a pitch that sounded in the frame before
        held        of the frames in which notes sound, those in which they are not struck
        off_beat    of the strikes, those between quarter notes

    Args:
        pieces: frames.
        frames_per_beat: frames to a quarter note.
        first_beat: where their first frame lies, in quarter notes, as `Piece.first_beat`: a pickup of an
            eighth is not on the beat.

    Example:
        >>> frames = np.zeros((4, 176), dtype=np.uint8)
        >>> frames[:, 39], frames[[0, 1], 88 + 39] = 1, 1
        >>> attacks([frames], frames_per_beat=2)
        {'repeated': 0.5, 'held': 0.5, 'off_beat': 0.5}
        >>> attacks([frames[:1]], frames_per_beat=2, first_beat=-0.5)["off_beat"]
        1.0
    """
    skipped = round(first_beat * frames_per_beat)
    repeated = sounding = off_beat = strikes = 0
    for piece in pieces:
        begins, sounds = struck(piece), roll(piece) != 0
        strikes += int(begins.sum())
        sounding += int(sounds.sum())
        repeated += int((begins[1:] & sounds[:-1]).sum())
        off_beat += int(begins[(np.arange(len(piece)) + skipped) % frames_per_beat != 0].sum())
    return {
        "repeated": repeated / max(strikes, 1),
        "held": (sounding - strikes) / max(sounding, 1),
        "off_beat": off_beat / max(strikes, 1),
    }
