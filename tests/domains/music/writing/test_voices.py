import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ostinato.domains.music.notes import spans
from ostinato.domains.music.writing.voices import Line, led


@given(st.integers(0, 999), st.sampled_from([0.03, 0.1]))
def test_every_note_is_in_one_voice_and_none_overlaps(seed: int, density: float) -> None:
    frames = np.random.default_rng(seed).random((12, 88)) < density
    notes = [Line(*span) for span in spans(frames)]
    voices = led(notes)
    assert sorted(note for voice in voices for note in voice) == sorted(notes)
    assert len(voices) == frames.sum(axis=1).max(initial=0)
    for voice in voices:
        assert all(a.end <= b.begin for a, b in itertools.pairwise(voice))


def test_a_voice_that_rests_is_not_taken_over() -> None:
    chords = [(72, 64, 48), (71, 62, 43), (72, 48), (74, 62, 50)]
    notes = [Line(t, t + 1, pitch) for t, chord in enumerate(chords) for pitch in chord]
    assert [[note.pitch for note in voice] for voice in led(notes)] == [
        [72, 71, 72, 74],
        [64, 62, 62],
        [48, 43, 48, 50],
    ]


def test_voices_do_not_cross_one_that_is_held() -> None:
    notes = [Line(0, 4, 60), Line(0, 1, 72), Line(1, 2, 61), Line(2, 3, 75)]
    assert [[note.pitch for note in voice] for voice in led(notes)] == [[72, 61, 75], [60]]
