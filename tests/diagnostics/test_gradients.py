"""Gradients over lags and spans: against explicit Jacobian products and autograd, for each kind of cell."""

import math

import pytest
import torch

from ostinato import UserError
from ostinato.diagnostics import (
    adapted,
    gradient_by_span,
    gradient_over_lag,
    memory_horizon,
    network,
    singular_values,
    spectral_radii,
)
from ostinato.diagnostics.spans import shares
from ostinato.diagnostics.trajectory import swept, trajectory, whole_gradients
from ostinato.dynamics import trajectory_jacobians
from ostinato.nn import CTRNN, GRU, LSTM, RNN

T, N, INPUTS = 9, 3, 3


class OwnCell(torch.nn.Module):
    """A user's: two tensors of state, an output beside them."""

    def __init__(self):
        super().__init__()
        self.read, self.own = torch.nn.Linear(INPUTS, 4), torch.nn.Linear(4, 4, bias=False)
        self.double()

    def forward(self, x, state):
        fast, slow = state
        fast = torch.tanh(self.read(x) + self.own(fast) + 0.5 * slow)
        slow = 0.8 * slow + 0.2 * fast
        return fast * slow, (fast, slow)


CELLS = {
    "RNN": lambda: RNN(INPUTS, 4, dtype=torch.float64),
    "leaky": lambda: RNN(INPUTS, 4, leak=torch.tensor([0.0, 0.3, 0.6, 0.95]), dtype=torch.float64),
    "relu, two layers": lambda: RNN(INPUTS, 4, 2, "relu", leak=0.2, dtype=torch.float64),
    "sigmoid": lambda: RNN(INPUTS, 4, nonlinearity="sigmoid", dtype=torch.float64),
    "GRU": lambda: GRU(INPUTS, 4, leak=0.2, dtype=torch.float64),
    "LSTM": lambda: LSTM(INPUTS, 4, 2, dtype=torch.float64),
    "projected": lambda: LSTM(INPUTS, 4, proj_size=2, dtype=torch.float64),
    "CTRNN": lambda: CTRNN(INPUTS, 4, form="preactivation", dtype=torch.float64),
    "batch_first": lambda: GRU(INPUTS, 4, batch_first=True, dtype=torch.float64),
    "tokens": lambda: RNN(INPUTS, 4, token_inputs=True, dtype=torch.float64),
    "torch RNN": lambda: torch.nn.RNN(INPUTS, 4, 2, nonlinearity="relu", dtype=torch.float64),
    "torch LSTM": lambda: torch.nn.LSTM(INPUTS, 4, 2, dtype=torch.float64),
    "torch GRU": lambda: torch.nn.GRU(INPUTS, 4, batch_first=True, dtype=torch.float64),
    "GRUCell": lambda: torch.nn.GRUCell(INPUTS, 4, dtype=torch.float64),
    "own": OwnCell,
}
# Those that a step of is given to `adapted`, with the state before a sequence.
STEPS = {
    "GRUCell": torch.zeros(1, 4, dtype=torch.float64),
    "own": (torch.full((1, 4), 0.1, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64)),
}


def made(name, starts=False):
    torch.manual_seed(5)
    module = CELLS[name]()
    for parameter in module.parameters():
        parameter.data.mul_(1.3)
    net = adapted(module, STEPS[name]) if name in STEPS else network(module)
    inputs = torch.randint(INPUTS, (T, N)) if name == "tokens" else torch.randn(T, N, INPUTS).double()
    marks = None
    if starts:
        marks = torch.zeros(T, N, dtype=torch.bool)
        marks[4, 0] = marks[7, 0] = marks[6, 1] = True
    run = trajectory(net, inputs, 0.1 * torch.randn_like(net.beginning(N)), marks)
    on_outputs = [torch.randn_like(layer) for layer in run.outputs]
    return module, net, run, on_outputs


def explicit(net, run):
    """The Jacobians (T, N, S, S) of every step, and those of its outputs (T, N, H, S), one row at a time."""
    of_states, of_outputs = [], []
    for t in range(run.steps):
        states = run.before[t].clone().requires_grad_()
        outputs, following = run.again(t, states)
        for target, rows in ((following, of_states), (outputs[-1], of_outputs)):
            columns = [
                torch.autograd.grad(target[:, k].sum(), states, retain_graph=True, allow_unused=True)[0]
                for k in range(target.shape[1])
            ]
            rows.append(torch.stack([torch.zeros_like(states) if c is None else c for c in columns], 1))
    return torch.stack(of_states), torch.stack(of_outputs)


