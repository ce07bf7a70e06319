"""The clipping thresholds of recipes, in runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_loop import Notices, ends_the_same, small_data, small_recipe, trained, weights

from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.loop import Trainer
from ostinato.training.threshold import asks_for_a_pass, build_threshold, mostly_clipped

RULES: dict[str, dict[str, Any]] = {
    "average": {"clip": "average", "clip_factor": 1.5},
    "quantile": {"clip": "quantile", "clip_quantile": 0.6, "clip_window": 7},
    "auto": {"clip": "auto", "clip_factor": 0.5},
}


def norms_of(folder: Path, recipe: Recipe) -> tuple[list[float], Run]:
    """The norm of every update of a run, and the run."""
    with Run.create(folder, recipe.to_dict()) as run:
        trainer, norms = Trainer(recipe, small_data(), run), []
        plain = trainer.threshold.add

        def add(norm: float) -> None:
            norms.append(norm)
            plain(norm)

        trainer.threshold.add = add  # type: ignore[method-assign]
        trainer.fit()
    return norms, run


@pytest.mark.parametrize("rule", RULES)
def test_interrupted_anywhere_it_ends_bit_for_bit_the_same(tmp_path: Path, rule: str) -> None:
    ends_the_same(tmp_path, small_recipe("SGD+C", **RULES[rule]), small_data())


def test_the_threshold_of_an_epoch_is_the_average_of_the_one_before(tmp_path: Path) -> None:
    recipe = small_recipe("SGD+C", clip="average", clip_factor=1.5)
    norms, run = norms_of(tmp_path / "run", recipe)
    records = run.metrics()
    each = np.split(np.array(norms), len(records))
    for before, record, after in zip(each, records[1:], each[1:], strict=False):
        assert record["clip_threshold"] == pytest.approx(1.5 * before.mean())
        assert record["clipped"] == pytest.approx(np.mean(after > 1.5 * before.mean()))
    assert records[0]["clip_threshold"] == pytest.approx(1.5 * each[0].mean())
    last = run.load_checkpoint("last")[1]["progress"]["clip_threshold"]
    assert last == pytest.approx(1.5 * each[-1].mean())


def test_the_threshold_of_an_update_is_the_quantile_of_those_before(tmp_path: Path) -> None:
    recipe = small_recipe("SGD+C", clip="quantile", clip_quantile=0.6, clip_window=7)
    norms, run = norms_of(tmp_path / "run", recipe)
    clipped = [i > 0 and x > np.quantile(norms[max(0, i - 7) : i], 0.6) for i, x in enumerate(norms)]
    records = run.metrics()
    assert [r["clipped"] for r in records] == pytest.approx(
        [np.mean(part) for part in np.split(np.array(clipped), len(records))]
    )
    assert records[-1]["clip_threshold"] == pytest.approx(np.quantile(norms[-7:], 0.6))


def test_a_factor_multiplies_the_first_pass(tmp_path: Path) -> None:
    plain = trained(tmp_path / "plain", small_recipe("SGD+C", clip="auto", epochs=1)).metrics()[0]
    double = trained(tmp_path / "double", small_recipe("SGD+C", clip="auto", clip_factor=2.0, epochs=1))
    assert double.metrics()[0]["clip_threshold"] == 2 * plain["clip_threshold"]


def test_a_run_of_before_there_were_rules_keeps_its_number(tmp_path: Path) -> None:
    recipe = small_recipe("SGD+C", clip="auto", epochs=2)
    run = trained(tmp_path / "run", recipe)
    tensors, state = run.load_checkpoint("last")
    del state["threshold"]
    for name in ("clip_quantile", "clip_window", "clip_factor"):
        del state["recipe"][name]
    with Run.open(run.folder) as again:
        again.save_checkpoint("last", tensors, state)
        trainer = Trainer(recipe.replace(epochs=3), small_data(), again)
        trainer.fit()
    assert trainer.threshold.value == state["progress"]["clip_threshold"] > 0
    whole = trained(tmp_path / "whole", recipe.replace(epochs=3))
    assert again.metrics()[-1]["valid_log_likelihood"] == whole.metrics()[-1]["valid_log_likelihood"]


def test_nothing_is_said_of_a_threshold_where_there_is_none(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", small_recipe("SGD", epochs=1))
    assert "clip_threshold" not in run.metrics()[0]
    assert run.metrics()[0]["clipped"] == 0


def test_that_most_updates_are_clipped_is_said_once(tmp_path: Path) -> None:
    notices = Notices()
    trained(tmp_path / "run", small_recipe("SGD+C", clip=0.01, epochs=3), monitor=notices)
    assert len(notices.texts) == 1
    assert "100 % of this epoch's updates were clipped to norm 0.01" in notices.texts[0]
    assert "clip_window" in mostly_clipped(small_recipe("SGD+C"), 0.6, 1.0)
    assert not mostly_clipped(small_recipe("SGD+C"), 0.5, 1.0)
    assert not mostly_clipped(small_recipe("SGD+C"), 1.0, None)
    quiet = Notices()
    trained(tmp_path / "quiet", small_recipe("SGD+C", clip=1e6, epochs=3), monitor=quiet)
    assert quiet.texts == []


@pytest.mark.parametrize(
    ("clip", "asks"), [("auto", True), ("none", False), (2.0, False), ("quantile", False)]
)
def test_only_one_rule_asks_for_a_pass(clip: Any, asks: bool) -> None:
    recipe = Recipe.parse("SGD", clip=clip)
    assert asks_for_a_pass(recipe) == asks
    assert build_threshold(recipe).value == (clip if isinstance(clip, float) else None)


@pytest.mark.parametrize("rule", RULES)
def test_clipping_by_stream_ends_bit_for_bit_the_same_wherever_it_is_interrupted(
    tmp_path: Path, rule: str
) -> None:
    recipe = small_recipe("SGD+CM", clip_by="sequence", streams=3, averaging=0.9, **RULES[rule])
    ends_the_same(tmp_path, recipe, small_data(), stops=2)


def test_every_streams_norm_is_counted(tmp_path: Path) -> None:
    recipe = small_recipe("SGD+C", clip=1e3, clip_by="sequence", streams=3, epochs=1, learning_rate=1e-4)
    norms, run = norms_of(tmp_path / "run", recipe)
    updates = run.metrics()[0]["updates"]
    assert 2 * updates < len(norms) <= 3 * updates
    middle = float(np.median(norms))
    again, run = norms_of(tmp_path / "again", recipe.replace(clip=middle))
    assert again[:3] == norms[:3]
    # streams that have ended count less often
    share = np.mean(np.array(again) > middle)
    assert run.metrics()[0]["clipped"] == pytest.approx(share, abs=0.1)
    assert 0.3 < share < 0.7


def test_of_one_stream_its_gradient_is_the_minibatches(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / by, small_recipe("SGD+C", streams=1, epochs=2, clip_by=by))
        for by in ("minibatch", "sequence")
    ]
    assert weights(runs[0]) == weights(runs[1])


def test_of_several_it_is_not(tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / by, small_recipe("SGD+C", clip=0.3, streams=3, epochs=1, clip_by=by))
        for by in ("minibatch", "sequence")
    ]
    assert weights(runs[0]) != weights(runs[1])


def test_a_model_that_needs_a_pass_for_each_stream_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear = torch.nn.functional.linear
    monkeypatch.setattr("ostinato.nn.kernels.by_stream._Affine.apply", lambda x, w, b, _: linear(x, w, b))
    recipe = small_recipe("SGD+C", clip=10.0, clip_by="sequence", streams=3, epochs=2)
    notices = Notices()
    run = trained(tmp_path / "run", recipe, monitor=notices)
    assert len(notices.texts) == 1
    assert "output.weight" in notices.texts[0]
    assert "a pass of its own" in notices.texts[0]
    monkeypatch.undo()
    known = trained(tmp_path / "known", recipe)
    scores = [[r["valid_log_likelihood"] for r in x.metrics()] for x in (run, known)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
