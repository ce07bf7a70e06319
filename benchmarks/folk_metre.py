"""Folk tunes: do attacks fall on beats, and do bars recur, in what models with and without metre compose?

    python benchmarks/folk_metre.py

Trains twice on the tunes of Ryan's Mammoth Collection in music21's corpus, for some minutes on one thread
each, and composes 40 tunes of 32 bars in the metre that most of them have.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import music21
import numpy as np

import ostinato
from ostinato.domains.music.bars import Bars
from ostinato.domains.music.compose import generate
from ostinato.domains.music.notes import spans
from ostinato.domains.music.open import MusicModel
from ostinato.domains.music.reading.frames import AsFrames
from ostinato.domains.music.reading.pieces import Piece, read_pieces
from ostinato.domains.seed import seeded

TUNES, BARS, GRID = 40, 32, 4


def shares(pieces: list[Piece]) -> tuple[float, float, float]:
    """Of attacks those on a beat, of beats those with an attack, of whole bars those that recur."""
    on_beat = attacks = beats = recurring = bars = 0
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
    return on_beat / attacks, on_beat / beats, recurring / bars


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
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--hidden-size", type=int, default=150)
    parser.add_argument("--cell", default="rnn")
    options = parser.parse_args()
    folder = Path(music21.__file__).parent / "corpus" / "ryansMammoth"
    found, _ = read_pieces([folder], AsFrames(frames_per_beat=GRID))
    runs = Path(tempfile.mkdtemp())
    for name in ("metre", "no-metre"):
        ostinato.train(
            "adam+C",
            folder,
            out=runs / name,
            threads=1,
            output="nade",
            nade_size=60,
            cell=options.cell,
            hidden_size=options.hidden_size,
            epochs=options.epochs,
            learning_rate=4e-3,
            learning_rate_rule="cosine",
            streams=8,
            segment_length=64,
            frames_per_beat=GRID,
            metre=name == "metre",
            look_back=name == "metre",
        )
    usual = MusicModel.open(runs / "metre").bars()
    metre = usual.place(usual.pickup).metre
    alike = [piece for _, piece in found if piece.bars.place(piece.bars.pickup).metre == metre]
    print(f"{metre}, pickup {usual.pickup:g}: attacks on a beat, beats with an attack, bars that recur")
    print(f"corpus ({len(alike)} tunes)        {' '.join(f'{100 * x:6.1f} %' for x in shares(alike))}")
    for name in ("no-metre", "metre"):
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
