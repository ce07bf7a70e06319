"""Short pieces that the models of finished runs make, with their sound, for a report."""

import shlex
from pathlib import Path

import numpy as np

from ostinato.domains.music.compose import generate
from ostinato.domains.music.notes import LOWEST, spans
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.writing.audio import wav_bytes
from ostinato.domains.sample import Sample
from ostinato.domains.seed import seeded

FRAMES, TEMPO = 32, 120.0
_RATES = (22_050, 16_000, 11_025, 8_000)


def affordable(frames: int, seconds_per_frame: float, most_bytes: int) -> tuple[int, int]:
    """Frames and samples a second of a piece in so many bytes: the rate gives way first, then the length.

    Example:
        >>> affordable(32, 0.5, 1_000_000), affordable(32, 0.5, 300_000), affordable(32, 0.5, 95_000)
        ((32, 22050), (32, 8000), (11, 8000))
    """
    for rate in _RATES:
        fitting = int((most_bytes / (2 * rate) - 0.12) / seconds_per_frame)
        if fitting >= frames:
            return frames, rate
    return max(fitting, 1), _RATES[-1]


def make(name: str, folder: Path, count: int, seed: int, most_bytes: int) -> list[Sample]:
    """Short pieces by the best model of the run in a folder, as piano roll and sound.

    Args:
        name: of the run.
        folder: the run's.
        count: how many.
        seed: of the first; the others follow it.
        most_bytes: of the sound of each.
    """
    music = MusicModel.open(folder)
    seconds_per_frame = 60 / TEMPO / music.frames_per_beat
    frames, rate = affordable(FRAMES, seconds_per_frame, most_bytes)
    made = []
    for own in range(seed, seed + count):
        generator = seeded(own)
        size = music.visible_size
        side = music.piece("", np.zeros((frames, size), np.uint8)).side()
        roll = generate(music.model, frames, visible_size=size, side=side, generator=generator)[0]
        sound = wav_bytes(roll, frames_per_beat=music.frames_per_beat, tempo=TEMPO, rate=rate)
        made.append(
            Sample(
                run=name,
                seed=own,
                command=f"ostinato generate {shlex.quote(str(folder))} --steps {frames} --seed {own} "
                f"--tempo {TEMPO:g} --out piece.mid --out piece.wav",
                notes=[(begin, end, column + LOWEST) for begin, end, column in spans(roll)],
                frames=frames,
                frames_per_beat=music.frames_per_beat,
                wav=sound,
                seconds=len(sound) / (2 * rate),
            )
        )
    return made
