import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ostinato.nn.outputs import RBM, Annealing, RBMFrames, enumeration
from ostinato.nn.outputs.ais import anneal


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_frames(count: int, visible: int, hidden: int, *, scale: float = 0.7, seed: int = 0) -> RBMFrames:
    draw = seeded(seed)
    biases = torch.randn(count, visible + hidden, generator=draw, dtype=torch.float64)
    weight = scale * torch.randn(visible, hidden, generator=draw, dtype=torch.float64)
    return RBMFrames(biases, weight)


def every_frame(visible: int) -> Tensor:
    return torch.tensor(list(itertools.product([0, 1], repeat=visible)), dtype=torch.uint8)


@pytest.mark.parametrize(("visible", "hidden"), [(1, 1), (6, 4), (4, 6), (10, 12)])
def test_probabilities_of_all_frames_sum_to_one(visible: int, hidden: int) -> None:
    frames = random_frames(3, visible, hidden)
    assert frames.exact
    every = every_frame(visible)
    for biases in frames.biases:
        repeated = RBMFrames(biases.expand(len(every), -1), frames.weight)
        assert repeated.log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(("visible", "hidden"), [(5, 3), (3, 5)])
def test_enumerated_samples_match_the_exact_distribution(visible: int, hidden: int) -> None:
    frames = random_frames(1, visible, hidden)
    b, c = frames.biases.split([visible, hidden], 1)
    drawn = enumeration.sample(b, c, frames.weight, 20000, generator=seeded(1))[:, 0]
    observed = (drawn.long() @ (2 ** torch.arange(visible - 1, -1, -1))).bincount(minlength=2**visible)
    p = torch.cat([frames.log_prob(v.expand(1, visible)) for v in every_frame(visible)]).exp()
    assert 20000 * p.min() > 1
    assert stats.chisquare(observed.numpy(), 20000 * p.numpy()).pvalue > 0.001


def test_gibbs_samples_and_marginals_come_near_the_exact_distribution() -> None:
    frames = random_frames(2, 5, 4, scale=0.5)
    every = every_frame(5)
    p = torch.stack([frames.log_prob(v.expand(2, 5)).exp() for v in every])
    exact = (p.unsqueeze(2) * every.unsqueeze(1)).sum(0)
    drawn = frames.sample((8000,), generator=seeded())
    assert drawn.dtype is torch.uint8
    torch.testing.assert_close(drawn.double().mean(0), exact, atol=0.03, rtol=0)
    torch.testing.assert_close(frames.marginals(4000, generator=seeded()), exact, atol=0.03, rtol=0)


def test_clamped_gibbs_keeps_fixed_notes_and_claims_no_weight() -> None:
    frames = random_frames(1, 5, 4, scale=0.5)
    fixed, values = torch.tensor([True, False, False, True, False]), torch.tensor([1, 0, 0, 0, 1])
    many = RBMFrames(frames.biases.expand(8000, -1), frames.weight)
    drawn, weight = many.sample_given(fixed, values, generator=seeded())
    assert weight is None
    assert (drawn[:, fixed] == values[fixed]).all()
    every = every_frame(5)
    p = torch.cat([frames.log_prob(v.expand(1, 5)) for v in every]).exp()
    p = p * (every[:, fixed] == values[fixed]).all(1)
    expected = (p.unsqueeze(1) * every).sum(0) / p.sum()
    torch.testing.assert_close(drawn.double().mean(0), expected, atol=0.03, rtol=0)


def test_pseudo_log_prob_against_its_definition() -> None:
    frames = random_frames(4, 6, 3)
    values = (torch.rand(4, 6, generator=seeded(1)) < 0.4).to(torch.uint8)
    expected = torch.zeros(4, dtype=torch.float64)
    for i in range(6):
        flipped = values.clone()
        flipped[:, i] ^= 1
        here, there = frames.log_prob(values), frames.log_prob(flipped)
        expected += here - torch.logaddexp(here, there)
    torch.testing.assert_close(frames.pseudo_log_prob(values), expected)


def test_training_score_is_unbiased() -> None:
    output = RBM(2, 20, 4, generator=seeded(), dtype=torch.float64)
    hidden = torch.randn(30, 2, generator=seeded(1), dtype=torch.float64)
    values = (torch.rand(30, 20, generator=seeded(2)) < 0.3).to(torch.uint8)
    draw = seeded(3)
    scores = torch.stack([output.training_score(hidden, values, draw) for _ in range(400)])
    exact = output(hidden).pseudo_log_prob(values).sum()
    assert abs(scores.mean() - exact) < 4 * scores.std() / 20


def close_to_data(hidden: int, data: Tensor, *, seed: int = 0, updates: int = 300) -> RBM:
    """An RBM with weights of the size that training gives, from a few hundred steps of CD on frames."""
    draw = seeded(seed)
    output = RBM(1, data.shape[1], hidden, generator=draw)
    output.initialize_bias_((data.sum(0) + 0.5) / (len(data) + 1))
    optimizer = torch.optim.SGD(output.parameters(), lr=0.05, momentum=0.9)
    for _ in range(updates):
        batch = data[torch.randint(len(data), (100,), generator=draw)]
        optimizer.zero_grad()
        (output.training_loss(torch.zeros(100, 1), batch, draw) / 100).backward()
        optimizer.step()
    return output


def self_made_chords(count: int = 2000) -> Tensor:
    draw = np.random.default_rng(0)
    roots = draw.integers(0, 12, count)
    frames = np.zeros((count, 40), np.uint8)
    for note in (0, 4, 7, 12):
        frames[np.arange(count), roots + note + 12 * draw.integers(0, 2, count)] = 1
    return torch.from_numpy(frames ^ (draw.random(frames.shape) < 0.01))


