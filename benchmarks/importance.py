"""How often the report's chart of importances ranks two settings right, wrong, or says that it cannot tell.

    python benchmarks/importance.py [--seeds 20] [--trials 12 40]

Each score is a known function of two settings, drawn by a search's own space; the shares of its variance that
each explains alone are known, too. Some searches have noise in the score, a setting on a logarithmic scale, a
categorical one, or a third that does nothing; every search has failed and pruned trials besides, whose values
must not count. A ranking counts where the chart says that it is sure.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostinato.report.importance import importances
from ostinato.report.records import StudyRecord
from ostinato.search import Space

LINEAR = {"low": 0.0, "high": 0.9}
LOGARITHMIC = {"low": 1e-4, "high": 1e-1, "log": True}


@dataclass(frozen=True)
class Case:
    """A score whose first setting explains more of its variance than the second.

    Args:
        ranges: of the settings; the first matters most, the second less, a third not at all.
        score: of the settings' values.
        noise: standard deviation, in that of the score.
    """

    ranges: dict[str, dict[str, Any]]
    score: Callable[..., float]
    noise: float = 0.0


def place(rate: float) -> float:
    """Where a learning rate is between the ends of its logarithmic range."""
    return (math.log10(rate) + 4) / 3


TWO = {"learning_rate": LOGARITHMIC, "momentum": LINEAR}
SWAPPED = {"momentum": LINEAR, "learning_rate": LOGARITHMIC}
CHOICE = {"learning_rate": LOGARITHMIC, "nonlinearity": {"choices": ["tanh", "relu", "sigmoid"]}}
FIRST = {"leak_fraction": {"choices": [0.0, 0.25, 0.5]}, "momentum": LINEAR}
THREE = TWO | {"hidden_size": {"low": 100, "high": 400}}
CASES = {
    "slopes, 4 to 1": Case(TWO, lambda rate, momentum: -2 * place(rate) - momentum / 0.9),
    "slopes, 2 to 1": Case(TWO, lambda rate, momentum: -math.sqrt(2) * place(rate) - momentum / 0.9),
    "a hill": Case(TWO, lambda rate, momentum: -((place(rate) - 0.6) ** 2) - 0.3 * (momentum - 0.5) ** 2),
    "a hill of the other": Case(
        SWAPPED, lambda momentum, rate: -((momentum / 0.9 - 0.4) ** 2) - 0.3 * (place(rate) - 0.6) ** 2
    ),
    "together": Case(
        TWO, lambda rate, momentum: -3 * (place(rate) - 0.7) ** 2 - 0.5 * momentum * place(rate)
    ),
    "one alone": Case(TWO, lambda rate, momentum: -abs(place(rate) - 0.6)),
    "a choice below": Case(
        CHOICE, lambda rate, kind: -2 * place(rate) + {"tanh": 0.0, "relu": 0.4, "sigmoid": -0.3}[kind]
    ),
    "a choice above": Case(
        FIRST, lambda fraction, momentum: {0.0: -1.0, 0.25: 0.0, 0.5: -0.2}[fraction] - 0.4 * momentum
    ),
    "noise, a third": Case(TWO, lambda rate, momentum: -2 * place(rate) - momentum / 0.9, 0.3),
    "noise, a half": Case(TWO, lambda rate, momentum: -3 * place(rate) - momentum / 0.9, 0.5),
    "an idle third": Case(THREE, lambda rate, momentum, size: -2 * place(rate) - momentum / 0.9, 0.2),
}


def search(case: Case, trials: int, seed: int) -> StudyRecord:
    """A study of so many complete trials, with some that failed or were pruned."""
    space = Space.from_toml(case.ranges)
    names = list(case.ranges)
    many = [case.score(*space.sample(12345, number).values()) for number in range(500)]
    rng = np.random.default_rng(seed)
    records = []
    for number in range(trials + trials // 3):
        params = space.sample(seed, number)
        complete = number >= trials // 3
        value = case.score(*(params[name] for name in names))
        value += case.noise * float(np.std(many)) * float(rng.standard_normal())
        state = "complete" if complete else ("failed", "pruned")[number % 2]
        other = None if state == "failed" else -50.0
        records.append(
            {"number": number, "state": state, "value": value if complete else other, "params": params}
        )
    return StudyRecord("study", Path("study"), {"search": space.to_toml()}, "", records)


def verdict(case: Case, trials: int, seed: int) -> str:
    """right, wrong, or unsure about the first two settings; wrong too where an idle one is put above them."""
    found = importances(search(case, trials, seed))
    first, second, *idle = case.ranges
    sure = set() if found is None else set(found.sure)
    wrong = {(second, first)} | {(name, other) for name in idle for other in (first, second)}
    if wrong & sure:
        return "wrong"
    return "right" if (first, second) in sure else "unsure"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, nargs="+", default=[12, 20, 40])
    options = parser.parse_args()
    print(f"{'score':22}" + "".join(f"{f'{n} trials':>26}" for n in options.trials))
    for name, case in CASES.items():
        row = f"{name:22}"
        for trials in options.trials:
            found = [verdict(case, trials, seed) for seed in range(options.seeds)]
            counts = {word: found.count(word) for word in ("right", "unsure", "wrong")}
            row += f"{', '.join(f'{count} {word}' for word, count in counts.items()):>26}"
        print(row, flush=True)


if __name__ == "__main__":
    main()
