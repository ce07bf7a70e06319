"""Folk tunes: do attacks fall on beats, and do bars recur, in what models with and without metre compose?

    python benchmarks/folk_metre.py [--collection oneills1850] [--models metre]

Trains up to three models on a collection of tunes in music21's corpus, Ryan's Mammoth Collection or
O'Neill's, for some minutes on one thread each: without metre, with it and what sounded in the bars before,
and with gates that copy from there, as files have by default. Each composes 40 tunes of 32 bars in the metre
that most of the collection's have. Figures: of attacks those on a beat, of beats those with an attack, of
whole bars those that recur in their tune, and how many of them are different.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import music21
import numpy as np

import ostinato
from ostinato.domains.music.bars import Bars, Metre
from ostinato.domains.music.compose import generate
from ostinato.domains.music.notes import spans
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import Piece, read_pieces
from ostinato.domains.seed import seeded

TUNES, BARS, GRID = 40, 32, 4
MODELS: dict[str, dict[str, Any]] = {
    "no-metre": {"metre": False, "look_back": False, "copy_gates": False},
    "no-copy-gates": {"copy_gates": False},
    "metre": {},
}


def shares(pieces: list[Piece]) -> tuple[float, float, float, float]:
    """Of attacks those on a beat, of beats those with one, of whole bars those that recur; different bars."""
    on_beat = attacks = beats = recurring = different = bars = 0
    for piece in pieces:
        places = piece.bars.places(np.array([piece.time(t) for t in range(len(piece))]))
        metres = [piece.bars.stretches[k].metre for k in places.stretch]
        beat = np.array([o % m.pulse < 1e-6 for o, m in zip(places.offset, metres, strict=True)])
        struck = np.zeros(len(piece), bool)
        struck[[begin for begin, _, _ in spans(piece.frames)]] = True
        on_beat += int((struck & beat).sum())
        attacks, beats = attacks + int(struck.sum()), beats + int(beat.sum())
        found: Counter[bytes] = Counter()
        for number in np.unique(places.bar):
            (rows,) = np.nonzero(places.bar == number)
            if len(rows) == round(metres[rows[0]].bar * piece.frames_per_beat):
                found[piece.frames[rows].tobytes()] += 1
        bars += found.total()
        recurring += sum(count for count in found.values() if count > 1)
        different += len(found)
    return on_beat / attacks, on_beat / beats, recurring / bars, different / bars


def composed(folder: Path, bars: Bars, temperature: float) -> list[Piece]:
    """Tunes by a run's model, which is told the bars if it reads them."""
    music = MusicModel.open(folder)
    size, metre = music.visible_size, music.metres is not None
    steps = round((bars.pickup + BARS * bars.place(bars.pickup).metre.bar) * GRID)
    told = Piece(
        "",
        np.zeros((0, size), np.uint8),
        GRID,
        first_beat=-bars.pickup,
        bars=bars,
        metre=metre,
        look_back=metre,
    )
    drawn = generate(
        music.model,
        steps,
        visible_size=size,
        count=TUNES,
        temperature=temperature,
        side=told.side(steps),
        generator=seeded(1),
    )
    return [Piece(str(k), one, GRID, first_beat=-bars.pickup, bars=bars) for k, one in enumerate(drawn)]


def main() -> None:
    """Train, compose, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collection", choices=("ryansMammoth", "oneills1850"), default="ryansMammoth")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hidden-size", type=int, default=150)
    options = parser.parse_args()
    folder = Path(music21.__file__).parent / "corpus" / options.collection
    found, _ = read_pieces([folder], AsFrames(frames_per_beat=GRID))
    runs = Path(tempfile.mkdtemp())
    for name in options.models:
        ostinato.train(
            "adam+C",
            folder,
            out=runs / name,
            threads=1,
            output="nade",
            nade_size=60,
            hidden_size=options.hidden_size,
            epochs=options.epochs,
            learning_rate=4e-3,
            learning_rate_rule="cosine",
            averaging=0.998,
            l2=1e-5,
            streams=8,
            segment_length=64,
            frames_per_beat=GRID,
            **MODELS[name],
        )
    by_metre: dict[Metre, list[Piece]] = {}
    for _, piece in found:
        by_metre.setdefault(piece.bars.stretches[0].metre, []).append(piece)
    metre, alike = max(by_metre.items(), key=lambda entry: len(entry[1]))
    usual = Bars(Counter(piece.bars.pickup for piece in alike).most_common(1)[0][0], ((0.0, *metre),))
    print(
        f"{metre}, pickup {usual.pickup:g}: attacks on beats, beats attacked, bars that recur, different bars"
    )
    print(f"corpus ({len(alike)} tunes)        {' '.join(f'{100 * x:6.1f} %' for x in shares(alike))}")
    for name in options.models:
        for temperature in (1.0, 0.8):
            own = shares(composed(runs / name, usual, temperature))
            print(
                f"{name}, temperature {temperature}  {' '.join(f'{100 * x:6.1f} %' for x in own)}", flush=True
            )
        scores = ostinato.open_run(runs / name).evaluate(splits=("test",), baselines=False)
        found = scores.scores["model"]["test"]["log_likelihood"]
        print(f"{name}: test {found.value:.3f} nats a frame", flush=True)


if __name__ == "__main__":
    main()
