"""Does a trained model hear wrong notes? 5% of the notes of held-out pieces are moved by a semitone.

    python benchmarks/wrong_notes.py RUN [--split valid] [--seeds 5] [--gains] [--json FILE]

RUN is a run folder on music (ostinato train --data bach --output nade ...). Figures are areas under the ROC
curve (AUC) for telling moved notes from kept ones, for the model and for the 1-gram, means and standard
deviations over several draws of the moved notes. Every moved and every kept note counts, also those that
became a part of a neighbour of the same pitch: a piano-roll does not tell repeated from held notes.

Notes are moved in two ways:
    frames  each note of each frame alone
    held    whole held notes; each has what `ostinato score` lists of the note that it is in now

and listened to in these:
    surprisal         what `ostinato score` calls so: of the pitch, given everything else in the frame
    in order          -log2 p(the note sounds | frames before, notes before it in its frame)
    given the others  -log2 p(the note sounds | frames before, all other notes of its frame)
    gain              by a semitone, what `ostinato score --wrong-notes` lists (held notes, with --gains)
"""

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ostinato.data.sequences import Sequence
from ostinato.domains.music.compose import Predictor
from ostinato.domains.music.evaluation.baselines import fit_baseline
from ostinato.domains.music.notes import COLUMNS, LOWEST, spans
from ostinato.domains.music.reading import data_sets as music
from ostinato.domains.music.reading.pieces import Piece
from ostinato.domains.music.surprise import score_piece
from ostinato.domains.music.wrong_notes import find_corrections
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model

MOVED = 0.05
# how the bits of a held note's frames become one figure; `ostinato score` takes the largest
AGGREGATES = {"largest": np.max, "mean": np.mean, "sum": np.sum, "first": lambda bits: bits[0]}

