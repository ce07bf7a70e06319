import math

import pytest
import torch

from ostinato.nn.outputs import RBMFrames
from ostinato.nn.outputs.gibbs import BernoulliDraws
from ostinato.nn.outputs.mixing import RHAT, ChainRecord, Machines, bracketed, settled_draws, split_rhat


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_wells(depth: float, count: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first three notes, or the other three, equally likely, with little between: (b, c, W)."""
    sides = torch.tensor([1.0, 1, 1, -1, -1, -1])
    return torch.zeros(count, 6), torch.zeros(count, 2), depth * torch.stack([sides, -sides], 1)


def test_rhat_of_chains_that_are_alike_and_that_are_not() -> None:
    draw = torch.randn(400, 4, 5, generator=seeded())
    assert split_rhat(draw) == pytest.approx(1, abs=0.01)
    assert split_rhat(draw + 3 * torch.tensor([0.0, 1.0, 0.0, 1.0])[:, None]) > 1.5
    drifting = draw + torch.linspace(0, 6, 400)[:, None, None]  # the halves differ
    assert split_rhat(drifting) > 1.5
    assert split_rhat(torch.zeros(10, 4, 2)) == 1
    assert split_rhat(torch.arange(4.0).expand(10, 4).unsqueeze(2)) == math.inf
    assert split_rhat(draw[:3]) == math.inf


def test_chains_that_mix_stop_early_and_draw_rightly() -> None:
    b, c, weight = two_wells(1.5, 4000)
    record = ChainRecord(4096)
    drawn = settled_draws(Machines(b, c, weight, BernoulliDraws(seeded())), record)
    assert record.unmixed == 0
    assert record.steps < 4096
    assert record.rhat < RHAT
    assert drawn.mean(0).tolist() == pytest.approx([0.5] * 6, abs=0.04)


def test_chains_that_do_not_mix_say_so() -> None:
    b, c, weight = two_wells(6.0, 8)
    record = ChainRecord(128)
    settled_draws(Machines(b, c, weight, BernoulliDraws(seeded(2))), record)
    assert (record.calls, record.unmixed, record.steps) == (1, 1, 128)
    assert record.rhat > RHAT


def test_annealed_chains_find_both_wells() -> None:
    # each chain stays where it comes to, so that only the path spreads them
    b, c, weight = two_wells(4.0, 2000)
    ends = Machines(b, c, weight, BernoulliDraws(seeded())).annealed()
    assert ends.mean(0).tolist() == pytest.approx([0.5] * 6, abs=0.05)
    assert ((ends[:, :3].sum(1) - ends[:, 3:].sum(1)).abs() == 3).float().mean() > 0.7


def test_held_notes_stay_in_every_chain() -> None:
    b, c, weight = two_wells(0.8, 50)
    fixed = torch.tensor([True, False, False, False, False, True]).expand(50, 6)
    given = torch.tensor([1.0, 0, 0, 0, 0, 0]).expand(50, 6)
    machines = Machines(b, c, weight, BernoulliDraws(seeded()), fixed, given)
    for values in (machines.independent(), machines.annealed(), settled_draws(machines, ChainRecord(500))):
        assert (values[:, 0] == 1).all()
        assert (values[:, 5] == 0).all()


def test_chains_from_both_sides_meet_at_the_exact_mean() -> None:
    draw = seeded()
    b, c = torch.randn(500, 6, generator=draw), torch.randn(500, 4, generator=draw)
    weight = 2 * torch.randn(6, 4, generator=draw)
    observed = (torch.rand(500, 6, generator=draw) < 0.5).to(torch.uint8)

    def alike(drawn: torch.Tensor) -> torch.Tensor:
        return (drawn == observed).float().sum(1)

    machines = Machines(b, c, weight, BernoulliDraws(draw))
    found = bracketed(machines, observed, alike, draws=8, limit=4096, tolerance=0.05)
    assert found.met
    assert found.near.shape == found.far.shape == (8, 500, 6)
    every = torch.tensor([[i >> k & 1 for k in range(6)] for i in range(64)], dtype=torch.uint8)
    frames = RBMFrames(torch.cat([b, c], 1), weight)
    p = torch.stack([frames.log_prob(v.expand(500, 6)).exp() for v in every])
    exact = float((p * torch.stack([alike(v.expand(500, 6)) for v in every])).sum(0).mean())
    middle = (sum(alike(x).mean() for x in (*found.near, *found.far)) / 16).item()
    assert middle == pytest.approx(exact, abs=0.06)


def test_chains_that_stay_where_they_started_do_not_meet() -> None:
    b, c, weight = two_wells(6.0, 300)
    observed = torch.tensor([1, 1, 1, 0, 0, 0], dtype=torch.uint8).expand(300, 6)

    def alike(drawn: torch.Tensor) -> torch.Tensor:
        return (drawn == observed).float().sum(1)

    machines = Machines(b, c, weight, BernoulliDraws(seeded()))
    found = bracketed(machines, observed, alike, draws=4, limit=150, tolerance=0.05)
    assert not found.met
    assert found.steps == 150
    assert found.difference > 1  # too near, and too far
