"""Gates have the values that next states are made of, and shares of shut and open ones are told."""

import pytest
import torch

from ostinato.diagnostics import diagnose, network
from ostinato.diagnostics.trajectory import trajectory
from ostinato.diagnostics.units import gates_of, slopes_of, units_of
from ostinato.nn import GRU, LSTM, RNN


def run_of(cell, inputs, starts=None):
    return trajectory(network(cell.double().eval()), inputs, starts=starts)


def cells_of(kind):
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 4, (7, 2), generator=generator)
    frames = torch.randn(7, 2, 4, generator=generator, dtype=torch.float64)
    yield kind(4, 5, num_layers=2, generator=generator), frames
    yield kind(4, 5, bias=False, generator=generator), frames
    yield kind(4, 5, token_inputs=True, generator=generator), tokens
    yield kind(4, 5, token_inputs=True, embedding_size=3, generator=generator), tokens
    if kind is LSTM:
        yield kind(4, 5, num_layers=2, proj_size=3, generator=generator), frames


@pytest.mark.parametrize("kind", [GRU, LSTM])
def test_states_are_made_of_the_gates_values(kind) -> None:
    """By the cell's equations; the states themselves come from the scan."""
    starts = torch.zeros(7, 2, dtype=torch.bool)
    starts[4, 1] = True
    for cell, inputs in cells_of(kind):
        run = run_of(cell, inputs, starts)
        before = run.network.flow.formed(run.before.flatten(0, 1))
        parts = (before,) if kind is GRU else before
        h, *c = (x.unflatten(1, (7, 2)).masked_fill(starts.unsqueeze(-1), 0) for x in parts)
        for k, gates in enumerate(gates_of(run)):
            if kind is GRU:
                made = gates["update"] * h[k] + (1 - gates["update"]) * gates["new"]
            else:
                made = gates["output"] * torch.tanh(gates["forget"] * c[0][k] + gates["input"] * gates["new"])
                if cell.proj_size:
                    made = made @ getattr(cell, f"weight_hr_l{k}").T
            assert made.shape[-1] == run.outputs[k].shape[-1]
            assert (made - run.outputs[k]).abs().max() < 1e-12


def test_slopes_of_tanh_are_those_at_the_states() -> None:
    starts = torch.zeros(7, 2, dtype=torch.bool)
    starts[4, 1] = True
    for cell, inputs in cells_of(RNN):
        run = run_of(cell, inputs, starts)
        for slopes, out in zip(slopes_of(run), run.outputs, strict=True):
            assert (slopes - (1 - out * out)).abs().max() < 1e-12


def test_shares_of_gates_that_are_shut_and_open() -> None:
    lstm = LSTM(2, 4)
    with torch.no_grad():
        lstm.weight_ih_l0.zero_()
        lstm.weight_hh_l0.zero_()
        # rows i, f, g, o: two of four input gates shut, one forget gate open, three candidates saturated
        lstm.bias_ih_l0.copy_(torch.tensor([-9.0, -9, 0, 0, 9, 0, 0, 0, 3, 3, -3, 0, 0, 0, 0, 0]))
        lstm.bias_hh_l0.zero_()
    (found,) = units_of(run_of(lstm, torch.zeros(6, 3, 2, dtype=torch.float64))).values()
    assert found.gates == {
        "input": {"shut": 0.5, "open": 0.0},
        "forget": {"shut": 0.0, "open": 0.25},
        "output": {"shut": 0.0, "open": 0.0},
    }
    assert found.saturated == 0.75


def test_a_network_without_gates_has_none_and_one_with_them_is_told_of() -> None:
    inputs = torch.randn(6, 2, 3)
    (plain,) = units_of(trajectory(network(RNN(3, 4).eval()), inputs)).values()
    assert plain.gates == {}
    gru = torch.nn.GRU(3, 4)
    assert units_sentence(gru, inputs).endswith("of slopes are near zero, no gate is shut or open")
    gru.bias_ih_l0.data[:2] = 90  # rows r, z and n
    gru.bias_ih_l0.data[4] = -90
    assert units_sentence(gru, inputs).endswith("reset gates open at 50%, update gates shut at 25% of steps")


def units_sentence(cell, inputs) -> str:
    found = diagnose(cell, inputs, lambda outputs: outputs.square())
    return next(f.sentence for f in found.findings if f.cause == "units")