@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_gradients_are_products_of_jacobians(name, starts):
    _, net, run, on_outputs = made(name, starts)
    on_outputs = [torch.zeros_like(x) for x in on_outputs[:-1]] + on_outputs[-1:]
    steps, reads = explicit(net, run)
    if not starts and name not in STEPS:  # against forward mode, too
        other = trajectory_jacobians(net.flow, _own_layout(net, run.inputs), net.flow.formed(run.before[0]))[
            0
        ]
        torch.testing.assert_close(steps, other, rtol=0, atol=1e-10)
    seen = 0
    for here in swept(run, range(T), on_outputs):
        for time, gradient in zip(here.times.tolist(), here.gradients, strict=True):
            expected = torch.einsum("nh,nhs->ns", on_outputs[-1][time], reads[time])
            for t in range(time - 1, here.step - 1, -1):
                expected = torch.einsum("nr,nrs->ns", expected, steps[t])
            torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-8)
            seen += 1
    assert seen == T * (T + 1) // 2


def _own_layout(net, inputs):
    return inputs.transpose(0, 1) if getattr(net.cell, "batch_first", False) else inputs


@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_spans_add_up_to_what_autograd_finds(name, starts):
    module, net, run, on_outputs = made(name, starts)
    if name in STEPS:
        state, total = net.formed(run.before[0]), 0.0
        for t in range(T):
            if starts:
                first = STEPS[name] if isinstance(STEPS[name], tuple) else (STEPS[name],)
                parts = state if isinstance(state, tuple) else (state,)
                parts = tuple(
                    torch.where(run.starts[t].unsqueeze(1), f, p) for f, p in zip(first, parts, strict=True)
                )
                state = parts if isinstance(state, tuple) else parts[0]
            got = module(run.inputs[t], state)
            output, state = got if name == "own" else (got, got)
            total = total + (on_outputs[0][t] * output).sum()
    elif isinstance(module, torch.nn.RNNBase):
        if starts:
            pytest.skip("torch.nn has no starts")
        for layer in on_outputs[:-1]:
            layer.zero_()
        first = net.flow.formed(run.before[0])
        total = (on_outputs[-1] * _time_first(module, module(_own_layout(net, run.inputs), first)[0])).sum()
    else:
        first = net.flow.formed(run.before[0])
        inputs = _own_layout(net, run.inputs)
        marks = None if run.starts is None else _own_layout(net, run.starts)
        layers, _ = module(inputs, first, marks, all_layers=True)
        total = sum((g * _time_first(module, x)).sum() for g, x in zip(on_outputs, layers, strict=True))
    wanted = dict(module.named_parameters())
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    for begins in (None, [0, 3], [0]):
        spans = gradient_by_span(run, on_outputs, begins)
        for key, gradient in zip(wanted, found, strict=True):
            whole = sum(span.gradients[key] for span in spans)
            expected = torch.zeros_like(whole) if gradient is None else gradient.to_dense()
            torch.testing.assert_close(whole, expected, rtol=0, atol=1e-10)
        assert sum(each["share"] for each in shares(spans)) == pytest.approx(1)


def _time_first(module, x):
    return x.transpose(0, 1) if getattr(module, "batch_first", False) else x


def test_a_span_is_what_truncation_leaves_out():
    """Lags below 3 alone: the gradient where each step sees parameters of the last three steps only."""
    module, _, run, on_outputs = made("RNN")
    near = gradient_by_span(run, on_outputs, [0, 3])[0].gradients["weight_hh_l0"]
    expected = torch.zeros_like(near)
    for t in range(T):
        first = max(0, t - 2)
        out, _ = module(run.inputs[first : t + 1], run.before[first].unsqueeze(0).clone())
        expected += torch.autograd.grad((on_outputs[0][t] * out[-1]).sum(), module.weight_hh_l0)[0]
    torch.testing.assert_close(near, expected, rtol=0, atol=1e-10)


def test_whole_gradients_are_sums_of_those_of_single_steps():
    _, _, run, on_outputs = made("LSTM", starts=True)
    whole = whole_gradients(run, on_outputs)
    single = torch.zeros_like(whole)
    for here in swept(run, range(T), on_outputs):
        if here.step:
            single[here.step - 1] += here.gradients.sum(0)
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-10)


@pytest.mark.parametrize("eigenvalue", [0.5, 0.9, 0.99])
def test_the_horizon_of_a_linear_network_is_the_closed_form(eigenvalue):
    cell = RNN(2, 6, nonlinearity="identity", dtype=torch.float64)
    turned = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    cell.weight_hh_l0.data = eigenvalue * turned
    steps = int(math.log(0.01) / math.log(eigenvalue)) + 5
    run = trajectory(network(cell), torch.randn(steps, 2, 2, dtype=torch.float64))
    found = gradient_over_lag(run, [torch.randn(steps, 2, 6, dtype=torch.float64)], sources=3)
    assert found.horizon == pytest.approx(math.log(0.01) / math.log(eigenvalue), abs=1e-8)
    assert found.growth == pytest.approx(eigenvalue, abs=1e-10)


