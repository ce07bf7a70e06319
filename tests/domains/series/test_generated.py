"""The generated series against exact solutions, other integrators and what is known of their attractors."""

import hashlib
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ostinato.domains.series.generated import (
    autoregression,
    generate,
    lorenz,
    lorenz_rate,
    mackey_glass,
    names,
)
from ostinato.errors import UserError


def test_mackey_glass_is_the_exact_solution_while_the_delayed_value_is_constant():
    """dx/dt = c - 0.1 x has x = 10 c + (x0 - 10 c) exp(-0.1 t), for t up to tau."""
    found = mackey_glass(18, start=1.2, washout=0)
    level = 10 * 0.2 * 1.2 / (1 + 1.2**10)
    expected = level + (1.2 - level) * np.exp(-0.1 * np.arange(18))
    np.testing.assert_allclose(found, expected, atol=1e-8, rtol=0)


def method_of_steps(spans: int, tau: float = 17.0, start: float = 1.2) -> list:
    """One ordinary differential equation for each delay, the one before it known as a dense solution."""
    solutions = [lambda t: start]
    now = start
    for k in range(spans):
        before = solutions[-1]

        def rate(t, x, before=before):
            then = float(before(t - tau))
            return 0.2 * then / (1 + then**10) - 0.1 * x

        solved = solve_ivp(
            rate, (k * tau, (k + 1) * tau), [now], "DOP853", rtol=1e-12, atol=1e-13, dense_output=True
        )
        now = solved.y[0, -1]
        solutions.append(lambda t, solved=solved: solved.sol(t)[0])
    return solutions[1:]


def test_mackey_glass_against_another_integrator():
    spans = 6
    solutions = method_of_steps(spans)
    found = mackey_glass(spans * 17 + 1, start=1.2, washout=0)
    expected = [1.2] + [float(solutions[math.ceil(t / 17) - 1](float(t))) for t in range(1, len(found))]
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_mackey_glass_converges_with_its_step():
    """Of order 4 a step of half the size has about a 16th of the error."""
    exact = mackey_glass(200, start=1.2, washout=0, substeps=80)
    coarse, fine = (
        np.abs(mackey_glass(200, start=1.2, washout=0, substeps=n) - exact).max() for n in (5, 10)
    )
    assert 8 < coarse / fine < 40
    assert fine < 1e-6


def test_mackey_glass_is_on_its_attractor():
    """Known of tau 17: between 0.2 and 1.4, mean about 0.93, a main period of about 50."""
    x = mackey_glass(10_000, 3)
    assert 0.2 < x.min() < 0.45
    assert 1.3 < x.max() < 1.4
    assert x.mean() == pytest.approx(0.93, abs=0.02)
    assert x.std() == pytest.approx(0.23, abs=0.015)
    power = np.abs(np.fft.rfft(x - x.mean())) ** 2
    assert 45 < len(x) / power[1:].argmax() < 55


def test_mackey_glass_is_chaotic_but_not_of_a_small_delay():
    near = [mackey_glass(3000, start=s, washout=0) for s in (1.2, 1.2 + 1e-9)]
    gap = np.abs(near[0] - near[1])
    assert gap[-300:].max() > 100 * gap[:300].max()
    tame = [mackey_glass(1500, start=s, washout=0, tau=10.0) for s in (1.2, 1.2 + 1e-9)]
    assert np.abs(tame[0] - tame[1])[-300:].max() < 1e-8


def test_lorenz_against_another_integrator():
    found = lorenz(60, seed=2, count=1, washout=0)[0]
    solved = solve_ivp(
        lambda t, x: lorenz_rate(x.reshape(3, 1)).ravel(),
        (0, 3),
        found[0],
        "DOP853",
        t_eval=0.05 * np.arange(60),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(found, solved.y.T, atol=2e-4, rtol=0)
    finer = lorenz(60, seed=2, count=1, washout=0, substeps=40)[0]
    np.testing.assert_allclose(finer, solved.y.T, atol=1e-6, rtol=0)


def test_lorenz_is_on_its_attractor():
    """x and y are symmetric around 0, z has mean about 23.5; the wings are at z = rho - 1 = 27."""
    values = lorenz(2000, count=20).reshape(-1, 3)
    assert np.abs(values[:, :2].mean(0)).max() < 0.7
    assert values[:, 2].mean() == pytest.approx(23.55, abs=0.2)
    assert values.std(0) == pytest.approx([7.92, 9.01, 8.6], abs=0.2)
    assert np.abs(values).max(0) == pytest.approx([19.5, 26.5, 47], abs=2)


def test_an_autoregression_has_its_moments_and_entropy():
    x = autoregression(200_000, 1, coefficient=0.8, deviation=0.5, mean=3.0)
    assert x.mean() == pytest.approx(3, abs=0.03)
    assert x.std() == pytest.approx(0.5 / 0.6, abs=0.01)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(0.8, abs=0.01)
    residual = (x[1:] - 3) - 0.8 * (x[:-1] - 3)
    nll = 0.5 * np.log(2 * np.pi * 0.25) + residual**2 / 0.5
    assert nll.mean() == pytest.approx(np.log(0.5 * np.sqrt(2 * np.pi * np.e)), abs=0.01)
    first = [autoregression(1, seed, coefficient=0.8)[0] for seed in range(2000)]
    assert np.std(first) == pytest.approx(1 / 0.6, abs=0.08)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("mackey-glass", "c6eb02583882d55e"),
        ("lorenz", "74dbd852d8f08146"),
    ],
)
def test_a_named_set_is_the_same_everywhere(name, digest):
    """To the last bit: of these two every operation is exact in IEEE 754."""
    made = generate(name)
    assert (
        hashlib.sha256(b"".join(s.values.astype("<f8").tobytes() for s in made.series)).hexdigest()[:16]
        == digest
    )
    assert len({s.values.tobytes() for s in made.series}) == len(made.series)
    assert all(s.values.shape[1] == len(made.columns) for s in made.series)
    other = generate(name, 1)
    assert not np.array_equal(other.series[0].values, made.series[0].values)


def test_names_that_are_none():
    assert names() == ("lorenz", "mackey-glass")
    with pytest.raises(UserError, match="did you mean mackey-glass"):
        generate("mackeyglass")
    with pytest.raises(ValueError, match=r"multiple of the substep 0\.1, got 17\.05"):
        mackey_glass(5, tau=17.05)
