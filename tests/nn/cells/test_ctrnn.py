"""CTRNN against cells written anew from their published equations, and what it promises of its weights.

Sources of the equations: G. R. Yang et al., multitask, `LeakyRNNCell`; G. R. Yang and M. Molano-Mazon,
nn-brain, `CTRNN` and the excitatory-inhibitory `EIRNN`; Engel lab, trainRNNbrain, `RNN_torch`.
"""

import itertools
import logging
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call, jvp, vmap

import ostinato
from ostinato.nn import CTRNN, ConstrainedLinear, rate_penalty
from ostinato.nn.cells import ctrnn
from ostinato.nn.cells.constraint import balance_
from ostinato.nn.kernels.nonlinearities import NONLINEARITIES

T, B, I, H = 6, 3, 2, 5  # noqa: E741
DOUBLE = {"dtype": torch.float64}
FORMS = [("outside", "input"), ("outside", "state"), ("inside", "input"), ("preactivation", "input")]
PHI = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "identity": lambda z: z,
    "softplus": lambda z: torch.logaddexp(z, torch.zeros_like(z)),
    "elu": lambda z: torch.where(z > 0, z, torch.exp(z) - 1),
    "elu(0.5)": lambda z: torch.where(z > 0, z, 0.5 * (torch.exp(z) - 1)),
    "leaky_relu": lambda z: torch.maximum(z, 0.01 * z),
    "retanh": lambda z: torch.tanh(torch.relu(z)),
    "power": lambda z: torch.relu(z) ** 2,
    "power(1.5)": lambda z: torch.relu(z) ** 1.5,
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


def marks(seed: int = 0) -> Tensor:
    return torch.rand(T, B, generator=torch.Generator().manual_seed(seed)) < 0.3


def network(form: str, noise_at: str, phi: Any, **changes: Any) -> CTRNN:
    """One with everything at once."""
    generator = torch.Generator().manual_seed(1)
    settings: dict[str, Any] = {
        "form": form,
        "noise_at": noise_at,
        "nonlinearity": phi,
        "noise": torch.linspace(0.1, 0.4, H),
        "tau": torch.linspace(2, 6, H),
        "tau_bounds": (1.5, 9.0),
        "learned_initial": True,
        "dale": 0.6,
        "connectivity": torch.rand(H, H, generator=generator) > 0.2,
        "plasticity": torch.rand(H, H, generator=generator) > 0.2,
        "generator": generator,
        **DOUBLE,
    }
    rnn = CTRNN(I, H, **settings | changes)
    if rnn.learned_initial:
        with torch.no_grad():
            rnn.initial.copy_(normal(1, H, seed=5))
    return rnn


def step_by_step(rnn: CTRNN, phi: Any, x: Tensor, h: Tensor, starts: Tensor | None, xi: Tensor) -> Any:
    """Rates and last state by the equations, one step after another."""
    a, w, u = rnn.alpha, rnn.recurrent_weight(), rnn.input_weight()
    rates = []
    for t in range(len(x)):
        if starts is not None:
            h = torch.where(starts[t].unsqueeze(-1), rnn.initial_state(x.shape[1])[0], h)
        given = x[t] @ u.T + rnn.bias_ih_l0 + rnn.bias_hh_l0
        n = torch.sqrt(2 / a) * rnn.noise * xi[t]
        if rnn.form == "preactivation":
            h = (1 - a) * h + a * (phi(h) @ w.T + given + n)
        elif rnn.form == "inside":
            h = phi((1 - a) * h + a * (h @ w.T + given + n))
        elif rnn.noise_at == "input":
            h = (1 - a) * h + a * phi(h @ w.T + given + n)
        else:
            h = (1 - a) * h + a * (phi(h @ w.T + given) + n)
        rates.append(phi(h) if rnn.form == "preactivation" else h)
    return torch.stack(rates), h


