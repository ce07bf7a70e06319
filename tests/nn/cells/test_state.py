import pytest
import torch
from torch import Tensor

from ostinato.checkpoints import decode, encode
from ostinato.nn.cells import state as states

ONE = torch.arange(12.0).view(2, 3, 2)
PAIR = (ONE, -ONE)
NESTED = (ONE, (ONE + 1, ONE + 2))


def parts(state: states.State) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else [x for part in state for x in parts(part)]


@pytest.mark.parametrize("state", [ONE, PAIR, NESTED])
def test_streams_are_reordered_in_every_tensor(state: states.State) -> None:
    chosen = torch.tensor([2, 0, 0, 1])
    for whole, some in zip(parts(state), parts(states.select(state, chosen)), strict=True):
        assert torch.equal(some, whole[:, chosen])
    streams = [states.select(state, torch.tensor([b])) for b in range(3)]
    for whole, again in zip(parts(state), parts(states.concatenate(streams)), strict=True):
        assert torch.equal(whole, again)
    for one, many in zip(parts(streams[1]), parts(states.repeat(streams[1], 4)), strict=True):
        assert torch.equal(many, one[:, [0, 0, 0, 0]])
        many[:, 0] += 1  # its own memory
        assert torch.equal(many[:, 1:], one[:, [0, 0, 0]])


@pytest.mark.parametrize("state", [ONE, PAIR, NESTED])
def test_a_checkpoint_gives_back_the_same_structure(state: states.State) -> None:
    others = {"carriedness": torch.zeros(1), "generator": torch.zeros(1), "x.carried.0": torch.zeros(1)}
    tensors, _ = decode(encode(states.named_tensors(state, "carried") | others, {}))
    again = states.from_named_tensors(tensors, "carried")
    assert type(again) is type(state)
    torch.testing.assert_close(again, state, rtol=0, atol=0)
    assert states.from_named_tensors(others, "carried") is None


def test_one_tensor_is_named_as_runs_have_named_it_before() -> None:
    assert list(states.named_tensors(ONE, "carried")) == ["carried"]


@pytest.mark.parametrize("state", [ONE, PAIR])
def test_a_row_more_and_a_row_less(state: states.State) -> None:
    row = torch.full((1, 3, 2), 7.0)
    before, last = states.without_last(states.with_last(state, row))
    assert torch.equal(last, row)
    torch.testing.assert_close(before, state, rtol=0, atol=0)


def test_a_detached_state_is_a_constant() -> None:
    x = torch.ones(1, requires_grad=True)
    assert not any(part.requires_grad for part in parts(states.detached((x * 2, x * 3))))
    assert not any(part.any() for part in parts(states.zeros_like((x * 2, x * 3))))
