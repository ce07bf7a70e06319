import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.music.evaluation.frames import total_by_song
from ostinato.errors import UserError
from ostinato.nn.outputs.distribution import looks_at
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.build import Sizes, build_model
from ostinato.training.loop import Interrupted, SilentMonitor, Trainer
from ostinato.training.threshold import asks_for_a_pass


def small_data(seed: int = 0) -> Splits:
    """Two chords that take turns, with noise: something to learn in a few epochs."""
    draw = np.random.default_rng(seed)

    def song(name: str) -> Sequence:
        length = int(draw.integers(20, 50))
        frames = np.zeros((length, 12), np.uint8)
        frames[::2, [0, 4, 7]] = 1
        frames[1::2, [2, 5, 9]] = 1
        return Sequence(name, frames ^ (draw.random(frames.shape) < 0.02).astype(np.uint8))

    songs = [song(f"song{i}") for i in range(12)]
    return Splits("small", tuple(songs[:8]), tuple(songs[8:10]), tuple(songs[10:]))


def small_recipe(letters: str = "SGD+CLM", **settings: Any) -> Recipe:
    chosen = {"hidden_size": 9, "streams": 2, "segment_length": 15, "epochs": 4}
    chosen |= {"learning_rate": 0.05} if letters.startswith("SGD") else {}
    return Recipe.parse(letters, **(chosen | settings))


def trained(folder: Path, recipe: Recipe, data: Splits | None = None, **options: Any) -> Run:
    run = Run.create(folder, recipe.to_dict())
    Trainer(recipe, data or small_data(), run, **options).fit()
    run.close()
    return run


def weights(run: Run, checkpoint: str = "last") -> dict[str, bytes]:
    tensors, _ = run.load_checkpoint(checkpoint)
    return {name: x.reshape(-1).view(torch.uint8).numpy().tobytes() for name, x in tensors.items()}


def scores(run: Run) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.metrics()]


def ends_the_same(tmp_path: Path, recipe: Recipe, data: Any, *, first: int = 15, stops: int = 5) -> Run:
    """Interrupted again and again, a run must end bit for bit as it does unbroken; gives it back.

    Args:
        first: what the first try may ask before it is stopped, where it is to get past a pass that finds the
            threshold, which is not checkpointed.
        stops: it must have been stopped more often.
    """
    unbroken = trained(tmp_path / "unbroken", recipe, data)
    run = Run.create(tmp_path / "broken", recipe.to_dict())
    stopped = 0
    for attempt in range(1, 400):
        calls = iter(range(10**6))
        budget = first if attempt == 1 and asks_for_a_pass(recipe) else 1 + attempt % 5
        trainer = Trainer(
            recipe, data, run, stop_requested=lambda calls=calls, n=budget: 15 * (next(calls) >= n)
        )
        try:
            trainer.fit()
            break
        except Interrupted:
            stopped += 1
    run.close()
    assert stopped > stops
    assert weights(run) == weights(unbroken)
    assert weights(run, "best") == weights(unbroken, "best")
    assert scores(run) == scores(unbroken)
    return unbroken


@pytest.mark.parametrize("letters", ["SGD", "SGD+C", "SGD+CL", "SGD+CLR", "SGD+CRM", "SGD+CLRM"])
def test_every_recipe_learns(tmp_path: Path, letters: str) -> None:
    run = trained(tmp_path / "run", small_recipe(letters, epochs=12, hidden_size=20))
    records = run.metrics()
    assert records[-1]["valid_log_likelihood"] > records[0]["valid_log_likelihood"] + 0.5
    loaded = load_model(run)
    best = max(r["valid_log_likelihood"] for r in records)
    assert total_by_song(loaded.model, small_data().valid).log_likelihood().value == pytest.approx(best)


@pytest.mark.parametrize("letters", ["SGD", "SGD+CL", "SGD+CLR", "SGD+CRM"])
def test_nade_learns_under_every_letter_and_better_than_independent_notes(
    tmp_path: Path, letters: str
) -> None:
    recipe = small_recipe(letters, epochs=12, hidden_size=20, output="nade", nade_size=12, learning_rate=0.1)
    records = trained(tmp_path / "run", recipe).metrics()
    assert records[-1]["valid_log_likelihood"] > records[0]["valid_log_likelihood"] + 0.5