@pytest.mark.parametrize("phi", PHI)
@pytest.mark.parametrize(("form", "noise_at"), FORMS)
def test_every_form_and_its_gradients_follow_the_equations(form: str, noise_at: str, phi: str) -> None:
    for learned, starts in itertools.product((False, True), (None, marks())):
        rnn = network(form, noise_at, phi, learned_initial=learned)
        x, xi = 0.5 * normal(T, B, I, seed=2), normal(T, B, H, seed=3)
        h0 = (0.5 * normal(1, B, H, seed=4)).requires_grad_()
        wanted = [*rnn.parameters(), h0]
        found, last = rnn(x, h0, starts, draws=xi)
        expected, end = step_by_step(rnn, PHI[phi], x, h0[0], starts, xi)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(last[0], end, rtol=1e-10, atol=1e-12)
        by, at_end = normal(T, B, H, seed=6), normal(B, H, seed=7)
        ours = torch.autograd.grad(
            (found * by).sum() + (last[0] * at_end).sum(), wanted, allow_unused=True, materialize_grads=True
        )
        theirs = torch.autograd.grad(
            (expected * by).sum() + (end * at_end).sum(), wanted, allow_unused=True, materialize_grads=True
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_every_named_nonlinearity_has_been_compared() -> None:
    assert set(NONLINEARITIES) <= set(PHI)


@pytest.mark.parametrize("phi", ["tanh", "relu", "softplus", "power(2.5)"])
@pytest.mark.parametrize(("form", "noise_at"), FORMS)
def test_derivatives_of_second_order_in_both_modes_and_batches(form: str, noise_at: str, phi: str) -> None:
    rnn = network(form, noise_at, phi)
    x, xi = normal(4, 2, I, seed=2).requires_grad_(), normal(4, 2, H, seed=3)
    starts = torch.tensor([[1, 0], [0, 0], [0, 1], [0, 0]]).bool()
    h0 = normal(1, 2, H, seed=4).requires_grad_()
    names = [name for name, _ in rnn.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in rnn.parameters()]

    def run(x: Tensor, h0: Tensor, *values: Tensor) -> Any:
        own = dict(zip(names, values, strict=True))
        return functional_call(rnn, own, (x, h0, starts), {"draws": xi})

    inputs = (x, h0, *values)
    assert torch.autograd.gradcheck(run, inputs, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(run, inputs, check_fwd_over_rev=True, fast_mode=True)
    constants = [value.detach() for value in inputs]
    batch = normal(3, 4, 2, I, seed=8)
    many = vmap(lambda x: run(x, *constants[1:])[0])(batch)
    one_by_one = torch.stack([run(x, *constants[1:])[0] for x in batch])
    torch.testing.assert_close(many, one_by_one, rtol=1e-12, atol=1e-12)
    weights = normal(3, H, H, seed=9)
    place = 2 + names.index("weight_hh_l0")

    def of_weight(weight: Tensor) -> Tensor:
        rates: Tensor = run(*constants[:place], weight, *constants[place + 1 :])[0]
        return rates

    many, one_by_one = vmap(of_weight)(weights), torch.stack([of_weight(w) for w in weights])
    torch.testing.assert_close(many, one_by_one, rtol=1e-12, atol=1e-12)
    changes = [normal(*value.shape, seed=10) for value in constants]
    moved = jvp(lambda *v: run(*v)[0], tuple(constants), tuple(changes))[1]
    small = 1e-6
    ends = [run(*(c + s * small * d for c, d in zip(constants, changes, strict=True)))[0] for s in (1, -1)]
    torch.testing.assert_close(moved, (ends[0] - ends[1]) / (2 * small), rtol=1e-5, atol=1e-6)


class Published(torch.nn.Module):
    """A published cell by its equations, with the noise given: one subclass for each."""

    def __init__(self, rnn: CTRNN) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(rnn.recurrent_weight().detach().clone())
        self.u = torch.nn.Parameter(rnn.input_weight().detach().clone())
        self.b = torch.nn.Parameter(rnn.bias_ih_l0.detach().clone())

    def forward(self, x: Tensor, xi: Tensor) -> Tensor:
        state, rates = torch.zeros(x.shape[1], H, **DOUBLE), []
        for given, noise in zip(x, xi, strict=True):
            state = self.step(state, given, noise)
            rates.append(self.rate(state))
        return torch.stack(rates)

    def rate(self, state: Tensor) -> Tensor:
        return state

    def step(self, state: Tensor, x: Tensor, xi: Tensor) -> Tensor:
        raise NotImplementedError


ALPHA, SIGMA = 0.2, 0.1


class Multitask(Published):
    """new = (1 - alpha) state + alpha softplus([x, state] kernel + bias + sqrt(2 / alpha) sigma xi)."""

    def step(self, state: Tensor, x: Tensor, xi: Tensor) -> Tensor:
        kernel = torch.cat((self.u, self.w), 1).T
        z = torch.cat((x, state), 1) @ kernel + self.b + math.sqrt(2 / ALPHA) * SIGMA * xi
        return (1 - ALPHA) * state + ALPHA * torch.nn.functional.softplus(z, threshold=50)


class TrainRNNbrain(Published):
    """new = state + alpha (-state + relu(W state + U x + b) + sqrt(2 / alpha sigma^2) xi)."""

    def step(self, state: Tensor, x: Tensor, xi: Tensor) -> Tensor:
        noise = math.sqrt(2 / ALPHA * SIGMA**2) * xi
        right = -state + torch.relu(state @ self.w.T + x @ self.u.T + self.b) + noise
        return state + ALPHA * right


class NNBrain(Published):
    """new = relu(state (1 - alpha) + (U x + b + W state) alpha); it has no noise."""

    def step(self, state: Tensor, x: Tensor, xi: Tensor) -> Tensor:
        return torch.relu(state * (1 - ALPHA) + (x @ self.u.T + self.b + state @ self.w.T) * ALPHA)


class NNBrainEI(Published):
    """state = (1 - alpha) state + alpha (U x + W rate + b) + sqrt(2 alpha) sigma xi, rate = relu(state)."""

    def __init__(self, rnn: CTRNN) -> None:
        super().__init__(rnn)
        signs = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0], **DOUBLE)
        self.mask = signs.expand(H, H) * (1 - torch.eye(H, **DOUBLE))
        self.w = torch.nn.Parameter(rnn.weight_hh_l0.detach().clone())

    def rate(self, state: Tensor) -> Tensor:
        return torch.relu(state)

    def step(self, state: Tensor, x: Tensor, xi: Tensor) -> Tensor:
        total = x @ self.u.T + self.rate(state) @ (self.w.abs() * self.mask).T + self.b
        return state * (1 - ALPHA) + total * ALPHA + math.sqrt(2 * ALPHA) * SIGMA * xi


