import itertools

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence
from ostinato.domains.music.evaluation.accuracy import expected_accuracy
from ostinato.domains.music.evaluation.baselines import BASELINES, fit_baseline
from ostinato.domains.music.evaluation.frames import evaluate_frames, total_by_song
from ostinato.evaluation.scores import pooled_score
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli, BernoulliFrames


def songs(lengths: list[int], visible: int = 6, seed: int = 0) -> list[Sequence]:
    draw = np.random.default_rng(seed)
    return [
        Sequence(f"song{i}", (draw.random((n, visible)) < 0.3).astype(np.uint8))
        for i, n in enumerate(lengths)
    ]


def model(visible: int = 6) -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(visible, 7, 2, leak=0.3, generator=generator, dtype=torch.float64)
    return SequenceModel(rnn, Bernoulli(7, visible, generator=generator, dtype=torch.float64)).eval()


@pytest.mark.parametrize("streams", [1, 2, 3, 50])
@pytest.mark.parametrize("segment_length", [1, 7, 1000])
def test_scores_depend_on_neither_streams_nor_segments(streams: int, segment_length: int) -> None:
    pieces = songs([13, 1, 40, 8, 22])
    reference = total_by_song(model(), pieces, accuracy=True, streams=1, segment_length=10**6).scores()
    totals = total_by_song(model(), pieces, accuracy=True, streams=streams, segment_length=segment_length)
    for name, score in totals.scores().items():
        assert score.value == pytest.approx(reference[name].value, rel=1e-9)
        assert score.standard_error == pytest.approx(reference[name].standard_error, rel=1e-9)
        assert score.count == reference[name].count


def test_each_song_is_scored_as_if_alone_and_its_first_frame_counts() -> None:
    pieces, net = songs([5, 9]), model()
    totals = total_by_song(net, pieces)
    for index, piece in enumerate(pieces):
        frames = torch.from_numpy(piece.values).unsqueeze(1)
        inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
        expected = net(inputs)[0].log_prob(frames).sum().item()
        assert totals.log_prob[index] == pytest.approx(expected, rel=1e-12)
        assert totals.frames[index] == len(piece)


def test_empty_songs_are_left_out() -> None:
    totals = total_by_song(model(), [*songs([4]), Sequence("empty", np.zeros((0, 6), np.uint8))])
    assert totals.names == ("song0",)


def brute_force_accuracy(p: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    hits = errors = overlap = 0.0
    for drawn in itertools.product([0, 1], repeat=len(p)):
        v = np.array(drawn)
        weight = np.prod(np.where(v == 1, p, 1 - p))
        tp = (v & y).sum()
        hits += weight * tp
        errors += weight * (v | y).sum()
        size = max(v.sum(), y.sum())
        overlap += weight * (1.0 if size == 0 else tp / size)
    return hits, errors, overlap


def test_expected_accuracy_against_enumeration() -> None:
    draw = np.random.default_rng(0)
    logits = torch.from_numpy(draw.normal(size=(12, 6)))
    targets = (draw.random((12, 6)) < 0.4).astype(int)
    targets[0] = 0
    targets[1] = 1
    expected = expected_accuracy(BernoulliFrames(logits), torch.from_numpy(targets), chunk=5)
    for n in range(12):
        hits, errors, overlap = brute_force_accuracy(torch.sigmoid(logits[n]).numpy(), targets[n])
        assert expected.hits[n].item() == pytest.approx(hits, abs=1e-12)
        assert expected.errors[n].item() == pytest.approx(errors, abs=1e-12)
        assert expected.overlap[n].item() == pytest.approx(overlap, abs=1e-12)


def test_baselines_are_smoothed_frequencies() -> None:
    a = np.array([[1, 0], [1, 1], [0, 1]], np.uint8)
    b = np.array([[0, 1]], np.uint8)
    train = [Sequence("a", a), Sequence("b", b)]
    silence = torch.zeros(1, 1, 2, dtype=torch.uint8)
    sounding = torch.ones(1, 1, 2, dtype=torch.uint8)

    def mean(name: str, before: torch.Tensor) -> list[float]:
        return fit_baseline(name, train)(before)[0].mean.flatten().tolist()

    assert mean("iid", silence) == pytest.approx([5.5 / 9] * 2)
    assert mean("1-gram", silence) == pytest.approx([2.5 / 5, 3.5 / 5])
    # after silence: note 0 on in 1 of 2 frames (the first of each song), note 1 in 2 of 3
    assert mean("note-bigram", silence) == pytest.approx([1.5 / 3, 2.5 / 4])
    # after a note: note 0 on in 1 of 2, note 1 in 1 of 1
    assert mean("note-bigram", sounding) == pytest.approx([1.5 / 3, 1.5 / 2])
    with pytest.raises(ValueError, match="iid, 1-gram, note-bigram"):
        fit_baseline("2-gram", train)


def test_a_better_informed_baseline_scores_better() -> None:
    draw = np.random.default_rng(1)
    held = np.repeat((draw.random((60, 6)) < [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).astype(np.uint8), 8, axis=0)
    train = [Sequence("held", held)]
    values = [evaluate_frames(fit_baseline(name, train), train)["log_likelihood"].value for name in BASELINES]
    assert values == sorted(values)


def test_standard_error_of_equal_songs_is_that_of_a_mean() -> None:
    means = np.array([1.0, 2.0, 4.0, 5.0])
    score = pooled_score(means * 10, np.full(4, 10.0), "x", "y")
    assert score.value == 3
    assert score.standard_error == pytest.approx(means.std(ddof=1) / 2)
    single = pooled_score(np.array([4.0]), np.array([2.0]), "x", "y")
    assert np.isnan(single.standard_error)
    assert single.to_dict()["standard_error"] is None