@pytest.mark.parametrize("letters", ["SGD", "SGD+CL", "SGD+CLR", "SGD+CRM"])
def test_the_rbm_learns_under_every_letter(tmp_path: Path, letters: str) -> None:
    recipe = small_recipe(
        letters, epochs=12, hidden_size=20, output="rbm", rbm_size=8, cd_steps=5, learning_rate=0.2
    )
    run = trained(tmp_path / "run", recipe)
    records = run.metrics()
    assert "valid_log_likelihood" not in records[0]
    name = "valid_pseudo_log_likelihood"
    assert records[-1][name] > records[0][name] + 0.5
    best = max(record[name] for record in records)
    cheap = total_by_song(load_model(run).model, small_data().valid, cheap=True)
    assert cheap.log_likelihood().value == pytest.approx(best)


def test_pre_training_comes_first_and_is_not_kept(tmp_path: Path) -> None:
    recipe = small_recipe("SGD+C", output="rbm", rbm_size=4, pretrain_frames=2, pretrain_rnn=1, epochs=5)
    records = trained(tmp_path / "run", recipe).metrics()
    assert [record.get("stage", "joint") for record in records] == ["frames"] * 2 + ["rnn"] + ["joint"] * 2
    assert not any(record["best"] for record in records[:3])
    assert records[3]["best"]
    only = small_recipe("SGD", output="rbm", rbm_size=4, pretrain_frames=2, epochs=2)
    run = trained(tmp_path / "only", only)
    before, after = build_model(only, Sizes(12, 12)), run.load_checkpoint("last")[0]
    assert torch.equal(before.rnn.weight_hh_l0, after["model.rnn.weight_hh_l0"])
    assert not torch.equal(before.output.interaction, after["model.output.interaction"])  # type: ignore[union-attr]


def test_same_seed_same_bits_and_other_seed_other_bits(tmp_path: Path) -> None:
    first, again = (trained(tmp_path / name, small_recipe()) for name in ("a", "b"))
    assert weights(first) == weights(again)
    assert scores(first) == scores(again)
    assert weights(trained(tmp_path / "c", small_recipe(seed=1))) != weights(first)


@pytest.mark.parametrize(
    "recipe",
    [
        small_recipe(),
        small_recipe("SGD+CLRM", num_layers=2, dropout=0.3),
        small_recipe("SGD", learning_rate_rule="halving", learning_rate=1.5, momentum=0.9, epochs=8),
        small_recipe("SGD+C", dtype="float64", momentum=0.5, optimizer="classical"),
        small_recipe(averaging=0.9),
        small_recipe("SGD+CRM", output="nade", nade_size=5),
        small_recipe(
            "SGD+CM",
            output="rbm",
            rbm_size=5,
            cd_steps=2,
            persistent_chains=7,
            pretrain_frames=1,
            pretrain_rnn=1,
        ),
    ],
    ids=["CLM", "dropout", "halving", "classical", "averaging", "nade", "rbm"],
)
def test_interrupted_anywhere_it_ends_bit_for_bit_the_same(tmp_path: Path, recipe: Recipe) -> None:
    ends_the_same(tmp_path, recipe, small_data())


def test_what_is_validated_and_kept_is_the_average_of_the_weights(tmp_path: Path) -> None:
    recipe = small_recipe(averaging=0.8, epochs=1)
    run, data = Run.create(tmp_path / "run", recipe.to_dict()), small_data()
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(SilentMonitor):
        def segment(self, *_: object) -> None:
            seen.append({n: p.detach().clone() for n, p in trainer.model.named_parameters()})

    trainer = Trainer(recipe, data, run, Watch())
    trainer.fit()
    expected = {name: torch.zeros_like(value) for name, value in seen[0].items()}
    for t, weights_now in enumerate(seen, 1):
        decay = min(0.8, (t - 1) / (t + 9))
        expected = {n: decay * expected[n] + (1 - decay) * w for n, w in weights_now.items()}
    best, _ = run.load_checkpoint("best")
    for name, value in expected.items():
        torch.testing.assert_close(best[f"model.{name}"], value)
        torch.testing.assert_close(dict(trainer.model.named_parameters())[name], seen[-1][name])
    with trainer._learner.average.in_place():  # type: ignore[union-attr]
        assert trainer.domain.validate(trainer.model.eval(), data).score == trainer.progress.best_score


def test_checkpoints_change_nothing(tmp_path: Path) -> None:
    often = trained(tmp_path / "often", small_recipe(), checkpoint_seconds=0)
    assert weights(often) == weights(trained(tmp_path / "seldom", small_recipe()))


