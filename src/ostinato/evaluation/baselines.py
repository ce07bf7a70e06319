"""What any model has to beat: predictors that know note frequencies, and nothing of the music.

All are fitted on the training songs with add-1/2 smoothing, and score frames as Bernoulli variables.
Shapes: T time, B streams, V visible.
"""

from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
from torch import Tensor

from ostinato.data.sequences import Sequence
from ostinato.nn.outputs import BernoulliFrames

#: The baselines by name, and what each is.
BASELINES = {
    "iid": "one probability for every note",
    "1-gram": "one probability for each pitch",
    "note-bigram": "one probability for each pitch given whether it sounded in the frame before",
}


class FrequencyBaseline:
    """Predicts each note from its own value in the frame before: log-odds z[v, previous value of v].

    Called like a model: `(inputs, states, starts) -> (distribution, states)`.

    Args:
        logits: log-odds (2, V): given silence before, given a note before.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[BernoulliFrames, Tensor | None]:
        """The distribution of every next frame; inputs (T, B, V) are zero at a start."""
        silent, sounding = self.logits
        return BernoulliFrames(torch.where(inputs.bool(), sounding, silent)), None


def note_frequencies(songs: SequenceOf[Sequence]) -> np.ndarray:
    """Smoothed frequency of each note, (n_v + 1/2) / (n + 1), shape (V,).

    Example:
        >>> note_frequencies([Sequence("a", np.array([[1, 0], [1, 0], [1, 1]], np.uint8))])
        array([0.875, 0.375])
    """
    frames = sum(len(song) for song in songs)
    on = np.sum([song.values.sum(0, dtype=np.int64) for song in songs], axis=0)
    return (on + 0.5) / (frames + 1)


def fit_baseline(name: str, songs: SequenceOf[Sequence]) -> FrequencyBaseline:
    """Fit the baseline `name` (see `BASELINES`) on training songs.

    Example:
        >>> song = Sequence("a", np.array([[1, 0], [1, 0]], np.uint8))
        >>> fit_baseline("1-gram", [song])(torch.zeros(1, 1, 2))[0].mean
        tensor([[[0.8333, 0.1667]]], dtype=torch.float64)
    """
    if name == "iid":
        on, notes = sum(int(song.values.sum()) for song in songs), sum(song.values.size for song in songs)
        p = np.full((2, songs[0].values.shape[1]), (on + 0.5) / (notes + 1))
    elif name == "1-gram":
        p = np.tile(note_frequencies(songs), (2, 1))
    elif name == "note-bigram":
        p = _transition_frequencies(songs)
    else:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {name!r}")
    return FrequencyBaseline(torch.from_numpy(np.log(p) - np.log1p(-p)))


def _transition_frequencies(songs: SequenceOf[Sequence]) -> np.ndarray:
    """P(note on | its value before), shape (2, V); the frame before a song is silent."""
    visible = songs[0].values.shape[1]
    seen, on = np.zeros((2, visible), np.int64), np.zeros((2, visible), np.int64)
    for song in songs:
        now = song.values.astype(bool)
        before = np.zeros_like(now)
        before[1:] = now[:-1]
        for value in (0, 1):
            given = before == bool(value)
            seen[value] += given.sum(0)
            on[value] += (given & now).sum(0)
    return (on + 0.5) / (seen + 1)
