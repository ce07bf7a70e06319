"""Several runs against one, on the same songs or sentences: which is better, and how sure is that."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ostinato.domains.domain import Data, domain_named, load_data
from ostinato.errors import UserError
from ostinato.evaluation.bootstrap import Difference, paired_bootstrap
from ostinato.evaluation.measure import Measure
from ostinato.evaluation.scores import Score
from ostinato.runs.folder import Run
from ostinato.runs.trained import TrainedModel, load_model

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Scored:
    """A run's totals on one split: log-probability (S,) in nats, and frames or tokens (S,), `of` songs, say.

    Arguments:
        run: the run.
        score: of all.
        totals, counts: (S,).
        of: what they are totals of, in the plural.
        measure: what people quote instead of the log-likelihood; None for nothing else.
    """

    run: Run
    score: Score
    totals: np.ndarray
    counts: np.ndarray
    of: str
    measure: Measure | None


@dataclass(frozen=True)
class Comparison:
    """The runs' scores, and the difference of each from the first: positive where it is better."""

    split: Split
    scored: tuple[Scored, ...]
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Split and runs, with their scores; every run but the first with its difference from the first."""
        rows = [{"run": str(s.run.folder), "score": s.score.to_dict()} for s in self.scored]
        for row, difference in zip(rows[1:], self.differences, strict=True):
            fields = asdict(difference)
            row["difference"] = {
                name: None if x is not None and name != "interval" and math.isnan(x) else x
                for name, x in fields.items()
            }
        return {"split": self.split, "runs": rows}


def compare_runs(
    runs: Sequence[Run], split: Split = "test", *, resamples: int = 10_000, seed: int = 0
) -> Comparison:
    """Score the best model of each run on one split, and bootstrap the differences from the first run.

    Raises:
        UserError: fewer than two runs; or their scores do not compare: other data, or another convention.
    """
    if len(runs) < 2:
        raise UserError(f"expected two or more runs to compare, found {len(runs)}")
    trained = [load_model(run) for run in runs]
    _check_same_data(runs, trained)
    data = load_data(trained[0].recipe, progress=False)
    if data.version != trained[0].data["version"]:
        raise UserError(
            f"expected the data the runs were trained on (version {trained[0].data['version'][:12]}), found "
            f"version {data.version[:12]} of {trained[0].recipe.data}: it changed; put the old files back"
        )
    scored = [_scored(run, model, data, split) for run, model in zip(runs, trained, strict=True)]
    _check_same_convention(scored)
    first = scored[0]
    differences = [_difference(s, first, resamples, seed) for s in scored[1:]]
    return Comparison(split, tuple(scored), tuple(differences))


def _difference(scored: Scored, first: Scored, resamples: int, seed: int) -> Difference:
    """With what is not known of either score; none at all where one of them cannot be told."""
    (below, above), (first_below, first_above) = _margins(scored), _margins(first)
    return paired_bootstrap(
        scored.totals,
        first.totals,
        scored.counts,
        resamples=resamples,
        seed=seed,
        margins=(below + first_above, above + first_below),
        told=scored.score.told and first.score.told,
    )


def _margins(scored: Scored) -> tuple[float, float]:
    """By how much the exact score may be below and above that of the totals."""
    if scored.score.interval is None:
        return 0.0, 0.0
    (low, high), value = scored.score.interval, float(scored.totals.sum() / scored.counts.sum())
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
    return Scored(run, found.score, found.log_prob, found.counts, found.of, domain.declared.measure)
