import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ostinato.errors import UserError
from ostinato.optim import AverageNorm, clip_grad_norm, grad_norm


def with_gradients(*gradients):
    parameters = []
    for gradient in gradients:
        parameter = torch.zeros_like(gradient).requires_grad_()
        parameter.grad = gradient.clone()
        parameters.append(parameter)
    return parameters


def randoms(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in ((3, 4), (5,), ())]


def direction(parameters):
    return torch.cat([p.grad.double().flatten() for p in parameters])


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_scales_all_gradients_together_by_threshold_over_norm(seed, threshold):
    parameters = with_gradients(*randoms(seed))
    before = direction(parameters)
    norm = float(before.norm())
    result = clip_grad_norm(parameters, threshold)
    assert result.norm == pytest.approx(norm, rel=1e-14)
    assert result.clipped == (norm > threshold)
    expected = before * (threshold / norm) if norm > threshold else before
    torch.testing.assert_close(direction(parameters), expected, rtol=1e-14, atol=0)
    assert grad_norm(parameters) == pytest.approx(min(norm, threshold), rel=1e-14)


@given(st.integers(0, 1000), st.floats(1e-2, 10))
def test_differs_from_torch_by_its_one_millionth_only(seed, threshold):
    ours, theirs = with_gradients(*randoms(seed)), with_gradients(*randoms(seed))
    norm = clip_grad_norm(ours, threshold).norm
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, threshold)), rel=1e-12)
    if norm > threshold:
        torch.testing.assert_close(
            direction(ours), direction(theirs) * ((norm + 1e-6) / norm), rtol=1e-12, atol=0
        )


@given(st.integers(0, 1000), st.floats(1e-3, 1e2), st.floats(1e-3, 1e2))
def test_a_smaller_threshold_afterwards_is_as_if_it_had_come_first(seed, one, two):
    twice, once = with_gradients(*randoms(seed)), with_gradients(*randoms(seed))
    clip_grad_norm(twice, max(one, two))
    clip_grad_norm(twice, min(one, two))
    clip_grad_norm(once, min(one, two))
    torch.testing.assert_close(direction(twice), direction(once), rtol=1e-12, atol=0)


def test_a_gradient_within_the_threshold_is_left_to_the_bit():
    parameters = with_gradients(*randoms(0, torch.float32))
    before = direction(parameters)
    assert not clip_grad_norm(parameters, 1e3).clipped
    assert not clip_grad_norm(parameters, None).clipped
    assert torch.equal(direction(parameters), before)


@pytest.mark.parametrize(
    ("size", "dtype", "precision"),
    [
        (1e30, torch.float32, 1e-6),
        (3e38, torch.float32, 1e-6),
        (1e-30, torch.float32, 1e-6),
        (1e30, torch.bfloat16, 1e-2),
        (1e200, torch.float64, 1e-14),
        (1e-200, torch.float64, 1e-14),
        (6e4, torch.float16, 1e-3),
    ],
)
def test_huge_and_tiny_gradients_are_clipped_to_the_threshold(size, dtype, precision):
    gradient = torch.full((10,), size, dtype=dtype)
    parameters = with_gradients(gradient)
    entry = float(gradient[0])
    threshold = min(1.0, entry / 7)
    result = clip_grad_norm(parameters, threshold)
    assert result.finite
    assert result.clipped
    assert result.norm == pytest.approx(entry * math.sqrt(10), rel=1e-12)
    torch.testing.assert_close(
        parameters[0].grad,
        torch.full((10,), threshold / math.sqrt(10), dtype=dtype),
        rtol=precision,
        atol=0,
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("threshold", [1.0, None])
def test_a_gradient_that_is_not_finite_is_reported_and_left(bad, dtype, where, threshold):
    gradients = [torch.ones(3, dtype=dtype), torch.zeros(2, dtype=dtype)]
    gradients[where][1] = bad
    parameters = with_gradients(*gradients)
    result = clip_grad_norm(parameters, threshold)
    assert not result.finite
    assert not result.clipped
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_zero_gradient_stays_zero(dtype):
    parameters = with_gradients(torch.zeros(3, dtype=dtype))
    result = clip_grad_norm(parameters, 1.0)
    assert (result.norm, result.clipped, result.finite) == (0.0, False, True)
    assert not parameters[0].grad.any()


def test_nothing_to_clip():
    empty = with_gradients(torch.zeros(0))
    assert clip_grad_norm([], 1.0).norm == 0
    assert clip_grad_norm([torch.zeros(2, requires_grad=True), *empty], 1.0).norm == 0


def test_mixed_types_count_together():
    parameters = with_gradients(
        torch.tensor([3.0]),
        torch.tensor([4.0], dtype=torch.float64),
        torch.tensor([12.0], dtype=torch.bfloat16),
    )
    assert clip_grad_norm(iter(parameters), 6.5).norm == 13
    assert direction(parameters).tolist() == [1.5, 2.0, 6.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_that_occurs_twice_in_a_sparse_gradient_is_one(dtype):
    weight = torch.ones(4, 1, dtype=dtype, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor([0, 0, 0, 3, 3, 3, 3]), weight, sparse=True).sum().backward()
    assert clip_grad_norm([weight], 2.5).norm == 5
    assert weight.grad.to_dense().flatten().tolist() == [1.5, 0, 0, 2.0]


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_refuses_a_threshold_that_is_none(threshold):
    with pytest.raises(UserError, match="threshold above 0"):
        clip_grad_norm([], threshold)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_the_average_norm(norms):
    average = AverageNorm()
    for norm in [*norms, math.nan, math.inf]:
        average.add(norm)
    assert (average.count, average.skipped) == (len(norms), 2)
    if sum(norms) > 0:
        assert average.value == pytest.approx(sum(norms) / len(norms))
    resumed = AverageNorm()
    resumed.load_state_dict(json.loads(json.dumps(average.state_dict())))
    assert vars(resumed) == vars(average)


def test_no_average_of_nothing():
    average = AverageNorm()
    average.add(math.nan)
    with pytest.raises(UserError, match="found 0 of norm 0 and 1 that are not finite"):
        _ = average.value


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-25, 1e25, float("inf")])
def test_the_norm_of_a_large_matrix_at_any_scale(scale: float) -> None:
    weight, other = torch.zeros(4000, 200, requires_grad=True), torch.zeros(3, requires_grad=True)
    weight.grad = torch.randn(4000, 200, generator=torch.Generator().manual_seed(0)) * scale
    other.grad = torch.ones(3)
    expected = math.hypot(float(weight.grad.double().norm()), math.sqrt(3))
    assert grad_norm([weight, other]) == pytest.approx(expected, rel=1e-5)


