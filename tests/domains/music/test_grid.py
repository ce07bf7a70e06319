from dataclasses import replace

import numpy as np
import pytest

from ostinato.domains.music.grid import GRIDS, cost, fitting, place
from ostinato.domains.music.notes import Notes
from ostinato.errors import UserError


def placed(*notes, grid=2, how="nearest", phase=0.0):
    start, end, pitch = (np.array(column) for column in zip(*notes, strict=True))
    found = place(start, end, pitch, grid, phase, how)
    return [
        (int(a), int(b)) if kept else None
        for a, b, kept in zip(found.first, found.last, found.kept, strict=True)
    ]


def piece(*notes, pickup=0.0):
    start, end, pitch = (np.array(column) for column in zip(*notes, strict=True))
    return Notes(start.astype(float), end.astype(float), pitch, pickup)


def test_every_note_begins_on_the_nearest_line():
    late = [(k + 1 / 6, k + 1.0, 60 + k) for k in range(4)]
    assert placed(*late) == [(2 * k, 2 * k + 2) for k in range(4)]
    early = [(k + 23 / 24, k + 47 / 24, 60) for k in range(4)]
    assert placed(*early) == [(2 * k + 2, 2 * k + 4) for k in range(4)]


def test_a_note_between_two_lines_begins_at_the_later_one():
    assert placed((0.25, 1.0, 60), (0.2499, 1.0, 62), (0.2501, 1.0, 64)) == [(1, 2), (0, 2), (1, 2)]


def test_every_note_has_a_frame():
    assert placed((0.0, 0.01, 60), (0.3, 0.31, 62), (1.0, 1.0, 64)) == [(0, 1), (1, 2), (2, 3)]


def test_only_the_second_of_two_strikes_in_one_frame_is_lost():
    assert placed((0.0, 0.1, 60), (0.1, 1.0, 60), (0.1, 0.2, 62)) == [(0, 2), None, (0, 1)]


def test_a_note_ends_where_the_next_of_its_pitch_begins():
    assert placed((0.0, 2.0, 60), (1.0, 3.0, 60)) == [(0, 2), (2, 6)]


def test_samples_are_as_they_were():
    # an eighth of a frame after each line, whatever happens between
    assert placed((0.0, 0.5, 60), (0.1, 0.4, 62), (0.06, 0.57, 64), how="sample") == [(0, 1), None, (0, 2)]


def test_the_beats_are_on_lines_after_a_pickup():
    notes = piece((0, 1 / 3, 60), (1 / 3, 4 / 3, 62), pickup=1 / 3)
    assert notes.frames(2, quantize="nearest").argmax(axis=1).tolist() == [39, 41, 41]
    assert notes.first_beat(2, "nearest") == pytest.approx(-0.5)


def test_the_cost_counts_what_is_moved_and_lost():
    notes = piece((0, 1, 60), (1.1, 2, 62), (1.05, 2, 62), (3, 4, 130))
    found = notes.cost(1, "nearest")
    assert (found.notes, found.moved, found.lost) == (4, 1, 2)
    assert found.distance == pytest.approx(0.05)
    assert found.farthest == pytest.approx(0.05)
    unread = replace(notes, lost=3).cost(1, "nearest")
    assert (unread.notes, unread.lost) == (7, 5)
    start = np.array([0.0, 0.1])
    sampled = place(start, start + 0.1, np.array([60, 62]), 2, 0.0, "sample")
    assert cost(start, sampled, 2, 0.0).lost == 1


def even(step, count=40, low=40):
    start = np.arange(count) * step
    return start, start + step, low + np.arange(count) % 30, 0.0


@pytest.mark.parametrize(
    ("steps", "grid"),
    [
        ([1], 1),
        ([1, 1 / 2], 2),
        ([1 / 3], 3),
        ([1 / 4, 1 / 2], 4),
        ([1 / 2, 1 / 3], 6),
        ([1 / 8], 8),
        ([1 / 4, 1 / 3], 12),
    ],
)
def test_the_grid_is_the_coarsest_that_the_notes_are_on(steps, grid):
    assert fitting([even(step) for step in steps]) == grid


def test_a_few_triplets_do_not_make_the_grid_finer():
    assert fitting([even(1 / 4, 400), even(1 / 3, 4)]) == 4


def test_a_grid_has_room_for_notes_that_are_struck_again():
    start = np.repeat(np.arange(40.0), 2) + np.tile([0.0, 0.25], 40)
    assert fitting([(start, start + 0.2, np.full(80, 60), 0.0)]) == 4


def test_a_grid_on_which_a_note_in_a_hundred_is_lost_is_too_coarse():
    start = np.concatenate([np.arange(100.0), [0.25]])
    pitch = np.concatenate([40 + np.arange(100) % 30, [40]])
    assert fitting([(start, start + 0.2, pitch, 0.0)]) == 2


def test_voices_in_unison_lose_no_note():
    start = np.repeat(np.arange(40.0), 2)
    assert fitting([(start, start + 1, np.full(80, 60), 0.0)]) == 1
    found = piece((0, 1, 60), (0, 2, 60), (2, 3, 62)).cost(1, "nearest")
    assert (found.notes, found.lost, found.unisons) == (3, 0, 1)
    assert placed((0, 1, 60), (0, 2, 60), grid=1)[0] == (0, 2)


def test_a_performance_has_the_grid_that_it_is_nearest_to():
    rng = np.random.default_rng(0)
    start = np.arange(400) / 2 + rng.uniform(-1 / 12, 1 / 12, 400)
    assert fitting([(start, start + 0.4, 40 + np.arange(400) % 30, 0.0)]) == 2
    free = np.sort(rng.uniform(0, 200, 400))
    assert fitting([(free, free + 0.3, 40 + np.arange(400) % 30, 0.0)]) in GRIDS[3:]


def test_no_notes():
    with pytest.raises(UserError, match="no notes"):
        Notes(np.empty(0), np.empty(0), np.empty(0, dtype=int)).frames(2, quantize="nearest")
