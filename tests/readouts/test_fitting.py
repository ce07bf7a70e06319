"""Readouts: against least squares on the states written out, in every form that data may have."""

import numpy as np
import pytest
import torch

import ostinato
from ostinato import UserError
from ostinato.nn import CTRNN, GRU, LSTM, RNN
from ostinato.readouts import Readout, fit_readout, reservoir


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def data(steps=200, streams=3, seed=1):
    x = torch.rand(steps, streams, 2, generator=draws(seed), dtype=torch.float64) - 0.5
    return x, torch.stack([x[..., 0].roll(1, 0), x.prod(-1), x.sum(-1)], -1)


def by_augmented_least_squares(made, wanted, ridge):
    """W and b of the same problem as least squares: rows sqrt(r) below the features, a column of ones."""
    size = made.shape[1]
    features = torch.cat([made, torch.ones(len(made), 1).double()], 1)
    penalty = torch.cat([ridge**0.5 * torch.eye(size).double(), torch.zeros(size, 1)], 1)
    targets = torch.cat([wanted, torch.zeros(size, wanted.shape[1]).double()])
    found = torch.linalg.lstsq(torch.cat([features, penalty]), targets, driver="gelsd").solution
    return found[:-1].T, found[-1]


CELLS = {
    "reservoir": lambda: reservoir(2, 20, connectivity=0.5, generator=draws(), dtype=torch.float64),
    "RNN": lambda: RNN(2, 8, 2, generator=draws(), dtype=torch.float64),
    "GRU": lambda: GRU(2, 8, generator=draws(), dtype=torch.float64),
    "LSTM": lambda: LSTM(2, 8, generator=draws(), dtype=torch.float64),
    "CTRNN": lambda: CTRNN(
        2, 8, 2, form="preactivation", dale=0.75, learned_initial=True, generator=draws(), dtype=torch.float64
    ),
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reading", [{}, {"all_layers": True}, {"direct": True}])
def test_against_least_squares(name, reading):
    cell = CELLS[name]()
    x, y = data()
    readout = fit_readout(cell, x, y, washout=15, ridge=1e-2, **reading)
    outputs = cell(x, all_layers=True)[0] if reading.get("all_layers") else [cell(x)[0]]
    made = torch.cat([*outputs, *([x] if reading.get("direct") else [])], -1)[15:].flatten(0, 1).detach()
    weight, bias = by_augmented_least_squares(made, y[15:].flatten(0, 1), 1e-2)
    torch.testing.assert_close(readout.linear.weight.detach(), weight, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(readout.linear.bias.detach(), bias, rtol=1e-7, atol=1e-9)
    assert readout.count == 185 * 3
    predicted = readout(x)[0][15:].flatten(0, 1)
    torch.testing.assert_close(predicted, made @ weight.T + bias, rtol=1e-7, atol=1e-9)


def same(one, other):
    torch.testing.assert_close(one.linear.weight, other.linear.weight, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(one.linear.bias, other.linear.bias, rtol=1e-8, atol=1e-10)
    assert one.count == other.count


def test_forms_of_data_agree(monkeypatch):
    cell = CELLS["reservoir"]()
    x, y = data()
    whole = fit_readout(cell, x, y, washout=10, ridge=1e-3)
    listed = [list(tensor.unbind(1)) for tensor in (x, y)]
    same(fit_readout(cell, *listed, washout=10, ridge=1e-3), whole)
    pairs = ((x[:, i : i + 1], y[:, i : i + 1]) for i in range(3))
    same(fit_readout(cell, pairs, washout=10, ridge=1e-3), whole)
    carried = ((x[a : a + 37], y[a : a + 37]) for a in range(0, 200, 37))
    same(fit_readout(cell, carried, washout=10, ridge=1e-3, carry=True), whole)
    monkeypatch.setattr("ostinato.readouts.fitting._AT_ONCE", 3 * 20 * 7)
    same(fit_readout(cell, x, y, washout=10, ridge=1e-3), whole)


def test_pairs_that_are_not_carried_begin_anew():
    cell = CELLS["reservoir"]()
    x, y = data()
    cut = [slice(0, 80), slice(80, 200)]
    pairs = [(x[part], y[part]) for part in cut]
    starts = torch.zeros(200, 3, dtype=torch.bool)
    starts[80] = True
    marked = fit_readout(cell, x, y, starts=starts, washout=10, ridge=1e-3)
    same(fit_readout(cell, pairs, washout=10, ridge=1e-3), marked)
    assert marked.count == (70 + 110) * 3
    carried = fit_readout(cell, pairs, washout=10, ridge=1e-3, carry=True)
    assert carried.count == 190 * 3
    assert not torch.allclose(carried.linear.weight, marked.linear.weight)


def test_series_of_other_lengths_and_starts_in_the_middle(monkeypatch):
    cell = CELLS["GRU"]()
    x, y = data()
    lengths = [200, 60, 5]
    series = [[tensor[:n, i] for i, n in enumerate(lengths)] for tensor in (x, y)]
    found = fit_readout(cell, *series, washout=10, ridge=1e-3)
    one_by_one = ((x[:n, i : i + 1], y[:n, i : i + 1]) for i, n in enumerate(lengths))
    same(found, fit_readout(cell, one_by_one, washout=10, ridge=1e-3))
    assert found.count == 190 + 50
    # the same as one stream in which sequences follow one another
    joined = [torch.cat(parts).unsqueeze(1) for parts in series]
    starts = torch.zeros(265, 1, dtype=torch.bool)
    starts[[0, 200, 260]] = True
    for at_once in (2**20, 8 * 33):
        monkeypatch.setattr("ostinato.readouts.fitting._AT_ONCE", at_once)
        same(fit_readout(cell, *joined, starts=starts, washout=10, ridge=1e-3), found)


def test_the_ridge_is_that_of_the_smallest_validation_error():
    cell = CELLS["reservoir"]()
    x, y = data(60)
    y = y + 0.3 * torch.randn(y.shape, generator=draws(), dtype=torch.float64)
    held_out = data(100, seed=5)
    ridges = [1e-9, 1e-3, 1e-1, 1.0, 10.0, 1e4]
    readout = fit_readout(cell, x, y, washout=5, ridge=ridges, validation=held_out)
    errors = {}
    for ridge in ridges:
        alone = fit_readout(cell, x, y, washout=5, ridge=ridge)
        apart = alone(held_out[0])[0][5:] - held_out[1][5:]
        errors[ridge] = apart.square().mean().sqrt().item()
    assert readout.errors == pytest.approx(errors, rel=1e-6)
    assert readout.ridge == min(errors, key=errors.get)
    assert readout.ridge not in (ridges[0], ridges[-1])
    same(readout, fit_readout(cell, x, y, washout=5, ridge=readout.ridge))


def test_tokens_single_precision_and_no_bias():
    cell = RNN(5, 10, token_inputs=True, generator=draws())
    tokens = torch.randint(5, (100, 2), generator=draws())
    following = torch.nn.functional.one_hot(tokens.roll(1, 0), 5).float()
    readout = fit_readout(cell, tokens, following, washout=2, bias=False)
    assert readout.linear.weight.dtype == torch.float64
    assert readout.linear.bias is None
    made = cell(tokens)[0][2:].flatten(0, 1).double().detach()
    wanted = following[2:].flatten(0, 1).double()
    expected = torch.linalg.solve(made.T @ made + 1e-6 * torch.eye(10).double(), made.T @ wanted).T
    torch.testing.assert_close(readout.linear.weight.detach(), expected, rtol=1e-6, atol=1e-8)


def test_the_cell_is_left_as_it_was():
    cell = GRU(2, 8, 2, dropout=0.5, generator=draws(), dtype=torch.float64)
    before = {name: value.clone() for name, value in cell.state_dict().items()}
    x, y = data()
    one, other = (fit_readout(cell, x, y) for _ in range(2))
    assert torch.equal(one.linear.weight, other.linear.weight)  # no dropout
    assert cell.training
    assert all(torch.equal(before[name], value) for name, value in cell.state_dict().items())


def test_a_free_run_continues_a_wave():
    time = torch.arange(600).double()
    wave = torch.stack([torch.sin(0.2 * time), torch.cos(0.2 * time)], -1).unsqueeze(1)
    cell = reservoir(2, 50, leak=0.3, generator=draws(), dtype=torch.float64)
    readout = fit_readout(cell, wave[:399], wave[1:400], washout=50, ridge=1e-8)
    made = readout.free_run(200, wave[:400])
    assert made.shape == (200, 1, 2)
    torch.testing.assert_close(made, wave[400:], atol=1e-3, rtol=0)
    # the first predictions, step by step
    first, state = readout(wave[:400])
    second, _ = readout(first[-1:].detach(), state)
    torch.testing.assert_close(made[:2], torch.cat([first[-1:], second]).detach())


def test_a_free_run_with_further_inputs():
    x, _ = data()
    y = 0.5 * x[..., :1].roll(-1, 0)
    cell = CELLS["reservoir"]()
    readout = fit_readout(cell, x, y)
    further = torch.rand(4, 3, 1, generator=draws(3), dtype=torch.float64)
    made = readout.free_run(4, x, further=further)
    predicted, state = readout(x)
    expected = [predicted[-1:]]
    for step in range(3):
        predicted, state = readout(torch.cat([expected[-1], further[step : step + 1]], -1), state)
        expected.append(predicted)
    torch.testing.assert_close(made, torch.cat(expected).detach())


def test_gradients_go_on_where_the_fit_ended():
    x, y = data()
    cell = reservoir(2, 30, generator=draws(), dtype=torch.float64)
    readout = fit_readout(cell, x, y, washout=10)

    def loss():
        return (readout(x)[0][10:] - y[10:]).square().mean()

    before = loss().item()
    optimizer = torch.optim.Adam(readout.parameters(), lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.7 * before
    assert cell.weight_hh_l0.grad is not None


def test_a_readout_of_gradcheck():
    cell = reservoir(2, 4, connectivity=1.0, generator=draws(), dtype=torch.float64)
    x, y = data(6, 2)
    readout = fit_readout(cell, x, y)
    names = [name for name, _ in readout.named_parameters()]

    def run(*values):
        return torch.func.functional_call(readout, dict(zip(names, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(run, [p.detach().requires_grad_() for p in readout.parameters()])


def test_reservoirs():
    net = reservoir(
        3, 300, spectral_radius=1.3, leak=0.4, connectivity=0.05, input_scaling=torch.tensor([0.1, 1.0, 0.0]),
        input_connectivity=0.5, bias_scaling=0.2, generator=draws(), dtype=torch.float64,
    )  # fmt: skip
    w, u, b = (getattr(net, f"{name}_l0").detach() for name in ("weight_hh", "weight_ih", "bias_ih"))
    assert float(torch.linalg.eigvals(w).abs().max()) == pytest.approx(1.3)
    assert float((w != 0).double().mean()) == pytest.approx(0.05, rel=0.1)
    assert float((u[:, 1] != 0).double().mean()) == pytest.approx(0.5, rel=0.2)
    assert 0.095 < float(u[:, 0].abs().max()) <= 0.1
    assert float(u[:, 2].abs().max()) == 0
    assert 0.19 < float(b.abs().max()) <= 0.2
    assert not net.bias_hh_l0.any()
    assert net.leak.tolist() == [0.4] * 300
    again = reservoir(3, 300, spectral_radius=1.3, connectivity=0.05, generator=draws(), dtype=torch.float64)
    other = reservoir(3, 300, spectral_radius=1.3, connectivity=0.05, generator=draws(1), dtype=torch.float64)
    assert not torch.equal(again.weight_hh_l0, other.weight_hh_l0)
    assert type(net) is ostinato.RNN


X, Y = torch.zeros(9, 2, 2).double(), torch.zeros(9, 2, 1).double()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, Y[:8]), {}, r"found \(9, 2, 2\) and \(8, 2, 1\)"),
        ((X, Y / 0), {}, "expected finite targets"),
        ((X / 0, Y), {}, "expected finite states and targets"),
        ((X, Y), {"washout": 9}, "expected steps to fit beyond washout, found none"),
        ((X, Y), {"washout": -1}, "expected washout as a whole number of at least 0, found -1"),
        ((X, Y), {"ridge": -1.0}, "expected ridge of at least 0"),
        ((X, Y), {"ridge": []}, "expected ridge of at least 0, or several"),
        ((X, Y), {"ridge": [1e-3, 1.0]}, "expected validation data to choose one of 2"),
        ((X, Y), {"ridge": [1.0], "validation": (X, Y), "washout": 8, "starts": None}, None),
        ((X, Y), {"validation": (X[:3], Y[:3]), "washout": 5}, "expected steps of validation beyond"),
        ((X, Y), {"validation": (X / 0, Y)}, "expected finite inputs of validation, found an error of nan"),
        ((X, Y), {"validation": (X, Y.repeat(1, 1, 2))}, "expected validation of 1 targets.*found 2"),
        ((X, Y.repeat(1, 1, 2)), {"validation": (X, Y)}, "validation of 2 targets.*found 1"),
        (([(X, Y), (X, Y.repeat(1, 1, 2))],), {}, "expected 1 targets in every piece of data, found 2"),
        ((X[:, :0], Y[:, :0]), {}, "at least one stream"),
        ((X, Y), {"ridge": "1"}, "expected ridge of at least 0, or several, found '1'"),
        ((X, Y), {"ridge": None}, "expected ridge of at least 0, or several, found None"),
        ((X, Y), {"washout": 1.5}, "expected washout as a whole number of at least 0, found 1.5"),
        ((X, Y), {"validation": X}, r"validation as a pair \(inputs, targets\), found a tensor \(9, 2, 2\)"),
        ((X, Y), {"validation": (X, Y, Y)}, r"as a pair \(inputs, targets\), found 3 of them"),
        (
            (X.numpy(), Y.numpy()),
            {},
            "expected data as tensors, found a numpy.ndarray; torch.from_numpy makes",
        ),
        ((X, Y.numpy()), {}, "expected data as tensors, found a numpy.ndarray"),
        (([X[:, 0].numpy()], [Y[:, 0]]), {}, "expected data as tensors, found a numpy.ndarray"),
        ((X, Y), {"ridge": 0.0}, "no unique solution with ridge 0"),
        ((X, Y), {"starts": torch.zeros(9, 2)}, "expected starts boolean"),
        ((X, Y), {"carry": True}, "expected carry with an iterable of pairs alone"),
        ((X, None), {}, "expected targets as a tensor"),
        (([X[:, 0]], [Y[:, 0], Y[:, 1]]), {}, "expected targets of each of 1 series, found 2"),
        (([X[:, 0]], [Y[:5, 0]]), {}, "expected targets of 9 steps of series 0, found 5"),
        (([X[:, 0]],), {}, "or pairs of tensors"),
        (([(X, Y), (X[:, :1], Y[:, :1])],), {"carry": True}, "expected 2 streams to carry on, found 1"),
    ],
)
def test_mistakes(arguments, options, message):
    cell = CELLS["reservoir"]()
    if message is None:
        fit_readout(cell, *arguments, **options)
        return
    with pytest.raises(UserError, match=message):
        fit_readout(cell, *arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 0.0}, "expected connectivity above 0"),
        ({"input_connectivity": 1.5}, "expected input_connectivity above 0 and at most 1"),
        ({"spectral_radius": 0.0}, "expected spectral_radius above 0"),
        ({"input_scaling": torch.ones(2)}, r"expected input_scaling as a number or \(3,\)"),
        ({"connectivity": 1e-6}, "found none among 10 units"),
    ],
)
def test_mistakes_of_reservoirs(options, message):
    with pytest.raises(UserError, match=message):
        reservoir(3, 10, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.free_run(0, X), "expected steps of at least 1"),
        (lambda r: r.free_run(3, X), r"reads, 2, found 1 and 0"),
        (lambda r: r.free_run(3, X, further=Y), r"inputs of 3 steps and 2 streams, found \(9, 2, 1\)"),
        (lambda r: r.free_run(3, X[:, 0]), "expected real warm_up"),
    ],
)
def test_mistakes_of_free_runs(call, message):
    readout = Readout(CELLS["reservoir"](), torch.nn.Linear(20, 1).double())
    with pytest.raises(UserError, match=message):
        call(readout)


@pytest.mark.parametrize(
    "ridge", [np.float32(0.5), np.array(0.5), torch.tensor(0.5), np.array([0.5]), (0.5,)]
)
def test_a_ridge_may_be_any_number(ridge):
    assert fit_readout(CELLS["reservoir"](), *data(), ridge=ridge).ridge == 0.5


def test_noise_of_training_does_not_act_in_a_fit():
    cell = CTRNN(2, 8, noise=0.5, generator=draws(), dtype=torch.float64)
    quiet = CTRNN(2, 8, generator=draws(), dtype=torch.float64)
    same(fit_readout(cell, *data()), fit_readout(quiet, *data()))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (lambda: GRU(2, 4, batch_first=True), "batch_first=False"),
        (lambda: GRU(2, 4, bidirectional=True), "reads forwards in time alone, found one that reads in both"),
        (lambda: torch.nn.GRU(2, 4), "found torch.nn.*GRU; its state dict loads into ostinato.nn.GRU"),
        (lambda: torch.nn.Linear(2, 4), "a recurrence such as ostinato.nn.RNN, found torch.nn.*Linear$"),
    ],
)
def test_cells_that_are_refused(cell, message):
    with pytest.raises(UserError, match=message):
        fit_readout(cell(), X, Y)