def test_a_single_tensor_is_a_list_of_one():
    one, other = (torch.zeros(2, 3, requires_grad=True) for _ in range(2))
    for weight in (one, other):
        weight.grad = torch.arange(6.0).view(2, 3)
    assert clip_grad_norm(one, 1.0) == clip_grad_norm([other], 1.0)
    assert clip_grad_norm(one, None).norm == pytest.approx(1.0)
    assert torch.equal(one.grad, other.grad)
    assert grad_norm(one) == grad_norm([other])


@pytest.mark.parametrize("norm_type", [0.5, 1, 2, 3.0, math.inf])
@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_of_every_type_are_those_of_torch(norm_type, foreach, dtype):
    ours, theirs = with_gradients(*randoms(0, dtype)), with_gradients(*randoms(0, dtype))
    found = clip_grad_norm((p for p in ours), 0.5, norm_type, foreach=foreach)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type=norm_type)
    assert found.norm == pytest.approx(float(expected), rel=1e-6)
    assert found.clipped
    torch.testing.assert_close(direction(ours), direction(theirs), rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm_type", [1, 3.0])
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_other_norms_neither_overflow_nor_vanish(norm_type, size):
    (parameter,) = with_gradients(torch.full((8,), size, dtype=torch.float64))
    expected = size * 8 ** (1 / norm_type)
    assert clip_grad_norm(parameter, None, norm_type).norm == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("norm_type", [1, 2, math.inf])
@pytest.mark.parametrize("foreach", [True, False])
def test_a_norm_that_is_not_finite_is_an_error_where_asked(bad, norm_type, foreach):
    parameters = with_gradients(torch.tensor([1.0, bad]), torch.tensor([3.0]))
    with pytest.raises(RuntimeError, match=r"the norm of the gradients is (nan|inf)"):
        clip_grad_norm(parameters, 1.0, norm_type, error_if_nonfinite=True, foreach=foreach)
    assert not clip_grad_norm(parameters, 1.0, norm_type, foreach=foreach).finite
    assert parameters[1].grad.item() == 3
    (good,) = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip_grad_norm(good, 1.0, error_if_nonfinite=True).norm == 5


@pytest.mark.parametrize("foreach", [True, False])
def test_without_gradients_every_norm_is_zero(foreach):
    for parameters in ([], iter([]), torch.zeros(2, requires_grad=True)):
        assert clip_grad_norm(parameters, 1.0, 3.0, True, foreach).norm == 0


def test_a_parameter_given_twice_counts_once():
    (parameter,) = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip_grad_norm([parameter, parameter], 2.5).norm == 5
    assert parameter.grad.tolist() == [1.5, 2.0]


def test_complex_gradients_have_the_norm_of_their_sizes():
    (parameter,) = with_gradients(torch.tensor([3.0 + 4.0j, 12.0]))
    assert clip_grad_norm(parameter, 6.5).norm == 13
    assert parameter.grad.tolist() == [1.5 + 2.0j, 6.0]


def test_a_threshold_may_be_a_tensor():
    (parameter,) = with_gradients(torch.tensor([3.0, 4.0]))
    assert clip_grad_norm(parameter, torch.tensor(2.5)).clipped is True
    assert parameter.grad.tolist() == [1.5, 2.0]


@pytest.mark.parametrize("norm_type", [0, -1, -math.inf, math.nan])
def test_refuses_a_norm_that_is_none(norm_type):
    with pytest.raises(UserError, match="expected a norm_type above 0"):
        clip_grad_norm([], 1.0, norm_type)
