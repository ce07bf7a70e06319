"""Does a trained model compose and harmonise? Two experiments on held-out pieces (wrong_notes.py: a third).

    python benchmarks/composition.py RUN JUDGE [--json FILE]

RUN is a run folder on music (ostinato train --data bach --output nade ...), JUDGE another one on the same
data in the same frames, trained separately: it scores the harmonies that RUN's model wrote. Every choice is
seeded. Models that read bars are told them: the usual metre of the data, and of a test piece its own.

1. 50 pieces are generated and compared with the corpus: polyphony, pitches, notes in a frame, intervals.
2. The soprano (highest note of each frame) of 20 test pieces is harmonised, and JUDGE scores the result, what
   filling from the 1-gram makes of the same soprano, and what the composer wrote.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.music.compose import Predictor, generate
from ostinato.domains.music.evaluation.baselines import fit_baseline
from ostinato.domains.music.evaluation.frames import total_by_song
from ostinato.domains.music.harmonize import melody
from ostinato.domains.music.layout import COLUMNS, begun, has_onsets, roll
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.particles import sample_conditioned
from ostinato.evaluation.scores import pooled_score
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model, own_data

PIECES, STEPS = 50, 64
HARMONIES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("judge", type=Path)
    parser.add_argument("--particles", type=int, default=500)
    parser.add_argument("--temperature", type=float, default=1.0, help="of the harmonies")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained, judge = (load_model(Run.open(folder)) for folder in (options.run, options.judge))
    music, data = MusicModel.of(trained), own_data(trained)
    if judge.data["version"] != data.version:
        parser.error(f"expected runs on the same data and frames, found others in {options.judge}")
    found = {
        "generated": generated(music, data),
        "harmonies": harmonies(trained.model, judge.model, data, options.particles, options.temperature),
    }
    for name, figures in found.items():
        print(f"\n{name}")
        for key, value in figures.items():
            print(f"  {key:60} {value if isinstance(value, int | str) else f'{value:.3f}'}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# 1. Generated pieces


def generated(music: MusicModel, data: Splits) -> dict[str, Any]:
    """Distances of 50 pieces from the corpus, beside those of its own test split and of the 1-gram."""
    corpus = [roll(song.values) for song in (*data.train, *data.valid, *data.test)]
    size = music.visible_size
    drawn: dict[str, Any] = {"visible_size": size, "count": PIECES}
    bars = music.piece("", np.zeros((0, size), np.uint8)).side(STEPS)
    own = generate(music.model, STEPS, **drawn, side=bars, generator=seeded(0))
    unigram = generate(first_baseline(data), STEPS, **drawn, generator=seeded(0))
    made = {
        "model": list(roll(own)),
        "1-gram": list(roll(unigram)),
        "test split": [roll(song.values) for song in data.test],
    }
    found: dict[str, Any] = {"polyphony mean, corpus": polyphony(corpus)}
    for name, pieces in made.items():
        found[f"polyphony mean, {name}"] = polyphony(pieces)
        for what, histogram in (("pitches", pitches), ("notes in a frame", counts), ("intervals", intervals)):
            found[f"distance of {what}, {name}"] = distance(histogram(pieces), histogram(corpus))
    return found


def first_baseline(data: Splits) -> Predictor:
    return fit_baseline("1-gram", data.train, onsets=has_onsets(data.train[0].values))


def polyphony(pieces: list[np.ndarray]) -> float:
    return float(np.concatenate(pieces).sum(axis=1).mean())


def pitches(pieces: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(pieces).sum(axis=0)


def counts(pieces: list[np.ndarray]) -> np.ndarray:
    return np.bincount(np.concatenate(pieces).sum(axis=1), minlength=COLUMNS + 1)


def intervals(pieces: list[np.ndarray]) -> np.ndarray:
    """How often two notes of a frame are so many semitones apart, octaves aside."""
    frames = np.concatenate(pieces).astype(np.int64)
    apart = [(frames[:, k:] * frames[:, : COLUMNS - k]).sum() for k in range(1, COLUMNS)]
    return np.bincount(np.arange(1, COLUMNS) % 12, weights=apart, minlength=12)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Total variation: the share of the one histogram that has to move to make it the other."""
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


# 2. Harmonies


def harmonies(
    model: Predictor, judge: Predictor, data: Splits, particles: int, temperature: float
) -> dict[str, Any]:
    baseline = first_baseline(data)
    songs = data.test[:HARMONIES]
    written: dict[str, list[Sequence]] = {"composer": list(songs), "model": [], "1-gram": []}
    kept, sizes = 0, []
    for number, song in enumerate(songs):
        constraint = melody(soprano(song.values))
        for name, predictor in (("model", model), ("1-gram", baseline)):
            generator = seeded(number)
            drafts = sample_conditioned(
                predictor,
                constraint.fixed,
                constraint.values,
                side=song.side if name == "model" else None,
                particles=particles,
                temperature=temperature if name == "model" else 1.0,
                generator=generator,
            )
            frames = drafts.draw(generator)
            written[name].append(Sequence(song.name, frames, song.side))
            if name == "model":
                sings = song.values.any(axis=1)
                kept += bool((roll(soprano(frames)) == roll(soprano(song.values)))[sings].all())
                sizes.append(drafts.effective_sizes.min())
    found: dict[str, Any] = {
        "pieces": len(songs),
        "pieces that keep every note of the melody on top": kept,
        "least effective particles, median over pieces": float(np.median(sizes)),
    }
    totals = {name: total_by_song(judge, pieces) for name, pieces in written.items()}
    for name, pieces in written.items():
        score = totals[name].log_likelihood()
        found[f"nats/frame under the judge, {name}"] = score.value
        found[f"  standard error over pieces, {name}"] = score.standard_error
        found[f"polyphony mean, {name}"] = polyphony([roll(piece.values) for piece in pieces])
    for other in ("composer", "1-gram"):
        difference = pooled_score(
            totals["model"].log_prob - totals[other].log_prob, totals["model"].frames, "nats/frame", "paired"
        )
        found[f"model minus {other}"] = difference.value
        found[f"  standard error over pieces, minus {other}"] = difference.standard_error
    return found


def soprano(frames: np.ndarray) -> np.ndarray:
    """The highest note of each frame; with onsets it begins where another voice had it before."""
    rows = np.arange(COLUMNS)
    top = rows == np.where(roll(frames) != 0, rows, -1).max(axis=1, keepdims=True)
    return begun(frames * np.tile(top, frames.shape[1] // COLUMNS).astype(np.uint8))


if __name__ == "__main__":
    main()
