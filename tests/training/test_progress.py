"""Runs that go on to more epochs, or with more patience, than they were started with."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import test_hessian_free as by_curvature
import test_training_text as on_text
import torch
from test_loop import scores, small_data, small_recipe, trained, weights

from ostinato.domains.delays.problems import TaskData
from ostinato.domains.delays.symbols import TemporalOrder
from ostinato.errors import UserError
from ostinato.nn import GRU
from ostinato.nn.cells.leak import squashed
from ostinato.recipe.recipe import Recipe
from ostinato.runs.folder import Run
from ostinato.training.loop import Interrupted, Trainer
from ostinato.training.progress import ALL_DONE, Progress, go_on, take_learned

RECIPES = {
    "CLM": small_recipe(),
    "dropout": small_recipe("SGD+CLRM", num_layers=2, dropout=0.3),
    "halving": small_recipe("SGD", learning_rate_rule="halving", learning_rate=1.5, momentum=0.9),
    "averaging": small_recipe(averaging=0.9),
    "nade": small_recipe("SGD+CRM", output="nade", nade_size=5),
    # three epochs end within the stages before joint training
    "rbm": small_recipe(
        "SGD+CM", output="rbm", rbm_size=5, cd_steps=2, persistent_chains=7, pretrain_frames=1, pretrain_rnn=3
    ),
    "HF": by_curvature.recipe(cg_iterations=5),
    "words": on_text.small_recipe(),
    "task": Recipe.parse(
        "HF", domain="delays", data="temporal-order", length=10, hidden_size=5, streams=10, cg_iterations=3
    ),
}


def data_of(recipe: Recipe) -> Any:
    if recipe.domain == "delays":
        return TaskData(TemporalOrder(10), epoch_sequences=20)
    return on_text.small_text() if recipe.domain == "words" else small_data()


def resume(folder: Path, recipe: Recipe, data: Any = None, **options: Any) -> Run:
    with Run.open(folder) as run:
        Trainer(recipe, data or data_of(recipe), run, **options).fit()
    return run


@pytest.mark.parametrize("name", RECIPES)
def test_an_extended_run_is_one_that_had_the_epochs_from_the_start(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name].replace(epochs=6)
    whole = trained(tmp_path / "whole", recipe, data_of(recipe))
    trained(tmp_path / "run", recipe.replace(epochs=3), data_of(recipe))
    run = resume(tmp_path / "run", recipe)
    assert weights(run) == weights(whole)
    assert weights(run, "best") == weights(whole, "best")
    assert scores(run) == scores(whole)
    assert (run.folder / "config.toml").read_bytes() == (whole.folder / "config.toml").read_bytes()
    assert run.load_checkpoint("last")[1]["recipe"] == whole.load_checkpoint("last")[1]["recipe"]


@pytest.mark.parametrize("name", ["CLM", "halving", "rbm", "HF"])
def test_an_extension_interrupted_anywhere_ends_the_same(tmp_path: Path, name: str) -> None:
    recipe = RECIPES[name].replace(epochs=5)
    whole = trained(tmp_path / "whole", recipe)
    folder = trained(tmp_path / "run", recipe.replace(epochs=2)).folder
    for stops in itertools.count():
        calls = iter(range(10**6))
        try:
            # from the second time on the new epochs are in config.toml only
            resumed = recipe if stops == 0 else Recipe.from_dict(Run.open(folder).config())
            # longer each time: an update of HF asks in every iteration
            run = resume(folder, resumed, stop_requested=lambda c=calls, n=2 + stops: 15 * (next(c) >= n))
            break
        except Interrupted:
            assert Run.open(folder).config()["epochs"] == 5
    assert stops > 2
    assert weights(run) == weights(whole)
    assert scores(run) == scores(whole)


def test_killed_once_the_settings_are_written_it_goes_on_to_them(tmp_path: Path) -> None:
    recipe = small_recipe(epochs=5)
    whole = trained(tmp_path / "whole", recipe)
    run = trained(tmp_path / "run", small_recipe(epochs=2))
    with run:
        run.write_config(recipe.to_dict())
    assert weights(resume(run.folder, Recipe.from_dict(run.config()))) == weights(whole)


IMPATIENT = {"letters": "SGD", "learning_rate": 3.0, "epochs": 60}


def test_more_patience_is_the_same_as_having_had_it(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", small_recipe(**IMPATIENT, patience=3))
    before = run.load_checkpoint("last")[1]["progress"]["epoch"]
    patient = small_recipe(**IMPATIENT, patience=8)
    whole = trained(tmp_path / "whole", patient)
    resume(run.folder, patient)
    assert len(scores(run)) > before
    assert (weights(run), scores(run)) == (weights(whole), scores(whole))
    assert run.config()["patience"] == 8


def test_more_epochs_for_a_run_that_stopped_for_patience_say_so(tmp_path: Path, contents: Any) -> None:
    run = trained(tmp_path / "run", small_recipe(**IMPATIENT, patience=3))
    before, progress = contents(run.folder), run.load_checkpoint("last")[1]["progress"]
    with pytest.raises(
        UserError,
        match=f"stopped for patience after epoch {progress['epoch']}: no better validation score for 3 "
        rf"epochs \(the best was epoch {progress['best_epoch'] + 1}\); to go on, give "
        "patience of at least 4 too",
    ):
        resume(run.folder, small_recipe(**IMPATIENT | {"epochs": 99}, patience=3))
    assert contents(run.folder) == before
    both = small_recipe(**IMPATIENT | {"epochs": progress["epoch"] + 1}, patience=4)
    assert resume(run.folder, both).load_checkpoint("last")[1]["progress"]["epoch"] == progress["epoch"] + 1


def test_fewer_epochs_than_there_are_are_refused(tmp_path: Path, contents: Any) -> None:
    run = trained(tmp_path / "run", small_recipe(epochs=4))
    before = contents(run.folder)
    for epochs in (1, 3):
        with pytest.raises(
            UserError, match=f"expected epochs of at least 4, .* has trained 4 .* found {epochs}"
        ):
            resume(run.folder, small_recipe(epochs=epochs))
    assert contents(run.folder) == before


def test_in_the_middle_of_an_epoch_that_one_counts(tmp_path: Path) -> None:
    recipe = small_recipe(epochs=9, clip=1.0)
    calls = iter(range(10**6))
    with pytest.raises(Interrupted):
        trained(tmp_path / "run", recipe, stop_requested=lambda: 15 * (next(calls) >= 12))
    with pytest.raises(UserError, match=r"of at least 2, since the run is in its epoch 2, found 1"):
        resume(tmp_path / "run", recipe.replace(epochs=1))
    short = recipe.replace(epochs=2)
    assert weights(resume(tmp_path / "run", short)) == weights(trained(tmp_path / "whole", short))


def test_patience_that_has_run_out_already_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", small_recipe(**IMPATIENT, patience=5))
    with pytest.raises(UserError, match=r"expected patience of at least 6, .* is 5 epochs ago, found 2"):
        resume(run.folder, small_recipe(**IMPATIENT, patience=2))


@pytest.mark.parametrize(
    "reason", ["the task is solved", "the learning-rate rule: validation stopped improving"]
)
def test_other_ends_are_ends(reason: str) -> None:
    progress = Progress(epoch=3, best_epoch=2, stopped_because=reason)
    with pytest.raises(UserError, match=f"stopped after epoch 3: {reason}; start a new run"):
        go_on(progress, Recipe(epochs=5), Recipe(epochs=9))
    assert progress.stopped_because == reason


def test_nothing_asked_for_nothing_changed() -> None:
    progress = Progress(epoch=3, best_epoch=2, stopped_because=ALL_DONE)
    go_on(progress, Recipe(epochs=3), Recipe(epochs=3))
    assert progress.stopped_because == ALL_DONE


def test_settings_count_before_the_first_checkpoint_too(tmp_path: Path, contents: Any) -> None:
    Run.create(tmp_path / "run", small_recipe().to_dict()).close()
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=r"learning_rate = 0\.2 \(the run has 0\.05\)"):
        resume(tmp_path / "run", small_recipe(learning_rate=0.2))
    assert contents(tmp_path / "run") == before
    longer = small_recipe(epochs=5)
    assert weights(resume(tmp_path / "run", longer)) == weights(trained(tmp_path / "whole", longer))


@pytest.mark.parametrize("rule", ["cosine", "one-cycle"])
def test_a_rule_that_ends_with_the_last_epoch_has_no_later_one(rule: str) -> None:
    recipe = Recipe(learning_rate_rule=rule, epochs=3)
    with pytest.raises(UserError, match=f"{rule} ends with the last epoch.*a run of 3 cannot go on to 5"):
        go_on(Progress(epoch=3, stopped_because=ALL_DONE), recipe, recipe.replace(epochs=5))
    go_on(Progress(epoch=3, stopped_because=ALL_DONE), recipe, recipe.replace(patience=50))


def test_what_an_optimizer_knew_of_another_form_is_not_taken() -> None:
    rnn = GRU(2, 3, leak=torch.full((3,), 0.5, requires_grad=True))
    tensors = {f"model.{name}": x for name, x in rnn.state_dict().items()}
    tensors["model.leak"] = squashed(tensors.pop("model.leak_logit"))
    tensors |= {f"model.optimizer.{i}.velocity": torch.full((1,), float(i)) for i in range(5)}
    taken: list[Any] = []

    class Optimizer:
        def load_flat_state(self, *arguments: Any) -> None:
            taken.extend(arguments)

    state = {"groups": [], "values": {"0.step": 1, "4.step": 1}}
    assert take_learned(tensors, "model.", rnn, Optimizer(), state) == ["leak_logit"]  # type: ignore[arg-type]
    assert sorted(taken[1]) == [f"{i}.velocity" for i in range(4)]
    assert taken[2] == {"groups": [], "values": {"0.step": 1}}
