"""How a model hears a piece: its log-likelihood, and how surprising every note is.

Shapes: T time (frames), V = 88 notes (MIDI pitch 21 + column).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ostinato.data.batches import padded
from ostinato.data.side import inputs
from ostinato.domains.music.compose import Predictor
from ostinato.domains.music.layout import LOWEST, spans
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.writing.pictures import pitch_name
from ostinato.nn.devices import device_of
from ostinato.nn.outputs.agreement import Estimate
from ostinato.nn.outputs.base import EstimatedFrames

UNIT = "bits"
CONVENTION = (
    "-log2 p(its pitch | frames before, other notes of its frame, one note more), largest of its frames"
)
ONSET = "-log2 p(the note sounds | frames before, notes before it in its frame), where it begins"
ONSET_GIVEN_OTHERS = "-log2 p(the note sounds | frames before, all other notes of its frame), where it begins"


@dataclass(frozen=True)
class Note:
    """A held note and how surprising it is; `score_piece` has the formulas.

    Arguments:
        begin, end: its first frame, and the frame after its last.
        pitch: MIDI pitch, in the piece's own key.
        surprisal: of its pitch among the other notes, where it fits least, in bits.
        onset_surprisal: of its beginning there and then, in bits.
        bar: number of its bar; 0 is an incomplete first bar.
        beat: where it begins in the bar, in quarter notes; the bar begins at 1.
    """

    begin: int
    end: int
    pitch: int
    surprisal: float
    onset_surprisal: float
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
        log_probs: of each frame given those before it, in nats, (T,); NaN where an estimate came out above 0.
        pitch_log_probs: of each sounding note's pitch given everything else in its frame, in nats, (T, V).
        note_log_probs: of what each note does, sounding or silent, in nats, (T, V); with onsets sounding is
            being struck or held.
        exact: whether `log_probs` are exact; else they are estimates.
        onset_convention: what a note's onset surprisal is, in words.
        beats_per_bar: quarter notes in every bar; None: as the piece's own metres say.
        estimate: where they are estimates, what is known of them.
    """

    piece: Piece
    log_probs: np.ndarray
    pitch_log_probs: np.ndarray
    note_log_probs: np.ndarray
    exact: bool = True
    onset_convention: str = ONSET
    beats_per_bar: float | None = None
    estimate: Estimate | None = None

    @property
    def log_likelihood(self) -> float:
        """Nats per frame, the first frame included (predicted from a zero input); NaN for an estimate whose
        sides do not agree.
        """
        if self.estimate is None:
            return float(self.log_probs.mean())
        middle = self.estimate.mean(self.estimate.middle)
        return middle if self.estimate.agreed and middle <= 0 else math.nan

    @property
    def interval(self) -> tuple[float, float] | None:
        """99 %, for the exact log-likelihood, where it is estimated."""
        return None if self.estimate is None else self.estimate.interval()

    @property
    def rank(self) -> float:
        """What pieces are ordered by: the log-likelihood, or the middle of its interval."""
        if self.interval is not None and math.isnan(self.log_likelihood):
            return sum(self.interval) / 2
        return self.log_likelihood

    @property
    def surprisal(self) -> np.ndarray:
        """Of each sounding note in bits, (T, V); silent ones have 0."""
        return 0.0 - self.pitch_log_probs / math.log(2)

    @property
    def frame_surprisal(self) -> np.ndarray:
        """Of each frame given those before it in bits, (T,)."""
        return -self.log_probs / math.log(2)

    def notes(self) -> list[Note]:
        """Every held note, the most surprising first."""
        bits, onset_bits = self.surprisal, -self.note_log_probs / math.log(2)
        found = []
        for begin, end, column in spans(self.piece.frames):
            bar, beat = self.place(begin)
            pitch = column + LOWEST - self.piece.semitones
            most, onset = float(bits[begin:end, column].max()), float(onset_bits[begin, column])
            found.append(Note(begin, end, pitch, most, onset, bar, beat))
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
            known = self.log_probs[inside][~np.isnan(self.log_probs[inside])]
            mean = float(known.mean()) if len(known) else math.nan
            found.append(Bar(int(number), int(inside[0]), int(inside[-1]) + 1, mean))
        # those that nothing is known of come last
        return sorted(found, key=lambda bar: (math.isnan(bar.log_likelihood), bar.log_likelihood))

    def place(self, frame: int) -> tuple[int, float]:
        """Number of a frame's bar, and the quarter note in it, from 1."""
        return self.piece.place(frame, self.beats_per_bar)

    def to_dict(self) -> dict[str, Any]:
        """All of it by name; can be written as JSON."""
        value = self.log_likelihood
        unknown = {} if self.estimate is None else {"interval": self.interval, "agreed": self.estimate.agreed}
        return {
            "name": self.piece.name,
            "frames": len(self.piece),
            "semitones": self.piece.semitones,
            "log_likelihood": {
                "value": None if math.isnan(value) else value,
                "unit": "nats/frame",
                "convention": "mean over all frames, the first included (predicted from a zero input)",
                "estimate": not self.exact,
                **unknown,
            },
            "surprisal": {"mean": self.mean_surprisal(), "unit": UNIT, "convention": CONVENTION},
            "onset_surprisal": {"unit": UNIT, "convention": self.onset_convention},
            "notes": [note.to_dict() for note in self.notes()],
            "bars": [
                {k: None if k == "log_likelihood" and math.isnan(x) else x for k, x in vars(bar).items()}
                for bar in self.bars()
            ],
            "frame_log_likelihood": [None if math.isnan(x) else x for x in self.log_probs.tolist()],
        }


