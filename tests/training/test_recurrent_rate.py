"""Rectifiers with NADE on songs much longer than the chorales that its letters' settings were found on."""

import math

import numpy as np
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.loop import Trainer


def long_songs(count=12, frames=400):
    """Tunes of one voice over a bass, in steps, and what their notes cost by frequency alone."""
    draw = np.random.default_rng(0)
    songs = []
    for number in range(count):
        roll = np.zeros((frames, 88), np.uint8)
        tune = 40 + np.abs(np.cumsum(draw.integers(-2, 3, frames))) % 24
        roll[np.arange(frames), tune] = 1
        roll[np.arange(frames), 16 + tune % 12 // 4 * 4] = 1
        songs.append(Sequence(str(number), roll))
    share = np.clip(np.concatenate([song.values for song in songs]).mean(0), 1e-9, 1 - 1e-9)
    one_gram = float(np.sum(share * np.log(share) + (1 - share) * np.log1p(-share)))
    return Splits("long", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:])), one_gram


def curve(folder, **settings):
    data, one_gram = long_songs()
    recipe = Recipe.parse("SGD+CRM", output="nade", hidden_size=100, nade_size=20, epochs=6, **settings)
    with Run.create(folder, recipe.to_dict()) as run:
        Trainer(recipe, data, run).fit()
        losses = [
            record["train_log_likelihood"] for record in run.metrics() if "train_log_likelihood" in record
        ]
    return losses, one_gram


def test_a_small_rate_of_the_recurrent_weights_does_not_explode_on_long_songs(tmp_path) -> None:
    losses, one_gram = curve(tmp_path / "run", recurrent_rate=0.03, recurrent_norm="none")
    assert min(losses) > one_gram - 10, losses
    assert max(losses[2:]) > one_gram, (losses, one_gram)


def test_with_the_bound_that_the_letters_mean_nothing_explodes(tmp_path) -> None:
    losses, one_gram = curve(tmp_path / "run")
    assert min(losses) > one_gram - 10, (losses, one_gram)
    assert min(losses[1:]) > one_gram, (losses, one_gram)
    weights = Run.open(tmp_path / "run").load_checkpoint("last")[0]
    [recurrent] = [w for name, w in weights.items() if name.endswith("rnn.weight_hh_l0")]
    assert float(torch.linalg.matrix_norm(recurrent, 2)) <= 1 + 1e-5


def test_without_the_bound_it_is_the_recurrent_weights_that_explode(tmp_path) -> None:
    losses, one_gram = curve(tmp_path / "run", recurrent_norm="none")
    assert not all(math.isfinite(x) for x in losses) or min(losses) < one_gram - 100
