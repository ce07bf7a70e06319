"""Every domain with every cell, optimizers and schedules of every sort: runs learn, and resume to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_training_text as on_text
import torch
from test_loop import ends_the_same, scores, small_data, trained, weights

from ostinato.data.sequences import Sequence, Splits
from ostinato.domains.delays.problems import TaskData
from ostinato.domains.delays.symbols import TemporalOrder
from ostinato.domains.domain import domain_named
from ostinato.domains.series.generated import autoregression
from ostinato.domains.series.reading import Collection
from ostinato.domains.series.scaling import Scaling
from ostinato.domains.series.splits import split
from ostinato.errors import UserError
from ostinato.nn.cells.registry import CELLS
from ostinato.optim import Cosine, OneCycle
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import conclude
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.loop import Trainer


def small_series(missing: float = 0.0, columns: int = 2) -> Splits:
    """Twelve autoregressions beside a copy of each that is a step late: something to learn at once."""
    draw, made = np.random.default_rng(0), []
    for k in range(12):
        x = autoregression(62, k, coefficient=0.6, deviation=3.0, mean=50.0)
        values = np.column_stack([x[1:61], x[:60]])[:, :columns]
        made.append(Sequence(f"walk{k}", np.where(draw.random(values.shape) < missing, np.nan, values)))
    names = ("x", "late")[:columns]
    data = split(Collection("walks", names, tuple(made), "a seed"))
    data.details["scaling"] = Scaling.fit(names, [part.values for part in data.train]).to_dict()
    return data


DATA: dict[str, Any] = {
    "music": small_data,
    "words": lambda: on_text.small_text("words", train=60),
    "chars": lambda: on_text.small_text("chars", train=40),
    "delays": lambda: TaskData(TemporalOrder(10), epoch_sequences=120),
    "series": small_series,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "music": {"streams": 2, "segment_length": 15},
    "words": {"streams": 4, "segment_length": 8, "classes": 3, "learning_rate": 0.5},
    "chars": {"streams": 4, "segment_length": 40, "learning_rate": 0.3},
    "delays": {"data": "temporal-order", "length": 10, "streams": 10},
    "series": {"streams": 4, "segment_length": 10, "learning_rate": 0.02},
}


@pytest.fixture(autouse=True)
def _fewer_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostinato.domains.delays.problems.TEST_SEQUENCES", 200)


def recipe_of(domain: str, letters: str = "SGD+C", **settings: Any) -> Recipe:
    chosen = {"domain": domain, "hidden_size": 8, "epochs": 2} | SETTINGS[domain]
    if letters.startswith("HF"):
        chosen = {name: value for name, value in chosen.items() if name != "learning_rate"}
        chosen |= {"cg_iterations": 2, "epochs": 1}
    return Recipe.parse(letters, **(chosen | settings))


def test_all_domains_are_here() -> None:
    from ostinato.domains.registry import DOMAINS

    assert list(DATA) == list(SETTINGS) == list(DOMAINS)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("domain", DATA)
def test_every_cell_trains_resumes_and_evaluates_in_every_domain(
    tmp_path: Path, domain: str, cell: str
) -> None:
    data, recipe = DATA[domain](), recipe_of(domain, cell=cell, leak_fraction=0.5, clip=1.0)
    run = ends_the_same(tmp_path, recipe, data, first=4, stops=2)
    opened = load_model(run)
    assert type(opened.model.rnn) is CELLS[cell].load()
    assert opened.recipe == recipe
    found = domain_named(domain).validate(opened.model, data).score
    best = max(r["valid_log_likelihood"] for r in scores(run))
    assert found == pytest.approx(best, rel=1e-6)
    summary = conclude(run, data)
    for systems in summary["results"].values():
        assert all(np.isfinite(s["value"]) for split in systems.values() for s in split.values())
    assert summary["recipe"]["cell"] == cell


@pytest.mark.parametrize("domain", DATA)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_hessian_free_trains_every_cell_in_every_domain(tmp_path: Path, domain: str, cell: str) -> None:
    data, recipe = DATA[domain](), recipe_of(domain, "HF", cell=cell, segment_length=40)
    run = trained(tmp_path / "run", recipe, data)
    updates = [r for r in run.metrics() if r.get("event") == "hessian-free update"]
    assert updates
    assert all(u["loss"] <= u["loss_before"] for u in updates)
    assert any(u["accepted"] and u["loss"] < u["loss_before"] for u in updates)


def test_hessian_free_over_a_gated_cell_resumes(tmp_path: Path) -> None:
    recipe = recipe_of("series", "HF", cell="gru", segment_length=40, epochs=4)
    ends_the_same(tmp_path, recipe, small_series(missing=0.2), stops=2)


@pytest.mark.parametrize("output", ["gaussian", "gaussian-mixture"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_series_are_learnt_and_scored_in_their_own_units(tmp_path: Path, output: str, missing: float) -> None:
    data = small_series(missing)
    recipe = recipe_of("series", output=output, epochs=25, hidden_size=10)
    run = trained(tmp_path / "run", recipe, data)
    records = scores(run)
    assert records[-1]["valid_log_likelihood"] > records[0]["valid_log_likelihood"] + 0.5
    assert records[-1]["valid_rmse"] < records[0]["valid_rmse"]
    results = conclude(run, data)["results"]
    assert results.keys() == {"model", "persistence", "var"}
    assert results["model"].keys() == {"train", "valid", "test"}
    kept = max(records, key=lambda r: r["valid_log_likelihood"])
    valid = results["model"]["valid"]
    assert valid["log_likelihood"]["value"] == pytest.approx(kept["valid_log_likelihood"], rel=1e-9)
    assert valid["rmse"]["value"] == pytest.approx(kept["valid_rmse"], rel=1e-9)
    domain = domain_named("series")
    totals = domain.totals(load_model(run).model, data, "test")
    test = results["model"]["test"]["log_likelihood"]["value"]
    assert totals.log_prob.sum() / totals.counts.sum() == pytest.approx(test)


def test_values_of_other_units_shift_the_score_of_a_series_by_their_logarithm(tmp_path: Path) -> None:
    first = small_series()
    second = split(
        Collection(
            "walks",
            ("x", "late"),
            tuple(Sequence(s.name, s.values * 1024) for _, of in first.items() for s in of),
            "a seed",
        )
    )
    second.details["scaling"] = Scaling.fit(("x", "late"), [p.values for p in second.train]).to_dict()
    assert [p.name for p in second.train] == [p.name for p in first.train]
    recipe = recipe_of("series")
    one, other = (trained(tmp_path / name, recipe, of) for name, of in (("a", first), ("b", second)))
    assert weights(one) == weights(other)
    for here, there in zip(scores(one), scores(other), strict=True):
        for which in ("train", "valid"):
            name = f"{which}_log_likelihood"
            assert here[name] - there[name] == pytest.approx(2 * np.log(1024))
        assert there["valid_rmse"] == here["valid_rmse"]  # of all columns: standardised


# Optimizers and schedules

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "learning_rate": 0.02},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.02, "weight_decay": 0.1},
    "betas": {"optimizer": "adam", "optimizer_settings": "betas = [0.8, 0.95], amsgrad = true"},
    "rmsprop": {"optimizer": "rmsprop", "momentum": 0.5},
    "classical": {"optimizer": "classical", "momentum": 0.8, "momentum_schedule": "sutskever"},
    "nesterov": {"optimizer": "nesterov", "momentum": 0.8, "weight_decay": 1e-3},
    "sgd": {"optimizer": "sgd", "weight_decay": 1e-3},
    "cosine": {"optimizer": "adam", "learning_rate_rule": "cosine", "learning_rate": 0.02},
    "warm-up": {"optimizer": "adam", "learning_rate_rule": "cosine", "warmup": 0.4, "learning_rate": 0.02},
    "plateau": {"optimizer": "adam", "learning_rate_rule": "plateau", "learning_rate": 0.3, "epochs": 9},
    "one-cycle": {"optimizer": "nesterov", "momentum": 0.5, "learning_rate_rule": "one-cycle"},
    "halving": {"optimizer": "adam", "learning_rate_rule": "halving", "learning_rate": 0.3, "epochs": 8},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_and_schedule_resumes_to_the_bit(tmp_path: Path, name: str) -> None:
    recipe = recipe_of("music", **{"epochs": 3} | OPTIMIZERS[name])
    run = ends_the_same(tmp_path, recipe, small_data())
    records = scores(run)
    assert records[-1]["valid_log_likelihood"] > records[0]["valid_log_likelihood"]
    assert load_model(run).recipe.optimizer == OPTIMIZERS[name]["optimizer"]


@pytest.mark.parametrize("name", ["adam", "rmsprop", "classical"])
def test_rare_words_train_under_every_optimizer_too(tmp_path: Path, name: str) -> None:
    recipe = recipe_of("words", **OPTIMIZERS[name] | {"learning_rate": 0.02, "epochs": 3})
    records = scores(ends_the_same(tmp_path, recipe, DATA["words"](), stops=3))
    assert records[-1]["valid_log_likelihood"] > records[0]["valid_log_likelihood"] + 0.05


@pytest.mark.parametrize(("rule", "schedule"), [("cosine", Cosine), ("one-cycle", OneCycle)])
def test_a_schedule_ends_with_the_last_update_of_the_last_epoch(
    tmp_path: Path, rule: str, schedule: type
) -> None:
    recipe = recipe_of("music", optimizer="adam", learning_rate_rule=rule, learning_rate=0.02, epochs=5)
    data = small_data()
    each = len(domain_named("music").streams(recipe, data, 0))
    records = scores(trained(tmp_path / "run", recipe, data))
    assert [r["updates"] for r in records] == [each * n for n in range(1, 6)]
    expected = schedule(total=5 * each)
    for record in records:
        assert record["learning_rate"] == pytest.approx(0.02 * expected(record["updates"]))
    assert records[-1]["learning_rate"] < 0.001 * 0.02 + 1e-12


def test_weight_decay_shrinks_weights_by_its_share_of_the_rate(tmp_path: Path) -> None:
    """One step of plain descent from the same weights: theta - eps (g + lambda theta)."""
    data = small_data()
    plain, decayed = (
        recipe_of("music", "SGD", optimizer="sgd", learning_rate=0.1, weight_decay=decay, dtype="float64")
        for decay in (0.0, 0.25)
    )
    models = []
    for name, recipe in (("plain", plain), ("decayed", decayed)):
        trainer = Trainer(recipe, data, Run.create(tmp_path / name, recipe.to_dict()))
        before = [p.detach().clone() for p in trainer.model.parameters()]
        trainer.update(trainer.streams(0), 0)
        models.append(list(trainer.model.parameters()))
    for start, one, other in zip(before, *models, strict=True):
        torch.testing.assert_close(one - other, 0.1 * 0.25 * start)


@pytest.mark.parametrize(
    ("letters", "settings", "message"),
    [
        ("SGD", {"optimizer": "lbfgs"}, "lbfgs cannot train here: it asks for the loss several"),
        ("SGD", {"optimizer": "SparseAdam"}, "SparseAdam cannot train here: it takes sparse gradients only"),
        ("SGD", {"optimizer": "adamm"}, "unknown optimizer 'adamm': did you mean adam or"),
        (
            "SGD+M",
            {"optimizer": "adam"},
            "M is Nesterov momentum, found optimizer adam; leave one of",
        ),
        ("SGD+CM", {"optimizer": "classical"}, "M is Nesterov momentum, found optimizer classical"),
        ("HF", {"optimizer": "adam"}, "hessian-free and recipe HF together, found adam and HF"),
        ("SGD", {"optimizer": "hessian-free"}, "HF together, found hessian-free and SGD"),
        ("SGD+R", {"cell": "gru"}, "R sets nonlinearity, which is for cell rnn or ctrnn, found cell gru"),
        ("SGD+CLR", {"cell": "lstm"}, "R sets nonlinearity, which is for cell rnn or ctrnn, found cell lstm"),
        (
            "SGD",
            {"cell": "lstm", "nonlinearity": "relu"},
            "nonlinearity is for cell rnn or ctrnn, found",
        ),
        ("SGD", {"optimizer": "adam", "momentum": 0.9}, "momentum is for optimizer nesterov or classical"),
        ("SGD", {"optimizer": "sgd", "momentum": 0.9}, "momentum is for optimizer nesterov or classical"),
        ("SGD", {"cell": "gruu"}, "unknown cell 'gruu': did you mean gru"),
        (
            "SGD",
            {"domain": "series", "output": "bernoulli"},
            "output bernoulli does not fit series; use",
        ),
        (
            "SGD",
            {"optimizer": "sgd", "optimizer_settings": "eps = 1"},
            "optimizer_settings is for optimizer adam",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(letters: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.parse(letters, **settings)


def test_settings_that_an_optimizer_does_not_have_are_refused() -> None:
    for text, message in (
        ("betas = 3", r"expected settings of adam like betas = \[0.9, 0.999\], found betas = 3$"),
        ("betas = [0.9, 0.9], amsgrad = 'x', eps = -1", "adam does not take these settings .*epsilon"),
        ("bets = [0.9, 0.9]", "adam has no setting 'bets': did you mean betas"),
        ("betas [", "expected optimizer_settings like"),
    ):
        with pytest.raises(UserError, match=message):
            recipe_of("music", optimizer="adam", optimizer_settings=text)
