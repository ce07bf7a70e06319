"""What the seal costs a training step: the same training with and without it, its checkpoints included.

    python benchmarks/sealed_training.py --data jsb --turns 12 --seconds 15

Two runs with the same settings take the same steps in turn, a few at a time, so that whatever else the
machine does meets both; then both write their checkpoints, as training does every 15 seconds: one with the
digests and the seal, one with neither. A turn's time is that of its steps and of its checkpoints. The
interval is that of 95 % of the mean of the turns' ratios, by a bootstrap; also of the processor's time, which
does not count waiting for the disk, and which other work disturbs less.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ostinato.domains.domain import Data, load_data
from ostinato.files import atomic_write
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.seal import Content, Sealer
from ostinato.training.loop import Trainer
from ostinato.training.threads import threads

CLOCKS: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time)
CHUNK = 5  # steps of one run before the other has its turn


class Unsealed(Sealer):
    """Writes files as a `Sealer` does, and seals nothing."""

    def write(self, name: str, data: bytes | str, *, advice: str = "") -> None:
        atomic_write(self.folder / name, data, advice=advice)

    def grown(self, name: str, content: Content) -> None:
        pass

    def settle(self, *, advice: str = "", always: bool = False) -> None:
        pass


class Training:
    """A run that is trained a few steps at a time, and what the clocks say of it."""

    def __init__(self, folder: Path, recipe: Recipe, data: Data, *, sealed: bool) -> None:
        self.run = Run.create(folder, recipe.to_dict())
        self.run.lock()
        if not sealed:
            self.run._metrics.begin()
            self.run._sealed = Unsealed(folder)
        self.trainer = Trainer(recipe, data, self.run)
        self.streams, self.place = self.trainer.streams(0), 0
        self.spent = np.zeros(len(CLOCKS))

    def timed(self, call: Callable[[], None]) -> None:
        """Call, and add what the clocks say."""
        before = [clock() for clock in CLOCKS]
        call()
        self.spent += [clock() - begin for clock, begin in zip(CLOCKS, before, strict=True)]

    def steps(self) -> None:
        """A few steps; a line of metrics at the end of the data, as at the end of an epoch."""
        for _ in range(CHUNK):
            self.trainer.update(self.streams, self.place)
            self.place += 1
            if self.place == len(self.streams):
                self.run.append_metrics({"epoch": 0, "valid_log_likelihood": -8.5, "best": True})
                self.place = 0

    def save(self) -> None:
        """The best model and the last, as after an epoch that was better."""
        model = self.trainer.model
        self.trainer._best = {f"model.{name}": own.clone() for name, own in model.state_dict().items()}
        self.trainer._save()


def turn(both: list[Training], seconds: float) -> tuple[int, list[np.ndarray]]:
    """Steps of both, and each one's times."""
    steps, end = 0, time.monotonic() + len(both) * seconds
    for own in both:
        own.spent = np.zeros(len(CLOCKS))
    while time.monotonic() < end:
        order = both if steps % (2 * CHUNK) == 0 else both[::-1]
        for own in order:
            own.timed(own.steps)
        steps += CHUNK
    for own in both:
        own.timed(own.save)
    return steps, [own.spent for own in both]


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % of the mean, by a bootstrap."""
    draws = np.random.default_rng(1).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="jsb", help="what is trained on")
    parser.add_argument("--turns", type=int, default=12, help="pairs of checkpoints")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run before its checkpoints")
    options = parser.parse_args()
    recipe = Recipe.parse("SGD+CRM", data=options.data)
    with tempfile.TemporaryDirectory() as place, threads(1):
        data = load_data(recipe, progress=False)
        both = [Training(Path(place) / str(s), recipe, data, sealed=s) for s in (True, False)]
        turn(both, min(options.seconds, 2.0))  # does not count
        ratios, milliseconds = [], []
        for number in range(options.turns):
            steps, (sealed, plain) = turn(both if number % 2 == 0 else both[::-1], options.seconds)
            if number % 2:
                sealed, plain = plain, sealed
            ratios.append(100 * (sealed / plain - 1))
            milliseconds.append(1000 * plain / steps)
    for k, name in enumerate(("time", "processor's time")):
        values = np.array(ratios)[:, k]
        low, high = interval(values)
        step = np.median(np.array(milliseconds)[:, k])
        print(
            f"{name}: {step:.2f} ms a step without seals, with them {values.mean():+.2f} % "
            f"({low:+.2f} to {high:+.2f}: 95 % of the mean of {len(values)} turns)"
        )


if __name__ == "__main__":
    main()
