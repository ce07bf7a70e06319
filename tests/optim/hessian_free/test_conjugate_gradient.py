import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import linalg

from ostinato.optim.hessian_free import RelativeProgress, conjugate_gradient


def system(seed: int, size: int, spread: float = 30.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A symmetric positive definite A with condition number about `spread`, b and a start."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(size, size, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(draw)[0]
    values = torch.linspace(1, spread, size, dtype=torch.float64)
    b, x = torch.randn(2, size, generator=generator, dtype=torch.float64)
    return (basis * values) @ basis.T, b, x


@given(st.integers(0, 10_000), st.integers(2, 30), st.booleans(), st.booleans())
def test_iterates_are_scipys(seed: int, size: int, warm: bool, preconditioned: bool) -> None:
    a, b, x = system(seed, size)
    start = x if warm else None
    diagonal = 1 / a.diagonal() if preconditioned else None
    path: list[np.ndarray] = []
    iterations = max(1, size - 1)
    linalg.cg(
        a.numpy(),
        b.numpy(),
        None if start is None else start.numpy(),
        rtol=0.0,
        maxiter=iterations,
        M=None if diagonal is None else torch.diag(diagonal).numpy(),
        callback=lambda xk: path.append(xk.copy()),
    )
    ours = conjugate_gradient(
        lambda v: a @ v,
        b,
        start,
        preconditioner=diagonal,
        max_iterations=iterations,
        spacing=1.0,
    )
    reached = {c.iteration: c.value.numpy() for c in ours.candidates}
    assert ours.iterations == len(path)
    for iteration, value in reached.items():
        np.testing.assert_allclose(value, path[iteration - 1], rtol=1e-8, atol=1e-9)


@given(st.integers(0, 10_000), st.booleans())
def test_the_objective_falls_and_is_what_it_says(seed: int, warm: bool) -> None:
    a, b, x = system(seed, 20, spread=1e3)
    values: list[float] = []
    solution = conjugate_gradient(
        lambda v: a @ v, b, x if warm else None, max_iterations=25, callback=lambda _, phi: values.append(phi)
    )
    assert all(later <= earlier + 1e-9 * abs(earlier) for earlier, later in itertools.pairwise(values))
    exact = 0.5 * solution.value @ a @ solution.value - b @ solution.value
    assert solution.objective == pytest.approx(float(exact), rel=1e-9)
    assert solution.residual == pytest.approx(float((b - a @ solution.value).norm()), abs=1e-9)


@given(st.integers(0, 10_000))
def test_a_bad_start_is_left_and_a_good_one_kept(seed: int) -> None:
    a, b, x = system(seed, 10)
    good = torch.linalg.solve(a, b) / 2
    bad = -good
    for start, used in ((good, good), (bad, None)):
        left = conjugate_gradient(lambda v: a @ v, b, start, max_iterations=3, leave_bad_start=True)
        plain = conjugate_gradient(lambda v: a @ v, b, used, max_iterations=3)
        assert left.value.equal(plain.value)
        assert left.objective < 0
        assert left.products == 4
    once = conjugate_gradient(lambda v: a @ v, b, x, max_iterations=1, leave_bad_start=True)
    assert torch.dot(once.value, b) > 0


def test_it_converges_in_as_many_steps_as_there_are_eigenvalues() -> None:
    diagonal = torch.tensor([1.0, 1.0, 4.0, 4.0, 9.0], dtype=torch.float64)
    b = torch.arange(1.0, 6.0, dtype=torch.float64)
    solution = conjugate_gradient(lambda v: diagonal * v, b, tolerance=1e-10)
    assert (solution.status, solution.iterations, solution.products) == ("converged", 3, 3)
    torch.testing.assert_close(solution.value, b / diagonal)


def test_a_solved_system_needs_no_step() -> None:
    zero = torch.zeros(3)
    solution = conjugate_gradient(lambda v: v, zero)
    assert (solution.status, solution.iterations) == ("converged", 0)
    assert solution.value.equal(zero)
    assert [c.iteration for c in solution.candidates] == [0]


def test_candidates_are_spaced_and_end_with_the_solution() -> None:
    a, b, _ = system(3, 60, spread=1e6)
    solution = conjugate_gradient(lambda v: a @ v, b, max_iterations=25)
    wanted = sorted({min(math.ceil(1.3**j), 25) for j in range(30)})
    assert [c.iteration for c in solution.candidates] == wanted
    assert solution.candidates[-1].value.equal(solution.value)
    assert solution.status == "all iterations"


def test_no_curvature_and_not_finite_are_said_and_keep_the_last_iterate() -> None:
    diagonal, b = torch.tensor([1.0, -1.0]), torch.tensor([2.0, 1.0])
    indefinite = conjugate_gradient(lambda v: diagonal * v, b)
    assert indefinite.status == "no curvature"
    assert bool(indefinite.value.isfinite().all())
    broken = conjugate_gradient(lambda v: v * torch.nan, b)
    assert (broken.status, broken.iterations) == ("not finite", 0)
    assert broken.value.equal(torch.zeros(2))


def test_relative_progress_stops_where_martens_rule_says() -> None:
    a, b, _ = system(5, 200, spread=1e5)
    rule, values = RelativeProgress(), [0.0]
    solution = conjugate_gradient(
        lambda v: a @ v, b, stop=rule, max_iterations=5000, callback=lambda _, phi: values.append(phi)
    )
    assert solution.status == "little progress"
    i = solution.iterations
    k = max(10, i // 10)
    assert (values[i] - values[i - k]) / values[i] < 0.0005 * k
    for earlier in range(1, i):
        k = max(10, earlier // 10)
        if earlier > k:
            assert (values[earlier] - values[earlier - k]) / values[earlier] >= 0.0005 * k


def test_relative_progress_never_stops_while_phi_is_not_below_zero() -> None:
    assert not RelativeProgress()([0.0] + [3.0] * 50)
