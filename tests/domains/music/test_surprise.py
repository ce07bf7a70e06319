import math

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence
from ostinato.domains.music.evaluation.baselines import fit_baseline
from ostinato.domains.music.evaluation.frames import total_by_song
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.surprise import score_piece
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import RBM, Bernoulli


def model() -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(88, 9, generator=generator, dtype=torch.float64)
    return SequenceModel(rnn, Bernoulli(9, 88, generator=generator, dtype=torch.float64)).eval()


def piece(**about: float) -> Piece:
    frames = (np.random.default_rng(0).random((11, 88)) < 0.1).astype(np.uint8)
    return Piece("random", frames, frames_per_beat=2, **about)  # type: ignore[arg-type]


def test_the_log_likelihood_is_that_of_evaluate() -> None:
    found = score_piece(model(), piece())
    expected = total_by_song(model(), [Sequence("random", piece().frames)]).log_likelihood()
    assert found.log_likelihood == pytest.approx(expected.value)
    assert found.note_log_probs.sum() / 11 == pytest.approx(expected.value)
    assert found.frame_surprisal.mean() * math.log(2) == pytest.approx(-expected.value)


@pytest.mark.parametrize("hidden", [4, 30])
def test_an_rbms_onsets_are_scored_given_all_other_notes(hidden: int) -> None:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(88, 5, generator=generator, dtype=torch.float64)
    output = RBM(5, 88, hidden, generator=generator, dtype=torch.float64)
    model = SequenceModel(rnn, output).eval()
    found = score_piece(model, piece())
    frames = torch.from_numpy(piece().frames)[:, None]
    with torch.no_grad():
        predicted = model(torch.cat([torch.zeros_like(frames[:1]), frames[:-1]]))[0]
        pseudo = predicted.pseudo_log_prob(frames)[:, 0]
    assert found.exact == (hidden <= 20)
    assert "all other notes" in found.onset_convention
    np.testing.assert_allclose(found.note_log_probs.sum(1), pseudo)
    assert np.isfinite(found.log_likelihood)


def test_notes_come_with_the_surprisal_of_their_beginning_the_highest_first() -> None:
    frames = np.zeros((6, 88), np.uint8)
    frames[1:4, 39] = 1
    frames[4, 51] = 1
    songs = [Sequence("train", np.eye(88, dtype=np.uint8)[[39] * 30 + [51]])]
    bigram = fit_baseline("note-bigram", songs)
    found = score_piece(bigram, Piece("a", frames, frames_per_beat=1), beats_per_bar=3)
    rare, usual = found.notes()
    assert (rare.name, rare.begin, rare.end, rare.bar, rare.beat) == ("C5", 4, 5, 2, 2)
    assert (usual.name, usual.begin, usual.end, usual.bar, usual.beat) == ("C4", 1, 4, 1, 2)
    # 30 frames follow silence in row C5 or lead from it; one of them has the note
    assert rare.onset_surprisal == pytest.approx(-math.log2(1.5 / 32))
    # what else could sound after C4: C4 again (29 of 30 times), C5, and the 86 that never do
    usually, once, never = 29.5 / 1.5, 1.5 / 30.5, 0.5 / 31.5
    assert rare.surprisal == pytest.approx(math.log2((usually + once + 86 * never) / once))
    assert found.mean_surprisal() == pytest.approx((rare.surprisal + usual.surprisal) / 2)


def test_a_held_note_has_the_surprisal_of_the_frame_where_it_fits_least() -> None:
    found = score_piece(model(), piece())
    held = [note for note in found.notes() if note.end - note.begin > 1]
    assert held
    for note in held:
        bits = found.surprisal[note.begin : note.end, note.pitch - 21]
        assert note.surprisal == bits.max() > bits.min() > 0
    assert (found.surprisal[piece().frames == 0] == 0).all()


def test_silence_can_be_scored() -> None:
    found = score_piece(model(), Piece("rest", np.zeros((3, 88), np.uint8), frames_per_beat=1))
    assert (found.surprisal == 0).all()
    assert found.notes() == []


def test_bars_and_pitches_are_those_of_the_written_piece() -> None:
    found = score_piece(model(), piece(semitones=-2, first_beat=-1.0))
    by_frame = {note.begin: note for note in found.notes()}
    assert (by_frame[0].bar, by_frame[0].beat) == (0, 4)
    assert (by_frame[2].bar, by_frame[2].beat) == (1, 1)
    columns = {begin: np.flatnonzero(piece().frames[begin]) + 21 + 2 for begin in by_frame}
    assert all(note.pitch in columns[note.begin] for note in found.notes())
    bars = found.bars()
    assert sorted(bar.number for bar in bars) == [0, 1, 2]
    assert [bar.log_likelihood for bar in bars] == sorted(bar.log_likelihood for bar in bars)
    total = sum(bar.log_likelihood * (bar.end - bar.begin) for bar in bars)
    assert total == pytest.approx(found.log_likelihood * 11)


def test_a_note_that_breaks_the_pattern_is_the_most_surprising() -> None:
    steady = np.zeros((40, 88), np.uint8)
    steady[:, [39, 43, 46]] = 1
    bigram = fit_baseline("note-bigram", [Sequence("steady", steady)])
    wrong = steady.copy()
    wrong[20, 43], wrong[20, 44] = 0, 1
    assert score_piece(bigram, Piece("wrong", wrong, frames_per_beat=1)).notes()[0].pitch == 44 + 21
