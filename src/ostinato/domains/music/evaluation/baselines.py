"""What any model has to beat: predictors that know note frequencies, and nothing of the music.

All are fitted on the training songs with add-1/2 smoothing, and score frames as Bernoulli variables. In
frames with onsets (`nn.outputs.onsets`) the second rows, whether a note that goes on is struck, count where
they are asked for. Shapes: T time, B streams, V visible: rows of a frame.
"""

from collections.abc import Sequence as SequenceOf

import numpy as np
import torch
from torch import Tensor

from ostinato.data.sequences import Sequence
from ostinato.nn.outputs import BernoulliFrames, OnsetFrames

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
        onsets: whether the frames have onsets.
    """

    def __init__(self, logits: Tensor, onsets: bool = False) -> None:
        self.logits, self.onsets = logits, onsets

    def __call__(
        self, inputs: Tensor, states: Tensor | None = None, starts: Tensor | None = None
    ) -> tuple[BernoulliFrames | OnsetFrames, Tensor | None]:
        """The distribution of every next frame; inputs (T, B, V) are zero at a start."""
        silent, sounding = self.logits
        if not self.onsets:
            return BernoulliFrames(torch.where(inputs.bool(), sounding, silent)), None
        before = inputs[..., : inputs.shape[-1] // 2].bool()
        rows = BernoulliFrames(torch.where(torch.cat([before, before], -1), sounding, silent))
        return OnsetFrames(rows, before), None


def note_frequencies(songs: SequenceOf[Sequence], *, onsets: bool = False) -> np.ndarray:
    """Smoothed frequency of each note among the frames that ask for it, (n_v + 1/2) / (n + 1), shape (V,).

    Example:
        >>> note_frequencies([Sequence("a", np.array([[1, 0], [1, 0], [1, 1]], np.uint8))])
        array([0.875, 0.375])
    """
    seen, on = _counts(songs, onsets)
    frequencies: np.ndarray = (on.sum(0) + 0.5) / (seen.sum(0) + 1)
    return frequencies


def fit_baseline(name: str, songs: SequenceOf[Sequence], *, onsets: bool = False) -> FrequencyBaseline:
    """Fit the baseline `name` (see `BASELINES`) on training songs, of frames with onsets or of piano-rolls.

    Example:
        >>> song = Sequence("a", np.array([[1, 0], [1, 0]], np.uint8))
        >>> fit_baseline("1-gram", [song])(torch.zeros(1, 1, 2))[0].mean
        tensor([[[0.8333, 0.1667]]], dtype=torch.float64)
    """
    seen, on = _counts(songs, onsets)
    if name == "iid":  # one for all pitches; with onsets one more, for those that go on
        parts = [(x.sum(0).reshape(2 if onsets else 1, -1)) for x in (on, seen)]
        each = (parts[0].sum(1, keepdims=True) + 0.5) / (parts[1].sum(1, keepdims=True) + 1)
        p = np.tile(np.broadcast_to(each, parts[0].shape).reshape(1, -1), (2, 1))
    elif name == "1-gram":
        p = np.tile(note_frequencies(songs, onsets=onsets), (2, 1))
    elif name == "note-bigram":
        p = (on + 0.5) / (seen + 1)
    else:
        raise ValueError(f"baseline must be one of {', '.join(BASELINES)}, got {name!r}")
    return FrequencyBaseline(torch.from_numpy(np.log(p) - np.log1p(-p)), onsets)


def _counts(songs: SequenceOf[Sequence], onsets: bool) -> tuple[np.ndarray, np.ndarray]:
    """How often a note was asked for, and sounded, by whether its pitch sounded before: (2, V) each.

    The frame before a song is silent. Whether a note is struck is asked for where its pitch sounds and did.
    """
    visible = songs[0].values.shape[1]
    seen, on = np.zeros((2, visible), np.int64), np.zeros((2, visible), np.int64)
    for song in songs:
        now = song.values.astype(bool)
        sounds = now[:, : visible // 2] if onsets else now
        before = np.zeros_like(sounds)
        before[1:] = sounds[:-1]
        asked = np.ones_like(now)
        if onsets:
            asked[:, visible // 2 :] = sounds & before
            before = np.concatenate([before, before], axis=1)
        for value in (0, 1):
            given = asked & (before == bool(value))
            seen[value] += given.sum(0)
            on[value] += (given & now).sum(0)
    return seen, on
