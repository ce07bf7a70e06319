"""A leak is held exactly where it is constant, and stays in (0, 1) where it is learned."""

import copy
import math
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from ostinato.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from ostinato.nn.cells.leak import logit_of, slope, squashed

CELLS = (RNN, GRU, LSTM, RNNCell, GRUCell, LSTMCell)
TYPES = (torch.float64, torch.float32, torch.bfloat16)


def learned(kind: type, start: float = 0.5, dtype: torch.dtype = torch.float32) -> Any:
    leak, draw = torch.full((3,), start, requires_grad=True), torch.Generator().manual_seed(0)
    return kind(2, 3, leak=leak, generator=draw, dtype=dtype)


@pytest.mark.parametrize("kind", CELLS)
def test_a_leak_that_requires_a_gradient_is_learned_where_it_was_given(kind: type) -> None:
    module = learned(kind, 0.9, torch.float64)
    assert [name for name, _ in module.named_parameters()][-1] == "leak_logit"
    torch.testing.assert_close(module.leak.detach(), torch.full((3,), 0.9).double(), rtol=1e-7, atol=0)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn((4, 1, 2) if kind in CELLS[:3] else (1, 2), generator=draw, dtype=torch.float64)
    states = torch.full((1, 3), 0.3, dtype=torch.float64)
    hx: Any = states if kind in CELLS[3:] else states.unsqueeze(0)
    hx = (hx, hx) if kind in (LSTM, LSTMCell) else hx
    logit = module.leak_logit.detach().requires_grad_()

    def output(logit: torch.Tensor) -> Any:
        out = functional_call(module, {"leak_logit": logit}, (x, hx))
        return out[0] if isinstance(out, tuple) else out

    assert gradcheck(output, (logit,))
    assert torch.autograd.grad(output(logit).sum(), logit)[0].abs().min() > 0


@pytest.mark.parametrize("dtype", TYPES)
def test_no_logit_brings_the_leak_to_its_ends(dtype: torch.dtype) -> None:
    ends = torch.tensor([-math.inf, -1e30, -200, -20, 0, 9, 17, 40, 1e30, math.inf], dtype=dtype)
    leak = squashed(ends)
    assert bool(((leak > 0) & (leak < 1)).all())
    assert bool((1 - leak > 0).all())
    assert bool((leak.diff() >= 0).all())
    inner = torch.linspace(-6, 6, 20, dtype=torch.float64).requires_grad_()
    (found,) = torch.autograd.grad(squashed(inner).sum(), inner)
    torch.testing.assert_close(slope(inner.detach()), found)
    values = torch.tensor([0.01, 0.3, 0.8, 0.98], dtype=dtype)
    torch.testing.assert_close(squashed(logit_of(values)), values)


@pytest.mark.parametrize(
    ("rate", "steps", "dtype"),
    [(1e-2, 2000, torch.float32), (3.0, 200, torch.float32), (3.0, 200, torch.float64)],
)
def test_it_stays_inside_whatever_the_steps(rate: float, steps: int, dtype: torch.dtype) -> None:
    """Adam on a loss that falls without end as one leak grows and the other shrinks."""
    rnn = RNN(1, 2, nonlinearity="identity", leak=torch.tensor([0.95, 0.05], requires_grad=True), dtype=dtype)
    with torch.no_grad():
        for parameter in set(rnn.parameters()) - {rnn.leak_logit}:
            parameter.zero_()
    x = torch.zeros(6, 1, 1, dtype=dtype)
    h0 = torch.ones(1, 1, 2, dtype=dtype)
    optimizer = torch.optim.Adam([rnn.leak_logit], rate)
    for _ in range(steps):
        optimizer.zero_grad()
        last = rnn(x, h0)[1].flatten()
        (last[1] - last[0]).backward()
        optimizer.step()
    low, high = rnn.leak.detach().aminmax()
    assert 0 < low < 0.04
    assert 0.99 < high < 1
    assert rnn.leak_logit.isfinite().all()
    assert rnn(x, h0)[0].isfinite().all()
    assert rate < 1 or rnn.leak_logit.max() > 17  # where a sigmoid in float32 is 1


@pytest.mark.parametrize("kind", CELLS)
def test_state_dicts_with_a_leak_load_into_either_kind(kind: type) -> None:
    constant, own = kind(2, 3, leak=torch.tensor([0.2, 0.5, 0.9])), learned(kind)
    old = dict(constant.state_dict())  # as a learned leak was stored before it had a logit
    own.load_state_dict(old)
    torch.testing.assert_close(own.leak.detach(), old["leak"])
    other = kind(2, 3, leak=0.5)
    other.load_state_dict(own.state_dict())
    torch.testing.assert_close(other.leak, old["leak"])
    again = learned(kind)
    again.load_state_dict(own.state_dict())
    torch.testing.assert_close(again.leak_logit, own.leak_logit, rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(own).leak, own.leak, rtol=0, atol=0)
    # zero, which a unit had that did not leak, is the nearest to it
    own.load_state_dict(old | {"leak": torch.tensor([0.0, 0.5, 0.9])})
    assert 0 < own.leak.min() < 1e-6
    with pytest.raises(ValueError, match=r"expected leaks in \[0, 1\) in leak, found 0.2 to 1.17"):
        own.load_state_dict(old | {"leak": torch.tensor([0.2, 0.5, 1.17])})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*leak"):
        kind(2, 3).load_state_dict(old)


def test_a_constant_leak_is_held_in_the_module_s_own_precision() -> None:
    assert RNN(3, 5, leak=0.8, dtype=torch.float64).leak.tolist() == [0.8] * 5
    assert RNN(3, 5, leak=0.8).leak.tolist() == torch.full((5,), 0.8).tolist()
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        assert RNN(3, 5, leak=0.98, dtype=torch.float64).leak.tolist() == [0.98] * 5
    finally:
        torch.set_default_dtype(before)
    # what float32 has lost it does not get back
    assert RNN(3, 5, leak=0.8).double().leak.tolist() == torch.full((5,), 0.8).double().tolist()


def test_a_learned_leak_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a learned leak must lie in \(0, 1\), got one of 0"):
        learned(RNN, 0.0)


@pytest.mark.parametrize("kind", CELLS)
def test_a_learned_leak_cannot_be_set_without_effect(kind: type) -> None:
    module = learned(kind)
    with pytest.raises(AttributeError, match="made from the parameter leak_logit"):
        module.leak = torch.full((3,), 0.2)
    assert "leak" not in module.state_dict()
    constant = kind(2, 3, leak=0.5)
    constant.leak = torch.full((3,), 0.25)
    assert constant.leak.tolist() == [0.25] * 3