PUBLISHED: dict[type[Published], dict[str, Any]] = {
    Multitask: {"nonlinearity": "softplus"},
    TrainRNNbrain: {"nonlinearity": "relu", "noise_at": "state"},
    NNBrain: {"nonlinearity": "relu", "form": "inside", "noise": 0.0},
    NNBrainEI: {
        "nonlinearity": "relu",
        "form": "preactivation",
        "dale": 0.8,
        "connectivity": 1 - torch.eye(H),
    },
}


@pytest.mark.parametrize("published", PUBLISHED)
def test_trained_beside_a_published_cell_it_stays_the_same(published: type[Published]) -> None:
    """Equal at once to 1e-10, and to 3e-5 after 200 steps of Adam with the same noise."""
    settings = {"noise": SIGMA, "dt": 20.0, "tau": 20.0 / ALPHA, **DOUBLE} | PUBLISHED[published]
    rnn = CTRNN(I, H, generator=torch.Generator().manual_seed(0), **settings)
    with torch.no_grad():
        rnn.bias_hh_l0.zero_()
    rnn.bias_hh_l0.requires_grad_(False)  # these cells have one bias
    theirs = published(rnn)
    ours = [p for p in rnn.parameters() if p.requires_grad]
    optimizers = [torch.optim.Adam(ps, 1e-2) for ps in (ours, list(theirs.parameters()))]
    targets = normal(T, B, H, seed=1).abs()
    for step in range(200):
        x, xi = normal(T, B, I, seed=2 * step + 3), normal(T, B, H, seed=2 * step + 4)
        found, expected = rnn(x, draws=xi)[0], theirs(x, xi)
        difference = (found - expected).abs().max().item()
        assert difference <= (1e-10 if step == 0 else 3e-5)
        for optimizer, rates in zip(optimizers, (found, expected), strict=True):
            optimizer.zero_grad()
            (rates - targets).square().mean().backward()
            optimizer.step()
    assert (rnn.input_weight() - theirs.u).abs().max() <= 3e-5
    assert (rnn.weight_hh_l0 - theirs.w).abs().max() <= 3e-5


