"""What a finished run has to show: its model and the baselines, scored on every split."""

from dataclasses import dataclass
from typing import Any

import torch

from ostinato.data.sequences import SPLITS
from ostinato.domains.domain import Data, domain_named
from ostinato.evaluation.scores import Score
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