def test_a_finished_run_stays_as_it_is(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", small_recipe())
    before = scores(run)
    Trainer(small_recipe(), small_data(), run).fit()
    assert scores(run) == before


class Notices(SilentMonitor):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def notice(self, text: str) -> None:
        self.texts.append(text)


def test_the_automatic_threshold_is_announced_and_kept(tmp_path: Path) -> None:
    notices = Notices()
    run = trained(tmp_path / "run", small_recipe("SGD+C", clip="auto"), monitor=notices)
    threshold = run.load_checkpoint("last")[1]["progress"]["clip_threshold"]
    assert 0 < threshold < 100
    assert f"{threshold:.4g}" in notices.texts[0]
    fixed = trained(tmp_path / "fixed", small_recipe("SGD+C", clip=0.01))
    assert fixed.load_checkpoint("last")[1]["progress"]["clip_threshold"] == 0.01
    assert all(record["clipped"] == 1 for record in fixed.metrics())


def test_a_gradient_that_is_not_finite_is_skipped_and_located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices, recipe = Notices(), small_recipe("SGD", epochs=2)
    run = Run.create(tmp_path / "run", recipe.to_dict())
    trainer = Trainer(recipe, small_data(), run, notices)
    plain, calls = trainer.model.loss, iter(range(10**6))

    def spoilt(*args: Any) -> Any:
        loss = plain(*args)
        return dataclasses.replace(
            loss,
            objective=loss.objective * (float("nan") if next(calls) == 3 else 1.0),
            states=loss.states * (float("inf") if next(calls) == 7 else 1.0),
        )

    monkeypatch.setattr(trainer.model, "loss", spoilt)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.fit()
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    assert any((p != q).any() for p, q in zip(trainer.model.parameters(), before, strict=True))
    events = [r for r in run.metrics() if r.get("event") == "non-finite gradient"]
    assert events
    assert "song" in events[0]["where"]
    assert "frames" in events[0]["where"]
    assert "update skipped" in notices.texts[0]


def test_a_run_that_diverged_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_recipe("SGD", epochs=50)
    trainer = Trainer(recipe, small_data(), Run.create(tmp_path / "run", recipe.to_dict()))
    plain = trainer.model.loss

    def spoilt(*args: Any) -> Any:
        loss = plain(*args)
        return dataclasses.replace(loss, objective=loss.objective * float("nan"))

    monkeypatch.setattr(trainer.model, "loss", spoilt)
    with pytest.raises(UserError, match=r"training diverged: .* smaller learning_rate"):
        trainer.fit()


def test_a_resumed_run_must_be_the_same_one(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", small_recipe())
    with pytest.raises(UserError, match=r"learning_rate = 0\.2 \(the run has 0\.05\)"):
        Trainer(small_recipe(learning_rate=0.2), small_data(), run).fit()
    with pytest.raises(UserError, match="expected the data the run was started with"):
        Trainer(small_recipe(), small_data(seed=1), run).fit()


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    recipe = small_recipe("SGD", learning_rate=3.0, epochs=60, patience=3)
    run = trained(tmp_path / "run", recipe)
    records = [r for r in run.metrics() if "valid_log_likelihood" in r]
    assert len(records) < 60
    assert not any(r["best"] for r in records[-3:])
    assert records[-4]["best"]


def test_the_halving_rule_halves_and_restores(tmp_path: Path) -> None:
    recipe = small_recipe("SGD", learning_rate=2.0, learning_rate_rule="halving", epochs=60, patience=60)
    run = trained(tmp_path / "run", recipe)
    rates = [r["learning_rate"] for r in run.metrics()]
    assert rates[0] == 2.0
    assert any(b == a / 2 for a, b in itertools.pairwise(rates))
    assert "learning-rate rule" in run.load_checkpoint("last")[1]["progress"]["stopped_because"]


def test_data_without_a_split_is_refused(tmp_path: Path) -> None:
    data = dataclasses.replace(small_data(), valid=(), version="")
    with pytest.raises(UserError, match="expected valid songs in small, found none"):
        Trainer(small_recipe(), data, Run.create(tmp_path / "run", {}))


def test_frames_are_looked_at_once_an_epoch_and_not_in_the_steps(tmp_path: Path) -> None:
    data = small_data()
    looks: list[bool] = []

    class Watching(SilentMonitor):
        def segment(self, *_: int) -> None:
            looks.append(looks_at(torch.zeros(1)))

    trained(tmp_path / "run", small_recipe(epochs=1), data, monitor=Watching())
    assert set(looks) == {False}
    assert looks_at(torch.zeros(1))
    data.train[0].values[0, 0] = 9
    with pytest.raises(ValueError, match="frames of 0 and 1 in song0, found 9"):
        trained(tmp_path / "nine", small_recipe(epochs=1), data)