Moved = tuple[int, int, int, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the moved notes")
    parser.add_argument("--gains", action="store_true", help="the gain by a semitone, too (takes longer)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = load_model(Run.open(options.run))
    recipe = trained.recipe
    data = music.load(recipe.data, frames_per_beat=recipe.frames_per_beat, transpose=recipe.transpose)
    predictors = {"model": trained.model, "1-gram": fit_baseline("1-gram", data.train)}
    found = []
    for seed in range(options.seeds):
        found.append(areas(predictors, getattr(data, options.split), seed, gains=options.gains))
        print(f"draw {seed}: {found[-1]['frames, surprisal']}", flush=True)
    title = f"{options.split}, AUC, {options.seeds} draws"
    print(f"\n{title:36} {'model':>18} {'1-gram':>18} {'difference':>11}")
    for name in found[0]:
        by_predictor = {who: np.array([one[name][who] for one in found]) for who in found[0][name]}
        if set(by_predictor) != set(predictors):  # how many notes, not how well
            print(f"{name:36} " + ", ".join(f"{who} {n.mean():g}" for who, n in by_predictor.items()))
            continue
        cells = [f"{area.mean():9.4f} +- {area.std():.4f}" for area in by_predictor.values()]
        difference = by_predictor["model"].mean() - by_predictor["1-gram"].mean()
        print(f"{name:36} {cells[0]:>18} {cells[1]:>18} {difference:+11.4f}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def areas(
    predictors: dict[str, Predictor], songs: list[Sequence], seed: int, *, gains: bool
) -> dict[str, dict[str, float]]:
    """AUC of each measure for each predictor, and how many notes there are and were moved."""
    found: dict[str, dict[str, float]] = {}
    for way in ("frames", "held"):
        choice = np.random.default_rng(seed)
        bits: Any = {who: defaultdict(list) for who in predictors}
        wrong: list[bool] = []
        for song in songs:
            notes, frames = with_wrong_notes(song.values, choice, held=way == "held")
            wrong += [moved for *_, moved in notes]
            piece = Piece(song.name, frames, frames_per_beat=1)
            for who, predictor in predictors.items():
                heard = of_held if way == "held" else of_frames
                for measure, values in heard(predictor, piece, notes).items():
                    bits[who][measure] += values
                if gains and way == "held":
                    bits[who]["gain"] += of_gains(predictor, piece, notes)
        for measure in bits["model"]:
            found[f"{way}, {measure}"] = {
                who: area_under_curve(np.array(bits[who][measure]), np.array(wrong)) for who in predictors
            }
        found[f"{way}: number of notes"] = {"all": len(wrong), "moved": int(np.sum(wrong))}
    return found


def with_wrong_notes(
    frames: np.ndarray, choice: np.random.Generator, *, held: bool
) -> tuple[list[Moved], np.ndarray]:
    """Move 5% of the notes up or down by a semitone; one whose new place is taken stays.

    Returns:
        Every note: its first frame, the frame after its last, its column now, and whether it was moved; and
        the frames.
    """
    changed, notes = frames.copy(), []
    places = spans(frames) if held else ((t, t + 1, row) for t, row in np.argwhere(frames).tolist())
    for begin, end, column in places:
        target = column + int(choice.choice([-1, 1]))
        wrong = bool(choice.random() < MOVED) and 0 <= target < COLUMNS
        if wrong and not changed[begin:end, target].any() and not frames[begin:end, target].any():
            changed[begin:end, column], changed[begin:end, target] = 0, 1
            notes.append((begin, end, target, True))
        else:
            notes.append((begin, end, column, False))
    return notes, changed


def measured(predictor: Predictor, piece: Piece) -> dict[str, np.ndarray]:
    """Bits of each sounding note in each frame, (T, V), by each measure."""
    score = score_piece(predictor, piece)
    return {
        "surprisal": score.surprisal,
        "in order": -score.note_log_probs / math.log(2),
        "given the others": given_the_others(predictor, piece),
    }


def given_the_others(predictor: Predictor, piece: Piece) -> np.ndarray:
    """-log2 p(note sounds | frames before, all other notes of its frame) = log2(1 + p(without) / p(with))."""
    frames = torch.from_numpy(np.ascontiguousarray(piece.frames))[:, None]
    bits = np.zeros(piece.frames.shape)
    with torch.no_grad():
        predicted = predictor(torch.cat([torch.zeros_like(frames[:1]), frames[:-1]]))[0]
        whole = predicted.log_prob(frames)[:, 0].double()
        for column in np.flatnonzero(piece.frames.any(axis=0)).tolist():
            without = frames.clone()
            without[..., column] = 0
            odds = predicted.log_prob(without)[:, 0].double() - whole
            bits[:, column] = F.softplus(odds).numpy() / math.log(2)
    return bits * piece.frames


def of_frames(predictor: Predictor, piece: Piece, notes: list[Moved]) -> dict[str, list[float]]:
    return {
        measure: [float(bits[begin, column]) for begin, _, column, _ in notes]
        for measure, bits in measured(predictor, piece).items()
    }


def of_held(predictor: Predictor, piece: Piece, notes: list[Moved]) -> dict[str, list[float]]:
    listed = [containing(piece, begin, column) for begin, _, column, _ in notes]
    return {
        f"{measure}, {name}": [float(one(bits[begin:end, column])) for begin, end, column in listed]
        for measure, bits in measured(predictor, piece).items()
        for name, one in AGGREGATES.items()
    }


def of_gains(predictor: Predictor, piece: Piece, notes: list[Moved]) -> list[float]:
    """What `find_corrections` says of each note; where neither semitone is free, nothing can be gained."""
    by_place = {(note.begin, note.pitch - LOWEST): note.gain for note in find_corrections(predictor, piece)}
    listed = [containing(piece, begin, column) for begin, _, column, _ in notes]
    return [by_place.get((begin, column), -np.inf) for begin, _, column in listed]


def containing(piece: Piece, frame: int, column: int) -> tuple[int, int, int]:
    """The held note that sounds there: its first frame, the frame after its last, its column."""
    silent = np.flatnonzero(piece.frames[:, column] == 0)
    after = np.searchsorted(silent, frame)
    begin = int(silent[after - 1]) + 1 if after else 0
    return begin, int(silent[after]) if after < len(silent) else len(piece), column


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """P(a positive has the higher score than a negative), ties counted half (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks, count = rankdata(score), int(positive.sum())
    wins = ranks[positive].sum() - count * (count + 1) / 2
    return float(wins / (count * (len(score) - count)))


if __name__ == "__main__":
    main()
