"""Lyapunov exponents: against closed forms, and Lorenz's."""

import math

import pytest
import torch

from ostinato import UserError
from ostinato.dynamics import lyapunov_exponents, trajectory_jacobians
from ostinato.nn import GRU, LSTM, RNN


@pytest.mark.parametrize("number", [6, 2, 1])
@pytest.mark.parametrize("every", [1, 4])
def test_a_linear_network(number, every):
    torch.manual_seed(0)
    cell = RNN(3, 6, nonlinearity="identity", dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(6, 6).double()).Q + 0.1 * torch.randn(6, 6).double()
    values = torch.tensor([1.02, 0.9, -0.7, 0.5, 0.4, 0.2]).double()
    cell.weight_hh_l0.data.copy_(basis @ values.diag() @ basis.inverse())
    found = lyapunov_exponents(cell, number=number, steps=600, burn_in=200, every=every, dt=0.5)
    expected = values.abs().log()[:number] / 0.5
    torch.testing.assert_close(found.mean, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.exponents[0], expected, rtol=1e-8, atol=1e-8)
    assert found.steps == 400
    assert found.running.shape == (20, 1, number)
    assert float(found.standard_error.max()) < 1e-8


@pytest.mark.parametrize("make", [RNN, GRU, LSTM])
def test_both_ways_agree_and_the_sum_is_that_of_the_determinants(make):
    torch.manual_seed(2)
    cell = make(2, 4, dtype=torch.float64)
    drive = torch.randn(60, 3, 2).double()
    draws = torch.Generator().manual_seed(0)
    whole = lyapunov_exponents(cell, drive, burn_in=0, generator=draws)
    few = lyapunov_exponents(cell, drive, 1, burn_in=0, generator=draws)
    size = whole.exponents.shape[1]
    logs = torch.linalg.det(trajectory_jacobians(cell, drive)[0]).abs().log().mean(0)
    torch.testing.assert_close(whole.exponents.sum(1), logs)
    assert size >= 4
    # the leading one does not depend on how many there are: by tangents here, by Jacobians there
    settled = lyapunov_exponents(cell, drive.repeat(10, 1, 1), 1, burn_in=300)
    again = lyapunov_exponents(cell, drive.repeat(10, 1, 1), burn_in=300)
    torch.testing.assert_close(settled.exponents[:, 0], again.exponents[:, 0], rtol=1e-6, atol=1e-6)
    assert few.exponents.shape == (3, 1)


def test_pieces_give_the_same(monkeypatch):
    torch.manual_seed(2)
    cell, drive = GRU(2, 4, dtype=torch.float64), torch.randn(50, 3, 2).double()
    found = [
        lyapunov_exponents(cell, drive, burn_in=7, every=3, generator=torch.Generator().manual_seed(0)).mean
    ]
    monkeypatch.setattr("ostinato.dynamics.lyapunov.AT_ONCE", 3 * 16 * 5)
    found.append(
        lyapunov_exponents(cell, drive, burn_in=7, every=3, generator=torch.Generator().manual_seed(0)).mean
    )
    torch.testing.assert_close(*found)


def lorenz(state):
    x, y, z = state.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def runge_kutta(state, _, dt=0.02):
    a = lorenz(state)
    b = lorenz(state + dt / 2 * a)
    c = lorenz(state + dt / 2 * b)
    d = lorenz(state + dt * c)
    return state + dt / 6 * (a + 2 * b + 2 * c + d)


@pytest.mark.slow
def test_lorenz():
    """0.9056, 0 and -14.5723, whose sum -41/3 is the divergence (Sprott 2003): within 2 per cent."""
    draws = torch.Generator().manual_seed(0)
    start = 5 * torch.randn(512, 3, dtype=torch.float64, generator=draws) + torch.tensor([0.0, 0, 25])
    for _ in range(2500):
        start = runge_kutta(start, None)
    found = lyapunov_exponents(
        runge_kutta, hx=start, steps=1300, burn_in=500, every=5, dt=0.02, generator=draws
    )
    first, second, third = found.mean.tolist()
    assert first == pytest.approx(0.9056, rel=0.02)
    assert abs(first - 0.9056) < 4 * float(found.mean_standard_error[0])
    assert abs(second) < 0.01
    assert third == pytest.approx(-14.5723, rel=0.005)
    assert first + second + third == pytest.approx(-41 / 3, rel=1e-3)
    assert found.dimension == pytest.approx(2.0621, rel=0.002)


def test_the_standard_error_covers_the_spread_of_streams():
    def tent(state, _):  # its slopes 1 / 0.3 and 1 / 0.7 are drawn, in effect, independently
        return torch.where(state < 0.3, state / 0.3, (1 - state) / 0.7)

    start = torch.rand(200, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = lyapunov_exponents(tent, hx=start, steps=2000)
    assert float(found.mean[0]) == pytest.approx(
        -0.3 * math.log(0.3) - 0.7 * math.log(0.7), abs=5 * float(found.mean_standard_error[0])
    )
    spread = math.sqrt(0.3 * 0.7) * math.log(0.7 / 0.3) / math.sqrt(1800)
    assert float(found.standard_error.square().mean().sqrt()) == pytest.approx(spread, rel=0.1)
    assert float(found.mean_standard_error[0]) == pytest.approx(spread / math.sqrt(200), rel=0.2)
    # a single stream has its own error
    alone = lyapunov_exponents(tent, hx=start[:1], steps=2000)
    assert torch.equal(alone.mean_standard_error, alone.standard_error[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": 5}, "expected number from 1 to 4"),
        ({"number": 0}, "expected number from 1 to 4"),
        ({"burn_in": 10}, "expected burn_in from 0 to below 10"),
        ({"every": 0}, "expected every"),
        ({"dt": 0.0}, "expected dt above 0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(UserError, match=message):
        lyapunov_exponents(GRU(2, 4), steps=10, **arguments)


def test_a_run_that_does_not_stay_finite():
    with pytest.raises(UserError, match=r"does not by step \d"):
        lyapunov_exponents(lambda h, x: h**3, hx=torch.tensor([[9.0]]), steps=30)
