"""Side inputs against loops that follow their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.data.sequences import Sequence, fingerprint
from ostinato.data.side import RUNS, TRUSTED, Reader, Side, inputs, runs
from ostinato.data.splitting import cut_in_time
from ostinato.data.streams import Streams

V, F, LAGS = 2, 3, 2


def known(length: int, seed: int) -> tuple[np.ndarray, Side]:
    """A sequence that repeats itself often, and what is known of it."""
    draw = np.random.default_rng(seed)
    values = draw.integers(0, 2, (length, V)).astype(np.uint8)
    back = draw.integers(0, 6, (length, LAGS))
    for t in range(length):  # most frames as they were two frames ago
        if t > 1 and draw.random() < 0.8:
            values[t], back[t, 0] = values[t - 2], 2
    return values, Side(draw.integers(0, 2, (length, F)), back)


def by_definition(values: np.ndarray, side: Side) -> np.ndarray:
    """Every input from what it is said to be, one frame at a time."""
    rows = []
    for t in range(len(values)):
        row = [*(values[t - 1] if t else np.zeros(V)), *side.features[t]]
        flags, trusted = [], []
        for k in side.back[t]:
            row += [*(values[t - k] if k else np.zeros(V))]
        for place in range(LAGS):
            lasted = 0
            for s in range(t - 1, -1, -1):
                k = side.back[s, place]
                if k == 0 or (values[s] != values[s - k]).any():
                    break
                lasted += 1
            flags += [float(lasted >= limit) for limit in RUNS]
            there = side.back[t, place]
            trusted += [*(values[t - there] if there and lasted >= TRUSTED else np.zeros(V))]
        rows.append([*row, *trusted, *flags])
    return np.array(rows, dtype=np.uint8)


@settings(max_examples=15)
@given(st.integers(1, 60), st.integers(0, 999))
def test_inputs_are_what_they_are_said_to_be(length: int, seed: int) -> None:
    values, side = known(length, seed)
    found = inputs(values, side)
    assert found.shape == (length, side.size(V))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_definition(values, side))


def test_runs_end_at_the_most_that_their_type_holds() -> None:
    values, back = np.ones((600, 1), np.uint8), np.ones((600, 1), np.int32)
    side = Side(np.zeros((600, 0)), back)
    assert runs(values, side.back)[[1, 2, 255, 256, 257, 599]].ravel().tolist() == [0, 1, 254, 255, 255, 255]
    reader = Reader(side, 1, 1)
    for t, frame in enumerate(torch.from_numpy(values)):
        assert reader.inputs()[0, 0].tolist() == inputs(values[: t + 1], side[: t + 1])[t].tolist()
        reader.add(frame[None])


@settings(max_examples=15)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 15))
def test_streams_have_the_inputs_of_each_sequence(lengths: list[int], streams: int, segment: int) -> None:
    songs = []
    for number, length in enumerate(lengths):
        values, side = known(length, number)
        songs.append(Sequence(str(number), values, side))
    seen = dict.fromkeys(range(len(songs)), 0)
    for one in Streams(songs, streams, segment, np.random.default_rng(0)):
        for t, b in np.argwhere(one.sequences.numpy() >= 0):
            number = int(one.sequences[t, b])
            song = songs[number]
            expected = by_definition(song.values, song.side)[seen[number]]  # type: ignore[arg-type]
            assert one.inputs[t, b].tolist() == expected.tolist()
            assert one.targets[t, b].tolist() == song.values[seen[number]].tolist()
            seen[number] += 1
    assert seen == dict(enumerate(lengths))


def test_a_reader_follows_each_of_several_sequences_also_when_they_are_chosen_anew() -> None:
    _, side = known(50, 0)
    draw = np.random.default_rng(1)
    reader, paths = Reader(side, 4, V), [np.zeros((0, V), np.uint8)] * 4
    for t in range(50):
        filler = np.zeros((1, V), np.uint8)  # stands for the coming frame, which is not read
        expected = [by_definition(np.concatenate([path, filler]), side[: t + 1])[t] for path in paths]
        np.testing.assert_array_equal(reader.inputs()[0].numpy(), np.stack(expected))
        frames = draw.integers(0, 2, (4, V)).astype(np.uint8)
        if t > 3 and draw.random() < 0.8:
            frames = np.stack([path[-2] for path in paths])
        reader.add(torch.from_numpy(frames))
        paths = [np.concatenate([path, frame[None]]) for path, frame in zip(paths, frames, strict=True)]
        if t % 7 == 3:
            chosen = torch.from_numpy(draw.integers(0, 4, 4))
            reader.select(chosen)
            paths = [paths[k] for k in chosen.tolist()]


def test_sides_are_part_of_the_version_and_of_a_cut_and_are_of_one_size() -> None:
    values, side = known(60, 0)
    song, plain = Sequence("a", values, side), Sequence("a", values)
    other = Sequence("a", values, Side(1 - side.features, side.back))
    versions = {fingerprint([one], [], []) for one in (song, plain, other, song.without_side())}
    assert len(versions) == 3
    parts = cut_in_time([song])
    (last,) = parts["test"]
    np.testing.assert_array_equal(last.side.features, side.features[48:])  # type: ignore[union-attr]
    # nothing before the part is read
    assert (last.side.back <= np.arange(12)[:, None]).all()  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="sides of one size"):
        Streams([song, plain], 1, 5)
    with pytest.raises(ValueError, match="a side of 60 frames"):
        Streams([Sequence("b", values, side[:5])], 1, 5)
    with pytest.raises(ValueError, match="a side of 60 frames"):
        inputs(values, side[:5])


def test_sides_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="features"):
        Side(np.zeros((3, 1)), np.zeros((2, 1)))