def test_the_naive_port_is_another_form() -> None:
    """The leak outside of the rectifier is not the leak inside: a scale of 1 apart at states of 1."""
    x = 3 * normal(T, B, I)
    made = []
    for form in ("outside", "inside"):
        rnn = CTRNN(
            I, H, form=form, nonlinearity="relu", generator=torch.Generator().manual_seed(0), **DOUBLE
        )
        made.append(rnn(x)[0])
    assert (made[0] - made[1]).abs().max() > 0.1


def test_tau_never_leaves_its_bounds() -> None:
    rnn = CTRNN(
        I, H, tau=torch.linspace(2, 9, H), tau_bounds=(1.1, 9.3), generator=torch.Generator().manual_seed(0)
    )
    optimizer = torch.optim.Adam([rnn.tau_logit], 1e-2)
    sign = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0])
    for _ in range(2000):
        optimizer.zero_grad()
        (rnn.tau * sign).sum().backward()
        optimizer.step()
        assert bool(((rnn.tau >= 1.1) & (rnn.tau <= 9.3)).all())
    assert bool((rnn.tau[:2] < 1.2).all())
    with torch.no_grad():
        rnn.tau_logit.copy_(torch.tensor([-1e30, 1e30, 1e4, -1e4, 0.0]))
    assert bool(((rnn.tau >= 1.1) & (rnn.tau <= 9.3)).all())
    assert bool((rnn.alpha <= 1).all())


