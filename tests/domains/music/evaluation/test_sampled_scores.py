import math

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence
from ostinato.domains.music.evaluation.accuracy import expected_accuracy, sampled_accuracy
from ostinato.domains.music.evaluation.estimated import efforts
from ostinato.domains.music.evaluation.frames import in_quarters, score_songs, total_by_song
from ostinato.domains.music.evaluation.measures import Sampling
from ostinato.evaluation.scores import Score
from ostinato.evaluation.tables import show
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


def test_a_large_rbm_is_scored_by_a_bound_with_an_interval() -> None:
    net, pieces = model("rbm", 21), songs([13, 1, 0, 40], 21)
    net.output.annealing = Annealing(2000)
    totals = total_by_song(net, pieces)
    for name, score in totals.scores().items():
        assert score.estimate, name
        assert score.bound
        assert score.told
        assert "lower bound" in score.convention
        assert score.convention.startswith(score.basis)
        assert score.interval is not None
        low, high = score.interval
        assert low < score.value < high
        assert score.effort["agreed"]
        assert low < score.effort["estimate"] < high
        assert score.effort["frames"] == 54
        assert score.effort["frames_above_probability_1"] == 0
        assert score.sampling_error > 0
    # 21 units can be enumerated, where it is asked for
    exact = 0.0
    with torch.no_grad():
        for piece in pieces:
            if len(piece):
                frames = torch.from_numpy(piece.values).unsqueeze(1)
                predicted = net(torch.cat([torch.zeros_like(frames[:1]), frames[:-1]]))[0]
                exact += (-predicted.free_energy(frames) - predicted.log_partition()).sum().item()
    low, high = totals.log_likelihood().interval
    assert low < exact / 54 < high
    cheap = total_by_song(net, pieces, cheap=True)
    assert not cheap.log_likelihood().estimate
    assert cheap.log_prob.sum() != totals.log_prob.sum()


def test_without_agreement_there_is_an_interval_and_nothing_else() -> None:
    net, pieces = model("rbm", 22), songs([13, 40], 22)
    with torch.no_grad():
        net.output.interaction.mul_(6)
    net.output.annealing = Annealing(2)
    totals = total_by_song(net, pieces)
    score = totals.log_likelihood()
    assert not score.told
    assert score.effort["capped"]
    assert score.effort["estimate"] is None
    assert score.to_dict()["value"] is None
    assert Score.from_dict(score.to_dict()).interval == score.interval
    assert show(score).startswith("cannot tell\n[")
    assert all(song["log_likelihood"] is None for song in score_songs(net, pieces))
    (told,) = efforts({"log_likelihood": score.effort})
    assert "as many steps as were allowed" in told
    assert "cannot tell" in told


def test_frames_above_probability_one_are_said() -> None:
    effort = {"gap": 1.0, "ais_steps": 1, "frames": 9, "agreed": False, "capped": True, "estimate": None}
    told = list(efforts({"log_likelihood": effort | {"frames_above_probability_1": 2}}))
    assert told[1].startswith("2 of 9 frames came out above probability 1")


def test_accuracies_of_an_rbm_come_from_chains_that_have_met() -> None:
    net, pieces = model("rbm", 8, rbm_size=4), songs([60, 1, 0, 90], 8)
    scores = total_by_song(net, pieces, accuracy=True, sampling=Sampling(40)).scores()
    assert not scores["log_likelihood"].estimate
    # exact, from every frame's table
    every = torch.tensor([[i >> k & 1 for k in range(8)] for i in range(256)], dtype=torch.uint8)
    right, wrong, overlap = 0.0, 0.0, 0.0
    with torch.no_grad():
        for piece in pieces:
            if not len(piece):
                continue
            frames = torch.from_numpy(piece.values)
            inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]]).unsqueeze(1)
            predicted = net(inputs)[0]
            p = torch.stack([predicted.log_prob(v.expand(len(frames), 1, 8)).exp()[:, 0] for v in every])
            for v, own in zip(every, p, strict=True):
                hits = (v & frames).sum(1).double()
                size, true = v.sum().double(), frames.sum(1).double()
                larger = torch.maximum(size, true)
                right += float((own * hits).sum())
                wrong += float((own * (size + true - hits)).sum())
                overlap += float((own * torch.where(larger > 0, hits / larger.clamp_min(1), 1.0)).sum())
    for name, exact in (("accuracy_bay", right / wrong), ("accuracy_per_frame", overlap / 151)):
        score = scores[name]
        assert score.effort["mixed"]
        assert score.count == 151
        low, high = score.interval
        assert low < score.value < high < low + 12
        assert low < 100 * exact < high


def test_accuracies_of_chains_that_do_not_meet_are_not_told() -> None:
    net, pieces = model("rbm", 12, rbm_size=8), songs([400], 12)
    with torch.no_grad():
        net.output.interaction.mul_(40)
    net.output.sampling.limit = 2
    scores = total_by_song(net, pieces, accuracy=True).scores()
    score = scores["accuracy_per_frame"]
    assert not score.told
    assert not score.effort["mixed"]
    assert score.effort["gibbs_steps"] == 2
    assert score.interval[0] < score.effort["far"] < score.effort["near"] < score.interval[1]


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


def test_an_estimate_in_quarter_notes_keeps_its_interval() -> None:
    frame = Score(-4.0, "nats/frame", "pooled", 9, 3, 0.1).estimated(
        0.01, (-4.5, -3.5), "by sampling", bound=True, effort={"gap": 0.1}
    )
    found = in_quarters({"log_likelihood": frame}, 4)["log_likelihood_per_quarter"]
    assert (found.value, found.interval, found.bound) == (-16.0, (-18.0, -14.0), True)
    assert (found.sampling_error, found.standard_error, found.unit) == (0.04, 0.4, "nats/quarter")
    assert found.effort == {}  # that of the frames' score
