"""Compose the pieces of the landing page: `python docs/make_pieces.py [FOLDER] [--epochs N]`.

A network with NADE is trained on `jsb` (half a minute of one core), then composes from nothing; what it wrote
is drawn, and played by the package's own synthesizer. Everything is seeded. MP3 takes
`pip install soundfile`.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from ostinato.data.sequences import Splits
from ostinato.domains.music.compose import generate
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.writing import audio, pictures
from ostinato.domains.seed import seeded
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.loop import Trainer

FRAMES, FRAMES_PER_BEAT, TEMPO, RATE = 24, 1, 92.0, 22_050
SEEDS = (1, 2, 3)


def main(folder: Path, epochs: int | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = music.load("jsb")
    pieces = composed(data, epochs)
    print("longest passage that a song of the data has too, in frames:", longest_shared(pieces, data))
    for number, frames in enumerate(pieces, start=1):
        if number == 1:
            title = "The first of the three, as the network wrote it"
            pictures.picture(frames, folder / "piece-1.png", frames_per_beat=FRAMES_PER_BEAT, title=title)
        write_mp3(frames, folder / f"piece-{number}.mp3")


def longest_shared(pieces: list[np.ndarray], data: Splits) -> int:
    """The most frames in a row that a piece has in common with a song, note for note."""
    songs = [song.values for _, songs in data.items() for song in songs]
    for length in range(FRAMES, 0, -1):
        known = {song[k : k + length].tobytes() for song in songs for k in range(len(song) - length + 1)}
        for piece in pieces:
            if any(piece[k : k + length].tobytes() in known for k in range(len(piece) - length + 1)):
                return length
    return 0


def composed(data: Splits, epochs: int | None) -> list[np.ndarray]:
    """Pieces (T, 88) of the best model of one training, one for each seed."""
    settings = {} if epochs is None else {"epochs": epochs, "hidden_size": 8, "nade_size": 8}
    recipe = Recipe.parse("SGD+CRM", data="jsb", output="nade", **settings)
    with tempfile.TemporaryDirectory() as place, Run.create(Path(place) / "run", recipe.to_dict()) as run:
        Trainer(recipe, data, run).fit()
        model = load_model(run).model
    return [generate(model, FRAMES, count=1, temperature=0.9, generator=seeded(seed))[0] for seed in SEEDS]


def write_mp3(frames: np.ndarray, path: Path) -> None:
    """A piece as it sounds, at 40 kbit/s: every browser plays MP3.

    The published chorales are an octave higher than Bach wrote them: what is played is an octave lower.
    """
    import soundfile

    sound = audio.synthesize(
        np.roll(frames, -12, axis=1), frames_per_beat=FRAMES_PER_BEAT, tempo=TEMPO, rate=RATE
    )
    soundfile.write(path, sound, RATE, format="MP3", bitrate_mode="CONSTANT", compression_level=0.8)
    print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(__file__).parent / "_static" / "pieces")
    parser.add_argument("--epochs", type=int, help="train this long only, and a small network: for a trial")
    given = parser.parse_args()
    main(given.folder, given.epochs)
