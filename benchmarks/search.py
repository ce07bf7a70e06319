"""How much two local workers, of one thread each, save on a study of 20 trials; nothing else may differ.

    python benchmarks/search.py

Prints the seconds of one worker and of two, and their ratio, which is to be at most 0.6 on two free cores.
The songs are made up, and all trials train for the same number of epochs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ostinato.domains.music.writing import piano_roll

SPACE = """
[search]
learning_rate = {low = 1e-3, high = 0.1, log = true}
leak_fraction = {choices = [0.0, 0.25, 0.5]}
"""


def write_songs(folder: Path) -> None:
    folder.mkdir()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        roll = np.zeros((320, 88), np.uint8)
        for start in range(0, 320, 4):
            roll[start : start + 4, rng.choice(np.arange(30, 60), 3, replace=False)] = 1
        piano_roll.to_midi(roll, folder / f"song{seed}.mid")


def search(place: Path, workers: int, trials: int, epochs: int) -> float:
    command = [
        sys.executable,
        "-m",
        "ostinato",
        "search",
        "--data",
        place / "songs",
        "--no-pruning",
        "--quiet",
    ]
    command += ["--space", place / "space.toml", "--study", place / f"with-{workers}"]
    command += ["--trials", trials, "--epochs", epochs, "--patience", epochs, "--workers", workers]
    begin = time.perf_counter()
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def values(place: Path, workers: int) -> list[float]:
    records = json.loads((place / f"with-{workers}" / "trials.json").read_text())
    return [record["value"] for record in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=36)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        write_songs(place / "songs")
        (place / "space.toml").write_text(SPACE)
        seconds = {workers: search(place, workers, options.trials, options.epochs) for workers in (1, 2)}
        if values(place, 1) != values(place, 2):
            raise SystemExit("the two studies differ")
    print(f"1 worker {seconds[1]:.1f} s, 2 workers {seconds[2]:.1f} s: {seconds[2] / seconds[1]:.2f}x")


if __name__ == "__main__":
    main()
