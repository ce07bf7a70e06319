"""Compose: draw a piece from a trained model, and write it as MIDI, sound and picture."""

import torch
from train import trained_run

from ostinato.domains.music.compose import generate
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.writing import audio, piano_roll, pictures

music = MusicModel.open(trained_run())
generator = torch.Generator().manual_seed(1)

pieces = generate(music.model, steps=32, count=2, temperature=0.8, generator=generator)
beat = music.frames_per_beat
piano_roll.to_midi(pieces[0], "composed.mid", frames_per_beat=beat, tempo=90)
audio.to_wav(pieces[0], "composed.wav", frames_per_beat=beat, tempo=90)
pictures.picture(pieces[0], "composed.png", frames_per_beat=beat)

# the other one, continued: a piece is given as frames, its continuation follows in the same array
longer = generate(music.model, steps=16, prime=pieces[1], generator=generator)[0]
piano_roll.to_midi(longer, "continued.mid", frames_per_beat=beat)
print(f"composed.mid, .wav, .png: {len(pieces[0])} frames; continued.mid: {len(longer)} frames")
