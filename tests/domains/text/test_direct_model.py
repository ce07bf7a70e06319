import pytest
import torch

from ostinato.domains.text.direct_model import DirectModel
from ostinato.errors import UserError
from ostinato.nn import RNN
from ostinato.nn.outputs import ClassSoftmax, DirectNgrams, Softmax
from ostinato.nn.outputs.base import Cost, Objective, objective_of


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(classes: bool, order: int = 4) -> DirectModel:
    double = torch.float64
    output = (
        ClassSoftmax(5, [1, 3, 5], generator=seeded(), dtype=double)
        if classes
        else Softmax(5, 9, generator=seeded(), dtype=double)
    )
    direct = DirectNgrams(500, order, output.widest, dtype=double)
    with torch.no_grad():
        direct.table.normal_(generator=seeded())
    rnn = RNN(9, 5, token_inputs=True, generator=seeded(), dtype=double)
    return DirectModel(rnn, output, direct, l1=0.01)


def text(steps: int = 20, streams: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = torch.randint(9, (steps + 1, streams), generator=seeded())
    return tokens[:-1], tokens[1:]


@pytest.mark.parametrize("classes", [False, True])
def test_probabilities_sum_to_one_and_log_prob_agrees(classes: bool) -> None:
    inputs, targets = text()
    distribution, _ = model(classes)(inputs)
    torch.testing.assert_close(distribution.probs.sum(-1), torch.ones(20, 2, dtype=torch.float64))
    chosen = distribution.log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(distribution.log_prob(targets), chosen)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("with_starts", [False, True])
def test_the_cut_in_segments_changes_nothing(classes: bool, order: int, with_starts: bool) -> None:
    inputs, targets = text()
    starts = torch.rand(20, 2, generator=seeded()) < 0.25 if with_starts else None
    whole, _ = model(classes, order)(inputs, None, starts)
    states, parts = None, []
    for begin in (0, 1, 2, 9, 15):
        end = {0: 1, 1: 2, 2: 9, 9: 15, 15: 20}[begin]
        marks = None if starts is None else starts[begin:end]
        distribution, states = model(classes, order)(inputs[begin:end], states, marks)
        parts.append(distribution.log_prob(targets[begin:end]))
    torch.testing.assert_close(torch.cat(parts), whole.log_prob(targets))


def test_a_start_forgets_what_was_before() -> None:
    inputs, targets = text()
    starts = torch.zeros(20, 2, dtype=torch.bool)
    starts[7] = True
    whole, _ = model(True)(inputs, None, starts)
    alone, _ = model(True)(inputs[7:])
    torch.testing.assert_close(whole.log_prob(targets)[7:], alone.log_prob(targets[7:]))


def test_loss_is_the_mean_under_the_mask_and_the_table_learns() -> None:
    inputs, targets = text()
    mask = torch.ones(20, 2, dtype=torch.bool)
    mask[15:, 1] = False
    one = model(True)
    loss = one.loss(inputs, targets, mask=mask)
    expected = -one(inputs)[0].log_prob(targets)[mask].sum()
    torch.testing.assert_close(loss.nll, expected.detach())
    assert loss.frames == 35
    loss.objective.backward()
    table = one.direct.table.grad
    step = 1e-6
    place = int(table.abs().argmax())
    with torch.no_grad():
        one.direct.table[place] += step
        moved = one.loss(inputs, targets, mask=mask).objective - loss.objective.detach()
    assert float(moved) / step == pytest.approx(float(table[place]), rel=1e-3)


def test_other_contexts_have_other_features() -> None:
    direct = DirectNgrams(1 << 20, 3, 10)
    tokens = torch.arange(1000).reshape(-1, 1)
    contexts = direct.contexts(tokens, torch.zeros(1, 1, dtype=torch.int64)).flatten(0, 1)
    assert len(direct.places(contexts, 0).unique()) > 1950
    assert not torch.equal(direct.places(contexts, 0), direct.places(contexts, 1))
    with pytest.raises(ValueError, match="at least 2"):
        DirectNgrams(100, 1, 10)


def test_objectives_that_it_does_not_have_are_refused() -> None:
    one, (inputs, targets) = model(False), text()
    default, given = one.loss(inputs, targets), one.loss(inputs, targets, objective=objective_of(one.output))
    assert torch.equal(default.objective, given.objective)
    other = Objective("other", lambda hidden, values, generator: Cost(hidden.sum(), hidden.sum()))
    with pytest.raises(ValueError, match="no objective but the likelihood, got 'other'"):
        one.loss(inputs, targets, objective=other)

    class Staged(Softmax):
        objectives = (other,)

    with pytest.raises(UserError, match="trained on their likelihood alone, found Staged; leave it out"):
        DirectModel(RNN(9, 5, token_inputs=True), Staged(5, 9), DirectNgrams(100, 2, 9))
