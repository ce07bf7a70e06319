"""Frames with onsets: a distribution over the valid frames alone, by enumeration."""

import itertools

import pytest
import torch

from ostinato.nn import GRU, RNN, SequenceModel
from ostinato.nn.curvature.gauss_newton import GaussNewton
from ostinato.nn.outputs import NADE, Bernoulli, Onsets

P, H = 2, 3
OUTPUTS = {
    "bernoulli": lambda g: Bernoulli(H, 2 * P, generator=g, dtype=torch.float64),
    "nade": lambda g: NADE(H, 2 * P, 4, generator=g, dtype=torch.float64),
    "nade, high to low": lambda g: NADE(H, 2 * P, 4, order="high-to-low", generator=g, dtype=torch.float64),
}
EVERY = torch.tensor(list(itertools.product([0, 1], repeat=2 * P)), dtype=torch.uint8)
BEFORE = list(itertools.product([0, 1], repeat=P))


@pytest.fixture(params=OUTPUTS)
def layer(request):
    generator = torch.Generator().manual_seed(3)
    rows = OUTPUTS[request.param](generator)
    with torch.no_grad():
        for parameter in rows.parameters():
            parameter.normal_(0, 1, generator=generator)
    return Onsets(rows)


def seen(before):
    """A hidden state, and what sounded before."""
    state = torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)
    return torch.cat([state, torch.tensor(before, dtype=torch.float64)])


def valid(frame, before):
    sounds, struck = frame[:P].tolist(), frame[P:].tolist()
    return all(o <= s and not (s and not b and not o) for s, o, b in zip(sounds, struck, before, strict=True))


@pytest.mark.parametrize("before", BEFORE)
def test_all_probability_is_on_the_valid_frames(layer, before):
    p = layer(seen(before)).log_prob(EVERY).exp()
    is_valid = torch.tensor([valid(frame, before) for frame in EVERY])
    assert is_valid.sum() == 2 ** (P - sum(before)) * 3 ** sum(before)
    torch.testing.assert_close(p.sum(), torch.ones((), dtype=torch.float64))
    assert bool((p[is_valid] > 0).all())
    assert bool((p[~is_valid] == 0).all())


@pytest.mark.parametrize("before", BEFORE)
def test_the_cost_of_a_frame_that_is_not_valid_is_none(layer, before):
    for frame in EVERY:
        if valid(frame, before):
            found = layer.nll(seen(before).unsqueeze(0), frame.unsqueeze(0))
            torch.testing.assert_close(found, -layer(seen(before)).log_prob(frame))
        else:
            with pytest.raises(ValueError, match="silent, struck, or held from before"):
                layer.nll(seen(before).unsqueeze(0), frame.unsqueeze(0))
    nine = torch.tensor([[9, 0, 9, 0]], dtype=torch.uint8)
    with pytest.raises(ValueError, match="0 and 1"):
        layer.nll(seen(before).unsqueeze(0), nine)


@pytest.mark.parametrize("before", BEFORE)
def test_the_roll_has_the_marginal_probability_of_what_sounds(layer, before):
    frames = layer(seen(before))
    p = frames.log_prob(EVERY).exp()
    for roll in itertools.product([0, 1], repeat=P):
        same = (EVERY[:, :P] == torch.tensor(roll)).all(1)
        found = frames.roll.log_prob(torch.tensor(roll, dtype=torch.uint8)).exp()
        torch.testing.assert_close(found, p[same].sum())


def test_states_of_pitches_sum_to_the_whole(layer):
    frames = layer(seen((1, 0)))
    value = torch.tensor([1, 1, 0, 1], dtype=torch.uint8)
    torch.testing.assert_close(frames.note_log_probs(value).sum(), frames.log_prob(value))


def test_samples_are_valid_and_as_frequent_as_they_are_probable(layer):
    before, count = (1, 0), 20_000
    frames = layer(seen(before))
    drawn = frames.sample((count,), generator=torch.Generator().manual_seed(0))
    assert all(valid(frame, before) for frame in drawn.unique(dim=0))
    numbers = (drawn.long() * 2 ** torch.arange(2 * P - 1, -1, -1)).sum(1)
    share = torch.bincount(numbers, minlength=len(EVERY)).double() / count
    p = frames.log_prob(EVERY).exp()
    assert bool(((share - p).abs() < 4 * (p * (1 - p) / count).sqrt() + 1e-9).all())
    torch.testing.assert_close(frames.mean.double(), (p[:, None] * EVERY).sum(0), atol=0.2, rtol=0)


