"""Rate networks as dynamical systems: every form against its Jacobian written out, and closed forms."""

import math
from itertools import pairwise

import pytest
import torch

from ostinato import UserError
from ostinato.dynamics import (
    fixed_points,
    jacobian,
    jacobian_product,
    largest_singular_value,
    lyapunov_exponents,
    pullback,
    pushforward,
    sample_states,
    step_map,
    trajectory_jacobians,
)
from ostinato.nn import CTRNN

I, H = 3, 5  # noqa: E741
FORMS = ("outside", "inside", "preactivation")
# Each nonlinearity and its slope.
PHI = {
    "tanh": (torch.tanh, lambda z: 1 - torch.tanh(z) ** 2),
    "softplus": (torch.nn.functional.softplus, torch.sigmoid),
    "retanh": (lambda z: torch.tanh(z.relu()), lambda z: (z > 0) * (1 - torch.tanh(z) ** 2)),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def network(form, phi="tanh", layers=1, **changes):
    """With Dale's law, masks, learned time constants, noise that does not act, and a learned beginning."""
    settings = {
        "dale": [1, 1, -1, 1, -1],
        "connectivity": torch.rand(H, H, generator=seeded(1)) > 0.2,
        "plasticity": torch.rand(H, H, generator=seeded(2)) > 0.2,
        "input_mask": [[1, 1, 0]] * H,
        "tau": torch.linspace(2, 6, H),
        "tau_bounds": (1.5, 9.0),
        "noise": 0.3,
        "learned_initial": True,
    }
    rnn = CTRNN(
        I, H, layers, phi, form=form, dtype=torch.float64, generator=seeded(3), **settings | changes
    ).eval()
    for name, parameter in rnn.named_parameters():
        if name.startswith(("weight_hh", "bias", "initial")):
            parameter.data.mul_(3).add_(0.1 * normal(*parameter.shape, seed=4))
    return rnn


def one_layer(rnn, layer, state, below):
    """The state after a step, its rates, and their derivatives by old state and input (N, H, .)."""
    a, w, u = rnn.alpha, rnn.recurrent_weight(layer), rnn.input_weight(layer)
    phi, slope = PHI[rnn.nonlinearity]
    given = below @ u.T + getattr(rnn, f"bias_ih_l{layer}") + getattr(rnn, f"bias_hh_l{layer}")
    kept = torch.diag(1 - a)
    if rnn.form == "preactivation":
        after = (1 - a) * state + a * (phi(state) @ w.T + given)
        by_state = kept + a.unsqueeze(1) * w * slope(state).unsqueeze(1)
        by_input = (a.unsqueeze(1) * u).expand(len(state), -1, -1)
        along = slope(after).unsqueeze(-1)
        return after, phi(after), by_state, by_input, along
    if rnn.form == "outside":
        z = state @ w.T + given
        after, gain = (1 - a) * state + a * phi(z), (a * slope(z)).unsqueeze(-1)
        return after, after, kept + gain * w, gain * u, torch.ones_like(gain)
    z = (1 - a) * state + a * (state @ w.T + given)
    after, gain = phi(z), slope(z).unsqueeze(-1)
    return after, after, gain * (kept + a.unsqueeze(1) * w), gain * a.unsqueeze(1) * u, torch.ones_like(gain)


def written_out(rnn, states, below):
    """The states (N, S) after a step, and the Jacobian (N, S, S), by the chain rule through the layers."""
    rows, ends, below_by_state = [], [], None
    for layer, state in enumerate(states.split(H, -1)):
        after, below, by_state, by_input, along = one_layer(rnn, layer, state, below)
        blocks = torch.zeros(len(states), H, states.shape[1], dtype=torch.float64)
        if below_by_state is not None:
            blocks = by_input @ below_by_state
        blocks[:, :, layer * H : (layer + 1) * H] += by_state
        rows.append(blocks)
        ends.append(after)
        below_by_state = along * blocks
    return torch.cat(ends, -1).detach(), torch.cat(rows, 1).detach()


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_jacobians_are_those_written_out(form, layers, phi):
    rnn = network(form, phi, layers)
    states, x = normal(4, layers * H, seed=5), normal(4, I, seed=6)
    assert torch.equal(rnn.recurrent_weight() == 0, ~rnn.constraints_hh[0].mask)
    _, expected = written_out(rnn, states, x)
    torch.testing.assert_close(jacobian(rnn, states, x), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_products_along_a_run_that_begins_where_it_learned_to(form, layers):
    rnn = network(form, "tanh", layers)
    drive = normal(6, 2, I, seed=7)
    state = rnn.initial_state(2).transpose(0, 1).flatten(1).detach()
    product, walked, steps = torch.eye(layers * H, dtype=torch.float64), [], []
    for x in drive:
        state, step = written_out(rnn, state, x)
        product = step @ product
        walked.append(state)
        steps.append(step)
    found, states = trajectory_jacobians(rnn, drive)
    close = {"rtol": 1e-8, "atol": 1e-10}
    torch.testing.assert_close(states, torch.stack(walked), **close)
    torch.testing.assert_close(found, torch.stack(steps), **close)
    torch.testing.assert_close(jacobian_product(rnn, drive), product, **close)
    v = normal(2, layers * H, 3, seed=8)
    torch.testing.assert_close(pushforward(rnn, v, drive), product @ v, **close)
    torch.testing.assert_close(pullback(rnn, v, drive), product.mT @ v, **close)
    value = largest_singular_value(rnn, drive, iterations=3000, tolerance=1e-15, generator=seeded(0))[0]
    torch.testing.assert_close(value, torch.linalg.matrix_norm(product, 2), rtol=1e-7, atol=0)


def linear(form, radius):
    """A network without a nonlinearity, whose W has this spectral radius."""
    rnn = CTRNN(
        I, H, 1, "identity", form=form, dt=0.5, tau=4.0, initialization="echo-state", spectral_radius=radius,
        generator=seeded(0), dtype=torch.float64,
    )  # fmt: skip
    return rnn.eval(), rnn.recurrent_weight().detach()


@pytest.mark.parametrize("radius", [0.9, 1.4])
@pytest.mark.parametrize("form", FORMS)
def test_a_linear_network_rests_where_its_equations_say(form, radius):
    rnn, w = linear(form, radius)
    u = normal(I, seed=1)
    found = fixed_points(rnn, u, starts=3 * normal(20, H, seed=2))
    given = (rnn.weight_ih_l0 @ u + rnn.bias_ih_l0 + rnn.bias_hh_l0).detach()
    expected = torch.linalg.solve(torch.eye(H, dtype=torch.float64) - w, given)
    assert len(found) == 1
    assert found.converged == 20
    torch.testing.assert_close(found.states[0], expected, rtol=1e-8, atol=1e-8)
    multipliers = 1 - 0.125 + 0.125 * torch.linalg.eigvals(w)
    apart = (found.eigenvalues[0].unsqueeze(1) - multipliers).abs()
    assert apart.amin(0).max() < 1e-8
    assert found.stable.item() == bool((multipliers.abs() < 1).all())


@pytest.mark.parametrize("form", FORMS)
def test_lyapunov_exponents_of_a_linear_network(form):
    """log |1 - a + a lambda| / dt of every eigenvalue lambda of W, here real ones a known step apart."""
    rnn, _ = linear(form, 0.9)
    basis = torch.linalg.qr(normal(H, H, seed=3)).Q + 0.1 * normal(H, H, seed=4)
    values = torch.tensor([1.3, 0.6, -0.5, -1.5, -3.0], dtype=torch.float64)
    rnn.assign_recurrent_(basis @ values.diag() @ basis.inverse())
    expected = (1 - 0.125 + 0.125 * values).log() / 0.5
    for number in (H, 2):  # by Jacobians, and by tangents
        found = lyapunov_exponents(rnn, number=number, steps=400, burn_in=300, every=2, dt=rnn.dt)
        torch.testing.assert_close(found.mean, expected[:number], rtol=1e-8, atol=1e-8)
    # in units of tau, the leading one is nearly that of continuous time, (lambda - 1) / tau
    assert found.mean[0].item() == pytest.approx((1.3 - 1) / 4, rel=0.03)


def memory(form):
    """Two groups of four units under Dale's law, each of which excites itself: each holds a bit."""
    excitation = torch.block_diag(torch.full((4, 4), 3.0), torch.full((4, 4), 3.0)).double()
    rnn = CTRNN(
        1, 8, 1, "sigmoid", form=form, tau=4.0, dale=1.0, connectivity=excitation > 0, dtype=torch.float64
    )
    rnn.assign_recurrent_(excitation)
    with torch.no_grad():
        rnn.bias_hh_l0.fill_(-6.0)
        rnn.bias_ih_l0.zero_()
    return rnn.eval()


def roots(form):
    """The rates m at which a group rests, by bisection of its own equation."""
    a = 0.25

    def excess(m):
        drive = 12 * m - 6
        z = (1 - a) * m + a * drive if form == "inside" else drive
        return 1 / (1 + math.exp(-z)) - m

    grid = [k / 997 for k in range(998)]
    found = []
    for low, high in pairwise(grid):
        if excess(low) * excess(high) < 0:
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if excess(low) * excess(middle) > 0 else (low, middle)  # noqa: PLW2901
            found.append((low + high) / 2)
    return found


@pytest.mark.parametrize("form", FORMS)
def test_memories_by_hand(form):
    """Every pair of a group's rests is a rest of both: those that hold two bits attract."""
    rnn = memory(form)
    levels = torch.tensor(roots(form), dtype=torch.float64)
    own = levels if form != "preactivation" else 12 * levels - 6  # the state is h
    spread = 1.0 if form != "preactivation" else 12.0
    draws = seeded(5)
    starts = spread * torch.rand(400, 2, generator=draws, dtype=torch.float64) - (spread - 1) / 2
    starts = starts.repeat_interleave(4, 1) + 0.01 * torch.randn(400, 8, generator=draws).double()
    found = fixed_points(rnn, starts=starts)
    means = found.states.unflatten(1, (2, 4))
    torch.testing.assert_close(means, means[..., :1].expand_as(means), rtol=0, atol=1e-8)
    places = (means[..., 0].unsqueeze(-1) - own).abs()
    assert places.amin(-1).max() < 1e-8
    count = len(levels)
    assert {tuple(p) for p in places.argmin(-1).tolist()} == {
        (i, j) for i in range(count) for j in range(count)
    }
    if form == "inside":  # a quarter of a step within the sigmoid is too little gain for two rests
        assert count == 1
        assert found.stable.all()
        return
    assert count == 3
    assert int(found.stable.sum()) == 4
    assert set(places.argmin(-1)[found.stable].flatten().tolist()) == {0, 2}
    # stable ones are come back to, saddles left
    for state, stable in zip(found.states, found.stable, strict=True):
        moved = (state + 1e-5).unsqueeze(0)
        end = step_map(rnn).last(moved, None, 4000).detach()
        assert bool((end - state).abs().max() < 1e-6) == bool(stable)


@pytest.mark.parametrize("form", FORMS)
def test_starts_are_states_that_a_run_visits(form):
    rnn = network(form)
    drive = normal(20, 4, I, seed=9)
    drawn = sample_states(rnn, drive, 50, generator=seeded(0))
    state, visited = rnn.initial_state(4)[0].detach(), []
    for x in drive:
        state = written_out(rnn, state, x)[0]
        visited.append(state)
    apart = (drawn.unsqueeze(1) - torch.cat(visited)).abs().amax(2).amin(1)
    assert apart.max() < 1e-10


@pytest.mark.parametrize("in_evaluation", [False, True])
def test_noise_that_acts_is_no_map(in_evaluation):
    rnn = network("outside", noise_in_eval=in_evaluation).train(not in_evaluation)
    with pytest.raises(UserError, match=r"found noise; call its eval\(\) first, and make it with"):
        fixed_points(rnn, starts=torch.zeros(1, H, dtype=torch.float64))
