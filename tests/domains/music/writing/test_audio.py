import wave

import numpy as np
import pytest

from ostinato.domains.music.writing.audio import synthesize, to_wav
from ostinato.errors import UserError

RATE = 16_000


def notes(*spans: tuple[int, int, int], frames: int) -> np.ndarray:
    found = np.zeros((frames, 88), np.uint8)
    for begin, end, pitch in spans:
        found[begin:end, pitch - 21] = 1
    return found


def loudest(sound: np.ndarray) -> float:
    """Frequency of the highest peak of the spectrum."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.fft.rfftfreq(len(sound), 1 / RATE)[spectrum.argmax()])


@pytest.mark.parametrize("pitch", [36, 57, 69, 84, 108])
def test_a_note_sounds_at_its_frequency(pitch: int) -> None:
    sound = synthesize(notes((0, 2, pitch), frames=2), frames_per_beat=1, tempo=60, rate=RATE)
    assert loudest(sound) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), abs=1)


def test_many_notes_at_once_are_not_clipped_and_one_is_not_faint() -> None:
    for frames in (np.ones((4, 88)), notes((0, 1, 60), frames=4)):
        sound = synthesize(frames, rate=RATE)
        assert np.abs(sound).max() == pytest.approx(0.85, abs=1e-3)


def test_a_held_note_is_struck_once_and_a_new_one_again() -> None:
    held = synthesize(notes((0, 4, 69), frames=4), frames_per_beat=1, tempo=60, rate=RATE)
    struck = synthesize(notes((0, 2, 69), (3, 4, 69), frames=4), frames_per_beat=1, tempo=60, rate=RATE)

    def level(sound: np.ndarray, second: float) -> float:
        return float(np.abs(sound[int(second * RATE) : int((second + 0.2) * RATE)]).max())

    assert level(held, 3.05) < level(held, 2.05) < level(held, 0.05)
    assert level(struck, 2.5) == 0
    assert level(struck, 3.0) > 0.8 * level(struck, 0.0)


def test_silence_lasts_and_stays_silent() -> None:
    sound = synthesize(np.zeros((4, 88)), frames_per_beat=2, tempo=120, rate=RATE)
    assert len(sound) == round((4 * 0.25 + 0.12) * RATE)
    assert not sound.any()


def test_the_file_is_a_wav_file_of_the_right_length(tmp_path) -> None:  # type: ignore[no-untyped-def]
    to_wav(notes((0, 8, 60), frames=8), tmp_path / "a.wav", frames_per_beat=2, tempo=90)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 44_100)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    assert len(samples) / 44_100 == pytest.approx(8 * 60 / 90 / 2 + 0.12, abs=1e-3)
    assert 0.05 < np.sqrt((samples**2).mean()) < 0.5
    assert np.abs(samples).max() < 0.9
    # no click: neighbouring samples differ little, at the ends too
    assert abs(samples[0]) < 0.01
    assert abs(samples[-1]) < 0.01


@pytest.mark.parametrize("wrong", [{"tempo": 0.0}, {"tempo": 5000.0}, {"frames_per_beat": 0}])
def test_impossible_tempos(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="expected"):
        synthesize(notes((0, 1, 60), frames=1), **wrong)  # type: ignore[arg-type]


def test_hours_of_sound_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(UserError, match="too long"):
        synthesize(np.zeros((200_000, 88)), tempo=60)
