import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.nn.outputs import ClassSoftmax, Softmax, balanced_classes

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_output(sizes: list[int], seed: int = 0, dtype: torch.dtype = torch.float64) -> ClassSoftmax:
    output = ClassSoftmax(6, sizes, generator=seeded(seed), dtype=dtype)
    with torch.no_grad():
        for parameter in output.parameters():
            parameter.normal_(generator=seeded(seed + 1))
    return output


def full_log_probs(output: ClassSoftmax, hidden: torch.Tensor) -> torch.Tensor:
    """The full softmax built from the same factors, in plain operations over the whole vocabulary."""
    classes = torch.log_softmax(hidden @ output.class_weight.T + output.class_bias, -1)
    words = hidden @ output.weight.T + output.bias
    columns, begin = [], 0
    for k, size in enumerate(output.sizes):
        block = words[:, begin : begin + size]
        columns.append(classes[:, k : k + 1] + block - block.exp().sum(1, keepdim=True).log())
        begin += size
    return torch.cat(columns, 1)


@given(SIZES, st.integers(0, 99))
def test_probabilities_over_the_vocabulary_sum_to_one(sizes: list[int], seed: int) -> None:
    output = random_output(sizes, seed, torch.float32)
    hidden = torch.randn(5, 6, generator=seeded(seed)) * 3
    every = torch.arange(output.vocabulary_size).expand(5, -1)
    by_target = output(hidden.unsqueeze(1).expand(-1, output.vocabulary_size, -1)).log_prob(every)
    torch.testing.assert_close(by_target.exp().sum(1), torch.ones(5), atol=1e-6, rtol=0)
    torch.testing.assert_close(output(hidden).probs.sum(1), torch.ones(5), atol=1e-6, rtol=0)


def test_probabilities_of_a_large_vocabulary_sum_to_one() -> None:
    counts = 1 / np.arange(1, 10_008)
    sizes = balanced_classes(counts, 30)
    assert sum(sizes) == 10_007
    assert len(sizes) == 30
    output = random_output(sizes, dtype=torch.float32)
    probs = output(torch.randn(20, 6, generator=seeded())).probs
    torch.testing.assert_close(probs.sum(1), torch.ones(20), atol=1e-6, rtol=0)


@given(SIZES, st.integers(0, 12), st.integers(0, 99))
def test_value_and_gradients_are_the_full_softmax_of_the_same_factors(
    sizes: list[int], tokens: int, seed: int
) -> None:
    output = random_output(sizes, seed)
    hidden = torch.randn(tokens, 6, generator=seeded(seed), dtype=torch.float64, requires_grad=True)
    # few tokens, many classes: some have none
    targets = torch.randint(output.vocabulary_size, (tokens,), generator=seeded(seed))
    wanted = (hidden, *output.parameters())
    plain = -full_log_probs(output, hidden).gather(1, targets.unsqueeze(1)).sum()
    expected = torch.autograd.grad(3 * plain, wanted)
    for value in (output.nll(hidden, targets), -output(hidden).log_prob(targets).sum()):
        torch.testing.assert_close(value, plain)
        found = torch.autograd.grad(3 * value, wanted, allow_unused=True)
        found = tuple(torch.zeros_like(w) if f is None else f for w, f in zip(wanted, found, strict=True))
        torch.testing.assert_close(found, expected)


def test_fused_softmax_is_minus_log_prob_with_its_gradients() -> None:
    output = Softmax(4, 9, generator=seeded(), dtype=torch.float64)
    hidden = torch.randn(11, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    targets = torch.randint(9, (11,), generator=seeded(), dtype=torch.int32)
    wanted = (hidden, *output.parameters())
    fused, plain = output.nll(hidden, targets), -output(hidden).log_prob(targets).sum()
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(torch.autograd.grad(3 * fused, wanted), torch.autograd.grad(3 * plain, wanted))


@pytest.mark.parametrize("classes", [False, True])
def test_biases_start_at_the_unigram(classes: bool) -> None:
    output = ClassSoftmax(4, [1, 2, 3]) if classes else Softmax(4, 6)
    frequencies = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.09, 0.01])
    output.initialize_bias_(frequencies)
    torch.testing.assert_close(output(torch.zeros(4)).probs, frequencies)


@pytest.mark.parametrize("classes", [False, True])
def test_samples_have_the_probabilities(classes: bool) -> None:
    output = random_output([2, 3], dtype=torch.float32) if classes else Softmax(6, 5, generator=seeded())
    distribution = output(torch.randn(3, 6, generator=seeded()))
    drawn = distribution.sample((20_000,), generator=seeded())
    assert drawn.shape == (20_000, 3)
    frequencies = torch.stack([(drawn == w).float().mean(0) for w in range(5)], 1)
    torch.testing.assert_close(frequencies, distribution.probs, atol=0.02, rtol=0)
    assert distribution.sample(generator=seeded()).shape == (3,)
    log_p = distribution.log_probs
    torch.testing.assert_close(distribution.entropy(), -(log_p.exp() * log_p).sum(-1))


def test_extreme_logits_stay_finite() -> None:
    output = Softmax(1, 3)
    with torch.no_grad():
        output.weight.copy_(torch.tensor([[300.0], [0.0], [-300.0]]))
    nll = output.nll(torch.ones(1, 1), torch.tensor([2]))
    assert nll.item() == pytest.approx(600)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40).map(lambda c: sorted(c, reverse=True)))
def test_classes_cover_the_vocabulary_and_none_is_empty(counts: list[int]) -> None:
    for classes in (1, 2, 7, 100):
        sizes = balanced_classes(np.array(counts), classes)
        assert sum(sizes) == len(counts)
        assert 1 <= len(sizes) <= classes
        assert min(sizes) >= 1


def test_one_class_is_the_softmax() -> None:
    output = random_output([7])
    hidden = torch.randn(5, 6, generator=seeded(), dtype=torch.float64)
    plain = torch.log_softmax(hidden @ output.weight.T + output.bias, 1)
    torch.testing.assert_close(output(hidden).log_probs, plain)


def test_classes_must_hold_something() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        ClassSoftmax(4, [2, 0])
    with pytest.raises(ValueError, match="at least one class"):
        balanced_classes(np.ones(3), 0)
    assert math.isclose(sum(balanced_classes(np.zeros(3), 2)), 3)
