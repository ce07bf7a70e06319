import math

import pytest
import torch
import torch.nn.functional as F

from ostinato.nn.outputs import Annealing, RBMFrames, enumeration
from ostinato.nn.outputs.agreement import Estimate, Estimator, Frames, t_quantile
from ostinato.nn.outputs.ais import anneal
from ostinato.nn.outputs.gibbs import mean_field_logits


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def peaked(count: int, seed: int = 0, *, visible: int = 12, hidden: int = 8, scale: float = 2.0) -> Frames:
    """RBMs with their own biases, and an exact sample of each."""
    draw = seeded(seed)
    b, c = torch.randn(count, visible, generator=draw) - 1, torch.randn(count, hidden, generator=draw)
    weight = scale * torch.randn(visible, hidden, generator=draw)
    return Frames(b, c, weight, enumeration.sample(b, c, weight, 1, generator=draw)[0])


def all_or_nothing() -> Frames:
    """All notes off, where mean field comes to, or all on: e^1.8 times as likely, and observed."""
    b, c, weight = torch.full((40, 6), -8.7), torch.full((40, 3), -18.0), torch.full((6, 3), 6.0)
    return Frames(b, c, weight, torch.ones(40, 6))


def exact(frames: Frames) -> torch.Tensor:
    biases = torch.cat([frames.b, frames.c], 1).double()
    return RBMFrames(biases, frames.weight.double()).log_prob(frames.observed)


def estimated(frames: Frames, work: Annealing, seed: int, part: int = 1000) -> Estimate:
    estimator = Estimator(len(frames), work, seeded(seed))
    for first in range(0, len(frames), part):
        estimator.add(frames[slice(first, first + part)])
    return estimator.finish()


def test_both_directions_and_the_bound_lie_where_they_should() -> None:
    frames = peaked(1000)
    truth = exact(frames)
    few = [0, 0.5, 0.8, 0.95, 1]
    starts = enumeration.sample(frames.b, frames.c, frames.weight, 3, generator=seeded(1))
    found = anneal(
        frames.b,
        frames.c,
        frames.weight,
        few,
        3,
        observed=frames.observed,
        starts=starts,
        generator=seeded(),
    )
    own = frames.log_weight()
    assert found.bound is not None
    for values, side in ((own - found.forward, 1), (own - found.backward, -1), (own - found.bound, -1)):
        off = values - truth
        assert side * off.mean() > 3 * off.std() / math.sqrt(len(off)) > 0


def test_the_bound_estimates_the_probability_that_a_forward_chain_ends_there() -> None:
    frames = peaked(1, visible=3, hidden=2)
    path = [0.0, 0.6, 1.0]
    every = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)], dtype=torch.float32)
    each = Frames(frames.b.expand(8, -1), frames.c.expand(8, -1), frames.weight, every)
    found = anneal(each.b, each.c, each.weight, path, 40_000, observed=each.observed, generator=seeded())
    assert found.bound is not None
    p = torch.exp(each.log_weight() - found.bound)
    assert p.sum().item() == pytest.approx(1, abs=0.02)
    # the chain itself: f_0, a step at 0.6, a step at 1
    base = torch.sigmoid(mean_field_logits(frames.b, frames.c, frames.weight)).double()
    ends = (every * base + (1 - every) * (1 - base)).prod(1)
    hiddens = torch.tensor([[i >> k & 1 for k in range(2)] for i in range(4)], dtype=torch.float64)
    logits0 = mean_field_logits(frames.b, frames.c, frames.weight).double()
    for beta in path[1:]:
        q = torch.sigmoid(beta * (frames.c + every @ frames.weight)).double()
        to_hidden = (hiddens * q[:, None] + (1 - hiddens) * (1 - q[:, None])).prod(2)
        bias = torch.lerp(logits0, frames.b.double(), beta)
        r = torch.sigmoid(bias + beta * hiddens @ frames.weight.T.double())
        to_visible = (every * r[:, None] + (1 - every) * (1 - r[:, None])).prod(2)
        ends = ends @ to_hidden @ to_visible
    torch.testing.assert_close(p, ends, atol=0.01, rtol=0)


