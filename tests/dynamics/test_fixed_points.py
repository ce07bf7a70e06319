"""Fixed points: against closed forms, and memories built by hand."""

import pytest
import torch

from ostinato import UserError
from ostinato.dynamics import fixed_points, jacobian, step_map
from ostinato.nn import GRU, LSTM, RNN


def linear(radius, size=6, dtype=torch.float64):
    torch.manual_seed(0)
    cell = RNN(3, size, nonlinearity="identity", dtype=dtype)
    w = cell.weight_hh_l0.data
    w.mul_(radius / torch.linalg.eigvals(w).abs().max())
    return cell


def near_set(found, expected):
    """Whether two sets of complex numbers are one another's."""
    distances = (found.unsqueeze(-1) - expected.unsqueeze(-2)).abs()
    return float(distances.amin(-1).max()), float(distances.amin(-2).max())


@pytest.mark.parametrize(("radius", "stable"), [(0.9, True), (1.2, False)])
def test_a_linear_network(radius, stable):
    cell = linear(radius)
    u = torch.randn(3).double()
    found = fixed_points(cell, u, starts=3 * torch.randn(20, 6).double())
    w = cell.weight_hh_l0.detach()
    b = cell.weight_ih_l0.detach() @ u + (cell.bias_ih_l0 + cell.bias_hh_l0).detach()
    assert len(found) == 1
    assert found.converged == found.starts == 20
    assert found.count.tolist() == [20]
    expected = torch.linalg.solve(torch.eye(6).double() - w, b)
    torch.testing.assert_close(found.states[0], expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.jacobian[0], w)
    assert max(near_set(found.eigenvalues[0], torch.linalg.eigvals(w))) < 1e-10
    assert found.stable.tolist() == [stable]
    assert float(found.eigenvalues[0, 0].abs()) == pytest.approx(radius)


def flip_flop_by_hand(units=8):
    """Three groups of units that read twice their own mean: in each, tanh(2 m) = m has 3 solutions."""
    cell = RNN(3, 3 * units, bias=False, dtype=torch.float64)
    block = torch.full((units, units), 2.0 / units, dtype=torch.float64)
    cell.weight_hh_l0.data.copy_(torch.block_diag(block, block, block))
    return cell


def test_three_bits():
    cell = flip_flop_by_hand()
    draws = torch.Generator().manual_seed(0)
    starts = 2 * torch.rand(400, 24, generator=draws, dtype=torch.float64) - 1
    starts = 0.3 * starts + (2 * torch.rand(400, 3, generator=draws).double() - 1).repeat_interleave(8, 1)
    found = fixed_points(cell, starts=starts)
    level = 0.9575040240772687  # tanh(2 m) = m
    assert int(found.stable.sum()) == 8
    means = found.states.unflatten(1, (3, 8))
    torch.testing.assert_close(means, means.mean(2, keepdim=True).expand_as(means), atol=1e-9, rtol=0)
    places = (means.mean(2) / level).round()
    torch.testing.assert_close(means.mean(2), places * level, atol=1e-9, rtol=0)
    assert {tuple(p) for p in places[found.stable].int().tolist()} == {
        (a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)
    }
    # a group at 0 has the eigenvalue 2, one at the level 2 (1 - level^2)
    zeros = (places == 0).sum(1)
    largest = torch.where(zeros > 0, 2.0, 2 * (1 - level**2))
    torch.testing.assert_close(found.eigenvalues[:, 0].abs(), largest.double(), atol=1e-7, rtol=0)
    assert len({tuple(p) for p in places.int().tolist()}) == len(found) > 8


@pytest.mark.parametrize("make", [GRU, LSTM], ids=["GRU", "LSTM"])
@pytest.mark.parametrize("layers", [1, 2])
def test_points_stay_where_they_are(make, layers):
    torch.manual_seed(1)
    cell = make(3, 5, layers, dtype=torch.float64)
    for name, parameter in cell.named_parameters():
        if name.startswith("weight_hh"):
            parameter.data.mul_(4)
    u = torch.randn(3).double()
    size = step_map(cell).beginning(1).shape[1]
    found = fixed_points(cell, u, starts=torch.randn(100, size).double())
    assert len(found) > 0
    assert found.converged + len(found.unconverged) == 100
    assert int(found.count.sum()) == found.converged
    state = step_map(cell).formed(found.states)
    after = cell(u.expand(1, len(found), 3), state)[1]
    assert float((step_map(cell).flat(after) - found.states).detach().abs().max()) < 1e-9
    torch.testing.assert_close(found.jacobian, jacobian(cell, found.states, u))
    # a stable point is reached again from nearby, an unstable one is left
    for place in range(len(found)):
        start = found.states[place : place + 1]
        moved = start + 1e-6 * torch.randn(1, size, generator=torch.Generator().manual_seed(0)).double()
        end = step_map(cell).last(moved, u.expand(2000, 1, 3), 2000).detach()
        assert bool((end - start).abs().max() < 1e-7) == bool(found.stable[place])


def test_slow_points_are_no_fixed_points():
    def ghost(state, _):  # a saddle-node bifurcation that has just vanished: x' = x + x^2 + 0.01
        return state + state.square() + 0.01

    found = fixed_points(ghost, starts=torch.linspace(-0.5, 0.5, 11, dtype=torch.float64).view(-1, 1))
    assert len(found) == found.converged == 0
    assert found.states.shape == (0, 1)
    torch.testing.assert_close(found.unconverged, torch.zeros(11, 1).double(), atol=2e-3, rtol=0)
    torch.testing.assert_close(
        found.unconverged_residual, torch.full((11,), 0.01).double(), atol=1e-5, rtol=0
    )


def test_what_leaves_the_finite_numbers_is_not_converged():
    def f(state, _):
        return torch.where(state > 5, torch.full_like(state, float("nan")), 0.5 * state)

    found = fixed_points(f, starts=torch.tensor([[1.0], [9.0]], dtype=torch.float64))
    assert (len(found), found.converged) == (1, 1)
    assert found.unconverged.tolist() == [[9.0]]


def test_single_precision_and_tokens():
    cell = linear(0.8, dtype=torch.float32)
    found = fixed_points(cell, torch.ones(3), starts=torch.randn(10, 6))
    assert len(found) == 1
    assert found.states.dtype == torch.float32
    tokens = RNN(4, 5, token_inputs=True, dtype=torch.float64)
    for token in range(4):
        found = fixed_points(tokens, torch.tensor(token), starts=torch.randn(10, 5).double())
        h = found.states[:1]
        after = tokens(torch.tensor([[token]]), h.unsqueeze(0))[1][0]
        torch.testing.assert_close(after.detach(), h, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"starts": torch.zeros(0, 6).double()}, "at least one state"),
        ({"starts": torch.full((2, 6), float("nan")).double()}, "expected finite real starts"),
        ({"starts": torch.zeros(2, 6).double(), "inputs": torch.zeros(2, 3).double()}, "one constant input"),
        ({"starts": torch.zeros(2, 6).double(), "tolerance": 0.0}, "expected tolerance above 0"),
        ({"starts": torch.zeros(2, 6).double(), "distance": -1.0}, "expected distance above 0"),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(UserError, match=message):
        fixed_points(linear(0.9), **arguments)
