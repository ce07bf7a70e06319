"""Harmonise: keep the notes of a melody and let a model add voices; then fill a gap in the result."""

import numpy as np
import torch
from train import trained_run

from ostinato.domains.music.harmonize import Region, melody, regions
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.particles import sample_conditioned
from ostinato.domains.music.writing import piano_roll

music = MusicModel.open(trained_run())
generator = torch.Generator().manual_seed(0)

tune = np.zeros((16, 88), np.uint8)
tune[np.arange(16), np.array([72, 72, 79, 79, 81, 81, 79, 79, 77, 77, 76, 76, 74, 74, 72, 72]) - 21] = 1

given = melody(tune)  # every note held, nothing above; regions() holds any part of a piece
found = sample_conditioned(music.model, given.fixed, given.values, particles=200, generator=generator)
harmony = found.draw(generator)
assert (harmony[tune == 1] == 1).all()
piano_roll.to_midi(harmony, "harmony.mid", frames_per_beat=music.frames_per_beat)
print(
    f"log p(melody) ≈ {found.log_evidence:.1f} nats, {found.effective_sizes.mean():.0f} effective particles"
)

gap = regions(harmony, free=[Region(4, 8)])
filled = sample_conditioned(music.model, gap.fixed, gap.values, particles=200, generator=generator)
piano_roll.to_midi(filled.draw(generator), "filled.mid", frames_per_beat=music.frames_per_beat)
print(f"P(note) in the gap, its most likely: {filled.marginals()[4:8].max(axis=1).round(2)}")
