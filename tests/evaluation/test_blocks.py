import math

import numpy as np
import pytest

from ostinato.evaluation.blocks import FEWEST_BLOCKS, block_length, blocks_of, in_blocks, residuals
from ostinato.evaluation.scores import pooled_score


def autoregression(rng, size, coefficient):
    noise = rng.normal(size=size + 200)
    x = np.zeros(size + 200)
    for t in range(1, size + 200):
        x[t] = coefficient * x[t - 1] + noise[t]
    return x[200:]


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.8])
def test_the_error_over_blocks_is_that_of_the_mean(coefficient) -> None:
    """The known variance of the mean of an AR(1) is 1 / (1 - c)^2 / S."""
    size, errors = 3000, []
    for seed in range(40):
        x = autoregression(np.random.default_rng(seed), size, coefficient)
        length = block_length(x)
        sums, counts = in_blocks(x, length), in_blocks(np.ones(size), length)
        errors.append(pooled_score(sums, counts, "", "").standard_error)
    known = 1 / (1 - coefficient) / math.sqrt(size)
    assert np.mean(errors) == pytest.approx(known, rel=0.1)


def test_longer_dependence_makes_longer_blocks_and_there_are_always_some() -> None:
    lengths = [
        np.median([block_length(autoregression(np.random.default_rng(s), 2000, c)) for s in range(20)])
        for c in (0.0, 0.5, 0.9)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 2 < lengths[2]
    trend = np.linspace(-1, 1, 200)
    assert block_length(trend) == 200 // FEWEST_BLOCKS
    assert len(in_blocks(trend, block_length(trend))) == FEWEST_BLOCKS


@pytest.mark.parametrize("values", [[], [1.0], [2.0] * 50, [math.inf] * 50, [1.0, -1.0] * 5])
def test_too_few_or_equal_or_infinite_values_stay_alone(values) -> None:
    assert block_length(np.array(values)) == 1
    assert in_blocks(np.array(values), 1).tolist() == values


def test_blocks_are_neighbours_and_lose_nothing() -> None:
    for size in (1, 7, 20, 101):
        for length in (1, 2, 3, 10, 200):
            blocks = blocks_of(size, length)
            assert (np.diff(blocks) >= 0).all()
            assert set(blocks) == set(range(max(size // length, 1)))
            values = np.arange(size, dtype=float)
            sums = in_blocks(values, length)
            assert sums.tolist() == [values[blocks == b].sum() for b in range(len(sums))]
    assert in_blocks(np.ones((3, 10)), 5).tolist() == [[5.0, 5.0]] * 3
    assert block_length(residuals(np.array([-math.inf, -2.0] * 20), np.ones(40))) == 1
    assert residuals(np.array([-3.0, -1.0]), np.array([1.0, 3.0])).tolist() == [-2.0, 2.0]
