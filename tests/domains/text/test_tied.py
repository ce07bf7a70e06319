"""Tied embeddings: one matrix, the gradients of both uses, and runs that keep it so."""

from pathlib import Path

import pytest
import torch

from ostinato.domains.domain import domain_named, load_data
from ostinato.errors import UserError
from ostinato.recipe.recipe import Recipe
from ostinato.runs.finish import train_in
from ostinato.runs.folder import Run
from ostinato.runs.trained import load_model
from ostinato.training.build import build_gradient_descent

TEXT = "".join(f"{a} saw {b} {c}\n" for a in ("we", "you") for b in ("a", "the") for c in ("cat", "dog")) * 8


def recipe_of(source: Path, **settings: object) -> Recipe:
    if settings.get("output") != "softmax":
        settings = {"classes": 2, **settings}
    usual = {"hidden_size": 6, "epochs": 2, "streams": 4, "segment_length": 5, "data": str(source)}
    return Recipe.parse("adam", domain="words", **usual | {"tied": True} | settings)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "ctrnn"])
@pytest.mark.parametrize("output", ["softmax", "class-softmax"])
def test_one_matrix_has_the_gradients_of_both_uses(source, cell, output) -> None:
    recipe = recipe_of(source, cell=cell, output=output, dtype="float64")
    data, domain = load_data(recipe), domain_named("words")
    model = domain.model(recipe, domain.identity(data), data)
    apart = domain.model(recipe.replace(tied=False, embedding_size=6), domain.identity(data), data)
    apart.load_state_dict(model.state_dict())
    assert model.output.weight is model.rnn.embedding
    assert apart.output.weight is not apart.rnn.embedding
    segment = domain.streams(recipe, data, 0)[0]
    for own in (model, apart):
        own.loss(segment.inputs, segment.targets).objective.backward()
    wanted = apart.rnn.embedding.grad.to_dense() + apart.output.weight.grad
    torch.testing.assert_close(model.rnn.embedding.grad.to_dense(), wanted)
    names = [name for name, _ in model.named_parameters()]
    assert "output.weight" not in names
    count = sum(len(g["params"]) for g in build_gradient_descent(recipe, model, 1).optimizer.param_groups)
    assert count == len(names)


def test_a_run_is_tied_when_it_is_opened_again(source, tmp_path) -> None:
    recipe = recipe_of(source, averaging=0.5)
    train_in(tmp_path / "run", recipe, load_data(recipe))
    model = load_model(Run.open(tmp_path / "run")).model
    assert model.output.weight is model.rnn.embedding
    longer = recipe.replace(epochs=4)
    train_in(tmp_path / "run", longer, load_data(recipe))
    train_in(tmp_path / "whole", longer, load_data(recipe))
    one, other = (Run.open(tmp_path / name).load_checkpoint("last")[0] for name in ("run", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert torch.equal(other["model.output.weight"], other["model.rnn.embedding"])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"embedding_size": 7}, "expected embedding_size 6 with tied"),
        ({"embedding_rate": 2.0}, "expected embedding_rate 1 with tied"),
    ],
)
def test_what_one_matrix_cannot_be_is_refused(source, settings, says) -> None:
    with pytest.raises(UserError, match=says):
        recipe_of(source, **settings)
    with pytest.raises(UserError, match="tied True does not go with HF"):
        Recipe.parse("HF", domain="words", tied=True)
