import math

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence
from ostinato.domains.music.evaluation.accuracy import expected_accuracy, sampled_accuracy
from ostinato.domains.music.evaluation.frames import total_by_song
from ostinato.domains.music.evaluation.measures import Sampling
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import NADE, RBM, Annealing, BernoulliFrames, NADEFrames


def songs(lengths: list[int], visible: int, seed: int = 0) -> list[Sequence]:
    draw = np.random.default_rng(seed)
    return [
        Sequence(f"song{i}", (draw.random((n, visible)) < 0.3).astype(np.uint8))
        for i, n in enumerate(lengths)
    ]


def model(kind: str, visible: int, rbm_size: int = 25) -> SequenceModel:
    generator = torch.Generator().manual_seed(0)
    rnn = RNN(visible, 7, generator=generator)
    if kind == "nade":
        return SequenceModel(rnn, NADE(7, visible, 5, generator=generator)).eval()
    output = RBM(7, visible, rbm_size, annealing=Annealing(50, 3), generator=generator)
    with torch.no_grad():
        output.interaction.mul_(30)
    return SequenceModel(rnn, output).eval()


def test_drawn_frames_estimate_the_exact_accuracy() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(400, 6, generator=draw)
    targets = (torch.rand(400, 6, generator=draw) < 0.4).to(torch.uint8)
    targets[:5] = 0
    exact = expected_accuracy(BernoulliFrames(logits), targets)
    # NADE without hidden weights is the same distribution
    frames = NADEFrames(torch.cat([logits, torch.zeros(400, 1)], 1), torch.zeros(6, 1), torch.zeros(6, 1))
    drawn = sampled_accuracy(frames, targets, 200, draw)
    for name in ("hits", "errors", "overlap"):
        ours, theirs = getattr(drawn, name), getattr(exact, name)
        assert ours.shape == (200, 400)
        error = ours.mean(1).std() / math.sqrt(200)
        assert abs(ours.mean() - theirs.mean()) < 4 * error


def test_nade_scores_are_exact_and_its_accuracies_are_estimates_with_intervals() -> None:
    net, pieces = model("nade", 6), songs([13, 1, 40], 6)
    scores = total_by_song(net, pieces, accuracy=True, sampling=Sampling(8)).scores()
    likelihood = scores["log_likelihood"]
    assert not likelihood.estimate
    assert likelihood.interval is None
    assert likelihood.to_dict()["sampling_error"] is None
    for name in ("accuracy_bay", "accuracy_per_frame"):
        score = scores[name]
        assert score.estimate
        assert "8 drawn frames" in score.convention
        assert score.interval is not None
        low, high = score.interval
        assert 0 < low < score.value < high < 100
        assert high - low == pytest.approx(4 * score.sampling_error)
        assert score.count == 54
    again = total_by_song(net, pieces, accuracy=True, sampling=Sampling(8)).scores()
    assert again == scores


def test_a_large_rbm_is_scored_by_annealing_and_says_so() -> None:
    net, pieces = model("rbm", 22), songs([13, 1, 40], 22)
    totals = total_by_song(net, pieces)
    assert totals.effective_chains() == pytest.approx(2.5, abs=0.5)
    for name, score in totals.scores().items():
        assert score.estimate, name
        assert "too high in expectation" in score.convention
        assert score.interval is not None
        assert score.interval[0] < score.value < score.interval[1]
        assert score.sampling_error > 0
    cheap = total_by_song(net, pieces, cheap=True)
    assert not cheap.log_likelihood().estimate
    assert cheap.log_prob.sum() != totals.log_prob.sum()


def test_a_small_rbm_is_scored_exactly() -> None:
    net, pieces = model("rbm", 22, rbm_size=6), songs([13, 4], 22)
    totals = total_by_song(net, pieces)
    assert not totals.log_likelihood().estimate
    expected = 0.0
    for piece in pieces:
        frames = torch.from_numpy(piece.values).unsqueeze(1)
        inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
        expected += net(inputs)[0].log_prob(frames).sum().item()
    assert totals.log_prob.sum() == pytest.approx(expected, rel=1e-5)
