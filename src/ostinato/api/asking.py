"""What the functions of `ostinato` ask of runs: each takes a run, or its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ostinato.api.run import TrainedRun
from ostinato.api.training import open_run
from ostinato.data.sequences import SPLITS
from ostinato.errors import UserError, argument
from ostinato.evaluation.sequences import SequenceScores
from ostinato.runs.compare import Comparison, Split, compare_runs
from ostinato.runs.results import Results

AnyRun = TrainedRun | str | Path


def evaluate(
    run: AnyRun,
    data: Any = None,
    *,
    splits: Sequence[str] = SPLITS,
    baselines: bool = True,
    device: torch.device | str | None = None,
) -> Results:
    """A run's scores on its data, beside the baselines'; see `TrainedRun.evaluate`."""
    return _opened(run).evaluate(data, splits=splits, baselines=baselines, device=device)


def generate(
    run: AnyRun,
    prime: Any = None,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    **options: Any,
) -> Any:
    """What a run's model makes; see `TrainedRun.generate`."""
    return _opened(run).generate(prime, seed=seed, device=device, **options)


def score(run: AnyRun, sequences: Any, *, device: torch.device | str | None = None) -> SequenceScores:
    """The log-probability of every step of sequences under a run's model; see `TrainedRun.score`."""
    return _opened(run).score(sequences, device=device)


def compare(
    runs: Sequence[AnyRun],
    split: Split = "test",
    *,
    over_seeds: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Which of several runs on the same data is better, and how sure that is, by a paired bootstrap.

    Args:
        runs: two or more, or their folders; the first is what the others are compared with.
        split: "train", "valid" or "test".
        over_seeds: take runs that differ by their seed alone as one way of training.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UserError: their scores do not compare: other data, or another convention.

    Example:
        >>> import numpy as np, ostinato
        >>> walks = [np.cumsum(np.random.default_rng(k).standard_normal(60)) for k in range(10)]
        >>> runs = [ostinato.train("SGD", walks, hidden_size=4, epochs=1, seed=seed) for seed in (0, 1)]
        >>> found = compare(runs)
        >>> len(found.differences), found.scored[0].of
        (1, 'blocks of consecutive steps')
    """
    if isinstance(runs, str | Path | TrainedRun):
        raise UserError(f"expected a list of two or more {argument('runs')}, found one")
    if split not in SPLITS:
        raise UserError(f"expected {argument('split')} to be one of {', '.join(SPLITS)}, found {split!r}")
    for name, value, least in (("resamples", resamples, 2), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            raise UserError(
                f"expected {argument(name)} to be a whole number of at least {least}, found {value!r}"
            )
    opened = [_opened(run) for run in runs]
    data = next((run.known_data for run in opened if run.known_data is not None), None)
    return compare_runs(
        [run.opened for run in opened],
        split,
        over_seeds=over_seeds,
        resamples=resamples,
        seed=seed,
        data=data,
    )


def _opened(run: AnyRun) -> TrainedRun:
    return run if isinstance(run, TrainedRun) else open_run(run)
