import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.data.sequences import Sequence
from ostinato.data.streams import Streams, deal


def songs(lengths: list[int], seed: int = 0) -> list[Sequence]:
    draw = np.random.default_rng(seed)
    return [Sequence(f"song{i}", draw.integers(0, 2, (n, 4)).astype(np.uint8)) for i, n in enumerate(lengths)]


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any),
    streams=st.integers(1, 5),
    segment_length=st.integers(1, 15),
    seed=st.none() | st.integers(0, 99),
)
def test_every_frame_is_met_once_in_order(
    lengths: list[int], streams: int, segment_length: int, seed: int | None
) -> None:
    pieces = songs(lengths)
    generator = None if seed is None else np.random.default_rng(seed)
    walked: dict[int, list[np.ndarray]] = {}
    layout = Streams(pieces, streams, segment_length, generator)
    previous = torch.zeros(layout.streams, 4, dtype=torch.uint8)
    for segment in layout:
        for t in range(len(segment.targets)):
            for b in range(layout.streams):
                owner = int(segment.sequences[t, b])
                counted = segment.mask is None or bool(segment.mask[t, b])
                assert counted == (owner >= 0)
                if not counted:
                    continue
                seen = walked.setdefault(owner, [])
                assert bool(segment.starts[t, b]) == (not seen)
                expected = torch.zeros(4, dtype=torch.uint8) if not seen else previous[b]
                assert segment.inputs[t, b].equal(expected)
                seen.append(segment.targets[t, b].numpy())
            previous = segment.targets[t]
    assert layout.frames == sum(lengths)
    assert sorted(walked) == [i for i, n in enumerate(lengths) if n]
    for index, frames in walked.items():
        np.testing.assert_array_equal(np.stack(frames), pieces[index].values)


@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=60), streams=st.integers(1, 16))
def test_streams_are_nearly_equal(lengths: list[int], streams: int) -> None:
    dealt = deal(lengths, streams, np.random.default_rng(0))
    totals = [sum(lengths[i] for i in stream) for stream in dealt]
    assert sorted(i for stream in dealt for i in stream) == list(range(len(lengths)))
    # no stream outgrows another by more than its last piece, hence never by more than the longest one
    assert max(totals) - min(totals) <= max(lengths)


def test_every_epoch_is_dealt_anew_and_reproducibly() -> None:
    lengths = list(range(5, 45))
    first, again = (deal(lengths, 4, np.random.default_rng(1)) for _ in range(2))
    assert first == again
    assert first != deal(lengths, 4, np.random.default_rng(2))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_values_keep_their_type(dtype: type) -> None:
    values = np.array([[0.5, -1.25], [300.0, np.nan], [2.0, 3.0]])
    values = values if dtype != np.uint8 else np.array([[1, 0], [0, 1], [1, 1]])
    pieces = [Sequence("a", values.astype(dtype)), Sequence("b", values[:2].astype(dtype))]
    (segment,) = Streams(pieces, 2, 3)
    assert segment.targets.numpy().dtype == segment.inputs.numpy().dtype == dtype
    np.testing.assert_array_equal(segment.targets[:, 0], pieces[0].values)
    np.testing.assert_array_equal(segment.inputs[1:, 0], pieces[0].values[:2])
    assert not segment.inputs[0].any()


def test_types_and_widths_do_not_mix() -> None:
    of = [np.zeros((3, 2), np.uint8), np.zeros((3, 2), np.float32), np.zeros((3, 1), np.uint8)]
    for other in of[1:]:
        with pytest.raises(ValueError, match="expected sequences of one type and width, got"):
            Streams([Sequence("a", of[0]), Sequence("b", other)], 1, 2)


def test_positions_count_from_the_start_of_each_sequence() -> None:
    layout = Streams(songs([3, 2]), 1, 4)
    assert [layout.positions(i).flatten().tolist() for i in range(2)] == [[0, 1, 2, 0], [1]]


def test_nothing_to_walk_over_is_an_error() -> None:
    with pytest.raises(ValueError, match="not empty"):
        Streams(songs([0, 0]), 2, 10)
    with pytest.raises(IndexError):
        Streams(songs([3]), 1, 2)[2]


def test_bytes_that_are_no_frames_are_refused() -> None:
    """Nobody looks at them in the steps of training: `nn.outputs.distribution.seen_targets`."""
    pieces = songs([3, 0, 5])
    pieces[2].values[4, 1] = 9
    with pytest.raises(ValueError, match="frames of 0 and 1 in song2, found 9"):
        Streams(pieces, 2, 2)
    real = [Sequence("a", np.full((3, 1), 9.0))]
    assert float(Streams(real, 1, 3)[0].targets.max()) == 9
