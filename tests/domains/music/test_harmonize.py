import numpy as np
import pytest

from ostinato.domains.music.harmonize import Region, melody, regions
from ostinato.errors import UserError


def tune(*pitches: int) -> np.ndarray:
    frames = np.zeros((len(pitches), 88), np.uint8)
    for t, pitch in enumerate(pitches):
        if pitch:
            frames[t, pitch - 21] = 1
    return frames


def test_a_melody_is_held_and_nothing_is_above_it() -> None:
    frames = tune(60, 64)
    constraint = melody(frames)
    assert constraint.fixed[0, 60 - 21 :].all()
    assert not constraint.fixed[0, : 60 - 21].any()
    assert not constraint.fixed[1, : 64 - 21].any()
    assert (constraint.values == frames).all()
    assert (melody(frames, above=True).fixed == (frames == 1)).all()


def test_rests_keep_the_limit_of_the_note_before() -> None:
    fixed = melody(tune(0, 60, 0, 0, 72)).fixed
    # a rest: not even the melody's own row is fixed, the rows above it are
    free = [int((~row).sum()) for row in fixed]
    assert free == [60 - 21 + 1, 60 - 21, 60 - 21 + 1, 60 - 21 + 1, 72 - 21]


def test_of_given_voices_all_notes_are_held() -> None:
    frames = tune(72) | tune(48)
    constraint = melody(frames)
    assert constraint.fixed[0, 48 - 21]
    assert not constraint.fixed[0, 50 - 21]
    assert not constraint.fixed[0, 40 - 21]


def test_silence_is_no_melody() -> None:
    with pytest.raises(UserError, match="no notes"):
        melody(np.zeros((5, 88)))


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("4-8", Region(8, 16)),
        ("-8", Region(0, 16)),
        ("1.5-", Region(3, None)),
        ("C4", Region(low=60, high=60)),
        ("f#3-Bb4", Region(low=54, high=70)),
        ("2-4@A0-C8", Region(4, 8, 21, 108)),
        ("-@C4-C5", Region(low=60, high=72)),
    ],
)
def test_regions_are_read(text: str, region: Region) -> None:
    assert Region.parse(text, 2) == region


@pytest.mark.parametrize(
    "text", ["", "8-4", "4-4", "G4-C4", "H4", "4-8@", "@C4", "4", "C4-", "1-2@3-4", "x@C4"]
)
def test_no_region(text: str) -> None:
    with pytest.raises(UserError, match="expected a region"):
        Region.parse(text, 2)


def test_a_gap_is_free_and_the_rest_is_held_with_its_silence() -> None:
    frames = tune(60, 62, 64, 65)
    constraint = regions(frames, free=[Region(1, 3)])
    assert constraint.fixed.all(axis=1).tolist() == [True, False, False, True]
    assert not constraint.fixed[1:3].any()
    assert (constraint.values[[0, 3]] == frames[[0, 3]]).all()
    assert not constraint.values[1:3].any()


def test_pitches_are_those_of_the_piece_before_it_was_moved() -> None:
    # a melody in D, moved to C: what the user calls D4 is row C4
    constraint = regions(tune(60, 62), fixed=[Region(low=62, high=64)], semitones=-2)
    # and what is above C8 in the piece's key is held silent
    assert (np.flatnonzero(constraint.fixed[0]) + 21).tolist() == [60, 61, 62, 107, 108]


def test_a_region_after_the_end_is_a_mistake() -> None:
    with pytest.raises(UserError, match="after its end"):
        regions(tune(60), free=[Region(4, 8)])
