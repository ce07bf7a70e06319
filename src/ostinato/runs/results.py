"""What a finished run has to show: its model and the baselines, scored on every split."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from ostinato.data.sequences import SPLITS
from ostinato.domains.domain import Data, Domain, Overlap, Totals, domain_named
from ostinato.evaluation.blocks import block_length, in_blocks, residuals
from ostinato.evaluation.scores import Score, pooled_score
from ostinato.nn import SequenceModel
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model


@dataclass(frozen=True)
class Results:
    """Scores by system ("model", then baselines), by split, by name."""

    scores: dict[str, dict[str, dict[str, Score]]]

    @classmethod
    def from_dict(cls, systems: dict[str, Any]) -> "Results":
        """What `to_dict` gave, such as `results` of a results.json.

        Example:
            >>> score = Score(-8.5, "nats/frame", "pooled", 9, 3, 0.1)
            >>> found = Results({"model": {"test": {"log_likelihood": score}}})
            >>> Results.from_dict(found.to_dict()).to_dict() == found.to_dict()
            True
        """
        return cls(
            {
                system: {
                    split: {name: Score.from_dict(score) for name, score in scores.items()}
                    for split, scores in splits.items()
                }
                for system, splits in systems.items()
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The same with every score as a dictionary."""
        return {
            system: {
                split: {name: score.to_dict() for name, score in scores.items()}
                for split, scores in splits.items()
            }
            for system, splits in self.scores.items()
        }


@dataclass(frozen=True)
class ByOverlap:
    """A model on the sequences of a split that stand in the training data in part, and on the others.

    Arguments:
        split: the split.
        how: what counts as seen.
        share: of the split's steps that stand in the training data.
        of: what the sequences are, in the plural.
        scores: "all", "seen" and "unseen", those that have anything in them.
    """

    split: str
    how: str
    share: float
    of: str
    scores: dict[str, Score]

    def to_dict(self) -> dict[str, Any]:
        """The same with every score as a dictionary."""
        scores = {name: score.to_dict() for name, score in self.scores.items()}
        return {"how": self.how, "share": self.share, "scores": scores}


def by_overlap(domain: Domain, model: SequenceModel, data: Data, split: str) -> ByOverlap | None:
    """The score of a split, taken apart by whether a sequence stands in the training data.

    None where the domain looks for nothing of the kind.

    Args:
        domain: of the data.
        model: what is scored.
        data: the data.
        split: which of it.
    """
    overlap = domain.overlap(data, split)
    if overlap is None:
        return None
    return taken_apart(split, domain.totals(model, data, split), overlap)


def taken_apart(split: str, totals: Totals, overlap: Overlap) -> ByOverlap:
    """Totals of sequences by whether they count as seen."""
    scores = {"all": totals.score}
    length = 1
    if totals.ordered:
        length = block_length(residuals(totals.log_prob, totals.counts))
    for name, chosen in (("seen", overlap.seen), ("unseen", ~overlap.seen)):
        if chosen.any():
            # blocks stay those of the whole text, with less in them
            sums, counts = (in_blocks(each * chosen, length) for each in (totals.log_prob, totals.counts))
            score = pooled_score(
                sums[counts > 0], counts[counts > 0], totals.score.unit, totals.score.convention
            )
            scores[name] = replace(score, songs=int(chosen.sum()), estimate=totals.score.estimate)
    share = float((overlap.shares * totals.counts).sum() / totals.counts.sum())
    return ByOverlap(split, overlap.how, share, totals.of, scores)


def score_run(
    run: Run,
    data: Data,
    splits: tuple[str, ...] = SPLITS,
    *,
    baselines: bool = True,
    device: torch.device | str = "cpu",
) -> Results:
    """The run's best model, and the baselines, on those of the splits that have anything in them.

    The model computes on the device, the baselines on the CPU.
    """
    trained = load_model(run, device=device, data=data)
    domain = domain_named(trained.recipe.domain)
    return Results(domain.score(trained.recipe, trained.model, data, splits, baselines=baselines))
