"""Jacobians and their products: against differences, dense matrices and each other, for each kind of cell."""

import pytest
import torch

from ostinato import UserError
from ostinato.dynamics import (
    jacobian,
    jacobian_product,
    largest_singular_value,
    pullback,
    pushforward,
    sample_states,
    step_map,
    trajectory_jacobians,
)
from ostinato.nn import GRU, LSTM, RNN

CELLS = {
    "RNN": lambda: RNN(3, 4, leak=0.3, dtype=torch.float64),
    "two layers": lambda: RNN(3, 4, 2, "sigmoid", dtype=torch.float64),
    "GRU": lambda: GRU(3, 4, leak=0.2, dtype=torch.float64),
    "LSTM": lambda: LSTM(3, 4, 2, dtype=torch.float64),
    "projected": lambda: LSTM(3, 4, proj_size=2, dtype=torch.float64),
    "batch_first": lambda: GRU(3, 4, batch_first=True, dtype=torch.float64),
    "tokens": lambda: RNN(3, 4, token_inputs=True, dtype=torch.float64),
}


def made(name, steps=5, streams=2):
    torch.manual_seed(3)
    cell = CELLS[name]()
    for parameter in cell.parameters():
        parameter.data.mul_(1.5)
    drive = (
        torch.randint(3, (steps, streams)) if name == "tokens" else torch.randn(steps, streams, 3).double()
    )
    hx = torch.randn_like(step_map(cell).beginning(streams))
    return cell, drive.transpose(0, 1) if name == "batch_first" else drive, hx


def by_differences(cell, drive, hx, width=1e-6):
    """(N, S, S) of a run, by central differences through the module itself."""
    flow = step_map(cell)

    def last(states):
        return flow.flat(cell(drive, flow.formed(states))[1]).detach()

    columns = []
    for place in range(hx.shape[1]):
        shift = torch.zeros_like(hx)
        shift[:, place] = width
        columns.append((last(hx + shift) - last(hx - shift)) / (2 * width))
    return torch.stack(columns, -1)


