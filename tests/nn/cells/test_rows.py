"""Sequences of different lengths, one behind the other in few streams, against each by itself."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ostinato.nn import CTRNN, GRU, LSTM, RNN
from ostinato.nn.cells.packed import Rows

LENGTHS = torch.tensor([9, 2, 5, 1, 7, 4])


def tensors(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def alone(module: nn.Module, x: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Outputs and last states of one sequence after the other."""
    outputs, last = [], []
    for b, length in enumerate(lengths.tolist()):
        out, state = module(x[:length, b : b + 1])
        outputs.append(torch.cat([out, out.new_zeros(len(x) - length, *out.shape[1:])]))
        last.append(tensors(state))
    return torch.cat(outputs, 1), [torch.cat(parts, 1) for parts in zip(*last, strict=True)]


def gradients(module: nn.Module, x: Tensor, out: Tensor, last: Any, upstream: Tensor) -> list[Tensor]:
    loss = (out * upstream).sum() + sum((state**2).sum() for state in last)
    return [*torch.autograd.grad(loss, [x, *module.parameters()], allow_unused=True)]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_lengths_are_as_each_sequence_by_itself(cell: Any, bidirectional: bool) -> None:
    torch.manual_seed(0)
    module = cell(3, 5, 2, bidirectional=bidirectional, leak=torch.full((5,), 0.3)).double()
    x = torch.randn(9, 6, 3, dtype=torch.float64, requires_grad=True)
    out, state = module(x, lengths=LENGTHS)
    wanted, last = alone(module, x, LENGTHS)
    upstream = torch.randn_like(out)
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-12)
    for found, right in zip(tensors(state), last, strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)
    found_all = gradients(module, x, out, tensors(state), upstream)
    for found, right in zip(found_all, gradients(module, x, wanted, last, upstream), strict=True):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cell", [RNN, GRU, LSTM])
def test_packed_sequences_are_those_of_torch(cell: Any) -> None:
    torch.manual_seed(1)
    module = cell(3, 5)
    other = getattr(nn, cell.__name__)(3, 5)
    other.load_state_dict(module.state_dict())
    packed = pack_padded_sequence(torch.randn(9, 6, 3), LENGTHS, enforce_sorted=False)
    (out, state), (wanted, last) = module(packed), other(packed)
    torch.testing.assert_close(pad_packed_sequence(out), pad_packed_sequence(wanted))
    torch.testing.assert_close(tensors(state), tensors(last))


def test_states_given_are_those_that_sequences_begin_with() -> None:
    torch.manual_seed(2)
    module, x, zero = LSTM(3, 5), torch.randn(9, 6, 3), torch.zeros(1, 6, 5)
    hx = (torch.randn(1, 6, 5), torch.randn(1, 6, 5))
    torch.testing.assert_close(module(x, (zero, zero), lengths=LENGTHS), module(x, lengths=LENGTHS))
    assert not torch.allclose(module(x, hx, lengths=LENGTHS)[0], module(x, lengths=LENGTHS)[0])


def test_what_no_sequence_fills_does_not_grow() -> None:
    module = RNN(1, 1, nonlinearity="relu", bias=False)
    with torch.no_grad():
        module.weight_ih_l0.fill_(1.0)
        module.weight_hh_l0.fill_(1e30)
    x = torch.zeros(9, 6, 1)
    x[0, 5] = 1.0
    out, _ = module(x, lengths=torch.tensor([9, 7, 5, 4, 2, 1]))
    out[0].sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in module.parameters() if p.grad is not None)


def test_a_sparse_gradient_has_the_tokens_of_sequences_alone() -> None:
    module = GRU(10, 4, token_inputs=True, sparse=True)
    out, _ = module(torch.full((9, 6), 7), lengths=LENGTHS)
    out.sum().backward()
    found = next(p.grad for p in module.parameters() if p.grad is not None and p.grad.is_sparse)
    assert found.coalesce().indices().tolist() == [[7]]


def test_a_cell_whose_outputs_are_not_its_states_has_lengths_too() -> None:
    torch.manual_seed(3)
    module, x = CTRNN(3, 5, form="preactivation"), torch.randn(9, 6, 3)
    out, state = module(x, lengths=LENGTHS)
    wanted, last = alone(module, x, LENGTHS)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(tensors(state), tuple(last))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.booleans())
def test_rows_hold_every_frame_once(lengths: list[int], reverse: bool) -> None:
    ordered = sorted(lengths, reverse=True)
    sizes = torch.tensor([sum(length > t for length in ordered) for t in range(ordered[0])])
    rows = Rows.of(sizes, torch.device("cpu"), reverse=reverse)
    steps, count = rows.starts.shape
    assert steps == ordered[0]
    assert count < 2 * sum(lengths) / steps + 1
    assert len({*rows.places.tolist()}) == sum(lengths)
    free = torch.ones(steps * count, dtype=torch.bool)
    free[rows.places] = False
    assert int((rows.starts.view(-1) & ~free).sum()) == len(lengths)
    assert bool(rows.starts.view(-1)[free].all())
    at = dict(zip(rows.places.tolist(), ((j, t) for t, n in enumerate(sizes) for j in range(n)), strict=True))
    for j, (end, length) in enumerate(zip(rows.ends.tolist(), ordered, strict=True)):
        steps_back = [at[end - k * count] for k in range(length)]
        order = range(length) if reverse else reversed(range(length))
        assert steps_back == [(j, t) for t in order]
