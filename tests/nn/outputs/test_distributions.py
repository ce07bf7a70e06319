"""Every output's distribution does what users of `torch.distributions` expect of one."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MultivariateNormal

from ostinato.nn.outputs import (
    BernoulliFrames,
    MixtureOfGaussians,
    MultivariateGaussian,
    NADEFrames,
    RBMFrames,
    Tokens,
)
from ostinato.nn.outputs.distribution import seen_targets
from output_rows import DOUBLE, ROWS, SIZE, Row, seeded, states

rows = pytest.mark.parametrize("row", ROWS, ids=str)


@pytest.fixture(autouse=True)
def checked(monkeypatch):
    """Arguments are checked as by default: `torch.compile` switches that off for the rest of a process."""
    monkeypatch.setattr(Distribution, "_validate_args", True)


def draw(distribution: Distribution, *shape: int) -> Tensor:
    return distribution.sample(shape, generator=seeded(6))


@rows
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
def test_what_is_drawn_is_scored(row: Row, batch: tuple[int, ...]) -> None:
    distribution = row.layer()(states(*batch))
    assert distribution.batch_shape == batch
    for shape in ((), (2,), (4, 1)):
        drawn = draw(distribution, *shape)
        assert drawn.shape == shape + distribution.batch_shape + distribution.event_shape
        assert bool(distribution.support.check(drawn).all())
        found = distribution.log_prob(drawn)
        assert found.shape == shape + batch
        one = drawn.reshape(-1, *distribution.batch_shape, *distribution.event_shape)[-1]
        torch.testing.assert_close(distribution.log_prob(one), found.reshape(-1, *batch)[-1])


@rows
def test_one_value_is_scored_by_a_whole_batch(row: Row) -> None:
    distribution = row.layer()(states(2, 3))
    value = draw(row.layer()(states()))
    found = distribution.log_prob(value)
    every = value.expand(2, 3, *value.shape)
    torch.testing.assert_close(found, distribution.log_prob(every))
    for name in ("note_log_probs", "pitch_log_probs", "value_log_probs", "pseudo_log_prob"):
        method = getattr(distribution, name, None)
        if method is not None:
            torch.testing.assert_close(method(value), method(every))


@rows
def test_expanded_it_scores_and_draws_as_before(row: Row) -> None:
    one = row.layer()(states(3))
    many = one.expand((2, 3))
    assert (one.batch_shape, many.batch_shape, many.event_shape) == ((3,), (2, 3), one.event_shape)
    assert type(many) is type(one)
    values = draw(one, 2)
    torch.testing.assert_close(many.log_prob(values), one.log_prob(values))
    torch.testing.assert_close(many.log_prob(values[0]), one.log_prob(values[0]).expand(2, 3))
    assert draw(many).shape == values.shape
    again = many.expand(torch.Size((4, 2, 3)))
    torch.testing.assert_close(again.log_prob(values), one.log_prob(values).expand(4, 2, 3))
    independent = Independent(many, 1, validate_args=False)
    torch.testing.assert_close(independent.log_prob(values), one.log_prob(values).sum(-1))
    with pytest.raises(RuntimeError):
        one.expand((2,))


@rows
def test_a_mode_is_the_most_probable_value_or_refused(row: Row) -> None:
    distribution = row.layer()(states(4))
    try:
        mode = distribution.mode
    except NotImplementedError:
        assert row.name not in ("bernoulli", "softmax", "class-softmax", "gaussian")
        return
    best = distribution.log_prob(mode)
    assert mode.shape == distribution.batch_shape + distribution.event_shape
    others = draw(distribution, 300)
    assert bool((best >= distribution.log_prob(others)).all())
    if row.targets != "real":  # those it was not drawn to be
        assert bool((best == distribution.log_prob(others).amax(0)).all())


@pytest.mark.parametrize("name", ["nade", "rbm", "gaussian-mixture"])
def test_a_mode_that_takes_a_search_is_not_given(name: str) -> None:
    row = next(row for row in ROWS if row.name == name)
    with pytest.raises(NotImplementedError, match=r"is not known|no closed form"):
        _ = row.layer()(states(4)).mode


@rows
def test_mean_and_variance_are_those_of_what_is_drawn(row: Row) -> None:
    if row.targets == "category":
        return
    distribution = row.layer()(states(2))
    drawn = distribution.sample((2000,), generator=seeded(6)).double()
    spread = drawn.std(0)
    torch.testing.assert_close(distribution.mean, drawn.mean(0), atol=0.2 * float(spread.max()), rtol=0)
    torch.testing.assert_close(distribution.stddev, spread, atol=0.2 * float(spread.max()), rtol=0.1)


@rows
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature:UserWarning")
def test_what_cannot_be_is_refused(row: Row) -> None:
    layer = row.layer()
    distribution, value = layer(states(2)), row.values(2)
    wrong: list[Tensor] = []
    if row.targets != "real":
        wrong = [value.double() + 0.5, value + SIZE, value.double() - 1 - SIZE]
    if distribution.event_shape:
        wrong += [value[..., :-1], value[0, 0]]
    wrong += [value.expand(3, *value.shape).transpose(0, 1)[:, :3].to(torch.complex64)]
    for bad in wrong:
        with pytest.raises(ValueError, match=r"support|match event_shape|broadcastable|real value"):
            distribution.log_prob(bad)
    with pytest.raises(ValueError, match="broadcast"):
        distribution.log_prob(row.values(3))
    unchecked = copy.copy(distribution)
    unchecked._validate_args = False
    torch.testing.assert_close(unchecked.log_prob(value), distribution.log_prob(value))
    for kind in (torch.complex64, torch.int64):
        with pytest.raises((ValueError, RuntimeError), match=r"type|dtype"):
            layer(states(2).to(kind)).log_prob(value)
    layer, hidden = layer.to(torch.complex128), states(2).to(torch.complex128)
    for refused in (lambda: layer(hidden), lambda: layer.nll(hidden, value)):
        with pytest.raises(ValueError, match="real floating-point"):
            refused()


@pytest.mark.parametrize("name", ["softmax", "class-softmax"])
def test_tokens_that_are_no_whole_numbers_or_of_other_states_are_refused(name: str) -> None:
    layer = next(row for row in ROWS if row.name == name).layer()
    with pytest.raises(ValueError, match="integer type"):
        layer.nll(states(2), torch.tensor([0.5, 1.0]))
    for others in (1, 3):  # a gather takes too few without a word
        with pytest.raises(
            ValueError, match=rf"shape \(2,\), one for each hidden state, found \({others},\)"
        ):
            layer.nll(states(2), torch.zeros(others, dtype=torch.int64))


def test_parameters_are_checked_as_those_of_torch() -> None:
    bad = torch.tensor([[0.0, torch.nan]])
    pair, square = torch.zeros(2, 3), torch.ones(1, 2, 2)
    for make in (
        lambda **kind: BernoulliFrames(bad, **kind),
        lambda **kind: Tokens(bad, **kind),
        lambda **kind: NADEFrames(torch.full((1, 5), torch.nan), pair, pair, **kind),
        lambda **kind: RBMFrames(torch.zeros(1, 5), pair + torch.inf - torch.inf, **kind),
        lambda **kind: MultivariateGaussian(torch.zeros(1, 2), -torch.ones(1, 2), **kind),
        lambda **kind: MultivariateGaussian(torch.zeros(1, 2), square, **kind),
        lambda **kind: MixtureOfGaussians(bad, torch.zeros(1, 2, 1), torch.ones(1, 2, 1), **kind),
    ):
        with pytest.raises(ValueError, match="constraint"):
            make()
        with pytest.raises(ValueError, match="constraint"):
            make(validate_args=True)
        assert make(validate_args=False)._validate_args is False


def test_shapes_that_do_not_fit_are_refused() -> None:
    pair = torch.zeros(2, 3)
    for make in (
        lambda: NADEFrames(torch.zeros(1, 4), pair, pair),
        lambda: NADEFrames(torch.zeros(1, 5), pair, pair.T),
        lambda: RBMFrames(torch.zeros(1, 4), pair),
        lambda: MultivariateGaussian(torch.zeros(1, 2), torch.ones(1, 3)),
        lambda: MixtureOfGaussians(torch.zeros(1, 3), torch.zeros(1, 2, 1), torch.ones(1, 2, 1)),
    ):
        with pytest.raises(ValueError, match="found"):
            make()


def test_tokens_are_those_of_a_categorical() -> None:
    logits = torch.randn(2, 3, SIZE, generator=seeded(0))
    ours, theirs = Tokens(logits), Categorical(logits=logits)
    values = torch.randint(SIZE, (4, 2, 3), generator=seeded(1))
    torch.testing.assert_close(ours.log_prob(values), theirs.log_prob(values))
    torch.testing.assert_close(ours.mode, theirs.mode)
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    for expand in (True, False):
        torch.testing.assert_close(ours.enumerate_support(expand), theirs.enumerate_support(expand))
    assert repr(ours) == f"Tokens(logits: {logits.size()})"


def test_gaussians_are_those_of_torch() -> None:
    loc = torch.randn(2, 3, generator=seeded(0), dtype=DOUBLE, requires_grad=True)
    lower = torch.randn(2, 3, 3, generator=seeded(1), dtype=DOUBLE).tril(-1) + torch.eye(3, dtype=DOUBLE)
    ours, theirs = MultivariateGaussian(loc, lower), MultivariateNormal(loc, scale_tril=lower)
    values = torch.randn(4, 2, 3, generator=seeded(2), dtype=DOUBLE)
    torch.testing.assert_close(ours.log_prob(values), theirs.log_prob(values))
    torch.testing.assert_close(ours.mode, theirs.mode)
    torch.testing.assert_close(ours.variance, theirs.variance)
    drawn = ours.rsample((5,), generator=seeded(3))
    (slope,) = torch.autograd.grad(drawn.sum(), loc)
    torch.testing.assert_close(slope, torch.full_like(loc, 5))
    assert not ours.sample(generator=seeded(3)).requires_grad


@rows
def test_masks_and_fixed_values_broadcast(row: Row) -> None:
    distribution = row.layer()(states(3))
    if not hasattr(distribution, "sample_given"):
        return
    fixed = torch.arange(SIZE) < 2
    values = torch.ones(SIZE, dtype=torch.uint8)
    drawn, log_weight = distribution.sample_given(fixed, values, generator=seeded(0))
    assert drawn.shape == (3, SIZE)
    assert bool((drawn[:, :2] == 1).all())
    again, same = distribution.expand((2, 3)).sample_given(
        fixed.expand(2, 1, SIZE), values, generator=seeded(0)
    )
    assert again.shape == (2, 3, SIZE)
    if log_weight is not None:
        assert log_weight.shape == (3,)
        assert same.shape == (2, 3)


@pytest.mark.parametrize("row", [row for row in ROWS if row.targets == "binary"], ids=str)
def test_targets_that_are_no_frames_are_refused_unless_they_have_been_looked_at(row: Row) -> None:
    """Bernoulli and RBMs took a byte of 9 for a probability of 9; NADE has always refused it."""
    layer, value, hidden = row.layer(), row.values(2), states(2)
    odd = {"nll": value.clone(), "of real numbers": value.double(), "minus": value.to(torch.int8)}
    odd["nll"][0, 0], odd["of real numbers"][0, 0], odd["minus"][0, 0] = 9, torch.nan, -1
    costs = [layer.nll]
    costs += [partial(o.cost, generator=seeded(0)) for o in getattr(layer, "objectives", ())]
    for cost in costs:
        for targets in odd.values():
            with pytest.raises(ValueError, match=r"frames.* (0 and 1|neither 0 nor 1)"):
                cost(hidden, targets)
    if row.name != "nade":  # whose kernels are of bytes
        with seen_targets():
            layer.nll(hidden, odd["nll"])


def test_bernoulli_takes_probabilities_and_no_other_shares() -> None:
    layer = next(row for row in ROWS if row.name == "bernoulli").layer()
    half = torch.full((2, SIZE), 0.5, dtype=torch.float64)
    expected = -(half * layer(states(2)).logits - F.softplus(layer(states(2)).logits)).sum()
    torch.testing.assert_close(layer.nll(states(2), half), expected)
    for wrong in (1.5, -0.5):
        with pytest.raises(ValueError, match=f"0 and 1, or probabilities, found {wrong}"):
            layer.nll(states(2), half.fill_(wrong))