@pytest.mark.parametrize("name", CELLS)
def test_against_differences(name):
    cell, drive, hx = made(name)
    whole = by_differences(cell, drive, hx)
    torch.testing.assert_close(jacobian_product(cell, drive, hx), whole, atol=1e-8, rtol=1e-6)
    one = drive[:, :1] if name == "batch_first" else drive[:1]
    own = drive[:, 0] if name == "batch_first" else drive[0]
    torch.testing.assert_close(jacobian(cell, hx, own), by_differences(cell, one, hx), atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("name", CELLS)
def test_products_agree(name):
    cell, drive, hx = made(name)
    steps, states = trajectory_jacobians(cell, drive, hx)
    flow = step_map(cell)
    torch.testing.assert_close(states[-1], flow.flat(cell(drive, flow.formed(hx))[1]).detach())
    product = torch.eye(hx.shape[1], dtype=torch.float64)
    for step in steps:
        product = step @ product
    torch.testing.assert_close(jacobian_product(cell, drive, hx), product)
    v = torch.randn(2, hx.shape[1], 3).double()
    torch.testing.assert_close(pushforward(cell, v, drive, hx), product @ v)
    torch.testing.assert_close(pullback(cell, v, drive, hx), product.mT @ v)
    torch.testing.assert_close(pushforward(cell, v[..., 0], drive, hx), (product @ v)[..., 0])
    draws = torch.Generator().manual_seed(0)
    value, right, left = largest_singular_value(
        cell, drive, hx, iterations=5000, tolerance=1e-15, generator=draws
    )
    torch.testing.assert_close(value, torch.linalg.matrix_norm(product, 2), rtol=1e-7, atol=0)
    torch.testing.assert_close(
        (product @ right.unsqueeze(-1)).squeeze(-1), value.unsqueeze(1) * left, rtol=1e-10, atol=1e-12
    )


def test_closed_form_of_a_leaky_layer():
    cell, drive, hx = made("RNN")
    before = torch.cat([hx.unsqueeze(0), cell(drive, hx.unsqueeze(0))[0][:-1].detach()])
    z = drive @ cell.weight_ih_l0.T + before @ cell.weight_hh_l0.T + cell.bias_ih_l0 + cell.bias_hh_l0
    slope = 0.7 * (1 - torch.tanh(z).square())
    expected = 0.3 * torch.eye(4) + slope.unsqueeze(-1) * cell.weight_hh_l0
    torch.testing.assert_close(trajectory_jacobians(cell, drive, hx)[0], expected.detach())


def test_pieces_give_the_same(monkeypatch):
    cell, drive, hx = made("GRU")
    whole = trajectory_jacobians(cell, drive, hx)[0]
    monkeypatch.setattr("ostinato.dynamics.jacobians.AT_ONCE", 20)
    torch.testing.assert_close(trajectory_jacobians(cell, drive, hx)[0], whole)


def test_states_go_both_ways():
    flow = step_map(CELLS["LSTM"]())
    state = (torch.randn(2, 3, 4).double(), torch.randn(2, 3, 4).double())
    h, c = flow.formed(flow.flat(state))
    assert torch.equal(h, state[0])
    assert torch.equal(c, state[1])


def test_sampled_states_are_visited_ones():
    cell, drive, _ = made("RNN", steps=20)
    drawn = sample_states(cell, drive, 50, generator=torch.Generator().manual_seed(0))
    visited = cell(drive)[0].detach().flatten(0, 1)
    assert bool(((drawn.unsqueeze(1) - visited).abs().amax(2).amin(1) < 1e-12).all())
    noisy = sample_states(cell, drive, 5000, noise=0.1, generator=torch.Generator().manual_seed(0))
    exact = sample_states(cell, drive, 5000, generator=torch.Generator().manual_seed(0))
    assert (noisy - exact).std().item() == pytest.approx(0.1, rel=0.05)


def test_no_parameter_gets_a_gradient_and_no_result_needs_one():
    cell, drive, hx = made("RNN")
    v = torch.randn(2, 4).double()
    for result in (jacobian(cell, hx), pushforward(cell, v, drive, hx), pullback(cell, v, drive, hx)):
        assert not result.requires_grad
    assert all(parameter.grad is None for parameter in cell.parameters())


class Noisy(GRU):
    """Says of itself what a cell with noise says."""

    is_noisy = True


def test_noise_that_does_not_act_is_none():
    assert step_map(Noisy(3, 4).eval()).beginning(1).shape == (1, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: step_map(torch.nn.GRU(3, 4)), "its state dict loads into ostinato.nn.GRU"),
        (lambda: step_map(GRU(3, 4, bidirectional=True)), "both directions"),
        (lambda: step_map(GRU(3, 4, 2, dropout=0.5)), r"dropout=0.5 while training; call its eval\(\) first"),
        (lambda: step_map(Noisy(3, 4)), r"found noise; call its eval\(\) first"),
        (lambda: step_map(3), "found a int"),
        (lambda: jacobian(GRU(3, 4), torch.zeros(2, 5)), r"expected flat states \(N, 4\)"),
        (lambda: jacobian(LSTM(3, 4), torch.zeros(1, 2, 4)), r"\(1, N, 4\), \(1, N, 4\).*found \(1, 2, 4\)"),
        (lambda: jacobian(GRU(3, 4), torch.zeros(2, 4), torch.zeros(3, 3)), "for N=2 points"),
        (
            lambda: jacobian(GRU(3, 4), torch.zeros(2, 4).double()),
            "own type torch.float32, found torch.float64",
        ),
        (lambda: jacobian(GRU(3, 4), torch.zeros(2, 4).numpy()), "states as tensors, found numpy.ndarray"),
        (lambda: jacobian(lambda h, x: h, torch.zeros(2, 4).numpy()), "of a function, found a ndarray"),
        (lambda: jacobian_product(GRU(3, 4)), "expected steps of at least 1"),
        (
            lambda: jacobian_product(GRU(3, 4), torch.zeros(2, 1, 3), steps=3),
            "expected no steps beside inputs",
        ),
        (lambda: jacobian_product(GRU(3, 4), torch.zeros(2, 3, 3), torch.zeros(2, 4)), "each of 3 streams"),
        (lambda: jacobian_product(lambda h, x: h, steps=2), "expected hx"),
        (lambda: jacobian(lambda h, x: h[:, :1], torch.zeros(1, 2)), "expected f to return states"),
        (lambda: jacobian_product(CELLS["tokens"](), steps=2), "reads tokens"),
        (lambda: pushforward(GRU(3, 4), torch.zeros(1, 5), steps=2), "expected vectors"),
        (lambda: sample_states(GRU(3, 4), count=0, steps=2), "expected count"),
        (lambda: sample_states(GRU(3, 4), noise=-1.0, steps=2), "expected noise"),
        (lambda: sample_states(GRU(3, 4), noise=float("nan"), steps=2), "expected noise as a finite number"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UserError, match=message):
        call()
