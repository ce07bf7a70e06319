import pytest
import torch

from ostinato.nn.outputs.gibbs import BernoulliDraws, gibbs_chain


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_have_their_probabilities_and_depend_on_the_generator_alone(dtype: torch.dtype) -> None:
    p = torch.tensor([0.0, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-3, 1.0], dtype=dtype).expand(200_001, 7)
    drawn = BernoulliDraws(seeded())(p)
    assert drawn.dtype is dtype
    assert set(drawn.abs().unique().tolist()) == {0, 1}
    off = (drawn.mean(0) - p[0]).abs()
    assert (off <= 4.5 * (p[0] * (1 - p[0]) / len(p)).sqrt()).all()
    assert torch.equal(drawn, BernoulliDraws(seeded())(p))
    assert not torch.equal(drawn, BernoulliDraws(seeded(1))(p))


def test_neighbouring_draws_do_not_go_together() -> None:
    drawn = BernoulliDraws(seeded())(torch.full((100_000, 4), 0.3)) - 0.3
    flat = drawn.flatten()
    for lag in (1, 2, 4):
        correlation = (flat[:-lag] * flat[lag:]).mean() / 0.21
        assert abs(correlation) < 4.5 / len(flat) ** 0.5


def test_a_chain_keeps_the_distribution() -> None:
    draw = seeded()
    b, c = torch.randn(1, 3, generator=draw), torch.randn(1, 2, generator=draw)
    weight = torch.randn(3, 2, generator=draw)
    every = torch.tensor([[i >> k & 1 for k in range(3)] for i in range(8)], dtype=torch.float32)
    energy = (every * b).sum(1) + torch.nn.functional.softplus(c + every @ weight).sum(1)
    p = energy.softmax(0)
    start = every[torch.multinomial(p, 100_000, replacement=True, generator=draw)]
    biases = (b.expand(100_000, -1), c.expand(100_000, -1))
    end = gibbs_chain(start, *biases, weight, 3, BernoulliDraws(draw))
    found = (end @ torch.tensor([1.0, 2.0, 4.0])).long().bincount(minlength=8) / 100_000
    torch.testing.assert_close(found, p, atol=0.008, rtol=0)
