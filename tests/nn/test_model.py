import itertools

import pytest
import torch
from torch.nn.utils import prune

from ostinato.nn import RNN, SequenceModel, outputs
from ostinato.nn.outputs import Bernoulli, BernoulliFrames


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_bernoulli_probabilities_sum_to_one() -> None:
    frames = BernoulliFrames(torch.randn(3, 6, generator=seeded(), dtype=torch.float64))
    every = torch.tensor(list(itertools.product([0, 1], repeat=6)))
    total = sum(frames.log_prob(v.expand(3, 6)).exp() for v in every)
    torch.testing.assert_close(total, torch.ones(3, dtype=torch.float64))
    entropy = -sum(frames.log_prob(v.expand(3, 6)) * frames.log_prob(v.expand(3, 6)).exp() for v in every)
    torch.testing.assert_close(entropy, frames.entropy())


def test_bernoulli_samples_have_the_mean() -> None:
    frames = BernoulliFrames(torch.tensor([-2.0, 0.0, 3.0]))
    drawn = frames.sample((20000,), generator=seeded())
    assert drawn.dtype == torch.uint8
    torch.testing.assert_close(drawn.float().mean(0), frames.mean, atol=0.015, rtol=0)
    torch.testing.assert_close(drawn.float().var(0), frames.variance, atol=0.015, rtol=0)


