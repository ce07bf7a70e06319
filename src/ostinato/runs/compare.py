"""Several runs against one, on the same songs or sentences: which is better, and how sure is that."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ostinato.domains.domain import Data, domain_named, load_data
from ostinato.errors import UserError, argument
from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.bootstrap import Difference, bootstrap_over_seeds, paired_bootstrap
from ostinato.evaluation.measure import Measure
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import TrainedModel, load_model

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Scored:
    """A run's totals on one split, or those of several that differ by their seed alone.

    Arguments:
        runs: one, or K with a seed each.
        score: of all; over several runs the mean, with the standard error of that mean over sequences.
        totals: log-probability of each sequence in nats, (K, S).
        counts: frames or tokens of each, (S,).
        of: what they are totals of, in the plural.
        ordered: whether neighbours depend on each other.
        measure: what people quote instead of the log-likelihood; None for nothing else.
    """

    runs: tuple[Run, ...]
    score: Score
    totals: np.ndarray
    counts: np.ndarray
    of: str
    ordered: bool
    measure: Measure | None

    @property
    def run(self) -> Run:
        """The first."""
        return self.runs[0]

    @property
    def spread(self) -> float | None:
        """Standard deviation of the score over the runs; None for one."""
        each = self.totals.sum(1) / self.counts.sum()
        return float(each.std(ddof=1)) if len(each) > 1 else None


@dataclass(frozen=True)
class Comparison:
    """The runs' scores, and the difference of each from the first: positive where it is better.

    Arguments:
        split: what was scored.
        scored: a run each, or several that differ by their seed alone.
        differences: of each but the first.
        of: what was resampled, in the plural.
        over_seeds: for each but the first whether the difference is over seeds too.
    """

    split: Split
    scored: tuple[Scored, ...]
    differences: tuple[Difference, ...]
    of: str
    over_seeds: tuple[bool, ...]

    def to_dict(self) -> dict[str, Any]:
        """Split and runs, with their scores; every run but the first with its difference from the first."""
        rows: list[dict[str, Any]] = []
        for s in self.scored:
            row: dict[str, Any] = {"run": str(s.run.folder), "score": s.score.to_dict()}
            if s.spread is not None:
                row |= {"runs": [str(run.folder) for run in s.runs], "spread": s.spread}
            rows.append(row)
        for other, difference, seeds in zip(rows[1:], self.differences, self.over_seeds, strict=True):
            fields = {
                name: None if isinstance(x, float) and math.isnan(x) else x
                for name, x in asdict(difference).items()
            }
            other["difference"] = fields | {"over_seeds": seeds}
        return {"split": self.split, "resampled": self.of, "runs": rows}


def compare_runs(
    runs: Sequence[Run],
    split: Split = "test",
    *,
    over_seeds: bool = False,
    resamples: int = 10_000,
    seed: int = 0,
    data: Data | None = None,
) -> Comparison:
    """Score the best model of each run on one split, and bootstrap the differences from the first run.

    Args:
        runs: two or more.
        split: what to score.
        over_seeds: take runs that differ by their seed alone as one way of training, and say whether it is
            better than another whatever the seed; see `bootstrap_over_seeds`. A single run says nothing of
            seeds: a difference from one is over songs alone.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        data: the runs', where they are in memory; otherwise they are loaded.

    Raises:
        UserError: fewer than two runs; or their scores do not compare: other data, or another convention.
    """
    if len(runs) < 2:
        raise UserError(f"expected two or more runs to compare, found {len(runs)}")
    trained = [load_model(run) for run in runs]
    _check_same_data(runs, trained)
    if data is None:
        data = load_data(trained[0].recipe, progress=False, before=trained[0].data)
    if data.version != trained[0].data["version"]:
        raise UserError(
            f"expected the data the runs were trained on (version {trained[0].data['version'][:12]}), found "
            f"version {data.version[:12]} of {trained[0].recipe.data}: it changed; put the old files back"
        )
    scored = [_scored(run, model, data, split) for run, model in zip(runs, trained, strict=True)]
    _check_same_convention(scored)
    if over_seeds:
        scored = _by_settings(scored, [model.recipe for model in trained])
        if len(scored) < 2:
            raise UserError(
                "expected runs with two different settings to compare over seeds, found runs that differ by "
                f"their seed alone; leave {argument('over_seeds')} out to compare them with each other"
            )
    return _compared(split, scored, resamples, seed)


def _by_settings(scored: Sequence[Scored], recipes: Sequence[Recipe]) -> list[Scored]:
    """Runs that differ by their seed alone together, in the order of the first of each."""
    found: dict[str, list[Scored]] = {}
    seeds: dict[str, set[int]] = {}
    for one, recipe in zip(scored, recipes, strict=True):
        settings = json.dumps(recipe.replace(seed=0).to_dict(), sort_keys=True)
        if recipe.seed in seeds.setdefault(settings, set()):
            raise UserError(
                f"expected another seed in every run of the same settings, found seed {recipe.seed} again in "
                f"{one.run.folder}: it is the same training; leave it out"
            )
        seeds[settings].add(recipe.seed)
        found.setdefault(settings, []).append(one)
    return [_together(group) for group in found.values()]


def _together(group: Sequence[Scored]) -> Scored:
    first = group[0]
    totals = np.concatenate([one.totals for one in group])
    if len(group) == 1:
        return first
    length = _block_length([totals.mean(0)], first.counts) if first.ordered else 1
    mean, counts = in_blocks(totals.mean(0), length), in_blocks(first.counts, length)
    score = pooled_score(mean, counts, first.score.unit, first.score.convention)
    score = dataclasses.replace(score, songs=first.score.songs)
    if first.score.interval is not None:
        score = _estimated(score, [one.score for one in group])
    return dataclasses.replace(first, runs=tuple(one.run for one in group), score=score, totals=totals)


def _estimated(score: Score, group: Sequence[Score]) -> Score:
    """The mean of estimates, with the mean of their intervals; not told where one of them is not."""
    intervals = np.array([one.interval for one in group])
    errors = np.array([one.sampling_error for one in group])
    low, high = intervals.mean(0)
    return dataclasses.replace(
        group[0],
        value=score.value if all(one.told for one in group) else math.nan,
        standard_error=score.standard_error,
        sampling_error=float(np.sqrt(np.square(errors).sum()) / len(group)),
        interval=(float(low), float(high)),
        effort={"seeds": [one.effort for one in group]},
    )


def _compared(split: Split, scored: Sequence[Scored], resamples: int, seed: int) -> Comparison:
    first, others = scored[0], scored[1:]
    length, of = 1, first.of
    if first.ordered:
        length = _block_length([one.totals.mean(0) - first.totals.mean(0) for one in others], first.counts)
        of = f"blocks of {length} neighbouring {first.of}" if length > 1 else of
    counts, base = in_blocks(first.counts, length), in_blocks(first.totals, length)
    differences, with_seeds = [], []
    for one in others:
        own = in_blocks(one.totals, length)
        unsure = _unsure(one, first)
        with_seeds.append(min(len(own), len(base)) > 1)
        if with_seeds[-1]:
            found = bootstrap_over_seeds(own, base, counts, resamples=resamples, seed=seed, **unsure)
        else:
            found = paired_bootstrap(
                own.mean(0), base.mean(0), counts, resamples=resamples, seed=seed, **unsure
            )
        differences.append(found)
    return Comparison(split, tuple(scored), tuple(differences), of, tuple(with_seeds))


def _block_length(totals: Sequence[np.ndarray], counts: np.ndarray) -> int:
    return max(block_length(residuals(sums, counts)) for sums in totals)


def _unsure(scored: Scored, first: Scored) -> dict[str, Any]:
    """What is not known of either score: `margins`, and whether there is a difference to be `told`."""
    (below, above), (first_below, first_above) = _margins(scored), _margins(first)
    return {
        "margins": (below + first_above, above + first_below),
        "told": scored.score.told and first.score.told,
    }


def _margins(scored: Scored) -> tuple[float, float]:
    """By how much the exact score may be below and above that of the totals."""
    if scored.score.interval is None:
        return 0.0, 0.0
    (low, high), value = scored.score.interval, float(scored.totals.mean(0).sum() / scored.counts.sum())
    return max(0.0, value - low), max(0.0, high - value)


def _check_same_data(runs: Sequence[Run], trained: Sequence[TrainedModel]) -> None:
    first = trained[0].data
    for run, model in zip(runs, trained, strict=True):
        if model.data["version"] != first["version"]:
            raise UserError(
                f"expected runs on the same data, found {first['name']} (version {first['version'][:12]}) in "
                f"{runs[0].folder} and {model.data['name']} (version {model.data['version'][:12]}) in "
                f"{run.folder}: their scores do not compare; train both on one data set"
            )


def _check_same_convention(scored: Sequence[Scored]) -> None:
    first = scored[0]
    for other in scored[1:]:
        theirs, ours = (one.score.basis or one.score.convention for one in (first, other))
        if ours != theirs:
            raise UserError(
                f"expected scores of one convention, found {theirs!r} in {first.run.folder} "
                f"and {ours!r} in {other.run.folder}: they do not compare"
            )


def _scored(run: Run, trained: TrainedModel, data: Data, split: Split) -> Scored:
    domain = domain_named(trained.recipe.domain)
    found = domain.totals(trained.model, data, split)
    totals = np.asarray(found.log_prob, dtype=np.float64)[None]
    measure = domain.declared.measure_for(trained.recipe.to_dict())
    if measure is not None and measure.shown is None:
        measure = None  # no function of the log-likelihood of a step
    return Scored((run,), found.score, totals, found.counts, found.of, found.ordered, measure)
