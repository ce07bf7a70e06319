import json
import math

import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.runs import checkpoint as checkpoints
from ostinato.runs.checkpoint import DamagedError, NewerError, decode, encode

TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
]
states = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def example():
    tensors = {"weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}
    return encode(tensors, {"epoch": 2, "best": -8.5})


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)], ids=str)
def test_tensors_come_back_to_the_bit(dtype, shape):
    generator = torch.Generator().manual_seed(0)
    tensor = (torch.randn(shape, generator=generator) * 3).to(dtype)
    loaded = decode(encode({"a": tensor}, {}))[0]["a"]
    assert loaded.dtype == dtype
    assert loaded.shape == torch.Size(shape)
    assert torch.equal(loaded, tensor)
    loaded.zero_()  # writable, and nobody else's memory


def test_special_numbers_come_back_to_the_bit():
    tensor = torch.tensor([math.nan, math.inf, -math.inf, -0.0, 5e-324], dtype=torch.float64)
    loaded = decode(encode({"a": tensor}, {}))[0]["a"]
    assert torch.equal(loaded.view(torch.int64), tensor.view(torch.int64))


def test_views_and_shared_memory_are_stored_each_by_itself():
    whole = torch.arange(12.0).reshape(3, 4)
    given = {
        "whole": whole,
        "transposed": whole.t(),
        "row": whole[1],
        "strided": whole[:, ::2],
        "same": whole,
        "expanded": torch.ones(1).expand(5),
        "parameter": torch.nn.Parameter(whole),
    }
    loaded, _ = decode(encode(given, {}))
    assert loaded.keys() == given.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in given.items())
    loaded["whole"].zero_()
    assert loaded["same"].any()


@given(st.dictionaries(st.text(), states, max_size=4))
def test_states_come_back_as_they_were(state):
    assert decode(encode({}, state)) == ({}, state)


def test_numbers_that_strict_json_lacks_come_back():
    state = decode(encode({}, {"best": -math.inf, "last": math.nan, "random": 2**127}))[1]
    assert state["best"] == -math.inf
    assert math.isnan(state["last"])
    assert state["random"] == 2**127


def test_a_state_that_would_not_come_back_the_same_is_refused():
    with pytest.raises(TypeError, match=r"text as the keys .* found 1"):
        encode({}, {"optimizer": [{1: "a"}]})
    with pytest.raises(TypeError):
        encode({}, {"tensor": torch.ones(1)})


def test_the_file_can_be_read_by_any_safetensors_program(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(example())
    with safetensors.safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["state"]) == {"epoch": 2, "best": -8.5}
        assert file.get_tensor("weight").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_cut_anywhere_is_damaged():
    data = example()
    for length in range(len(data)):
        with pytest.raises(DamagedError):
            decode(data[:length])


def test_a_changed_byte_anywhere_is_noticed():
    data = example()
    tensors, state = decode(data)
    for place in range(len(data)):
        for change in (1, 0x20, 0x80):
            changed = bytearray(data)
            changed[place] ^= change
            try:
                found, found_state = decode(bytes(changed))
            except (DamagedError, NewerError):
                continue
            # What is left are changes without a meaning, such as the blanks that pad the header.
            assert found_state == state
            assert found.keys() == tensors.keys()
            assert all(torch.equal(found[name], tensors[name]) for name in tensors)


@given(st.binary(max_size=200))
def test_other_bytes_are_damaged(data):
    with pytest.raises(DamagedError):
        decode(data)


def test_a_foreign_safetensors_file_is_not_taken_for_a_checkpoint():
    import safetensors.torch

    with pytest.raises(DamagedError, match="not marked"):
        decode(safetensors.torch.save({"a": torch.ones(1)}, {"by": "somebody"}))


def test_a_newer_format_says_so(monkeypatch):
    monkeypatch.setattr(checkpoints, "VERSION", 2)
    data = encode({}, {})
    monkeypatch.undo()
    with pytest.raises(NewerError, match="format 2"):
        decode(data)