def score_piece(model: Predictor, piece: Piece, *, beats_per_bar: float | None = None) -> PieceScore:
    """Log-likelihood of a piece, and the surprisal of its notes.

        surprisal of note i in frame t = -log2 p(i | v_t without i, one note more, v_1 ... v_{t-1})
                                       = log2 sum_j p(v_t with j for i | v_1 ... v_{t-1}) / p(v_t | ...)

    j runs over i and all notes that are silent in frame t: of all pitches that this voice could have, how
    unlikely is its own? A held note has the largest surprisal of its frames. It says nothing of whether a
    note should sound at all; that is in

        onset surprisal = -log2 p(v_ti | notes before i in frame t, v_1 ... v_{t-1}), t its first frame

    of which `note_log_probs` has the value for all 88 notes of all frames, silent ones too: they sum to the
    log-likelihood. "Before" is the output's own order: NADE's lower notes (or higher ones, as it was
    trained); independent notes have none. An RBM has no order: there it is given all other notes of the
    frame, and the sum is the pseudo-log-likelihood. Surprisals of pitches are exact for every output.

    Args:
        model: a `SequenceModel`, a baseline, or anything called like them.
        piece: what to score, in the frames and the key that the model knows.
        beats_per_bar: quarter notes in every bar, to number them; by default the piece's own metres.

    Example:
        >>> from ostinato.nn import RNN, SequenceModel
        >>> from ostinato.nn.outputs import Bernoulli
        >>> piece = Piece("scale", np.eye(88, dtype=np.uint8)[39:44], frames_per_beat=1)
        >>> score = score_piece(SequenceModel(RNN(88, 10), Bernoulli(10, 88)), piece)
        >>> len(score.notes()), bool(np.isclose(score.note_log_probs.sum(), score.log_probs.sum()))
        (5, True)
    """
    (score,) = score_together(model, [piece], beats_per_bar=beats_per_bar)
    return score


def score_together(
    model: Predictor, pieces: Sequence[Piece], *, beats_per_bar: float | None = None
) -> list[PieceScore]:
    """`score_piece` of several pieces at once, each by itself; the shorter ones are padded at their ends."""
    frames = torch.from_numpy(padded([piece.frames for piece in pieces])).to(device_of(model))
    read = torch.from_numpy(padded([inputs(piece.frames, piece.side()) for piece in pieces]))
    with torch.no_grad():
        predicted = model(read.to(frames.device))[0]
        pitches = predicted.pitch_log_probs(frames).double().cpu()
        notes = predicted.note_log_probs(frames).double().cpu()
        estimates = [None] * len(pieces) if predicted.exact else _estimates(predicted, frames, pieces)
        exact = predicted.log_prob(frames).double().cpu() if predicted.exact else None
    # an RBM has no order of notes: what it gives of a note is conditional on all others
    onset = ONSET_GIVEN_OTHERS if hasattr(predicted, "pseudo_log_prob") else ONSET
    return [
        PieceScore(
            piece,
            _possible(estimate) if exact is None else exact[: len(piece), b].numpy(),
            pitches[: len(piece), b].numpy(),
            notes[: len(piece), b].numpy(),
            exact=bool(predicted.exact),
            onset_convention=onset,
            beats_per_bar=beats_per_bar,
            estimate=estimate,
        )
        for b, (piece, estimate) in enumerate(zip(pieces, estimates, strict=True))
    ]


def _estimates(predicted: EstimatedFrames, frames: Tensor, pieces: Sequence[Piece]) -> list[Estimate | None]:
    """What is known of the log-probability of each piece's own frames, of (T, B, V)."""
    found: list[Estimate | None] = []
    for b, piece in enumerate(pieces):
        estimator = predicted.estimator(len(piece), torch.Generator().manual_seed(0))
        rows = torch.arange(len(piece), device=frames.device) * len(pieces) + b
        predicted.gathered(estimator, frames, rows)
        found.append(estimator.finish())
    return found


def _possible(estimate: Estimate | None) -> np.ndarray:
    """log p of each frame, (T,): NaN where it came out above 0, so that chains missed most of log Z there."""
    assert estimate is not None
    values = estimate.every("middle")
    return torch.where(values > 0, torch.nan, values).numpy()
