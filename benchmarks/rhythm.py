"""How the notes of a model's pieces begin, beside its songs': python benchmarks/rhythm.py RUN."""

import sys

import torch

from ostinato.domains.music.compose import generate
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.rhythm import attacks
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model, own_data

trained = load_model(Run.open(sys.argv[1]))
music, data = MusicModel.of(trained), own_data(trained)
generator = torch.Generator().manual_seed(0)
drawn = generate(music.model, 110, visible_size=music.visible_size, count=200, generator=generator)
rows = {
    "200 pieces of 110 frames": attacks(drawn, music.frames_per_beat),
    **{
        split: attacks([song.values for song in data[split]], music.frames_per_beat)
        for split in ("train", "test")
    },
}
for name, found in rows.items():
    print(f"{name:26}", *(f"{share} {100 * value:5.1f} %" for share, value in found.items()))