def check_annealing(data: Tensor) -> None:
    output = close_to_data(15, data)
    values = data[:: len(data) // 60][:60]
    with torch.no_grad():
        hidden = 5 * torch.randn(60, 1, generator=seeded(5))  # so that every frame has its own biases
        plain = output(hidden)
        frames = RBMFrames(plain.biases.double(), plain.weight.double(), Annealing(2000))
        exact = float(frames.log_prob(values).mean())
        for seed in range(2):
            estimate = frames.likelihood(values, generator=seeded(seed))
            low, high = estimate.interval()
            assert low < exact < high
            assert estimate.mean(estimate.middle) == pytest.approx(exact, abs=0.05)
        # few steps, so that both errors show: in expectation they lie on either side
        b, c = frames.biases.split(list(frames.weight.shape), 1)
        log_z, forward, backward = frames.log_partition(), [], []
        starts = enumeration.sample(b, c, frames.weight, 40, generator=seeded(99)).split(2)
        for seed in range(20):
            path, draw = [k / 8 for k in range(9)], seeded(100 + seed)
            made = anneal(b, c, frames.weight, path, 2, starts=starts[seed], generator=draw)
            forward.append((made.forward - log_z).mean())
            backward.append((made.backward - log_z).mean())
    low, high = torch.stack(forward), torch.stack(backward)
    assert low.mean() + 2 * low.std() / 20**0.5 < 0
    assert high.mean() - 2 * high.std() / 20**0.5 > 0


@pytest.mark.slow
def test_annealing_agrees_with_enumeration_and_its_directions_bracket_it() -> None:
    check_annealing(self_made_chords())


@pytest.mark.slow
@pytest.mark.skipif("OSTINATO_DATA" not in os.environ, reason="needs the published data sets")
def test_annealing_agrees_with_enumeration_on_jsb_frames() -> None:
    from ostinato.domains.music.reading import data_sets as music

    assert Path(os.environ["OSTINATO_DATA"]).is_dir()
    songs = music.load("jsb").train
    check_annealing(torch.from_numpy(np.concatenate([song.values for song in songs])))


def test_annealing_of_independent_notes_is_exact() -> None:
    b, c = torch.randn(3, 30, generator=seeded()), torch.zeros(3, 25)
    frames = RBMFrames(torch.cat([b, c], 1).double(), torch.zeros(30, 25).double(), Annealing(3, 2))
    assert not frames.exact
    values = torch.zeros(3, 30)
    estimate = frames.likelihood(values)
    expected = -torch.nn.functional.softplus(b.double()).sum(1)
    torch.testing.assert_close(estimate.forward[estimate.rows.argsort()], expected)
    torch.testing.assert_close(estimate.backward[estimate.rows.argsort()], expected)
    torch.testing.assert_close(estimate.bound[estimate.rows.argsort()], expected)
    torch.testing.assert_close(frames.log_prob(values), expected)


@pytest.mark.parametrize("chains", [0, 50])
def test_contrastive_divergence_learns_chords(chains: int) -> None:
    data, draw = self_made_chords(), seeded()
    output = RBM(1, 40, 15, cd_steps=5, persistent_chains=chains, generator=draw)
    output.initialize_bias_((data.sum(0) + 0.5) / (len(data) + 1))
    zeros = torch.zeros(100, 1)
    with torch.no_grad():
        before = output(zeros[:1]).log_prob(data[:200]).mean()
    optimizer = torch.optim.SGD(output.parameters(), lr=0.05, momentum=0.9)
    for _ in range(300):
        batch = data[torch.randint(len(data), (100,), generator=draw)]
        optimizer.zero_grad()
        (output.training_loss(zeros, batch, draw) / 100).backward()
        optimizer.step()
    with torch.no_grad():
        assert output(zeros[:1]).log_prob(data[:200]).mean() > before + 0.5


def test_the_gradient_of_contrastive_divergence_is_that_of_the_likelihood_at_equilibrium() -> None:
    output = RBM(2, 5, 4, cd_steps=40, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        output.interaction.mul_(30)
    hidden = torch.randn(1, 2, generator=seeded(1), dtype=torch.float64).repeat(20000, 1)
    values = torch.tensor([1, 0, 1, 1, 0]).repeat(20000, 1)
    loss = output.training_loss(hidden, values, seeded(2)) / 20000
    wanted = (output.weight, output.bias, output.interaction)
    estimate = torch.autograd.grad(loss, wanted)
    exact = torch.autograd.grad(output.nll(hidden[:1], values[:1]), wanted)
    torch.testing.assert_close(estimate, exact, atol=0.02, rtol=0)


def test_mean_field_loss_is_the_cross_entropy_of_the_visible_biases() -> None:
    output = RBM(3, 6, 4, generator=seeded(), dtype=torch.float64)
    hidden = torch.randn(7, 3, generator=seeded(1), dtype=torch.float64)
    values = (torch.rand(7, 6, generator=seeded(2)) < 0.3).to(torch.uint8)
    p = torch.sigmoid(output(hidden).biases[:, :6])
    expected = -torch.where(values == 1, p, 1 - p).log().sum()
    torch.testing.assert_close(output.mean_field_loss(hidden, values), expected)


def test_too_large_a_model_is_not_enumerated() -> None:
    assert not random_frames(1, 21, 22).exact  # it could be, where it is asked for
    with pytest.raises(ValueError, match="at most 24 units"):
        random_frames(1, 25, 26).log_partition()
