import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ostinato.domains.music.reading.similarity import versions


def melody(seed, length=50, low=40):
    rng = np.random.default_rng(seed)
    return low + np.cumsum(rng.choice([-2, -1, 1, 2], length)) % 12


def roll(*voices):
    frames = np.zeros((len(voices[0]), 88), np.uint8)
    for voice in voices:
        frames[np.arange(len(voice)), voice] = 1
    return frames


@given(st.integers(-10, 10), st.integers(0, 50))
def test_a_tune_in_another_key_with_other_voices_is_found(shift, seed):
    tune = melody(seed)
    bass, other = melody(seed + 1000, low=15), melody(seed + 2000, low=15)
    (found,) = versions([roll(tune, bass), roll(tune + shift, other)])
    assert found == (0, 1, 1.0)


def test_an_excerpt_is_like_the_whole_and_repeated_notes_do_not_matter():
    tune = melody(1)
    assert versions([roll(tune), roll(np.repeat(tune[10:40], 2))]) == [(0, 1, 1.0)]


def test_the_same_harmony_under_another_tune_is_found():
    chords = [melody(1, low=15), melody(2, low=30)]
    # another voice is the highest now: no tune in common, the same pitch classes
    first, second = roll(*chords, chords[0] + 36), roll(*chords, chords[1] + 36)
    assert [pair[:2] for pair in versions([first, second])] in ([(0, 1)], [])
    third = roll(*(voice + 3 for voice in [*chords, chords[0] + 36]))
    assert (0, 1, 1.0) in versions([first, third])


def test_different_pieces_are_different():
    assert versions([roll(melody(seed), melody(seed + 100, low=15)) for seed in range(20)]) == []


def test_pieces_of_a_few_notes_or_none():
    assert versions([]) == []
    assert versions([np.zeros((4, 88)), np.eye(88)[:3], np.eye(88)[:3], np.zeros((0, 88))]) == []
