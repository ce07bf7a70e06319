import pytest
import torch

from ostinato.errors import UserError
from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import Bernoulli
from ostinato.recipe.recipe import Recipe
from ostinato.training.bounds import Bound, bounds


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3)])
@pytest.mark.parametrize("bound", [0.5, 1.0])
def test_the_largest_singular_value_is_the_bound_and_the_directions_stay(shape, bound):
    before = 3 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = before.clone().requires_grad_()
    Bound([weight], bound).apply()
    assert float(torch.linalg.svdvals(weight.detach())[0]) == pytest.approx(bound)
    assert torch.allclose(weight.detach() / weight.detach().norm(), before / before.norm())


def test_what_is_within_the_bound_or_not_finite_stays_as_it_is():
    small, broken = torch.eye(3) * 0.9, torch.full((3, 3), float("nan"))
    Bound([small, broken], 1.0).apply()
    assert torch.equal(small, torch.eye(3) * 0.9)
    assert broken.isnan().all()


def test_every_layer_and_no_other_weight():
    model = SequenceModel(RNN(3, 4, 2), Bernoulli(4, 3))
    [found] = bounds(Recipe.parse("SGD", recurrent_norm=0.1), model)
    assert {id(weight) for weight in found.weights} == {
        id(model.rnn.weight_hh_l0),
        id(model.rnn.weight_hh_l1),
    }


def test_only_where_it_is_asked_for():
    assert Recipe.parse("SGD+CRM").recurrent_norm == "none"
    assert Recipe.parse("SGD+CRM", output="nade").recurrent_norm == 1.0
    assert "recurrent_norm" not in Recipe.parse("SGD+C", cell="gru")
    with pytest.raises(UserError, match="expected recurrent_norm above 0, found 0"):
        Recipe.parse("SGD", recurrent_norm=0.0)


def test_a_run_of_before_says_nothing():
    old = Recipe.parse("SGD+CRM", output="nade").to_dict()
    del old["recurrent_norm"]
    assert Recipe.from_dict(old).recurrent_norm == "none"
