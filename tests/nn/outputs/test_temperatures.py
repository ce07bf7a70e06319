import itertools

import numpy as np
import pytest
import torch

from ostinato.nn.outputs.ais import anneal
from ostinato.nn.outputs.temperatures import cubic, respaced


@pytest.mark.parametrize("steps", [1, 2, 7, 300])
def test_paths_rise_from_zero_to_one(steps: int) -> None:
    losses = np.random.default_rng(0).normal(size=50) ** 2
    for path in (cubic(steps), respaced(cubic(50), losses, steps), respaced(cubic(50), [0.0] * 50, steps)):
        assert len(path) == steps + 1
        assert (path[0], path[-1]) == (0.0, 1.0)
        assert all(a <= b for a, b in itertools.pairwise(path))


def test_steps_are_in_proportion_to_the_root_of_the_friction() -> None:
    # half of the path with 9 times the friction: it gets 3 of 4 steps
    before = np.linspace(0, 1, 101)
    friction = np.where(before[:-1] < 0.5, 1.0, 9.0)
    path = np.array(respaced(before.tolist(), (friction * np.diff(before) ** 2).tolist(), 400))
    kept = 0.1 * (1 + 3) / 2  # every interval keeps a share of the mean
    assert (path > 0.5).sum() / 400 == pytest.approx((3 + kept) / (4 + 2 * kept), abs=0.02)


def test_a_respaced_path_loses_less() -> None:
    draw = torch.Generator().manual_seed(0)
    b, c = torch.randn(300, 12, generator=draw) - 1, torch.randn(300, 8, generator=draw)
    weight = 3 * torch.randn(12, 8, generator=draw)
    wrong = [(k / 40) ** 3 for k in range(41)]  # dense where nothing is lost

    def losses(path: list[float], seed: int) -> torch.Tensor:
        return anneal(b, c, weight, path, 4, generator=torch.Generator().manual_seed(seed)).losses

    first = losses(wrong, 1)
    assert first.sum() > 0.1
    assert losses(respaced(wrong, first.tolist(), 40), 2).sum() < 0.7 * first.sum()
