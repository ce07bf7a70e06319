"""How the notes of a model's pieces begin, beside those of its songs.

    python benchmarks/rhythm.py RUN [--temperature 0.8]

RUN is a run folder on music in frames with onsets (ostinato train --data bach --output nade ...). It composes
in the usual metre of its data, with the usual pickup, if it reads bars.

Shares: of strikes, those of a pitch that sounded in the frame before; of what sounds, what is held; of
strikes, those between quarter notes. "One frame further" are frames drawn given all frames of the test songs
before: where they differ from the songs, the model is wrong without having strayed.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from ostinato.data.sequences import Sequence
from ostinato.data.side import inputs
from ostinato.domains.music.compose import generate
from ostinato.domains.music.layout import COLUMNS, roll
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.rhythm import attacks
from ostinato.domains.seed import seeded
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model, own_data

PIECES, STEPS = 200, 110


def main() -> None:
    """Compose, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--temperature", type=float, default=1.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_model(Run.open(options.run))
    music, data = MusicModel.of(trained), own_data(trained)
    size, grid = music.visible_size, music.frames_per_beat
    told = music.piece("", np.zeros((0, size), np.uint8))
    drawn = generate(
        music.model,
        STEPS,
        visible_size=size,
        count=PIECES,
        temperature=options.temperature,
        side=told.side(STEPS),
        generator=seeded(0),
    )
    rows = {
        f"{PIECES} pieces of {STEPS} frames": attacks(drawn, grid, told.first_beat),
        "one frame further": one_further(music, data.test),
        **{split: attacks([song.values for song in data[split]], grid) for split in ("train", "test")},
    }
    for name, found in rows.items():
        print(f"{name:26}", *(f"{share} {100 * value:5.1f} %" for share, value in found.items()))


def one_further(music: MusicModel, songs: tuple[Sequence, ...]) -> dict[str, float]:
    """`attacks` of frames that are drawn each given the true ones before."""
    strikes = repeated = sounding = off_beat = 0
    generator = seeded(0)
    for song in songs:
        with torch.no_grad():
            predicted, _ = music.model(torch.from_numpy(inputs(song.values, song.side))[:, None])
            drawn = predicted.sample(generator=generator)[:, 0].numpy() != 0
        struck, before = drawn[:, COLUMNS:], np.zeros_like(drawn[:, COLUMNS:])
        before[1:] = roll(song.values)[:-1] != 0
        strikes, repeated = strikes + int(struck.sum()), repeated + int((struck & before).sum())
        sounding += int(roll(drawn).sum())
        off_beat += int(struck[np.arange(len(struck)) % music.frames_per_beat != 0].sum())
    return {
        "repeated": repeated / strikes,
        "held": (sounding - strikes) / sounding,
        "off_beat": off_beat / strikes,
    }


if __name__ == "__main__":
    main()
