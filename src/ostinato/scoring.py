"""How a model hears a piece: its log-likelihood, and how surprising every note is.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ostinato.data.notes import LOWEST, spans
from ostinato.data.pictures import pitch_name
from ostinato.data.pieces import Piece
from ostinato.generation import Predictor

UNIT = "bits"
CONVENTION_OTHERS = "-log2 p(the note | frames before, all other notes of its frame), where the note begins"
CONVENTION = "-log2 p(the note | frames before, notes before it in its frame), where the note begins"


@dataclass(frozen=True)
class Note:
    """A held note and how surprising its beginning is.

    Arguments:
        begin, end: its first frame, and the frame after its last.
        pitch: MIDI pitch, in the piece's own key.
        surprisal: -log2 of the probability of its beginning, in bits.
        bar: number of its bar; 0 is an incomplete first bar.
        beat: where it begins in the bar, in quarter notes; the bar begins at 1.
    """

    begin: int
    end: int
    pitch: int
    surprisal: float
    bar: int
    beat: float

    @property
    def name(self) -> str:
        """Of the pitch."""
        return pitch_name(self.pitch)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the name."""
        return {**vars(self), "name": self.name}


@dataclass(frozen=True)
class Bar:
    """A bar and its mean log-likelihood in nats per frame."""

    number: int
    begin: int
    end: int
    log_likelihood: float


@dataclass(frozen=True)
class PieceScore:
    """What a model says of a piece.

    Arguments:
        piece: what was scored.
        log_probs: of each frame given those before it, in nats, (T,).
        note_log_probs: of each note's value, sounding or silent, in nats, (T, V).
        exact: whether `log_probs` are exact; else they are estimates.
        convention: what a note's surprisal is, in words.
        beats_per_bar: quarter notes in a bar.
    """

    piece: Piece
    log_probs: np.ndarray
    note_log_probs: np.ndarray
    exact: bool = True
    convention: str = CONVENTION
    beats_per_bar: float = 4.0

    @property
    def log_likelihood(self) -> float:
        """Nats per frame, the first frame included (predicted from a zero input)."""
        return float(self.log_probs.mean())

    @property
    def surprisal(self) -> np.ndarray:
        """Of each note's value in bits, (T, V)."""
        return -self.note_log_probs / math.log(2)

    def notes(self) -> list[Note]:
        """Every held note, the most surprising first."""
        bits = self.surprisal
        found = []
        for begin, end, column in spans(self.piece.frames):
            bar, beat = self.place(begin)
            pitch = column + LOWEST - self.piece.semitones
            found.append(Note(begin, end, pitch, float(bits[begin, column]), bar, beat))
        return sorted(found, key=lambda note: -note.surprisal)

    def mean_surprisal(self) -> float:
        """Mean over the notes, in bits."""
        return float(np.mean([note.surprisal for note in self.notes()]))

    def bars(self) -> list[Bar]:
        """Every bar, the least likely first: odd passages."""
        numbers = np.array([self.place(frame)[0] for frame in range(len(self.piece))])
        found = []
        for number in np.unique(numbers):
            (inside,) = np.nonzero(numbers == number)
            mean = float(self.log_probs[inside].mean())
            found.append(Bar(int(number), int(inside[0]), int(inside[-1]) + 1, mean))
        return sorted(found, key=lambda bar: bar.log_likelihood)

    def place(self, frame: int) -> tuple[int, float]:
        """Number of a frame's bar, and the quarter note in it, from 1."""
        # rounded, or a third of a beat could fall a hair before its bar
        beat = round(self.piece.beat(frame), 6)
        bar = math.floor(beat / self.beats_per_bar)
        return bar + 1, round(beat - bar * self.beats_per_bar + 1, 6)

    def to_dict(self) -> dict[str, Any]:
        """All of it by name; can be written as JSON."""
        return {
            "name": self.piece.name,
            "frames": len(self.piece),
            "semitones": self.piece.semitones,
            "log_likelihood": {
                "value": self.log_likelihood,
                "unit": "nats/frame",
                "convention": "mean over all frames, the first included (predicted from a zero input)",
                "estimate": not self.exact,
            },
            "surprisal": {"mean": self.mean_surprisal(), "unit": UNIT, "convention": self.convention},
            "notes": [note.to_dict() for note in self.notes()],
            "bars": [vars(bar) for bar in self.bars()],
            "frame_log_likelihood": self.log_probs.tolist(),
        }


def score_piece(model: Predictor, piece: Piece, *, beats_per_bar: float = 4.0) -> PieceScore:
    """Log-likelihood of a piece, and the surprisal of its notes.

        surprisal of note i in frame t = -log2 p(v_ti | notes before i in frame t, v_1 ... v_{t-1})

    Over all 88 notes of all frames, silent ones too, these sum to minus the log-likelihood. "Before" is the
    output's own order: NADE's lower notes (or higher ones, as it was trained); independent notes have none.
    An RBM has no order: there the surprisal is given all other notes of the frame, and does not sum to that.

    Args:
        model: a `SequenceModel`, a baseline, or anything called like them.
        piece: what to score, in the frames and the key that the model knows.
        beats_per_bar: quarter notes in a bar, to number them.

    Example:
        >>> from ostinato.nn import RNN, SequenceModel
        >>> from ostinato.nn.outputs import Bernoulli
        >>> piece = Piece("scale", np.eye(88, dtype=np.uint8)[39:44], frames_per_beat=1)
        >>> score = score_piece(SequenceModel(RNN(88, 10), Bernoulli(10, 88)), piece)
        >>> len(score.notes()), bool(np.isclose(-score.surprisal.sum() * np.log(2), score.log_probs.sum()))
        (5, True)
    """
    frames = torch.from_numpy(np.ascontiguousarray(piece.frames)).unsqueeze(1)
    inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
    with torch.no_grad():
        predicted = model(inputs)[0]
        notes = predicted.note_log_probs(frames)[:, 0].double()
        whole = predicted.log_prob(frames)[:, 0].double()
    # an RBM has no order of notes: what it gives of a note is conditional on all others
    convention = CONVENTION_OTHERS if hasattr(predicted, "pseudo_log_prob") else CONVENTION
    exact = bool(predicted.exact)
    return PieceScore(piece, whole.numpy(), notes.numpy(), exact, convention, beats_per_bar)
