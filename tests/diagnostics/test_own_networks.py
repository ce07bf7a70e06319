"""Networks of one's own, as their users give them: what is measured is theirs, and what is wrong is named."""

import pytest
import torch
from torch import nn

from ostinato import UserError
from ostinato.diagnostics import adapted, diagnose, network
from ostinato.diagnostics.trajectory import trajectory, whole_gradients
from ostinato.diagnostics.units import growth, slopes_of, unit_gradients
from ostinato.dynamics import jacobian, largest_singular_value, pullback, pushforward
from ostinato.nn import CTRNN, RNN

T, N = 30, 4


def inputs_of(seed=0, dtype=torch.float32):
    return torch.randn(T, N, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def zeros(units):
    return torch.zeros(1, units)


def squares(outputs):
    return outputs.square().sum(-1)


class Read(nn.Module):
    """A leaky network that returns (readout, state)."""

    def __init__(self, outputs=2, detached=False):
        super().__init__()
        self.own, self.into, self.out = nn.Linear(8, 8), nn.Linear(3, 8), nn.Linear(8, outputs)
        self.detached = detached

    def forward(self, x, state):
        if self.detached:
            state = state.detach()
        state = 0.9 * state + 0.1 * torch.relu(self.own(state) + self.into(x))
        return self.out(state), state


@pytest.mark.parametrize("seed", range(6))
def test_a_fresh_network_of_rectifiers_on_noise_is_not_alarmed(seed):
    torch.manual_seed(seed)
    for cell in (nn.RNN(3, 8, nonlinearity="relu"), adapted(nn.RNNCell(3, 8, nonlinearity="relu"), zeros(8))):
        assert diagnose(cell, inputs_of(seed), squares).alarms == []


def test_states_that_rise_and_level_off_are_not_alarmed():
    """A time constant three times the steps: straight up at first, and bounded all the same."""
    rnn = CTRNN(1, 4, nonlinearity="relu", dt=1.0, tau=3.0 * T, bias=False)
    rnn.assign_recurrent_(torch.zeros(4, 4))
    rnn.assign_input_(torch.ones(4, 1))
    found = diagnose(rnn, torch.ones(T, N, 1), squares)
    norms = found.record["states"]["norms"]
    assert norms[-1] > 1.6 * norms[T // 2]
    assert found.alarms == []
    integrator = RNN(1, 4, nonlinearity="relu", bias=False)
    integrator.weight_hh_l0.data = torch.eye(4)
    integrator.weight_ih_l0.data.fill_(0.1)
    assert diagnose(integrator, torch.ones(T, N, 1), squares).alarms[0].cause == "states grow"


def test_growth_is_of_the_course_and_not_of_two_steps():
    assert growth([0.1 * k for k in range(1, 101)]) == pytest.approx(1.76, abs=0.01)
    assert growth([1.0, 1.0, 1.0, 0.2, 0.2, 1.0, 1.0, 0.4]) < 1  # twice what it is half-way
    assert growth([2.0**k for k in range(20)]) > 10


def test_slopes_are_known_in_training_and_with_the_streams_first():
    torch.manual_seed(0)
    inputs = inputs_of()
    plain = nn.RNN(3, 8, nonlinearity="relu")
    turned = nn.RNN(3, 8, nonlinearity="relu", batch_first=True)
    turned.load_state_dict(plain.state_dict())
    active = (plain(inputs)[0] > 0).double().mean().item()
    for cell, x in ((plain, inputs), (turned, inputs.transpose(0, 1)), (plain.eval(), inputs)):
        shape = diagnose(cell, x, squares).record["gradient_shape"]
        assert shape["zero"] == pytest.approx(1 - active, abs=1e-6)


@pytest.mark.parametrize("form", ["outside", "inside", "preactivation"])
@pytest.mark.parametrize("phi", ["tanh", "relu", "sigmoid"])
def test_slopes_and_gradients_of_a_rate_network(form, phi):
    """Against autograd through a loop of its equations."""
    rnn = CTRNN(
        3, 5, 2, phi, form=form, dt=1.0, tau=4.0, dale=0.6, learned_initial=True, dtype=torch.float64
    ).eval()
    rnn.initial.data.normal_()
    apply = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[phi]
    inputs, starts = inputs_of(dtype=torch.float64), torch.zeros(T, N, dtype=torch.bool)
    starts[9, 1] = True
    run = trajectory(network(rnn), inputs, starts=starts)
    below, a = inputs, rnn.alpha
    for k in range(2):
        state, inner, outputs = rnn.initial[k].expand(N, -1), [], []
        bias = getattr(rnn, f"bias_ih_l{k}") + getattr(rnn, f"bias_hh_l{k}")
        for t in range(T):
            state = torch.where(starts[t].unsqueeze(1), rnn.initial[k], state)
            rates = apply(state) if form == "preactivation" else state
            z = below[t] @ rnn.input_weight(k).T + rates @ rnn.recurrent_weight(k).T + bias
            if form != "outside":
                z = (1 - a) * state + a * z
            inner.append(z)
            state = {"outside": (1 - a) * state + a * apply(z), "inside": apply(z), "preactivation": z}[form]
            outputs.append(apply(state) if form == "preactivation" else state)
        below = torch.stack(outputs)
        z = torch.stack(inner).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(apply(z).sum(), z)
        torch.testing.assert_close(slopes_of(run)[k], slopes, rtol=0, atol=1e-12)
    gradients = torch.autograd.grad(squares(below).sum(), inner)
    share = 1 - rnn.leak if form == "outside" else torch.ones(5, dtype=torch.float64)
    on_outputs = [torch.zeros_like(below), 2 * below.detach()]
    made = unit_gradients(run, whole_gradients(run, on_outputs), on_outputs[-1])
    torch.testing.assert_close(made * share, torch.stack(gradients), rtol=0, atol=1e-10)


def test_spectral_radii_are_those_of_the_weights_with_their_signs_and_zeros():
    mask = torch.rand(12, 12, generator=torch.Generator().manual_seed(1)).lt(0.5)
    rnn = CTRNN(3, 12, dale=0.75, connectivity=mask, dt=1.0, tau=5.0, dtype=torch.float64)
    found = diagnose(rnn, inputs_of(dtype=torch.float64), squares).record["spectral_radius"]
    weight = rnn.recurrent_weight().detach()
    own = torch.linalg.eigvals(weight).abs().max().item()
    leaky = torch.linalg.eigvals(0.8 * torch.eye(12) + 0.2 * weight).abs().max().item()
    assert found["weights"]["weight_hh_l0"] == pytest.approx([own])
    assert found["leaky_map"]["weight_hh_l0"] == pytest.approx(leaky)


@pytest.mark.parametrize("outputs", [2, 8, 20])
def test_a_readout_is_not_taken_for_units(outputs):
    torch.manual_seed(0)
    module = Read(outputs)
    found = diagnose(adapted(module, zeros(8)), inputs_of(), squares)
    units = found.record["units"]["layer 1"]
    assert (units["units"], units["saturated"]) == (8, None)
    # the gradient at the states alone: of later losses
    states = [torch.zeros(N, 8, requires_grad=True)]
    losses = []
    for x in inputs_of():
        out, state = module(x, states[-1])
        states.append(state)
        losses.append(squares(out).sum())
    after = states[1:]
    own = torch.autograd.grad(sum(losses), after, retain_graph=True)
    direct = torch.stack(
        [torch.autograd.grad(one, s, retain_graph=True)[0] for one, s in zip(losses, after, strict=True)]
    )
    run = trajectory(adapted(module, zeros(8)), inputs_of())
    read = run.outputs[-1].detach().requires_grad_()
    (on_outputs,) = torch.autograd.grad(squares(read).sum(), read)
    made = unit_gradients(run, whole_gradients(run, [on_outputs]), on_outputs)
    torch.testing.assert_close(made, torch.stack(own) - direct, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detach", [Read(detached=True), torch.no_grad()(Read().forward)])
def test_a_detached_state_is_named(detach):
    found = diagnose(adapted(detach, zeros(8)), inputs_of(), squares)
    assert found.alarms[0].cause == "detached states"
    assert not diagnose(adapted(Read(), zeros(8)), inputs_of(), squares).alarms


def test_a_step_that_leaves_pytorch_is_measured_as_far_as_it_can_be():
    cell = nn.RNNCell(3, 8)
    left = adapted(lambda x, s: cell(x, s) * float(x.detach().numpy().size > 0), zeros(8))
    found = diagnose(left, inputs_of(), squares)
    assert "gradient_over_lag" in found.record
    assert "products" not in found.record
    assert "products not measured" in [each.cause for each in found.findings]
    assert found.alarms == []


def test_maps_that_do_not_depend_on_their_state_have_jacobians_of_zeros():
    states = torch.ones(3, 4)
    for constant in (lambda s, _: 2 * s.detach(), lambda s, _: torch.ones_like(s)):
        assert torch.equal(jacobian(constant, states), torch.zeros(3, 4, 4))
        for product in (pushforward, pullback):
            assert torch.equal(product(constant, states, hx=states, steps=2), torch.zeros(3, 4))
        assert torch.equal(largest_singular_value(constant, hx=states, steps=2)[0], torch.zeros(3))


def test_a_module_for_whole_sequences_goes_in_as_the_docstring_says():
    torch.manual_seed(0)
    module = nn.GRU(3, 8)
    wrapped = adapted(
        lambda x, s: module(x.unsqueeze(0), s.unsqueeze(0))[1].squeeze(0),
        zeros(8),
        parameters=dict(module.named_parameters()),
    )
    ours, theirs = (diagnose(cell, inputs_of(), squares).record for cell in (module, wrapped))
    for name in ("gradient_over_lag", "spans", "products"):
        assert str(theirs[name])[:20] == str(ours[name])[:20]
    assert theirs["gradient_over_lag"]["horizon"] == pytest.approx(ours["gradient_over_lag"]["horizon"], 1e-4)


def test_parametrized_and_inherited_modules_are_measured():
    class Inherited(nn.LSTM):
        pass

    torch.manual_seed(0)
    turned = nn.utils.parametrizations.orthogonal(nn.RNN(3, 8), "weight_hh_l0")
    found = diagnose(turned, inputs_of(), squares).record
    assert found["spectral_radius"]["weights"]["weight_hh_l0"][0] == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(
        trajectory(network(turned), inputs_of()).outputs[-1], turned(inputs_of())[0].detach()
    )
    assert diagnose(Inherited(3, 8), inputs_of(), squares).record["units"]["layer 1"]["gates"]
    frozen = diagnose(nn.RNN(3, 8).requires_grad_(False), inputs_of(), squares).record
    assert "spans" not in frozen


def test_another_forward_is_not_passed_over():
    class Own(nn.RNN):
        def forward(self, x, hx=None):
            return super().forward(2 * x, hx)

    with pytest.raises(UserError, match="Own with a forward of its own"):
        diagnose(Own(3, 8), inputs_of(), squares)


def test_all_is_in_the_layout_of_the_cell():
    torch.manual_seed(0)
    cell, other = nn.RNN(3, 8), nn.RNN(3, 8, batch_first=True)
    other.load_state_dict(cell.state_dict())
    starts, mask = torch.zeros(T, N, dtype=torch.bool), torch.ones(T, N, dtype=torch.bool)
    starts[7, 2] = True
    mask[:3] = False
    first = diagnose(cell, inputs_of(), lambda o: o[-5:, 0].square().sum(), starts=starts, mask=mask)
    turned = [x.transpose(0, 1) for x in (inputs_of(), starts, mask)]
    second = diagnose(other, turned[0], lambda o: o[0, -5:].square().sum(), starts=turned[1], mask=turned[2])
    assert first.record["gradient_over_lag"]["relative_norm"]["median"] == pytest.approx(
        second.record["gradient_over_lag"]["relative_norm"]["median"], rel=1e-3
    )


def spoiled(x):
    x = x.clone()
    x[5, 2, 1] = torch.nan
    return x


@pytest.mark.parametrize(
    ("cause", "said", "given"),
    [
        ("input not finite", "frame 5 of stream 2 is nan", {"inputs": spoiled(inputs_of())}),
        ("state not finite", "before the first step", {"hx": torch.full((1, N, 8), torch.inf)}),
        ("loss not finite", "makes others", {"loss": lambda o: (o - 9).log().sum()}),
        ("loss not finite", "at the outputs of frame", {"loss": lambda o: (0 * o).sqrt().sum()}),
    ],
)
@pytest.mark.parametrize("phi", ["tanh", "relu"])
def test_what_is_not_finite_is_named_first(cause, said, given, phi):
    asked = {"inputs": inputs_of(), "loss": squares} | given
    found = diagnose(nn.RNN(3, 8, nonlinearity=phi), **asked)
    assert found.alarms[0].cause == cause
    assert said in found.alarms[0].sentence
    assert "states grow" not in [each.cause for each in found.alarms]


def test_weights_and_states_that_are_not_finite():
    cell = nn.RNN(3, 8)
    cell.weight_hh_l0.data[2, 3] = torch.nan
    assert [f.cause for f in diagnose(cell, inputs_of(), squares).alarms] == ["weights not finite"]
    root = adapted(lambda x, s: (s - 1).sqrt() + x.sum(), zeros(8))
    assert diagnose(root, inputs_of(), squares).alarms[-1].cause == "state not finite"


REFUSED = {
    "inputs (T, N, 3), found": {"inputs": torch.randn(T, N, 5)},
    "inputs (T, N, 3), found (30, 3)": {"inputs": torch.randn(T, 3)},
    "the cell's own type torch.float32": {"inputs": inputs_of().double()},
    "found torch.float16; call its float": {"cell": nn.RNN(3, 8).half(), "inputs": inputs_of().half()},
    "found (0, 4, 3)": {"inputs": inputs_of()[:0]},
    "found (30, 0, 3)": {"inputs": inputs_of()[:, :0]},
    "a numpy.ndarray": {"inputs": inputs_of().numpy()},
    "loss to make a tensor that depends on the outputs, found one": {"loss": lambda _: torch.zeros(3)},
    "the outputs, found a float": {"loss": lambda o: o.sum().item()},
    "boolean mask of shape (30, 4), found torch.float32": {"mask": torch.ones(T, N)},
    "boolean mask of shape (30, 4), found torch.bool": {"mask": torch.ones(N, T, dtype=torch.bool)},
    "boolean starts": {"starts": torch.ones(N, T, dtype=torch.bool)},
    "each of 4 streams in hx, found 5": {"hx": torch.zeros(1, 5, 8)},
    "found needed": {"training": {"needed": 40}},
    "without chance": {"cell": adapted(lambda x, s: nn.Dropout()(torch.tanh(s + x)), zeros(3))},
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_go_together_is_refused_in_a_line(said):
    asked = {"cell": nn.RNN(3, 8), "inputs": inputs_of(), "loss": squares} | REFUSED[said]
    with pytest.raises(UserError) as refused:
        diagnose(**asked)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_first_state_of_several_streams_is_refused():
    with pytest.raises(UserError, match=r"of one stream, \(1, H\), or a tuple of such, found \(4, 8\)"):
        adapted(nn.GRUCell(3, 8), torch.zeros(4, 8))