@pytest.mark.parametrize(("low", "high"), [(13.8, 174.9), (45.6, 242.2)])
def test_tau_does_not_leave_its_bounds_by_a_rounding(low: float, high: float) -> None:
    """Of these low + (high - low) in single precision is above high by its last digit."""
    assert bool(low + (high - low) * torch.ones(1) > high)
    rnn = CTRNN(I, H, tau=50.0, tau_bounds=(low, high))
    with torch.no_grad():
        rnn.tau_logit.copy_(torch.tensor([-1e30, 1e30, 1e4, -1e4, 0.0]))
    assert bool(((rnn.tau >= low) & (rnn.tau <= high)).all())


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_constraints_hold_exactly_under_any_optimizer(optimizer: str) -> None:
    rnn = network(
        "preactivation", "input", "relu", input_mask=[[1, 0]] * H, input_plasticity=[[1, 1]] + [[0, 0]] * 4
    )
    own: Any = rnn.constraints_hh[0]
    before, inputs_before = rnn.recurrent_weight().detach().clone(), rnn.input_weight().detach().clone()
    made = getattr(torch.optim, optimizer)(rnn.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(50):
        made.zero_grad()
        rnn(normal(T, B, I, seed=step))[0].square().sum().backward()
        made.step()
    weight, inputs = rnn.recurrent_weight(), rnn.input_weight()
    assert torch.equal(weight[~own.mask], torch.zeros_like(weight[~own.mask]))
    assert bool((weight * own.signs >= 0).all())
    assert torch.equal(weight[~own.plastic], before[~own.plastic])
    assert not torch.equal(weight[own.plastic & own.mask], before[own.plastic & own.mask])
    assert torch.equal(inputs[:, 1], torch.zeros_like(inputs[:, 1]))
    assert torch.equal(inputs[1:], inputs_before[1:])
    assert not torch.equal(inputs[:1], inputs_before[:1])


@pytest.mark.parametrize("initialization", ["uniform", "echo-state", "orthogonal"])
def test_dale_starts_balanced(initialization: str) -> None:
    rnn = CTRNN(
        I,
        60,
        dale=0.8,
        initialization=initialization,
        spectral_radius=0.9,
        connectivity=1 - torch.eye(60),
        generator=torch.Generator().manual_seed(0),
        **DOUBLE,
    )
    weight = rnn.recurrent_weight()
    both = (weight > 0).any(1) & (weight < 0).any(1)
    assert both.sum() > 50
    assert weight[both].sum(1).abs().max() < 1e-12
    assert bool((weight[:, :48] >= 0).all())
    assert bool((weight[:, 48:] <= 0).all())
    if initialization == "echo-state":
        assert torch.linalg.eigvals(weight).abs().max().item() == pytest.approx(0.9)


def test_balance_leaves_rows_of_one_sort_alone() -> None:
    made = balance_(torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([1.0, -1.0]))
    assert made.tolist() == [[1.0, 1.0], [0.0, 3.0]]


def test_units_of_a_layer_below_keep_their_signs() -> None:
    rnn = CTRNN(I, H, 2, dale=[1, -1, 1, -1, 1], generator=torch.Generator().manual_seed(0))
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    assert bool((rnn.input_weight(1) * signs >= 0).all())
    assert bool((rnn.input_weight(0) < 0).any())


def test_assigned_weights_are_those_that_act() -> None:
    rnn = network("outside", "input", "tanh")
    weight = rnn.recurrent_weight().detach() * 2
    rnn.assign_recurrent_(weight)
    assert torch.equal(rnn.recurrent_weight(), weight)
    own: Any = rnn.constraints_hh[0]
    with pytest.raises(ValueError, match="signs of their columns, got"):
        rnn.assign_recurrent_(-weight)
    with pytest.raises(ValueError, match="must be 0 where the mask has no connection, got"):
        rnn.assign_recurrent_(weight + (~own.mask) * own.signs)
    with pytest.raises(ValueError, match=r"shape \(5, 5\), got \(2, 2\)"):
        rnn.assign_recurrent_(torch.ones(2, 2))
    given = normal(H, I)
    rnn.assign_input_(given)
    assert torch.equal(rnn.input_weight(), given)


def test_noise_has_its_size_and_comes_from_the_generator() -> None:
    """Of a linear unit without weights the stationary variance is a (2 / a) a sigma^2 / (1 - (1 - a)^2)."""
    a, sigma = 0.2, 0.3
    made = []
    for form, at in FORMS:
        rnn = CTRNN(
            1,
            4,
            form=form,
            noise_at=at,
            tau=5.0,
            noise=sigma,
            nonlinearity="identity",
            bias=False,
            generator=torch.Generator().manual_seed(0),
            **DOUBLE,
        )
        rnn.assign_recurrent_(torch.zeros(4, 4))
        out = rnn(torch.zeros(4000, 20, 1, **DOUBLE))[0][200:]
        expected = a**2 * 2 / a * sigma**2 / (1 - (1 - a) ** 2)
        assert out.var().item() == pytest.approx(expected, rel=0.03)
        made.append(out)
    for other in made[1:]:  # the same draws
        torch.testing.assert_close(other, made[0], rtol=1e-9, atol=1e-12)


def test_noise_acts_in_training_alone_unless_it_is_asked_for() -> None:
    x = torch.zeros(T, B, I)
    quiet = CTRNN(I, H, noise=0.5, generator=torch.Generator().manual_seed(0))
    loud = CTRNN(I, H, noise=0.5, noise_in_eval=True, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(quiet(x)[0], quiet(x)[0])
    assert torch.equal(quiet.eval()(x)[0], quiet(x)[0])
    assert not torch.equal(loud.eval()(x)[0], loud(x)[0])
    with pytest.raises(ValueError, match="no noise in training mode"):
        quiet.train().linearize(x)


@pytest.mark.parametrize(("form", "noise_at"), FORMS)
def test_starts_reset_to_the_learned_initial_state(form: str, noise_at: str) -> None:
    rnn = network(form, noise_at, "softplus")
    x, xi = normal(T, B, I), normal(T, B, H)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[3] = True
    whole, last = rnn(x, normal(1, B, H), starts, draws=xi)
    second, end = rnn(x[3:], draws=xi[3:])
    torch.testing.assert_close(whole[3:], second, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(last, end, rtol=1e-12, atol=1e-13)
    first = rnn(x[:3], None, draws=xi[:3])
    carried = rnn(x[3:], first[1], draws=xi[3:])[0]
    torch.testing.assert_close(torch.cat((first[0], carried)), rnn(x, draws=xi)[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("form", "noise_at"), FORMS)
def test_a_function_runs_step_by_step_with_one_notice(
    form: str, noise_at: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("ostinato"), "propagate", True)
    ctrnn._tell_of_function.cache_clear()
    with caplog.at_level("WARNING", "ostinato"):
        networks = [network(form, noise_at, lambda z: torch.tanh(z)) for _ in range(2)]
    assert sum("function of its own" in record.message for record in caplog.records) == 1
    x, xi, starts = normal(T, B, I), normal(T, B, H), marks()
    named = network(form, noise_at, "tanh")
    ours, theirs = networks[0](x, None, starts, draws=xi), named(x, None, starts, draws=xi)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("form", "noise_at"), FORMS)
def test_layers_lengths_batches_and_state_dicts(form: str, noise_at: str) -> None:
    rnn = network(form, noise_at, "tanh", num_layers=2, noise=0.0, batch_first=True)
    x = normal(B, T, I)
    outputs, last = rnn(x, all_layers=True)
    assert [tuple(out.shape) for out in outputs] == [(B, T, H)] * 2
    assert last.shape == (2, B, H)
    short, ends = rnn(x, lengths=[T, 2, 4])
    torch.testing.assert_close(short[1, :2], outputs[-1][1, :2])
    torch.testing.assert_close(ends[:, 1], rnn(x[1:2, :2])[1][:, 0])
    torch.testing.assert_close(rnn(x[0])[0], outputs[-1][0])
    other = network(form, noise_at, "tanh", num_layers=2, noise=0.0, batch_first=True)
    other.reset_parameters()
    other.load_state_dict(rnn.state_dict())
    assert torch.equal(other(x)[0], outputs[-1])


def test_reset_draws_weights_and_leaves_time_and_start() -> None:
    rnn = network("outside", "input", "tanh")
    tau, initial, weight = rnn.tau.detach(), rnn.initial.detach().clone(), rnn.recurrent_weight().detach()
    rnn.reset_parameters()
    assert torch.equal(rnn.tau, tau)
    assert torch.equal(rnn.initial, initial)
    own: Any = rnn.constraints_hh[0]
    assert bool((rnn.recurrent_weight() * own.signs >= 0).all())
    assert not torch.equal(rnn.recurrent_weight(), weight)


def test_constrained_readout() -> None:
    readout = ConstrainedLinear(
        3, 2, mask=[[1, 0, 1]] * 2, signs=[1, 1, -1], plastic=[[1, 1, 0], [1, 1, 1]], **DOUBLE,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    before = readout.constrained.detach().clone()
    x = normal(7, 3)
    torch.testing.assert_close(readout(x), x @ before.T + readout.bias)
    optimizer = torch.optim.AdamW(readout.parameters(), 0.3, weight_decay=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        readout(x).square().sum().backward()
        optimizer.step()
    after = readout.constrained
    assert bool((after[:, 1] == 0).all())
    assert bool((after[:, 0] >= 0).all())
    assert bool((after[:, 2] <= 0).all())
    assert after[0, 2] == before[0, 2]
    assert after[1, 2] != before[1, 2]


def test_penalty_counts_frames_that_count() -> None:
    rates = normal(T, B, H)
    mask = marks()
    expected = 0.3 * rates[mask].abs().mean() + 0.2 * rates[mask].square().mean()
    torch.testing.assert_close(rate_penalty(rates, l1=0.3, l2=0.2, mask=mask), expected)
    with pytest.raises(ValueError, match="at least 0, and finite, got -1"):
        rate_penalty(rates, l1=-1)
    with pytest.raises(ValueError, match=r"and finite, got 0\.0 and nan"):
        rate_penalty(rates, l2=math.nan)
    with pytest.raises(ValueError, match="a frame that counts"):
        rate_penalty(rates, mask=mask & False)
    with pytest.raises(ValueError, match="boolean of shape"):
        rate_penalty(rates, mask=mask.float())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"form": "middle"}, "form must be one of outside, preactivation, inside, got 'middle'"),
    ({"noise_at": "output"}, "noise_at must be one of input, state"),
    ({"form": "inside", "noise_at": "state"}, "noise_at='state' is for form='outside'"),
    ({"nonlinearity": "gelu"}, "nonlinearity must be one of tanh, .*, got 'gelu'"),
    ({"nonlinearity": "power(0.5)"}, r"power must be a number above 1, got 'power\(0.5\)'"),
    ({"nonlinearity": "tanh(2)"}, "tanh has no parameter"),
    ({"dt": 0.0}, "dt must be above 0, and finite, got 0"),
    ({"tau": 0.5}, r"at least dt = 1.0, since a = dt / tau is at most 1, got 0.5"),
    ({"tau": torch.ones(3)}, r"tau must be a number or have shape \(5,\), got \(3,\)"),
    ({"tau_bounds": (0.5, 9.0)}, "dt <= low < high"),
    ({"tau_bounds": (6.0, 9.0)}, r"every tau must lie in tau_bounds = \[6.0, 9.0\], got 5"),
    ({"tau_bounds": 3}, r"two numbers \(low, high\), got 3"),
    ({"noise": -1.0}, "standard deviation, at least 0, got -1"),
    ({"noise": torch.ones(2)}, r"noise must be a number or have shape \(5,\), got \(2,\)"),
    ({"dale": 1.5}, "share of excitatory units"),
    ({"dale": [1, 0, 1, 1, 1]}, "every sign must be 1, excitatory, or -1, inhibitory"),
    ({"dale": [1, -1]}, r"dale must be the share of .* of shape \(5,\), got shape \(2,\)"),
    ({"dale": "0.8"}, "dale must be the share of .* got '0.8'"),
    ({"dale": True}, "dale must be the share of .* got True"),
    ({"connectivity": torch.ones(2, 2)}, r"connectivity must have shape \(5, 5\), got \(2, 2\)"),
    ({"connectivity": torch.full((H, H), 0.5)}, "connectivity must be of zeros and ones, or bool"),
    ({"connectivity": "all"}, r"connectivity must be of zeros and ones \(5, 5\), got 'all'"),
    ({"plasticity": 1}, r"plasticity must have shape \(5, 5\), got \(\)"),
    ({"input_mask": torch.ones(I, H)}, r"input_mask must have shape \(5, 2\), got \(2, 5\)"),
    ({"input_plasticity": torch.ones(I, H)}, r"input_plasticity must have shape \(5, 2\), got \(2, 5\)"),
    ({"dt": "x"}, "dt must be a number above 0, got 'x'"),
    ({"dt": math.inf}, "dt must be above 0, and finite, got inf"),
    ({"tau": None}, r"tau must be a number or numbers of shape \(5,\), got None"),
    ({"tau": "5"}, r"tau must be a number or numbers of shape \(5,\), got '5'"),
    ({"noise": "loud"}, r"noise must be a number or numbers of shape \(5,\), got 'loud'"),
    ({"nonlinearity": None}, "nonlinearity must be one of tanh, .*, or a function of a tensor, got None"),
    ({"nonlinearity": torch.nn.Tanh}, "or a function of a tensor, got <class 'torch.nn.*Tanh'>"),
    ({"token_inputs": True, "input_mask": torch.ones(H, I)}, "not for token_inputs"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        CTRNN(I, H, **settings)
    assert "\n" not in str(caught.value)


def test_numbers_may_be_tensors_arrays_or_lists() -> None:
    values = [2.3, 3.1, 4.7, 5.9, 6.1]
    for kind in (list, tuple, np.array, torch.tensor, lambda v: torch.tensor(v, **DOUBLE)):
        rnn = CTRNN(I, H, tau=kind(values), noise=kind(values), **DOUBLE)
        exact = kind is not torch.tensor  # which makes single numbers of these
        expected = torch.tensor(values, **(DOUBLE if exact else {})).double()
        assert torch.equal(rnn.tau, expected)
        assert torch.equal(rnn.noise, expected)
    for share in (0.6, np.float32(0.6), torch.tensor(0.6)):
        signs = CTRNN(I, H, dale=share).constraints_hh[0].signs
        assert signs.tolist() == [1, 1, 1, -1, -1]
    mask = np.eye(H, dtype=bool)
    assert torch.equal(CTRNN(I, H, connectivity=mask).recurrent_weight() != 0, torch.from_numpy(mask))


@pytest.mark.parametrize("bounds", [None, (1.5, 9.0)])
def test_time_constants_that_are_set_are_checked_and_act(bounds: Any) -> None:
    rnn = CTRNN(I, H, tau_bounds=bounds, generator=torch.Generator().manual_seed(0), **DOUBLE)
    x = normal(T, B, I)
    rnn.tau = [2.0, 3.0, 4.0, 5.0, 6.0]
    torch.testing.assert_close(rnn.tau.detach(), torch.arange(2, 7).double())
    expected, _ = step_by_step(rnn, torch.tanh, x, torch.zeros(B, H, **DOUBLE), None, torch.zeros(T, B, H))
    torch.testing.assert_close(rnn(x)[0], expected)
    rnn.tau = 3.0
    torch.testing.assert_close(rnn.tau.detach(), torch.full((H,), 3.0, **DOUBLE))
    before = rnn.tau.detach().clone()
    with pytest.raises(ValueError, match=r"at least dt = 1\.0"):
        rnn.tau = torch.tensor(0.5)
    with pytest.raises(ValueError, match=r"shape \(5,\), got \(2,\)"):
        rnn.tau = [2.0, 3.0]
    if bounds:
        with pytest.raises(ValueError, match=r"tau_bounds = \[1.5, 9.0\]"):
            rnn.tau = 20.0
    assert torch.equal(rnn.tau, before)


def test_noise_that_is_set_or_loaded_acts() -> None:
    def acts(rnn: CTRNN) -> bool:
        x = torch.zeros(T, B, I)
        return not torch.equal(rnn(x)[0], rnn(x)[0])

    quiet, loud = CTRNN(I, H), CTRNN(I, H, noise=0.3)
    state = quiet.state_dict()
    assert not acts(quiet)
    quiet.load_state_dict(loud.state_dict())
    assert acts(quiet)
    quiet.load_state_dict(state | {"noise": torch.tensor(0.0)})
    assert not acts(quiet)
    quiet.noise = torch.tensor(0.3)
    assert acts(quiet)
    quiet.noise = 0
    assert not acts(quiet)
    with pytest.raises(ValueError, match="standard deviation, at least 0, got -1"):
        quiet.noise = -1.0


def test_time_constants_that_are_loaded_are_checked() -> None:
    fine, coarse = CTRNN(I, H, dt=0.1, tau=0.5), CTRNN(I, H, dt=1.0)
    before = coarse.weight_hh_l0.detach().clone()
    with pytest.raises(ValueError, match=r"at least dt = 1\.0, since a = dt / tau is at most 1, got 0\.5"):
        coarse.load_state_dict(fine.state_dict())
    assert torch.equal(coarse.weight_hh_l0, before)


@pytest.mark.parametrize("form", ctrnn.FORMS)
def test_a_function_has_to_give_a_rate_for_every_unit(form: str) -> None:
    x = normal(T, B, I)
    functions = {
        "()": lambda z: z.sum(),
        "(3, 1)": lambda z: z.mean(-1, keepdim=True),
        "float32": Tensor.float,
    }
    for got, phi in functions.items():
        with pytest.raises(ValueError, match=f"nonlinearity must make of a tensor.*got.*{re.escape(got)}"):
            CTRNN(I, H, form=form, nonlinearity=phi, **DOUBLE)(x)


def test_a_module_as_the_nonlinearity_learns() -> None:
    rnn = CTRNN(I, H, nonlinearity=torch.nn.PReLU(**DOUBLE), **DOUBLE)
    rnn(normal(T, B, I))[0].square().sum().backward()
    assert rnn.nonlinearity.weight.grad.abs() > 0


def test_refused_arguments_and_draws() -> None:
    with pytest.raises(TypeError, match="CTRNN has no leak"):
        CTRNN(I, H, leak=0.5)
    rnn = CTRNN(I, H, **DOUBLE)
    with pytest.raises(ValueError, match="draws must have shape"):
        rnn(normal(T, B, I), draws=normal(T, B, 2))
    with pytest.raises(ValueError, match="draws must be of the weights' type"):
        rnn(normal(T, B, I), draws=normal(T, B, H).float())
    with pytest.raises(ValueError, match="draws go with a padded batch"):
        rnn(normal(T, B, I), lengths=[1, 2, 3], draws=normal(T, B, H))
    with pytest.raises(AttributeError, match="1 - dt / tau"):
        rnn.leak = torch.zeros(H)


def test_tokens_pick_rows() -> None:
    rnn = network("preactivation", "input", "tanh", token_inputs=True, noise=0.0)
    tokens = torch.tensor([[0, 1, 1], [1, 0, 0]])
    found = rnn(tokens)[0]
    numbers = network("preactivation", "input", "tanh", noise=0.0)
    numbers.load_state_dict(rnn.state_dict(), strict=False)
    numbers.assign_input_(rnn.input_weight().detach())
    torch.testing.assert_close(found, numbers(torch.nn.functional.one_hot(tokens, 2).double())[0])


def test_is_found_by_its_name() -> None:
    assert ostinato.CTRNN is ostinato.nn.CTRNN is CTRNN
