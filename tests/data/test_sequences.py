import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sequences import Sequence, Splits, fingerprint


def song(name="a", values=((0, 1), (1, 0))):
    return Sequence(name, np.array(values, dtype=np.uint8))


def test_version_sees_name_values_type_shape_and_split():
    other = song(values=((0, 1), (1, 1)))
    wide = Sequence("a", np.array([[0, 1], [1, 0]], dtype=np.int32))
    flat = Sequence("a", np.array([[0, 1, 1, 0]], dtype=np.uint8))
    data = [
        ([song()], [], []),
        ([], [song()], []),
        ([song("b")], [], []),
        ([other], [], []),
        ([wide], [], []),
        ([flat], [], []),
        ([song(), song("b")], [], []),
        ([song("b"), song()], [], []),
    ]
    assert len({fingerprint(*splits) for splits in data}) == len(data)


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), max_size=4))
def test_version_is_a_function_of_the_content(rows):
    first, second = ([Sequence("x", np.array(row, np.uint8)) for row in rows] for _ in range(2))
    assert fingerprint(first, [], []) == fingerprint(second, [], [])


def test_version_ignores_how_an_array_lies_in_memory():
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    swapped = values.astype(">i4")
    versions = {fingerprint([Sequence("a", v)], [], []) for v in (values, np.asfortranarray(values), swapped)}
    assert len(versions) == 1


def test_splits_are_frozen_and_found_by_name():
    data = Splits("d", (song(),), (), (song("b"),))
    assert [split for split, _ in data.items()] == ["train", "valid", "test"]
    assert data["test"][0].name == "b"
    assert (len(data), data.frames("train"), data.frames("valid")) == (2, 2, 0)
    with pytest.raises(KeyError, match="expected one of train, valid, test"):
        data["dev"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"