def test_the_horizon_of_leaky_units_is_that_of_the_leaky_map():
    leak, weight = 0.9, 0.5
    cell = RNN(1, 3, nonlinearity="identity", leak=leak, dtype=torch.float64)
    cell.weight_hh_l0.data = weight * torch.eye(3, dtype=torch.float64)
    run = trajectory(network(cell), torch.zeros(150, 1, 1, dtype=torch.float64))
    found = gradient_over_lag(run, [torch.ones(150, 1, 3, dtype=torch.float64)], sources=1)
    assert found.horizon == pytest.approx(math.log(0.01) / math.log(leak + (1 - leak) * weight), abs=1e-8)


def test_a_gradient_that_stays_has_no_horizon():
    assert memory_horizon([1.0, 1.0, 0.5]) is None
    assert memory_horizon([1.0, 0.0]) == 1


def test_lags_end_where_sequences_start():
    _, _, run, on_outputs = made("RNN", starts=True)
    found = gradient_over_lag(run, on_outputs, sources=T)
    # the states before a start belong to another sequence; the deepest are those of the stream without
    assert int(found.sources[0]) == T * N
    assert found.longest == T
    alone = trajectory(run.network, run.inputs[:, :1], run.before[0, :1], run.starts[:, :1])
    assert gradient_over_lag(alone, [x[:, :1] for x in on_outputs], sources=T).longest == 4


def test_groups_by_leak():
    _, _, run, on_outputs = made("leaky")
    found = gradient_over_lag(run, on_outputs)
    assert list(found.groups) == ["leak 0", "leak 0 to 0.5", "leak 0.5 to 0.9", "leak 0.9 to 1"]


@pytest.mark.parametrize("name", ["leaky", "LSTM", "torch RNN", "GRUCell", "own"])
def test_singular_values_against_dense_products(name):
    _, net, run, _ = made(name)
    steps, _ = explicit(net, run)
    found = singular_values(
        net, run.inputs, run.before[0], [1, 3, T], 2, iterations=1000, tolerance=1e-15,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    for values, lag in zip(found, [1, 3, T], strict=True):
        product = torch.eye(steps.shape[-1], dtype=torch.float64)
        for t in range(lag):
            product = steps[t] @ product
        torch.testing.assert_close(values, torch.linalg.svdvals(product)[:, :2], rtol=1e-8, atol=1e-10)


def test_radii_of_weights_leaky_map_and_jacobian():
    cell = RNN(1, 3, leak=torch.tensor([0.0, 0.5, 0.9]), nonlinearity="identity", dtype=torch.float64)
    net = network(cell)
    found = spectral_radii(net, torch.zeros(2, 1, dtype=torch.float64), net.beginning(2))
    weight, leak = cell.weight_hh_l0.detach(), cell.leak.double()
    radius = lambda m: float(torch.linalg.eigvals(m).abs().max())  # noqa: E731
    assert found["weights"]["weight_hh_l0"] == [pytest.approx(radius(weight))]
    leaky = torch.diag(leak) + (1 - leak).unsqueeze(1) * weight
    assert found["leaky_map"]["weight_hh_l0"] == pytest.approx(radius(leaky))
    assert found["jacobian"] == pytest.approx(radius(leaky))


def test_mistakes_are_said():
    _, net, run, on_outputs = made("RNN")
    with pytest.raises(UserError, match="rise from 0"):
        gradient_by_span(run, on_outputs, [1, 2])
    with pytest.raises(UserError, match="no gradient to follow"):
        gradient_over_lag(run, [torch.zeros_like(x) for x in on_outputs])
    with pytest.raises(UserError, match="expected lags from 1 to 9"):
        singular_values(net, run.inputs, run.before[0], [10])
    with pytest.raises(UserError, match="both directions"):
        network(torch.nn.LSTM(3, 4, bidirectional=True))
    with pytest.raises(UserError, match="adapted"):
        network(torch.nn.Linear(3, 4))
    with pytest.raises(UserError, match="without chance"):
        network(torch.nn.LSTM(3, 4, 2, dropout=0.5))
    with pytest.raises(UserError, match="boolean starts"):
        trajectory(net, run.inputs, None, torch.zeros(T, N))
    with pytest.raises(UserError, match="return a state of shape"):
        trajectory(adapted(lambda x, s: s[:, :2], torch.zeros(1, 4)), torch.zeros(3, 2, 1))
    with pytest.raises(UserError, match="expected state"):
        adapted(lambda x, s: s, torch.zeros(4))
