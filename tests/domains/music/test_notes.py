import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.domains.music.harmonize import melody, regions
from ostinato.domains.music.layout import shifted
from ostinato.domains.music.notes import MAX_FRAMES, Notes, checked, spans, to_c, tonic
from ostinato.errors import UserError

SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


def notes(*rows, pickup=0.0):
    start, end, pitch = np.array(rows, dtype=float).reshape(-1, 3).T
    return Notes(start, end, pitch.astype(int), pickup)


def sounding(frames):
    return [(np.flatnonzero(frame) + 21).tolist() for frame in frames]


def test_held_notes_fill_their_frames():
    frames = notes((0, 2, 60), (1, 2, 64)).frames(1)
    assert sounding(frames) == [[60], [60, 64]]
    assert frames.dtype == np.uint8
    assert sounding(notes((0, 2, 60), (1, 2, 64)).frames(2)) == [[60], [60], [60, 64], [60, 64]]


def test_late_hands_and_legato_do_not_smear():
    # each note begins a little late and ends a little after the next one began
    frames = notes((0.02, 1.05, 60), (1.03, 2.04, 62)).frames(1)
    assert sounding(frames) == [[60], [62]]


def test_notes_between_frames_are_dropped_and_thirty_seconds_on_the_beat_are_kept():
    assert sounding(notes((0, 0.125, 60), (0.25, 0.5, 62), (0.5, 1, 64)).frames(2)) == [[60], [64]]


def test_beats_fall_on_frames_after_an_upbeat_of_an_eighth():
    piece = notes((0, 0.5, 55), (0.5, 1.5, 60), (1.5, 2, 62), (2, 2.5, 64), (2.5, 3.5, 65), pickup=0.5)
    assert sounding(piece.frames(1)) == [[60], [62], [65]]
    assert sounding(piece.frames(2)) == [[55], [60], [60], [62], [64], [65], [65]]


def test_silence_at_the_ends_goes_and_silence_within_stays():
    assert sounding(notes((4, 5, 60), (6, 7, 62)).frames(1)) == [[60], [], [62]]


def test_only_the_88_keys():
    assert sounding(notes((0, 1, 20), (0, 1, 21), (0, 1, 108), (0, 1, 109)).frames(1)) == [[21, 108]]
    with pytest.raises(UserError, match="88 keys"):
        notes((0, 1, 5)).frames(1)


def test_no_notes_is_a_reason():
    with pytest.raises(UserError, match="no notes"):
        notes().frames(1)


@pytest.mark.parametrize("end", [MAX_FRAMES + 10, 1e300, np.inf, np.nan])
def test_absurd_times_are_a_reason_and_allocate_nothing(end):
    with pytest.raises(UserError):
        notes((0, end, 60)).frames(1)


@pytest.mark.parametrize("key", range(12))
def test_major_and_minor_scales_come_to_c(key):
    major = SCALE + key
    minor = np.array([0, 2, 3, 5, 7, 8, 11]) + key
    for scale in (major, minor):
        pitch = np.concatenate([scale, [key, key + 7, key]]) + 60
        assert tonic(pitch, np.ones(len(pitch))) == key
        assert (key + to_c(key)) % 12 == 0
        piece = Notes(np.arange(10.0), np.arange(1.0, 11.0), pitch)
        assert (piece.frames(1, transpose=True)[0].argmax() + 21) % 12 == 0


@given(st.lists(st.tuples(st.integers(40, 70), st.sampled_from([0.5, 1.0, 2.0])), min_size=1, max_size=30))
def test_transposed_pieces_become_the_same_piece_but_for_octaves(rows):
    pitch, length = np.array(rows, dtype=float).T
    start = np.concatenate([[0], np.cumsum(length)[:-1]])
    rolls = {
        tuple(
            row.argmax() % 12
            for row in Notes(start, start + length, pitch.astype(int) + shift).frames(2, transpose=True)
        )
        for shift in (0, 12)
    }
    assert len(rolls) == 1


@given(st.integers(0, 2**32 - 1))
def test_spans_and_frames_are_inverse(seed):
    rng = np.random.default_rng(seed)
    frames = (rng.random((int(rng.integers(1, 30)), 88)) < 0.1).astype(np.uint8)
    again = np.zeros_like(frames)
    found = list(spans(frames))
    for begin, end, column in found:
        assert not again[begin:end, column].any()
        again[begin:end, column] = 1
    np.testing.assert_array_equal(again, frames)
    assert found == sorted(found, key=lambda span: (span[0], span[2]))


def test_shape_is_checked():
    with pytest.raises(ValueError, match=r"expected frames of shape \(T, 88\), or .* onsets, found \(3, 7\)"):
        checked(np.zeros((3, 7)))


@pytest.mark.parametrize("value", [9, 0.5, np.nan])
def test_values_are_checked(value):
    for use in (checked, melody, regions, lambda frames: shifted(frames, 1)):
        with pytest.raises(UserError, match="expected frames of 0 and 1, found other values"):
            use(np.full((3, 88), value))
