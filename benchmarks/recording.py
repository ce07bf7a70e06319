"""What the flight recorder costs: an update with it and one without, in turns, in one process.

    python benchmarks/recording.py

prints the median time of an update either way, and the median of the paired differences over it. The model is
the paper's, 88 notes and 200 tanh units, on 16 streams of 100 steps.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.build import Sizes, build_model
from ostinato.training.flight import Frames
from ostinato.training.flights import FlightRecorder, Place
from ostinato.training.updates import Batch, build_updates

STREAMS, STEPS, HIDDEN, NOTES = 16, 100, 200, 88


def main() -> None:
    """Time pairs of updates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=300, help="pairs of updates (default: %(default)s)")
    parser.add_argument("--dropout", action="store_true", help="two layers with dropout, which draw numbers")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    further = {"num_layers": 2, "dropout": 0.2} if asked.dropout else {}
    recipe = Recipe.parse("SGD+C", hidden_size=HIDDEN, learning_rate=1e-3, **further)
    model = build_model(recipe, Sizes(NOTES, NOTES))
    updates = build_updates(recipe, model, 1)
    draws = torch.Generator().manual_seed(0)
    notes = (torch.rand(STEPS + 1, STREAMS, NOTES, generator=draws) < 0.05).to(torch.uint8)
    segment = Frames(notes[:-1], notes[1:])
    place = Place("", 1, {})
    times: dict[str, list[float]] = {"go-on": [], "ignore": []}
    with tempfile.TemporaryDirectory() as folder, Run.create(Path(folder) / "run", recipe.to_dict()) as run:
        recorders = {how: FlightRecorder(run, recipe, model, updates.optimizer, how) for how in times}
        for pair in range(asked.pairs + 20):
            # in turns, which of the two comes first in turns too
            for how in sorted(times, reverse=bool(pair % 2)):
                began = time.thread_time()
                look = recorders[how].begin(1.0, "joint")
                batch = Batch(segment, None, model.objective, 0, pair, 1.0, lambda *_: None, look)
                recorders[how].after(batch, updates(batch), place)
                if pair >= 20:
                    times[how].append(time.thread_time() - began)
    with_it, without = (statistics.median(times[how]) for how in ("go-on", "ignore"))
    differences = [a - b for a, b in zip(times["go-on"], times["ignore"], strict=True)]
    more = statistics.median(differences)
    quarters = statistics.quantiles(differences, n=4)
    error = 1.253 * (quarters[2] - quarters[0]) / 1.349 / len(differences) ** 0.5
    shape = f"({STREAMS}, {STEPS}, {HIDDEN})"
    print(f"an update of {shape}: {1e3 * without:.3f} ms, recorded {1e3 * with_it:.3f} ms of processor time")
    print(
        f"recording takes {1e6 * more:.1f} ± {1e6 * error:.1f} microseconds, {more / without:.2%} of it "
        f"(median of {len(differences)} pairs)"
    )


if __name__ == "__main__":
    main()
