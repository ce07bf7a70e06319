import numpy as np
import pytest

from ostinato.data.sequences import Sequence
from ostinato.domains.music.reading.overlap import overlap, seen_frames


def piece(notes):
    return np.eye(88, dtype=np.uint8)[notes]


def noise(seed, frames=64):
    return (np.random.default_rng(seed).random((frames, 88)) < 0.05).astype(np.uint8)


@pytest.mark.parametrize("shift", [-7, 0, 3, 12])
def test_a_passage_is_found_in_any_key_and_only_where_it_is(shift) -> None:
    training = [noise(1), noise(2)]
    training[0][:, :12] = 0
    training[0][:, -13:] = 0
    passage = np.roll(training[0][20:32], shift, axis=1)
    (seen,) = seen_frames(training, [np.concatenate([noise(3, 10), passage, noise(4, 10)])])
    assert np.flatnonzero(seen).tolist() == list(range(10, 22))


def test_what_is_in_every_piece_is_not_seen() -> None:
    silence, chord = np.zeros((40, 88), np.uint8), piece([40] * 40) + piece([47] * 40)
    assert not any(frames.any() for frames in seen_frames([silence, chord], [silence, chord]))
    assert seen_frames([noise(1)], [noise(1)[:7], noise(1)[:0]])[0].tolist() == [False] * 7
    scale = piece(list(range(30, 38)))
    one_other = scale.copy()
    one_other[4, 60] = 1
    assert not seen_frames([scale], [one_other])[0].any()
    assert seen_frames([scale], [scale])[0].all()


def test_a_shared_tune_counts_though_the_harmony_is_another() -> None:
    tune = [60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62, 60, 64, 67, 72]
    first, second = piece(tune), piece(tune)
    rng = np.random.default_rng(0)
    for harmony in (first, second):
        for frame in harmony:
            frame[rng.choice(np.arange(20, 55), 3, replace=False)] = 1
    found = overlap([Sequence("a", first)], [Sequence("b", second), Sequence("c", noise(5))])
    assert found.seen.tolist() == [True, False]
    assert found.shares.tolist() == [0.0, 0.0]
