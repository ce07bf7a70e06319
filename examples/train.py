"""Train a network from Python: the data, a recipe, a run folder; then the score on songs it has not seen."""

import os
import tempfile
from pathlib import Path

import numpy as np

from ostinato.domains.music.evaluation.frames import evaluate_frames
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.writing import piano_roll
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.loop import Trainer

SMALL = bool(os.environ.get("OSTINATO_SMALL"))  # settings that end in seconds


def trained_run() -> Path:
    """A run on the chorales of Bach (half a minute), or on a few made-up songs."""
    folder = Path(tempfile.mkdtemp())
    data = music.load(made_up_songs(folder / "songs") if SMALL else "bach", frames_per_beat=1)
    recipe = Recipe.parse("SGD+CM", hidden_size=50, streams=4, learning_rate=0.03, epochs=3 if SMALL else 20)
    with Run.create(folder / "run", recipe.to_dict()) as run:
        Trainer(recipe, data, run).fit()
        for split in ("train", "test"):
            score = evaluate_frames(load_model(run).model, data[split])["log_likelihood"]
            print(f"{split}: {score.value:.2f} {score.unit}, {score.convention}")
    return folder / "run"


def made_up_songs(folder: Path) -> Path:
    """Broken chords in C major, as MIDI files: any folder of MIDI, MusicXML, ABC or kern is a data set."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(10):
        song = np.zeros((32, 88), np.uint8)
        for bar in range(8):
            root = draw.choice([39, 41, 44, 46])  # columns of C4, D4, F4, G4
            song[4 * bar : 4 * bar + 4, root + np.array([-12, 0, 7])] = 1
            song[4 * bar + draw.integers(4), root + 16] = 1
        piano_roll.to_midi(song, folder / f"{number}.mid", frames_per_beat=1)
    return folder


if __name__ == "__main__":
    print(f"run: {trained_run()}")
