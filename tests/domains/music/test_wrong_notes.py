import math

import numpy as np
import pytest
import torch

from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli


def model(layers: int = 2) -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(88, 9, layers, generator=generator, dtype=torch.float64)
    return SequenceModel(rnn, Bernoulli(9, 88, generator=generator, dtype=torch.float64)).eval()


def bits(frames: np.ndarray) -> float:
    values = torch.from_numpy(frames)[:, None]
    with torch.no_grad():
        predicted = model()(torch.cat([torch.zeros_like(values[:1]), values[:-1]]))[0]
    return float(predicted.log_prob(values).sum()) / math.log(2)


def piece() -> Piece:
    draw = np.random.default_rng(0)
    frames = np.zeros((14, 88), np.uint8)
    for begin, end in ((0, 2), (2, 3), (3, 7), (7, 14)):
        frames[begin:end, draw.choice(range(30, 60, 2), 3, replace=False)] = 1
    frames[5, [0, 87, 40, 41]] = 1
    return Piece("random", frames, frames_per_beat=1, semitones=-2)


def test_the_gain_is_that_of_the_whole_piece() -> None:
    found = find_corrections(model(), piece(), horizon=100)
    assert {note.pitch for note in found} >= {21 + 2, 108 + 2}
    for note in found:
        column, better = note.pitch - 21 - 2, note.better - 21 - 2
        assert abs(column - better) == 1
        changed = piece().frames.copy()
        assert changed[note.begin : note.end, column].all()
        changed[note.begin : note.end, column] = 0
        changed[note.begin : note.end, better] = 1
        assert note.gain == pytest.approx(bits(changed) - bits(piece().frames), abs=1e-9)
        other = 2 * column - better
        if 0 <= other < 88 and not piece().frames[note.begin : note.end, other].any():
            changed[note.begin : note.end, better] = 0
            changed[note.begin : note.end, other] = 1
            assert note.gain >= bits(changed) - bits(piece().frames)
    assert [note.gain for note in found] == sorted((note.gain for note in found), reverse=True)


def test_a_neighbour_that_sounds_is_no_correction() -> None:
    found = find_corrections(model(), piece())
    both = [note for note in found if note.begin == 5 and note.pitch - 23 in (40, 41)]
    assert {(note.pitch - 23, note.better - 23) for note in both} == {(40, 39), (41, 42)}


def test_the_horizon_ends_what_has_a_say() -> None:
    near, far = (find_corrections(model(), piece(), horizon=horizon) for horizon in (1, 100))
    gains = {(note.begin, note.pitch): note.gain for note in far}
    different = [note for note in near if abs(note.gain - gains[note.begin, note.pitch]) > 1e-12]
    assert different
    # a note that lasts to the end of the piece has nothing after it
    assert all(note.end < 14 for note in different)
