"""Frames with onsets under RBMs, against sums over all valid frames and all hidden units."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from ostinato.nn import RNN, SequenceModel
from ostinato.nn.outputs import RBM, Annealing, OnsetRBM, OnsetRBMFrames, enumeration
from ostinato.nn.outputs.ais import anneal
from ostinato.nn.outputs.visible_units import ONSETS

P, J, H = 3, 4, 5
EVERY = torch.tensor(list(itertools.product([0, 1], repeat=2 * P)), dtype=torch.uint8)
BEFORE = [(0, 0, 0), (1, 0, 1), (1, 1, 1)]
SHARE = 4.5  # standard errors


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frames_of(before, *, hidden: int = J, seed: int = 0, count: int | None = None) -> OnsetRBMFrames:
    draw = seeded(seed)
    biases = 0.7 * torch.randn(2 * P + hidden, generator=draw, dtype=torch.float64)
    weight = 0.8 * torch.randn(2 * P, hidden, generator=draw, dtype=torch.float64)
    frames = OnsetRBMFrames(biases, weight, torch.tensor(before), Annealing())
    return frames if count is None else frames.expand((count,))


def valid(frame: Tensor, before) -> bool:
    sounds, struck = frame[:P].tolist(), frame[P:].tolist()
    return all(o <= s and not (s and not b and not o) for s, o, b in zip(sounds, struck, before, strict=True))


def by_hand(frames: OnsetRBMFrames, before) -> Tensor:
    """p of `EVERY`, from the definition with every setting of the hidden units, (64,)."""
    b, c = frames.rows.tolist()[: 2 * P], frames.rows.tolist()[2 * P :]
    w = frames.weight.tolist()
    weights = []
    for frame in EVERY:
        total = 0.0
        if valid(frame, before):
            v = frame.tolist()
            for hidden in itertools.product([0, 1], repeat=len(c)):
                energy = 0.0
                for i in range(P):
                    goes_on = before[i] and v[i]
                    energy += v[i] * b[i]
                    if goes_on:  # log sigmoid(b_o) where struck, log sigmoid(-b_o) where held
                        energy -= math.log1p(math.exp(-b[P + i] if v[P + i] else b[P + i]))
                energy += sum(h * x for h, x in zip(hidden, c, strict=True))
                energy += sum(v[i] * hidden[j] * w[i][j] for i in range(2 * P) for j in range(len(c)))
                total += math.exp(energy)
        weights.append(total)
    found = torch.tensor(weights, dtype=torch.float64)
    return found / found.sum()


@pytest.mark.parametrize("before", BEFORE)
def test_all_probability_is_on_the_valid_frames(before) -> None:
    frames = frames_of(before, count=len(EVERY))
    found = frames.log_prob(EVERY).exp()
    torch.testing.assert_close(found, by_hand(frames_of(before), before))
    is_valid = torch.tensor([valid(frame, before) for frame in EVERY])
    assert is_valid.sum() == 2 ** (P - sum(before)) * 3 ** sum(before)
    assert bool((found[~is_valid] == 0).all())
    torch.testing.assert_close(frames.nll(EVERY[is_valid][:1]), -frames.log_prob(EVERY[is_valid][:1]).sum())


def test_in_single_precision_and_by_the_slow_sum_it_is_the_same() -> None:
    frames = frames_of(BEFORE[1], hidden=6)
    b, c = frames.split_biases()
    exact = enumeration.log_partition(b, c, frames.weight, ONSETS)
    rows = by_hand(frames, BEFORE[1])
    torch.testing.assert_close(frames.expand((64,)).log_prob(EVERY).exp(), rows)
    single = enumeration.log_partition(b.float(), c.float(), frames.weight.float(), ONSETS)
    torch.testing.assert_close(single.double(), exact, atol=1e-5, rtol=1e-5)
    followed = enumeration.log_partition(b.requires_grad_(), c, frames.weight, ONSETS)
    torch.testing.assert_close(followed.detach(), exact)


def test_with_no_weights_it_is_independent_notes_with_onsets() -> None:
    b = torch.tensor([0.3, -0.5, 1.0, 0.4, -1.2, 0.8], dtype=torch.float64)
    frames = OnsetRBMFrames(
        torch.cat([b, torch.zeros(2)]), torch.zeros(6, 2).double(), torch.tensor(BEFORE[1])
    )
    mean = frames.marginals(40, generator=seeded())
    sounds, struck = torch.sigmoid(b).chunk(2)
    expected = torch.where(torch.tensor(BEFORE[1]) != 0, sounds * struck, sounds)
    torch.testing.assert_close(mean, torch.cat([sounds, expected]))


@pytest.mark.parametrize("before", BEFORE)
def test_samples_are_as_frequent_as_they_are_probable(before) -> None:
    count = 6000
    drawn = frames_of(before).sample((count,), generator=seeded(1))
    numbers = (drawn.long() * 2 ** torch.arange(2 * P - 1, -1, -1)).sum(1)
    share = torch.bincount(numbers, minlength=len(EVERY)).double() / count
    p = by_hand(frames_of(before), before)
    assert bool(((share - p).abs() < SHARE * (p * (1 - p) / count).sqrt() + 1e-9).all())


GIVEN = ({0: 1}, {3: 1}, {3: 0, 0: 1}, {1: 0, 5: 1}, {4: 0}, {0: 1, 1: 0, 2: 1, 3: 0, 4: 0, 5: 1})


@pytest.mark.parametrize("given", GIVEN)
def test_samples_with_given_rows_are_those_of_the_conditional_distribution(given) -> None:
    before, count = BEFORE[1], 4000
    mask, values = torch.zeros(2 * P, dtype=torch.bool), torch.zeros(2 * P, dtype=torch.uint8)
    for row, value in given.items():
        mask[row], values[row] = True, value
    drawn, log_w = frames_of(before, count=count).sample_given(mask, values, generator=seeded(2))
    assert log_w is None
    fits = (EVERY[:, mask] == values[mask]).all(1)
    p = by_hand(frames_of(before), before) * fits
    p = p / p.sum()
    numbers = (drawn.long() * 2 ** torch.arange(2 * P - 1, -1, -1)).sum(1)
    share = torch.bincount(numbers, minlength=len(EVERY)).double() / count
    assert bool(((share - p).abs() < SHARE * (p * (1 - p) / count).sqrt() + 1e-9).all())


def test_rows_that_cannot_be_have_no_weight() -> None:
    before = torch.tensor([[0, 0, 0], [1, 0, 0]])
    frames = frames_of(BEFORE[0])
    two = OnsetRBMFrames(frames.rows.expand(2, -1), frames.weight, before)
    held = torch.tensor([1, 0, 0, 0, 0, 0])
    drawn, log_w = two.sample_given(torch.tensor([1, 0, 0, 1, 0, 0]), held, generator=seeded())
    assert log_w.tolist() == [-math.inf, 0]
    assert drawn[1, :4].tolist()[0] == 1
    assert int(drawn[1, 3]) == 0


@pytest.mark.parametrize("before", BEFORE)
def test_what_each_pitch_does_given_the_others(before) -> None:
    p = by_hand(frames_of(before), before)
    known = {tuple(frame.tolist()): float(x) for frame, x in zip(EVERY, p, strict=True)}
    values = torch.stack([frame for frame in EVERY if valid(frame, before)])
    found = frames_of(before, count=len(values)).note_log_probs(values)
    moved = frames_of(before, count=len(values)).pitch_log_probs(values)
    states = ((0, 0), (1, 0), (1, 1))

    def with_state(frame, i, state):
        new = list(frame)
        new[i], new[P + i] = state
        return known[tuple(new)]

    for row, frame in enumerate(values.tolist()):
        for i in range(P):
            every = sum(with_state(frame, i, state) for state in states)
            assert float(found[row, i].exp()) == pytest.approx(known[tuple(frame)] / every)
            if not frame[i]:
                assert moved[row, i] == 0
                continue
            without = list(frame)
            without[i] = without[P + i] = 0
            own = sum(with_state(without, i, state) for state in states[1:])
            others = sum(
                with_state(without, j, state)
                for j in range(P)
                if not without[j] and j != i
                for state in states[1:]
            )
            assert float(moved[row, i].exp()) == pytest.approx(own / (own + others))
    pseudo = frames_of(before, count=len(values)).pseudo_log_prob(values)
    torch.testing.assert_close(found.sum(1), pseudo)


def test_annealing_and_its_bound_come_to_the_exact_likelihood() -> None:
    before = torch.tensor(BEFORE).repeat(8, 1)
    rows = torch.randn(len(before), 2 * P + J, generator=seeded(5), dtype=torch.float64)
    weight = 0.8 * torch.randn(2 * P, J, generator=seeded(6), dtype=torch.float64)
    frames = OnsetRBMFrames(rows, weight, before)
    observed = frames.sample(generator=seeded(7))
    exact = frames.log_prob(observed)
    estimate = frames.likelihood(observed, generator=seeded(8))
    assert estimate.agreed
    assert abs(estimate.mean(estimate.middle) - float(exact.mean())) < 0.05
    assert estimate.mean(estimate.bound) < float(exact.mean()) + 0.05
    # one frame: unbiased weights, many chains
    b, c = frames.split_biases()
    path = [k / 20 for k in range(21)]
    found = anneal(
        b[:1], c[:1], weight, path, 20_000, observed=observed[:1], units=ONSETS, generator=seeded(9)
    )
    log_z = enumeration.log_partition(b[:1], c[:1], weight, ONSETS)
    torch.testing.assert_close(found.forward, log_z, atol=0.02, rtol=0)


def test_the_gradient_of_the_exact_likelihood() -> None:
    layer = OnsetRBM(RBM(H, 2 * P, J, generator=seeded(), dtype=torch.float64))
    before = torch.tensor(BEFORE, dtype=torch.float64)
    values = torch.tensor([[1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 1, 0]], dtype=torch.uint8)
    hidden = torch.randn(3, H, dtype=torch.float64, generator=seeded(3))

    def nll(hidden: Tensor) -> Tensor:
        return layer.nll(torch.cat([hidden, before], 1), values)

    assert torch.autograd.gradcheck(nll, (hidden.requires_grad_(),))


def test_contrastive_divergence_goes_the_way_of_the_gradient() -> None:
    """With so many steps that the chains have mixed, its mean is the gradient."""
    rows = RBM(H, 2 * P, J, cd_steps=30, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        rows.interaction.normal_(0, 0.7, generator=seeded(1))
        rows.bias.normal_(0, 0.7, generator=seeded(2))
    layer, count = OnsetRBM(rows), 20_000
    hidden = torch.cat([torch.ones(H), torch.tensor(BEFORE[1])]).double()
    value = torch.tensor([1, 0, 1, 0, 0, 1], dtype=torch.uint8)
    exact = torch.autograd.grad(layer.nll(hidden.unsqueeze(0), value.unsqueeze(0)), list(layer.parameters()))
    many = hidden.expand(count, -1), value.expand(count, -1)
    loss = layer.training_loss(*many, seeded(4)) / count
    found = torch.autograd.grad(loss, list(layer.parameters()))
    for own, other in zip(exact, found, strict=True):
        assert float((own - other).abs().max()) < 0.03


def test_frames_that_are_not_valid_cost_nothing_else_than_an_error() -> None:
    layer = OnsetRBM(RBM(H, 2 * P, J, generator=seeded(), dtype=torch.float64))
    hidden = torch.cat([torch.zeros(1, H), torch.tensor([BEFORE[0]])], 1).double()
    costs = (layer.training_loss, layer.mean_field_loss)
    for frame in EVERY:
        for cost in costs:
            if valid(frame, BEFORE[0]):
                cost(hidden, frame.unsqueeze(0))
            else:
                with pytest.raises(ValueError, match="silent, struck, or held"):
                    cost(hidden, frame.unsqueeze(0))
    for cost in (*costs, layer.nll, layer.training_score):
        with pytest.raises(ValueError, match="0 and 1"):
            cost(hidden, 9 * torch.ones(1, 2 * P, dtype=torch.uint8))


@pytest.mark.parametrize("persistent", [0, 7])
def test_its_chains_stay_among_valid_frames(persistent, monkeypatch) -> None:
    rows = RBM(H, 2 * P, J, cd_steps=2, persistent_chains=persistent, generator=seeded(), dtype=torch.float64)
    layer, seen = OnsetRBM(rows), []
    own = rows._chained
    monkeypatch.setattr(rows, "_chained", lambda *given: seen.append(own(*given)) or seen[-1])
    before = torch.tensor(BEFORE * 5)
    hidden = torch.cat([torch.zeros(15, H), before], 1).double()
    for _ in range(5):
        layer.training_loss(hidden, torch.zeros(15, 2 * P, dtype=torch.uint8), seeded())
        assert all(valid(v, b) for v, b in zip(seen[-1], before.tolist(), strict=True))
    assert seen[-1].any()


def test_pre_training_sees_the_rows_that_are_asked_for_alone() -> None:
    layer = OnsetRBM(RBM(H, 2 * P, J, generator=seeded(), dtype=torch.float64))
    hidden = torch.cat([torch.randn(3, H, generator=seeded(1)), torch.tensor(BEFORE)], 1).double()
    values = torch.tensor([[1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 0], [1, 1, 1, 0, 1, 0]], dtype=torch.uint8)
    with torch.no_grad():
        layer.rows.interaction.zero_()
    # without hidden units that tie them, the likelihood is that of the visible biases
    torch.testing.assert_close(layer.mean_field_loss(hidden, values), layer.nll(hidden, values))
    alone = layer.without_rnn(hidden)
    assert not alone[:, :H].any()
    torch.testing.assert_close(alone[:, H:], hidden[:, H:])


def test_a_model_is_trained_through_all_its_stages() -> None:
    draw = seeded(7)
    sounds = torch.rand(40, 3, P, generator=draw) < 0.6
    struck = sounds & (torch.rand(40, 3, P, generator=draw) < 0.4)
    struck[0] = sounds[0]
    struck[1:] |= sounds[1:] & ~sounds[:-1]
    frames = torch.cat([sounds, struck], 2).to(torch.uint8)
    layer = OnsetRBM(RBM(H, 2 * P, J, generator=seeded(), dtype=torch.float64))
    model = SequenceModel(RNN(2 * P, H, generator=seeded(1), dtype=torch.float64), layer)
    inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
    before = model.loss(inputs, frames).nll
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for objective in layer.objectives:
        for _ in range(25):
            optimizer.zero_grad()
            model.loss(inputs, frames, objective=objective).objective.backward()
            optimizer.step()
    assert float(model.loss(inputs, frames).nll) < 0.95 * float(before)
    predicted, _ = model(inputs)
    assert bool(predicted.log_prob(frames).isfinite().all())
    assert predicted.tempered(0.5).log_prob(frames).isfinite().all()
