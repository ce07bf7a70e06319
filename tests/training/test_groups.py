"""Rates and decay of some parameters only, as declarations ask for them."""

from collections.abc import Iterator

import pytest
import torch

from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli, ClassSoftmax
from ostinato.nn.outputs.registry import OUTPUTS, Output
from ostinato.recipe.recipe import Recipe
from ostinato.recipe.setting import Setting
from ostinato.training.build import Sizes, build_gradient_descent, build_model
from ostinato.training.groups import parameter_groups

RATES = tuple(Setting(name, float, 1.0, "Optimization", "a rate") for name in ("rate_a", "rate_b"))


@pytest.fixture
def output() -> Iterator[dict[str, Output]]:
    """An output whose weights have two rates, whose bias has one and does not decay; and a wrong one."""
    declared = {
        name: Output(
            name=name,
            place=Bernoulli,
            targets="binary",
            settings=RATES,
            rates={"rate_a": ("*",), "rate_b": (pattern,)},
            no_decay=("bias",),
        )
        for name, pattern in (("rated", "weig?t"), ("misnamed", "wheight"))
    }
    for entry in declared.values():
        OUTPUTS.register(entry)
    yield declared
    for name in declared:
        OUTPUTS.forget(name)


def grouped(recipe: Recipe, model: SequenceModel) -> dict[str, tuple[float, float | None]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = parameter_groups(recipe, model)
    return {names[id(p)]: (g["lr"], g.get("weight_decay")) for g in groups for p in g["params"]}


def test_rates_multiply_and_belong_to_the_declarations_own_part(output: dict[str, Output]) -> None:
    recipe = Recipe.parse("SGD", output="rated", rate_a=2.0, rate_b=3.0, learning_rate=0.5, hidden_size=4)
    found = grouped(recipe, build_model(recipe, Sizes(6, 6)))
    assert found.pop("output.weight") == (3.0, None)
    assert found.pop("output.bias") == (1.0, 0.0)
    assert set(found) == {"rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"}
    assert set(found.values()) == {(0.5, None)}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "nesterov"])
def test_what_is_exempt_does_not_decay(output: dict[str, Output], optimizer: str) -> None:
    recipe = Recipe.parse(
        "SGD", output="rated", optimizer=optimizer, weight_decay=0.5, learning_rate=0.1, hidden_size=4
    )
    model = build_model(recipe, Sizes(6, 6), {"frequencies": torch.full((6,), 0.2).numpy()})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    descent = build_gradient_descent(recipe, model, 1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    descent.step()
    after = dict(model.named_parameters())
    assert torch.equal(after["output.bias"], before["output.bias"])
    torch.testing.assert_close(after["output.weight"].detach(), 0.95 * before["output.weight"])


def test_a_name_that_no_parameter_has_is_an_error(output: dict[str, Output]) -> None:
    recipe = Recipe.parse("SGD", output="misnamed", hidden_size=4)
    with pytest.raises(
        ValueError, match=r"expected parameters output\.wheight, which misnamed declares, found none among"
    ):
        parameter_groups(recipe, build_model(recipe, Sizes(6, 6)))


def test_words_have_their_embedding_s_rate_and_their_output_s() -> None:
    recipe = Recipe.parse(None, domain="words", learning_rate=0.5, embedding_rate=4.0, within_class_rate=2.0)
    model = SequenceModel(RNN(9, 4, token_inputs=True), ClassSoftmax(4, [4, 5]))
    rates = {name: rate for name, (rate, _) in grouped(recipe, model).items()}
    own = {"rnn.embedding": 2.0, "output.weight": 1.0, "output.bias": 1.0}
    assert rates == dict.fromkeys(rates, 0.5) | own
