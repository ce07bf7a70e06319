"""How good a model is: scores that keep sums and counts apart and name their conventions."""

from ostinato.domains.music.evaluation.baselines import BASELINES, fit_baseline
from ostinato.domains.music.evaluation.frames import SongTotals, evaluate_frames, total_by_song
from ostinato.domains.music.evaluation.measures import Sampling
from ostinato.evaluation.scores import Score, pooled_score

__all__ = [
    "BASELINES",
    "Sampling",
    "Score",
    "SongTotals",
    "evaluate_frames",
    "fit_baseline",
    "pooled_score",
    "total_by_song",
]
