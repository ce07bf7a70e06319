"""Damping, line search, vectors: the small parts."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim.hessian_free import (
    Candidate,
    LevenbergMarquardt,
    backtrack,
    best_candidate,
    diagonal_preconditioner,
    reduction_ratio,
)
from ostinato.optim.hessian_free.operator import flatten, unflatten


@given(st.floats(1e-9, 1e9), st.floats(allow_nan=False))
def test_damping_rises_with_bad_steps_and_falls_with_good_ones(damping: float, rho: float) -> None:
    after = LevenbergMarquardt()(damping, rho)
    assert after == pytest.approx(damping * (1.5 if rho < 0.25 else 1 / 1.5 if rho > 0.75 else 1))


def test_no_damping_comes_back_only_after_a_bad_step() -> None:
    rule = LevenbergMarquardt()
    assert rule(0.0, 1.0) == 0
    assert rule(0.0, -math.inf) == rule.smallest
    assert rule(rule.largest, -1.0) == rule.largest
    assert rule(rule.smallest, 1.0) == rule.smallest


def test_damping_settings_are_checked() -> None:
    with pytest.raises(UserError, match="above 1"):
        LevenbergMarquardt(factor=1.0)
    with pytest.raises(UserError, match="low < high"):
        LevenbergMarquardt(low=0.8)


@pytest.mark.parametrize(
    ("after", "predicted", "rho"),
    [(2.0, -2.0, 0.5), (5.0, -2.0, -1.0), (2.0, 0.0, -math.inf), (math.inf, -1.0, -math.inf)],
)
def test_reduction_ratio(after: float, predicted: float, rho: float) -> None:
    assert reduction_ratio(3.0, after, predicted) == rho


def test_preconditioner_without_damping_or_gradient_stays_finite() -> None:
    assert bool(diagonal_preconditioner(torch.zeros(3), 0.0).isfinite().all())


def path(*values: float) -> list[Candidate]:
    return [Candidate(i, torch.tensor(value)) for i, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("losses", "chosen", "evaluations"),
    [
        ((5.0, 4.0, 3.0), 3, 2),
        ((5.0, 2.0, 3.0), 2, 3),
        ((1.0, 2.0, 3.0), 1, 3),
        ((0.0, 9.0, 3.0), 3, 2),  # an earlier dip behind a rise is not looked for
        ((3.0, math.nan, math.inf), 1, 3),
        ((2.0, 2.0), 2, 2),
    ],
)
def test_candidates_are_walked_back(losses: tuple[float, ...], chosen: int, evaluations: int) -> None:
    choice = best_candidate(path(*losses), float)
    assert (choice.candidate.iteration, choice.evaluations) == (chosen, evaluations)


@given(st.floats(0.01, 10), st.floats(-5, 5))
def test_backtracking_lowers_a_quadratic(curvature: float, slope: float) -> None:
    def loss(size: float) -> float:
        return 1 + slope * size + curvature * size * size

    found = backtrack(loss, 1.0, slope)
    if slope < 0 and found.step_size > 0:
        assert found.loss == loss(found.step_size) <= 1 + 0.01 * found.step_size * slope
    if slope >= 0:
        assert (found.step_size, found.evaluations) == (0.0, 0)


def test_backtracking_gives_up_and_passes_what_is_not_finite() -> None:
    assert backtrack(lambda s: 2.0, 1.0, -1.0).step_size == 0
    found = backtrack(lambda s: math.nan if s > 0.5 else 0.0, 1.0, -1.0, at_one=math.inf)
    assert 0 < found.step_size <= 0.5
    assert backtrack(lambda s: 0.0, 1.0, -1.0, at_one=0.5).evaluations == 0


@given(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5))
def test_vectors_and_back(shapes: list[list[int]]) -> None:
    tensors = [torch.randn(shape) for shape in shapes]
    for tensor, part in zip(tensors, unflatten(flatten(tensors), tensors), strict=True):
        assert part.equal(tensor)
    with pytest.raises(ValueError, match="expected a vector of"):
        unflatten(torch.zeros(sum(t.numel() for t in tensors) + 1), tensors)
