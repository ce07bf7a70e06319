"""Compose: draw a piece from a trained model, and write it as MIDI, sound and picture."""

import torch
from train import trained_run

from ostinato.domains.music.compose import generate
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.writing import piano_roll

music = MusicModel.open(trained_run())
generator = torch.Generator().manual_seed(1)

pieces = generate(music.model, steps=32, count=2, temperature=0.8, generator=generator)
for ending in ("mid", "wav", "png"):
    piano_roll.write(pieces[0], f"composed.{ending}", frames_per_beat=music.frames_per_beat, tempo=90)

# the other one, continued: a piece is given as frames, its continuation follows in the same array
longer = generate(music.model, steps=16, prime=pieces[1], generator=generator)[0]
piano_roll.write(longer, "continued.mid", frames_per_beat=music.frames_per_beat)
print(f"composed.mid, .wav, .png: {len(pieces[0])} frames; continued.mid: {len(longer)} frames")
