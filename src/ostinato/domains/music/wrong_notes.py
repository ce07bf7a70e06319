"""Wrong notes: which note, moved by a semitone, would make the whole piece more likely?

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column), K notes that are tried together.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.side import Side, inputs
from ostinato.domains.music.compose import Predictor
from ostinato.domains.music.layout import COLUMNS, LOWEST, spans
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.writing.pictures import pitch_name
from ostinato.errors import UserError
from ostinato.nn.cells.state import State, concatenate, zeros_like
from ostinato.nn.devices import device_of

CONVENTION = "log2 of how much more likely the piece is with the note a semitone away, the better way"

_TOGETHER = 256


@dataclass(frozen=True)
class Correction:
    """A held note, and what would be gained by moving it.

    Arguments:
        begin, end: its first frame, and the frame after its last.
        pitch: MIDI pitch, in the piece's own key.
        better: the pitch a semitone away that makes the piece more likely.
        gain: log2 p(piece with `better`) - log2 p(piece), in bits: above 0, the model would rather have that.
    """

    begin: int
    end: int
    pitch: int
    better: int
    gain: float

    def to_dict(self) -> dict[str, Any]:
        """The fields and the names of the pitches."""
        return {**vars(self), "name": pitch_name(self.pitch), "better_name": pitch_name(self.better)}


def find_corrections(model: Predictor, piece: Piece, *, horizon: int = 16) -> list[Correction]:
    """For each note the better semitone, the largest gain first.

        gain = max over d in (-1, 1) of log2 p(piece with the note moved by d) - log2 p(piece)

    Unlike surprisal, that asks how the note fits what comes after it, too, and whether a neighbour would fit
    better: a rare but right note is surprising, and has no better neighbour.
    The piece is followed for `horizon` frames after the note's end; what it changes later is left out.

    Notes whose neighbour rows sound already, or are off the keyboard, cannot be moved that way.

    Args:
        model: a `SequenceModel`, a baseline, or anything called like them.
        piece: what to look at, in the frames and the key that the model knows.
        horizon: frames after a note's end that have a say.

    Example:
        >>> from ostinato.data.sequences import Sequence
        >>> from ostinato.domains.music.evaluation.baselines import fit_baseline
        >>> song = np.eye(88, dtype=np.uint8)[[39, 43, 46] * 9]
        >>> wrong = song.copy()
        >>> wrong[4] = np.eye(88)[44]
        >>> found = find_corrections(fit_baseline("1-gram", [Sequence("a", song)]), Piece("b", wrong, 1))
        >>> found[0].begin, pitch_name(found[0].pitch), pitch_name(found[0].better)
        (4, 'F4', 'E4')
    """
    frames = torch.from_numpy(np.ascontiguousarray(piece.frames)).to(device_of(model))
    side = piece.side()
    states, log_probs = _walked(model, frames, side)
    trials = [
        (begin, end, column, column + step)
        for begin, end, column in spans(piece.frames)
        for step in (-1, 1)
        if 0 <= column + step < COLUMNS and not piece.frames[begin:end, column + step].any()
    ]
    # those of one length together: their windows then have one length, too
    trials.sort(key=lambda trial: trial[1] - trial[0])
    best: dict[tuple[int, int, int], tuple[float, int]] = {}
    for first in range(0, len(trials), _TOGETHER):
        chosen = trials[first : first + _TOGETHER]
        gains = _gains(model, frames, side, states, log_probs, chosen, horizon)
        for (begin, end, column, target), gain in zip(chosen, gains, strict=True):
            best[begin, end, column] = max(best.get((begin, end, column), (-math.inf, 0)), (gain, target))
    own = LOWEST - piece.semitones
    found = [
        Correction(begin, end, column + own, target + own, gain)
        for (begin, end, column), (gain, target) in best.items()
    ]
    return sorted(found, key=lambda correction: (-correction.gain, correction.begin, correction.pitch))


def _walked(model: Predictor, frames: Tensor, side: Side | None) -> tuple[list[Any], Tensor]:
    """The model's states before each frame, and log p of each frame (T,) in nats."""
    read = torch.from_numpy(inputs(frames.cpu().numpy(), side)).to(frames.device)
    states: list[Any] = [None]
    with torch.no_grad():
        for frame in read:
            states.append(model(frame[None, None], states[-1])[1])
        predicted = model(read[:, None])[0]
        if not predicted.exact:
            raise UserError(
                "expected a model with exact likelihoods, to compare pieces that differ by one note"
            )
        log_probs = predicted.log_prob(frames[:, None])[:, 0]
    return states, log_probs.double()


def _gains(
    model: Predictor,
    frames: Tensor,
    side: Side | None,
    states: list[Any],
    log_probs: Tensor,
    trials: list[tuple[int, int, int, int]],
    horizon: int,
) -> list[float]:
    """Gain of each trial (first frame, frame after the last, column, new column) in bits."""
    begins = torch.tensor([begin for begin, *_ in trials], device=frames.device)
    length = max(end - begin for begin, end, *_ in trials) + horizon
    # one silent frame before the piece, filler after it that is not counted
    padded = torch.cat([torch.zeros_like(frames[:1]), frames, frames.new_zeros(length, frames.shape[1])])
    times = begins + torch.arange(length, device=frames.device)[:, None]
    read, targets = padded[times], padded[times + 1]
    for k, (begin, end, column, target) in enumerate(trials):
        held = end - begin
        for window, offset in ((targets, 0), (read, 1)):
            note = window[offset : held + offset, k]
            for rows in range(0, note.shape[1], COLUMNS):  # what sounds; with onsets what is struck, too
                note[:, rows + target] = note[:, rows + column]
                note[:, rows + column] = 0
    if side is not None:
        read = _read_beside(frames, side, targets, begins.tolist())
    ends = torch.tensor([end for _, end, *_ in trials], device=frames.device)
    counted = times < (ends + horizon).clamp_max(len(frames))
    before = torch.cat([log_probs, log_probs.new_zeros(length)])[times]
    with torch.no_grad():
        after = model(read, _states(states, begins))[0].log_prob(targets).double()
    gain = ((after - before) * counted).sum(0) / math.log(2)
    return gain.tolist()


def _read_beside(frames: Tensor, side: Side, windows: Tensor, begins: list[int]) -> Tensor:
    """What a model reads in each of K windows (S, K, V) that replace a part of frames (T, V), (S, K, I)."""
    found = []
    for k, begin in enumerate(begins):
        changed = frames[: begin + len(windows)].clone()
        changed[begin:] = windows[: len(changed) - begin, k]
        read = inputs(changed.cpu().numpy(), side[: len(changed)])[begin:]
        # after the piece is filler, which is not counted
        found.append(np.pad(read, ((0, len(windows) - len(read)), (0, 0))))
    return torch.from_numpy(np.stack(found, 1)).to(frames.device)


def _states(states: list[Any], begins: Tensor) -> State | None:
    """The states before the K windows, as streams of one; None for a model that has none."""
    known = next((state for state in states if state is not None), None)
    if known is None:
        return None
    chosen = [states[begin] for begin in begins.tolist()]
    return concatenate([zeros_like(known) if state is None else state for state in chosen])
