"""The smallest data of every domain, and which combinations of all that is registered are tried."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ostinato.domains.music.writing import piano_roll
from ostinato.domains.registry import DOMAINS
from ostinato.errors import UserError
from ostinato.nn.cells.registry import CELLS
from ostinato.nn.outputs.registry import OUTPUTS
from ostinato.optim.declared import OPTIMIZERS
from ostinato.recipe.recipe import Recipe

# What comes with the package; of torch.optim's one that nobody has declared.
COMING_WITH = (*OPTIMIZERS, "rmsprop")

SETTINGS: dict[str, Any] = {
    "hidden_size": 4,
    "streams": 2,
    "segment_length": 12,
    "epochs": 2,
    "learning_rate": 0.02,
    "learning_rate_rule": "constant",
    "momentum": 0.5,
    "clip": 1.0,
    "leak_fraction": 0.5,
    "leak_low": 0.1,
    "leak_high": 0.2,
    "dale": 0.5,
    "nade_size": 3,
    "rbm_size": 3,
    "cd_steps": 2,
    "ais_steps": 3,
    "ais_chains": 2,
    "ais_frames": 20,
    "gibbs_steps": 8,
    "accuracy_samples": 2,
    "classes": 3,
    "components": 2,
    "cg_iterations": 3,
}


class Row(NamedTuple):
    """One of each."""

    domain: str
    output: str
    cell: str
    optimizer: str

    def recipe(self, data: str, **changes: Any) -> Recipe:
        """Its recipe on this data; of the settings those that it has."""
        chosen = {"domain": self.domain, "output": self.output, "cell": self.cell, "data": data}
        second = OPTIMIZERS[self.optimizer].curvature
        bare = Recipe.parse("HF" if second else "SGD", optimizer=self.optimizer, **chosen)
        wanted = SETTINGS | DATA.get(self.domain, Tiny()).settings | changes
        return bare.replace(**{name: value for name, value in wanted.items() if name in bare})


def _songs(folder: Path) -> str:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        roll = np.zeros((24, 88), np.uint8)
        roll[np.arange(24), rng.integers(30, 60, 24)] = 1
        piano_roll.to_midi(roll, folder / f"song{seed}.mid")
    return str(folder)


def _text(folder: Path) -> str:
    rng = np.random.default_rng(0)
    words = np.array(["the", "cat", "saw", "a", "dog", "and", "ran", "away", "from", "it"])
    lines = [" ".join(rng.choice(words, 5)) for _ in range(24)]
    (folder / "story.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "story.txt")


def _series(folder: Path) -> str:
    for number in range(6):
        rng = np.random.default_rng(number)
        values = np.cumsum(rng.normal(size=(24, 2)), axis=0)
        lines = [f"{a:.4f},{b:.4f}" for a, b in values]
        lines[5] = lines[5].partition(",")[0] + ","  # one is missing
        (folder / f"walk{number}.csv").write_text("\n".join(["up,down", *lines]) + "\n")
    return str(folder)


class Tiny(NamedTuple):
    """A domain's smallest data.

    `make` writes them to a folder and says what `--data` is then; `settings` are the domain's own, or others
    that its data ask for; `generate` are options that keep short what it makes.
    """

    make: Callable[[Path], str] = lambda folder: ""
    settings: dict[str, Any] = {}  # noqa: RUF012
    generate: dict[str, Any] = {}  # noqa: RUF012


DATA = {
    "music": Tiny(_songs, {"transpose": False}, {"steps": 6}),
    "words": Tiny(_text, {"vocabulary_size": 9}, {"tokens": 5}),
    "chars": Tiny(_text, {}, {"tokens": 5}),
    "delays": Tiny(lambda folder: "temporal-order", {"length": 10, "epoch_sequences": 8, "streams": 4}),
    "series": Tiny(_series, {}, {"horizon": 3, "samples": 4}),
}


def every_row() -> Iterator[Row]:
    """All combinations that make sense: that a recipe takes."""
    for row in itertools.starmap(Row, itertools.product(DOMAINS, OUTPUTS, CELLS, COMING_WITH)):
        try:
            row.recipe(DOMAINS[row.domain].defaults["data"])
        except UserError:
            continue
        yield row


def pairs(row: Row) -> set[tuple[tuple[int, str], ...]]:
    """All pairs of what a row has."""
    return set(itertools.combinations(enumerate(row), 2))


def covering(rows: list[Row]) -> list[Row]:
    """Few of the rows, in which every pair that any row has occurs: always the one with most new pairs."""
    todo, chosen = set().union(*map(pairs, rows)), []
    while todo:
        best = max(rows, key=lambda row: len(pairs(row) & todo))
        chosen.append(best)
        todo -= pairs(best)
    return chosen