GIVEN = ({0: 1}, {2: 1}, {2: 0}, {3: 0}, {0: 1, 2: 0}, {1: 0, 2: 1}, {0: 1, 1: 1, 2: 0, 3: 1})


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("before", [(1, 0), (1, 1)])
def test_the_weights_of_given_rows_estimate_their_probability(layer, given, before):
    frames, count = layer(seen(before)), 20_000
    mask, values = torch.zeros(2 * P, dtype=torch.bool), torch.zeros(2 * P, dtype=torch.uint8)
    for row, value in given.items():
        mask[row], values[row] = True, value
    generator = torch.Generator().manual_seed(1)
    drawn, log_w = frames.expand((count,)).sample_given(mask, values, generator=generator)
    kept = log_w > -torch.inf
    assert bool((drawn[kept][:, mask] == values[mask]).all())
    assert all(valid(frame, before) for frame in drawn[kept].unique(dim=0))
    p = frames.log_prob(EVERY).exp()
    fits = (EVERY[:, mask] == values[mask]).all(1)
    w = log_w.exp().double()
    assert abs(w.mean() - p[fits].sum()) < 4 * w.std() / count**0.5 + 1e-9
    # and weighted frames are those of the conditional distribution
    for row in range(2 * P):
        found = (w * drawn[:, row]).sum() / w.sum()
        assert abs(found - (p * EVERY[:, row])[fits].sum() / p[fits].sum()) < 0.03


def test_rows_that_cannot_be_have_no_weight(layer):
    held = torch.tensor([1, 0, 0, 0], dtype=torch.uint8)
    _, log_w = layer(seen((0, 0))).sample_given(torch.tensor([True, False, True, False]), held)
    assert log_w == -torch.inf


def test_nll_is_minus_log_prob_and_its_gradient_is_right(layer):
    before = torch.tensor([[1, 0], [1, 1], [0, 0]], dtype=torch.float64)
    values = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 1]], dtype=torch.uint8)
    hidden = torch.randn(3, H, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def nll(hidden):
        return layer.nll(torch.cat([hidden, before], 1), values)

    torch.testing.assert_close(nll(hidden), -layer(torch.cat([hidden, before], 1)).log_prob(values).sum())
    assert torch.autograd.gradcheck(nll, (hidden.requires_grad_(),))


def songs(steps, streams):
    """Random valid frames (T, B, 2 P)."""
    generator = torch.Generator().manual_seed(7)
    sounds = torch.rand(steps, streams, P, generator=generator) < 0.6
    struck = sounds & (torch.rand(steps, streams, P, generator=generator) < 0.4)
    struck[0] = sounds[0]
    struck[1:] |= sounds[1:] & ~sounds[:-1]
    return torch.cat([sounds, struck], 2).to(torch.uint8)


@pytest.mark.parametrize("cell", [RNN, GRU])
def test_curvature_is_that_of_the_rows_asked_for(layer, cell):
    """G v against J^T H J v from automatic derivatives of the logits that are asked for."""
    model = SequenceModel(
        cell(2 * P, H, dtype=torch.float64, generator=torch.Generator().manual_seed(2)), layer
    )
    frames = songs(5, 2)
    inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
    operator = GaussNewton(model, inputs, frames)
    gradient = operator.gradient()
    vector = torch.randn(len(gradient), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    shapes = [p.shape for p in model.parameters() if p.requires_grad]

    def each(flat):
        """log p of every row given those before it, (N, 2 P)."""
        parts = flat.split([s.numel() for s in shapes])
        own = {n: x.view(s) for n, x, s in zip(names, parts, shapes, strict=True)}
        predicted, _ = torch.func.functional_call(model, own, (inputs,))
        return predicted.rows.settled(*predicted._certain(frames)).note_log_probs(frames).flatten()

    flat = torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])
    jacobian = torch.autograd.functional.jacobian(each, flat)
    # of a binary row p (1 - p) dz^2 = p / (1 - p) d(log p)^2, p of the value that it has
    p = each(flat).detach().exp()
    weight = torch.where(p < 1, p / (1 - p), 0.0)
    expected = jacobian.T @ (weight * (jacobian @ vector)) / (frames.shape[0] * frames.shape[1])
    torch.testing.assert_close(operator.curvature(vector), expected, rtol=1e-6, atol=1e-9)


def test_a_model_learns_whether_notes_are_struck(layer):
    model = SequenceModel(RNN(2 * P, H, dtype=torch.float64), layer)
    frames = songs(40, 3)
    inputs = torch.cat([torch.zeros_like(frames[:1]), frames[:-1]])
    loss = model.loss(inputs, frames)
    predicted, _ = model(inputs)
    torch.testing.assert_close(loss.nll, -predicted.log_prob(frames).sum().detach())
    assert bool(torch.isfinite(loss.objective))
