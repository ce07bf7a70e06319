"""Frames -> sound: every held note a sum of sines, written as a WAV file.

Shapes: T time (frames), S samples.
"""

import functools
import io
import os
import wave
from collections.abc import Iterable, Sequence

import numpy as np

from ostinato.domains.music.notes import LOWEST, Notes, checked, seconds_per_frame, spans
from ostinato.errors import UserError
from ostinato.files import atomic_write

RATE = 44_100
MAX_SECONDS = 3600

# Amplitude of the first harmonics of a string that is plucked or struck: they fall a little faster than
# 1 / k, and the high ones die first.
_HARMONICS = 10
_SLOPE = 1.4
_ATTACK, _RELEASE = 0.012, 0.12  # seconds
_PEAK = 0.85  # of the full scale: a reader that resamples may overshoot a little


def synthesize(
    frames: np.ndarray, *, frames_per_beat: int = 2, tempo: float = 100.0, rate: int = RATE
) -> np.ndarray:
    """Sound of frames (T, 88) by additive synthesis, shape (S,) float32 in [-1, 1]; no sample is clipped.

        x(t) = e(t) * sum_k k^-1.4 * exp(-t k / 6) * sin(2 pi k f t)

    for each held note of frequency f = 440 * 2^((pitch - 69) / 12) Hz, with an envelope e that rises in 12
    ms, sinks to a sustained level and fades in 120 ms after the note's end. Harmonics above the highest
    frequency that the rate can carry are left out. The sum is scaled to the same peak however many notes
    there are.

    Args:
        frames: What is not zero sounds; a note that sounds in successive frames is held.
        frames_per_beat: Frames to a quarter note.
        tempo: Quarter notes a minute.
        rate: Samples a second.

    Example:
        >>> sound = synthesize(np.eye(88)[39:41], frames_per_beat=1, tempo=60, rate=8000)
        >>> sound.shape, round(float(abs(sound).max()), 2)
        ((16960,), 0.85)
    """
    frames = checked(frames)
    frame = seconds_per_frame(frames_per_beat, tempo)
    notes = ((begin * frame, (end - begin) * frame, column + LOWEST) for begin, end, column in spans(frames))
    return _sound(notes, len(frames) * frame, rate)


def _sound(notes: Iterable[tuple[float, float, int]], seconds: float, rate: int) -> np.ndarray:
    """Notes as (begin, length, pitch), in seconds, (S,) float32."""
    if seconds > MAX_SECONDS:
        raise UserError(
            f"a sound file of {seconds / 60:,.0f} minutes would be too long, the limit is "
            f"{MAX_SECONDS // 60}; write MIDI, or choose a faster tempo"
        )
    sound = np.zeros(round((seconds + _RELEASE) * rate), dtype=np.float32)
    cached = functools.lru_cache(maxsize=256)(_note)
    for begin, length, pitch in notes:
        tone = cached(pitch, length, rate)
        at = round(begin * rate)
        tone = tone[: len(sound) - at]
        sound[at : at + len(tone)] += tone
    peak = float(np.abs(sound).max(initial=0.0))
    return sound * np.float32(_PEAK / peak) if peak > 0 else sound


def _note(pitch: int, seconds: float, rate: int) -> np.ndarray:
    """One note and its fading away, (S,) float32."""
    time = np.arange(round((seconds + _RELEASE) * rate)) / rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros_like(time)
    for k in range(1, _HARMONICS + 1):
        if k * frequency < 0.45 * rate:
            tone += k**-_SLOPE * np.exp(-time * k / 6) * np.sin(2 * np.pi * k * frequency * time)
    attack = np.minimum(time / _ATTACK, 1)
    sustain = 0.4 + 0.6 * np.exp(-time / 0.5)
    release = np.clip((seconds + _RELEASE - time) / _RELEASE, 0, 1) ** 2
    # the ear is more sensitive to high notes than to low ones
    level = 2 ** ((60 - pitch) / 36)
    return (level * tone * attack * sustain * release).astype(np.float32)


def to_wav(
    frames: np.ndarray,
    path: str | os.PathLike[str],
    *,
    frames_per_beat: int = 2,
    tempo: float = 100.0,
    rate: int = RATE,
) -> None:
    """Write the sound of frames (T, 88) as a WAV file: one channel, 16 bits. See `synthesize`.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "note.wav"
        >>> to_wav(np.eye(88)[39:40], path)
        >>> path.read_bytes()[:4]
        b'RIFF'
    """
    atomic_write(path, wav_bytes(frames, frames_per_beat=frames_per_beat, tempo=tempo, rate=rate))


def wav_bytes(
    frames: np.ndarray, *, frames_per_beat: int = 2, tempo: float = 100.0, rate: int = RATE
) -> bytes:
    """What `to_wav` writes.

    Example:
        >>> len(wav_bytes(np.eye(88)[39:40], frames_per_beat=1, tempo=60, rate=8000))  # header and 1.12 s
        17964
    """
    return _wav(synthesize(frames, frames_per_beat=frames_per_beat, tempo=tempo, rate=rate), rate)


def wav_of_notes(
    notes: Notes, end: float, tempi: Sequence[tuple[float, float]], *, rate: int = RATE
) -> bytes:
    """A WAV file of notes, up to quarter note `end` at least, at tempi (time, quarter notes a minute).

    Example:
        >>> note = Notes(np.array([0.0]), np.array([1.0]), np.array([60]))
        >>> len(wav_of_notes(note, 1.0, [(0.0, 120.0), (0.5, 60.0)], rate=8000))  # header and 0.87 s
        13964
    """
    begins, ends = (in_seconds(times, tempi) for times in (notes.start, notes.end))
    last = max(float(in_seconds(np.array([end]), tempi)[0]), float(ends.max(initial=0.0)))
    played = zip(begins.tolist(), (ends - begins).tolist(), notes.pitch.tolist(), strict=True)
    return _wav(_sound(played, last, rate), rate)


def in_seconds(times: np.ndarray, tempi: Sequence[tuple[float, float]]) -> np.ndarray:
    """Times in quarter notes -> in seconds; the first tempo holds before it is said, too.

    Example:
        >>> in_seconds(np.array([0.0, 2.0, 4.0]), [(0.0, 60.0), (2.0, 120.0)])
        array([0., 2., 3.])
    """
    changes = [(0.0, tempi[0][1]), *[(time, tempo) for time, tempo in tempi if time > 0]]
    where = np.array([time for time, _ in changes])
    pace = np.array([60 / tempo for _, tempo in changes])
    reached = np.concatenate([[0.0], np.cumsum(np.diff(where) * pace[:-1])])
    chosen = np.searchsorted(where, times, side="right") - 1
    return reached[chosen] + (times - where[chosen]) * pace[chosen]


def _wav(sound: np.ndarray, rate: int) -> bytes:
    samples = np.round(sound * 32767)
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return data.getvalue()
