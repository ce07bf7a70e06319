"""What a finished run has to show: its model and the baselines, scored on every split."""

from dataclasses import dataclass
from typing import Any

import torch

from ostinato.building import load_model
from ostinato.data.sequences import SPLITS, Splits
from ostinato.data.tasks import TaskData
from ostinato.data.text import TextData
from ostinato.evaluation.baselines import BASELINES, fit_baseline
from ostinato.evaluation.frames import evaluate_frames, total_by_song
from ostinato.evaluation.measures import Sampling
from ostinato.evaluation.scores import Score
from ostinato.runs import Run
from ostinato.task_domain import score_task_run
from ostinato.text_results import score_text_run


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


def score_baselines(data: Splits, splits: tuple[str, ...] = SPLITS) -> Results:
    """Every baseline, fitted on the training songs, on the splits that have songs."""
    scores = {}
    for name in BASELINES:
        baseline = fit_baseline(name, data.train)
        scores[name] = {
            split: evaluate_frames(baseline, data[split]) for split in splits if data.frames(split) > 0
        }
    return Results(scores)


def score_run(
    run: Run,
    data: Splits | TextData | TaskData,
    splits: tuple[str, ...] = SPLITS,
    *,
    baselines: bool = True,
    device: torch.device | str = "cpu",
) -> Results:
    """The run's best model, and the baselines, on the splits that have songs, or on those of a text.

    The model computes on the device, the baselines on the CPU.
    """
    if isinstance(data, TaskData):
        return Results(score_task_run(run, data, device=device))
    if isinstance(data, TextData):
        return Results(score_text_run(run, data, baselines=baselines, device=device))
    trained = load_model(run, device=device)
    sampling = Sampling(trained.recipe.accuracy_samples)
    scores = {
        "model": {s: evaluate_frames(trained.model, data[s], sampling) for s in splits if data.frames(s) > 0}
    }
    return Results(scores | (score_baselines(data, splits).scores if baselines else {}))


def score_songs(
    run: Run, data: Splits, split: str, *, device: torch.device | str = "cpu"
) -> list[dict[str, Any]]:
    """Log-likelihood of each song of a split under the run's best model, in nats per frame."""
    totals = total_by_song(load_model(run, device=device).model, data[split])
    return [
        {"name": name, "frames": int(frames), "log_likelihood": float(total / frames)}
        for name, frames, total in zip(totals.names, totals.frames, totals.log_prob, strict=True)
    ]