def test_steps_grow_until_both_directions_agree() -> None:
    frames = peaked(600)
    found = estimated(frames, Annealing(tolerance=0.03), 1)
    assert found.agreed
    assert not found.capped
    assert abs(found.gap) <= 0.03
    low, high = found.interval()
    truth = float(exact(frames).mean())
    assert low < truth < high < low + 0.2
    assert found.mean(found.middle) == pytest.approx(truth, abs=0.03)
    assert found.mean(found.bound) < found.mean(found.forward)
    assert float(found.every("middle").mean()) == pytest.approx(found.mean(found.middle))


def test_without_agreement_there_is_a_limit_and_no_estimate() -> None:
    frames = peaked(300)
    found = estimated(frames, Annealing(steps=4), 1)
    assert not found.agreed
    assert found.capped
    assert found.steps == 4
    low, high = found.interval()
    assert low < float(exact(frames).mean()) < high
    assert high - low > 0.1


def test_of_many_frames_a_sample_is_annealed_and_counts_for_all() -> None:
    frames = peaked(3000)
    found = estimated(frames, Annealing(frames=700, tolerance=0.03), 1)
    assert len(found.rows) <= 700
    assert len(found.rough) == 3000
    assert len(found.rows.unique()) == len(found.rows)
    truth = exact(frames)
    assert found.interval()[0] < float(truth.mean()) < found.interval()[1]
    # other weights, as of songs that count the same whatever their length
    weights = torch.linspace(0.1, 2, 3000).double()
    low, high = found.interval(weights)
    assert low < float((weights * truth).sum() / weights.sum()) < high
    torch.testing.assert_close(found.forward, truth[found.rows], atol=3, rtol=0)


def test_parts_do_not_matter_for_which_frames_are_kept() -> None:
    frames = peaked(50)
    whole, parts = (Estimator(50, Annealing(frames=20), seeded(3)) for _ in range(2))
    whole.add(frames, rough=False)
    for first in range(0, 50, 7):
        parts.add(frames[slice(first, first + 7)], rough=False)
    assert torch.equal(whole.kept_rows, parts.kept_rows)
    assert torch.equal(whole.kept.b, frames.b[whole.kept_rows])
    assert torch.equal(parts.kept.observed, frames.observed[whole.kept_rows])
    with pytest.raises(ValueError, match="50 frames in all"):
        whole.add(frames)
    with pytest.raises(ValueError, match="found 0"):
        _ = Estimator(50, Annealing(), seeded()).kept


def test_what_is_above_probability_one_is_flagged() -> None:
    found = estimated(all_or_nothing(), Annealing(steps=2), 0)
    assert not found.agreed
    assert found.impossible.any()
    assert (found.impossible == (found.middle > 0)).all()


def test_what_both_directions_miss_the_bound_finds() -> None:
    # forward chains stay in one well, backward ones start in it: they agree, and are wrong by 1.9 nats
    found = estimated(all_or_nothing(), Annealing(steps=40), 0)
    assert abs(float((found.forward - found.backward).mean())) < 0.05
    assert float(found.middle.mean()) > 1
    assert not found.agreed
    assert found.interval()[0] < -0.16 < found.interval()[1]


def test_limits_are_checked() -> None:
    for wrong in ({"steps": 0}, {"chains": 1}, {"frames": 0}, {"tolerance": 0.0}):
        with pytest.raises(ValueError, match="expected at least 1 step"):
            Annealing(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_intervals_hold_the_exact_value() -> None:
    # the benchmark does this with trained ones of 14, 20 and 24 hidden units; 99 % of 30: two misses are rare
    held = 0
    for seed in range(30):
        frames = peaked(120, seed, scale=1.5)
        low, high = estimated(frames, Annealing(steps=400, tolerance=0.1), seed).interval()
        held += low <= float(exact(frames).mean()) <= high
    assert held >= 28


def test_log_weight_is_the_free_energy() -> None:
    frames = peaked(5)
    v = frames.observed.float()
    expected = (v * frames.b).sum(1) + F.softplus(frames.c + v @ frames.weight).sum(1)
    torch.testing.assert_close(frames.log_weight(), expected.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.975, 0.995, 0.9999])
def test_student_s_t_is_that_of_scipy(share) -> None:
    from scipy.stats import t

    for degrees in (1, 2, 3, 4, 7, 30, 199, 200, 201, 500, 10_000):
        assert t_quantile(share, degrees) == pytest.approx(t.ppf(share, degrees), rel=2e-6, abs=1e-9)
