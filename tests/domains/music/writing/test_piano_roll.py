import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.domains.music.writing import piano_roll
from ostinato.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("midi")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), frames_per_beat=st.sampled_from([1, 2, 3, 4, 7, 12, 48]))
def test_midi_gives_the_frames_back(folder, seed, frames_per_beat):
    rng = np.random.default_rng(seed)
    frames = (rng.random((int(rng.integers(1, 40)), 88)) < rng.uniform(0.01, 0.3)).astype(np.uint8)
    frames[[0, -1], 40] = 1
    path = folder / "roundtrip.mid"
    piano_roll.to_midi(frames, path, frames_per_beat=frames_per_beat, tempo=float(rng.uniform(40, 200)))
    back = piano_roll.from_file(path, frames_per_beat=frames_per_beat, transpose=False)
    np.testing.assert_array_equal(back, frames)


def test_held_notes_merge(tmp_path):
    import symusic

    frames = np.zeros((4, 88))
    frames[:3, 39] = True
    piano_roll.to_midi(frames, tmp_path / "a.mid", frames_per_beat=2, tempo=90)
    score = symusic.Score(str(tmp_path / "a.mid"))
    (note,) = score.tracks[0].notes
    assert (note.time, note.duration, note.pitch) == (0, 3 * score.ticks_per_quarter // 2, 60)
    assert score.tempos[0].qpm == pytest.approx(90, abs=0.01)


def test_silence_can_be_written(tmp_path):
    piano_roll.to_midi(np.zeros((4, 88)), tmp_path / "a.mid")
    with pytest.raises(UserError, match=r"a\.mid: no notes"):
        piano_roll.from_file(tmp_path / "a.mid")


@pytest.mark.parametrize("options", [{"frames_per_beat": 0}, {"frames_per_beat": 481}, {"tempo": 0}])
def test_bad_options(tmp_path, options):
    with pytest.raises(UserError, match=r"expected .* found"):
        piano_roll.to_midi(np.zeros((4, 88)), tmp_path / "a.mid", **options)


def test_unwritable_place_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        piano_roll.to_midi(np.eye(88), tmp_path / "nowhere" / "a.mid")


def test_a_book_of_tunes_is_not_one_piece(tmp_path):
    (tmp_path / "book.abc").write_text("X:1\nK:C\nL:1/4\nCDEF|\n\nX:2\nK:C\nL:1/4\nGABc|\n")
    with pytest.raises(UserError, match=r"book\.abc: expected one piece, found 2"):
        piano_roll.from_file(tmp_path / "book.abc")