def test_fused_nll_is_minus_log_prob_with_its_gradients() -> None:
    output = Bernoulli(4, 9, generator=seeded(), dtype=torch.float64)
    hidden = torch.randn(11, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    targets = (torch.rand(11, 9, generator=seeded()) < 0.3).to(torch.uint8)
    wanted = (hidden, output.weight, output.bias)
    fused, plain = output.nll(hidden, targets), -output(hidden).log_prob(targets).sum()
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(torch.autograd.grad(3 * fused, wanted), torch.autograd.grad(3 * plain, wanted))


def test_extreme_logits_stay_finite() -> None:
    frames = BernoulliFrames(torch.tensor([[200.0, -200.0]], requires_grad=True))
    assert frames.log_prob(torch.tensor([[1, 0]])).item() == 0
    assert frames.log_prob(torch.tensor([[0, 1]])).item() == -400


def test_loss_counts_only_frames_under_the_mask() -> None:
    model = SequenceModel(
        RNN(6, 5, 2, generator=seeded(), dtype=torch.float64),
        Bernoulli(5, 6, generator=seeded(1), dtype=torch.float64),
        l1=0.01,
    )
    frames = (torch.rand(8, 3, 6, generator=seeded(2)) < 0.4).to(torch.uint8)
    mask = torch.ones(8, 3, dtype=torch.bool)
    mask[5:, 2] = False
    loss = model.loss(frames, frames, mask=mask)
    layers, _ = model.rnn(frames, all_layers=True)
    nll = -model.output(layers[-1]).log_prob(frames)[mask].sum()
    absolute = sum(layer[mask].abs().sum() for layer in layers)
    assert loss.frames == 21
    torch.testing.assert_close(loss.nll, nll.detach())
    torch.testing.assert_close(loss.objective, (nll + 0.01 * absolute) / 21)
    altered = frames.clone()
    altered[5:, 2] = 1
    torch.testing.assert_close(model.loss(frames, altered, mask=mask).objective, loss.objective)


@pytest.mark.parametrize(
    ("targets", "mask", "message"),
    [
        ((3, 8, 6), None, r"targets of shape \(8, 3, ...\), .* found \(3, 8, 6\)"),
        ((7, 3, 6), None, r"targets of shape \(8, 3, ...\), .* found \(7, 3, 6\)"),
        ((8, 3, 6), torch.ones(3, 8, dtype=torch.bool), r"mask of shape \(8, 3\), .* \(3, 8\)"),
        ((8, 3, 6), torch.ones(8, dtype=torch.bool), r"mask of shape \(8, 3\), .* \(8,\)"),
        ((8, 3, 6), torch.full((8, 3), 0.5), r"boolean mask .* torch.float32"),
        ((8, 3, 6), torch.ones(8, 3, dtype=torch.int64), r"boolean mask .* torch.int64"),
    ],
)
def test_targets_and_masks_are_those_of_the_frames(
    targets: tuple[int, ...], mask: torch.Tensor | None, message: str
) -> None:
    model = SequenceModel(RNN(6, 5), Bernoulli(5, 6))
    with pytest.raises(ValueError, match=message):
        model.loss(torch.zeros(8, 3, 6), torch.zeros(targets), mask=mask)


def test_an_input_without_streams_has_no_loss() -> None:
    with pytest.raises(ValueError, match="expected targets of shape"):
        SequenceModel(RNN(6, 5), Bernoulli(5, 6)).loss(torch.zeros(8, 6), torch.zeros(8, 6))


def test_batch_first_has_its_mask_in_that_order() -> None:
    plain, turned = (SequenceModel(RNN(6, 5, batch_first=first), Bernoulli(5, 6)) for first in (False, True))
    turned.load_state_dict(plain.state_dict())
    frames = (torch.rand(8, 3, 6, generator=seeded()) < 0.4).to(torch.uint8)
    mask = torch.rand(8, 3, generator=seeded(1)) < 0.6
    turned_frames = frames.transpose(0, 1)
    found = turned.loss(turned_frames, turned_frames, mask=mask.T)
    torch.testing.assert_close(found.objective, plain.loss(frames, frames, mask=mask).objective)


def test_bias_initialization_starts_at_the_note_frequencies() -> None:
    output = Bernoulli(4, 3, generator=seeded())
    output.initialize_bias_(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(output(torch.zeros(4)).mean, torch.tensor([0.1, 0.5, 0.9]))


def _models() -> list[tuple[SequenceModel, torch.Tensor, torch.Tensor]]:
    """A model of each kind of output, with inputs and targets; missing values among the real ones."""
    drawn = seeded(1)
    binary = (torch.rand(7, 3, 6, generator=drawn) < 0.4).to(torch.uint8)
    tokens = torch.randint(0, 6, (7, 3), generator=drawn)
    real = torch.randn(7, 3, 2, generator=drawn, dtype=torch.float64)
    gaps = real.clone()
    gaps[2, 1, 0] = torch.nan
    made = [
        (RNN(6, 4, dtype=torch.float64), outputs.Bernoulli(4, 6, dtype=torch.float64), binary, binary),
        (RNN(6, 4, dtype=torch.float64), outputs.NADE(4, 6, 3, dtype=torch.float64), binary, binary),
        (
            RNN(6, 4, token_inputs=True, dtype=torch.float64),
            outputs.Softmax(4, 6, dtype=torch.float64),
            tokens,
            tokens,
        ),
        (
            RNN(6, 4, token_inputs=True, dtype=torch.float64),
            outputs.ClassSoftmax(4, [2, 4], dtype=torch.float64),
            tokens,
            tokens,
        ),
        (RNN(2, 4, dtype=torch.float64), outputs.Gaussian(4, 2, dtype=torch.float64), real, gaps),
        (RNN(2, 4, dtype=torch.float64), outputs.GaussianMixture(4, 2, dtype=torch.float64), real, gaps),
    ]
    return [(SequenceModel(rnn, output), inputs, targets) for rnn, output, inputs, targets in made]


@pytest.mark.parametrize("place", range(6))
def test_a_hook_on_the_output_fires_in_training_and_changes_nothing(place: int) -> None:
    model, inputs, targets = _models()[place]
    parameters = list(model.parameters())
    plain = model.loss(inputs, targets)
    wanted = torch.autograd.grad(plain.objective, parameters)
    seen: list[object] = []
    model.output.register_forward_hook(lambda module, _, out: seen.append(out))
    watched = model.loss(inputs, targets)
    found = torch.autograd.grad(watched.objective, parameters)
    assert len(seen) == 1
    assert isinstance(seen[0], torch.distributions.Distribution)
    torch.testing.assert_close(watched.objective, plain.objective)
    torch.testing.assert_close(watched.nll, plain.nll)
    for pair in zip(found, wanted, strict=True):
        torch.testing.assert_close(*(x.to_dense() if x.is_sparse else x for x in pair))


def test_hooks_on_an_output_with_a_cost_of_its_own_fire() -> None:
    model = SequenceModel(RNN(6, 4, generator=seeded()), outputs.RBM(4, 6, 3))
    frames = torch.zeros(5, 2, 6, dtype=torch.uint8)
    seen: list[object] = []
    model.output.register_forward_pre_hook(lambda module, arguments: seen.append(arguments))
    model.loss(frames, frames).objective.backward()
    assert seen


def test_pruned_weights_stay_pruned_in_training() -> None:
    model, inputs, targets = _models()[0]
    prune.random_unstructured(model.output, "weight", 0.5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before = model.output.weight.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(inputs, targets).objective.backward()
        optimizer.step()
    model.output(torch.zeros(1, 4, dtype=torch.float64))
    after = model.output.weight.detach()
    assert int((after == 0).sum()) == int((before == 0).sum()) == 12
    assert not torch.equal(before, after)


def test_an_rnn_that_reads_the_future_is_refused() -> None:
    with pytest.raises(ValueError, match="reads what it is to predict"):
        SequenceModel(RNN(6, 5, bidirectional=True), Bernoulli(10, 6))


def test_hooks_on_the_rnn_fire_in_training() -> None:
    model = SequenceModel(RNN(6, 5), Bernoulli(5, 6))
    seen: list[object] = []
    model.rnn.register_forward_hook(lambda *call: seen.append(call))
    frames = torch.zeros(5, 2, 6, dtype=torch.uint8)
    model.loss(frames, frames)
    assert len(seen) == 1


def test_a_pruned_rnn_is_trained_with_its_weights_of_now() -> None:
    model = SequenceModel(RNN(6, 5, generator=seeded()), Bernoulli(5, 6, generator=seeded()))
    frames = (torch.rand(7, 3, 6, generator=seeded(1)) < 0.3).to(torch.uint8)
    prune.l1_unstructured(model.rnn, "weight_hh_l0", 0.5)
    before = model.loss(frames, frames).objective.item()
    with torch.no_grad():
        model.rnn.weight_hh_l0_orig.mul_(50)
    after = model.loss(frames, frames)
    assert after.objective.item() != before
    after.objective.backward()
    gradient = model.rnn.weight_hh_l0_orig.grad
    assert int((gradient == 0).sum()) >= 12
    assert gradient.any()


def test_token_inputs_have_dense_gradients_where_asked_for() -> None:
    tokens = torch.randint(0, 6, (7, 3), generator=seeded(1))
    results = []
    for sparse in (True, False):
        rnn = RNN(6, 4, token_inputs=True, sparse=sparse, generator=seeded())
        rnn(tokens)[0].square().sum().backward()
        results.append(rnn.embedding.grad)
    assert [gradient.is_sparse for gradient in results] == [True, False]
    torch.testing.assert_close(results[0].to_dense(), results[1], rtol=0, atol=0)
    torch.nn.utils.clip_grad_norm_(rnn.parameters(), 0.1)
    torch.optim.Adam(rnn.parameters()).step()
