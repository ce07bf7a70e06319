import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from ostinato.nn.curvature.nade import KernelCurvature, RowCurvature
from ostinato.nn.kernels import cpu, nade, nade_cpu, nade_torch
from ostinato.nn.outputs import NADE, NADEFrames

# "torch" has no loop over notes; None is the native kernel where it is built.
KERNELS = ("torch", None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(
    frames: int, visible: int, hidden: int, *, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = seeded(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).to(dtype).requires_grad_()

    values = (torch.rand(frames, visible, generator=draw) < 0.3).to(torch.uint8)
    return values, normal(frames, visible + hidden), normal(visible, hidden), normal(visible, hidden)


def every_frame(visible: int) -> Tensor:
    return torch.tensor(list(itertools.product([0, 1], repeat=visible)), dtype=torch.uint8)


@pytest.mark.parametrize("visible", [1, 4, 10])
@pytest.mark.parametrize("order", ["low-to-high", "high-to-low", "shuffled"])
def test_probabilities_of_all_frames_sum_to_one(visible: int, order: str) -> None:
    chosen = torch.randperm(visible, generator=seeded(1)) if order == "shuffled" else order
    output = NADE(3, visible, 7, order=chosen, state_scale=1, generator=seeded(), dtype=torch.float64)
    frames = output(3 * torch.randn(1, 3, generator=seeded(2), dtype=torch.float64))
    every = every_frame(visible)
    total = frames.log_prob(every).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-6)


@settings(max_examples=40)
@given(
    frames=st.sampled_from([0, 1, 9, 40]),
    visible=st.sampled_from([1, 7, 16, 33, 88]),
    hidden=st.sampled_from([1, 8, 17, 150]),
    seed=st.integers(0, 1000),
)
def test_any_shape_matches_the_definition(frames: int, visible: int, hidden: int, seed: int) -> None:
    given_ = problem(frames, visible, hidden, seed=seed)
    weights = torch.randn(frames, generator=seeded(seed), dtype=torch.float64)
    expected = nade.log_prob(*given_, kernel="definition")
    theirs = torch.autograd.grad((expected * weights).sum(), given_[1:], materialize_grads=True)
    for kernel in KERNELS:
        log_prob = nade.log_prob(*given_, kernel=kernel)
        torch.testing.assert_close(log_prob, expected, rtol=1e-11, atol=1e-12)
        ours = torch.autograd.grad((log_prob * weights).sum(), given_[1:], materialize_grads=True)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)
        fused = torch.autograd.grad(nade.nll(*given_, kernel=kernel), given_[1:], materialize_grads=True)
        plain = torch.autograd.grad(
            -nade.log_prob(*given_, kernel="definition").sum(), given_[1:], materialize_grads=True
        )
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", cpu.instruction_sets())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_gives_the_same_numbers(name: str, dtype: torch.dtype) -> None:
    extension = cpu.Kernel(name).native
    values, *rest = problem(21, 88, 37, dtype=dtype)
    biases, encoder, decoder = (x.detach() for x in rest)
    weights = torch.rand(21, generator=seeded(3), dtype=dtype)
    log_prob, ours = nade_cpu.likelihood(
        values, biases, encoder, decoder, weights, gradients=True, extension=extension
    )
    exact = [x.detach().double().requires_grad_() for x in rest]
    expected = nade_torch.definition(values, *exact)
    theirs = torch.autograd.grad(-(expected * weights.double()).sum(), exact)
    tolerance = {"rtol": 2e-5, "atol": 2e-5} if dtype is torch.float32 else {"rtol": 1e-12, "atol": 1e-12}
    torch.testing.assert_close(log_prob.double(), expected.detach(), **tolerance)
    assert ours is not None
    torch.testing.assert_close(tuple(x.double() for x in ours), theirs, **tolerance)
    uniform = torch.rand(21, 88, generator=seeded(4), dtype=dtype)
    fixed = torch.rand(21, 88, generator=seeded(5)) < 0.3
    drawn = nade_cpu.sample(biases, encoder, decoder, uniform, fixed, values, extension)
    reference = nade_torch.sample(biases, encoder, decoder, uniform, fixed, values)
    assert torch.equal(drawn[0], reference[0])
    torch.testing.assert_close(drawn[1:], reference[1:], **(tolerance | {"atol": tolerance["atol"] * 10}))


def curvature_by_autograd(
    values: Tensor, point: list[Tensor], change: nade_cpu.Gradients
) -> tuple[Tensor, ...]:
    """J^T diag(p (1 - p)) J change, from the equations one note at a time."""

    def logits(biases: Tensor, encoder: Tensor, decoder: Tensor) -> Tensor:
        visible, on = len(encoder), values.to(biases.dtype)
        before = [on[:, :i] @ encoder[:i] for i in range(visible)]
        hidden = [torch.sigmoid(biases[:, visible:] + total) for total in before]
        return biases[:, :visible] + torch.stack([h @ decoder[i] for i, h in enumerate(hidden)], 1)

    z, dz = torch.func.jvp(logits, tuple(point), tuple(change))
    p = torch.sigmoid(z)
    return torch.func.vjp(logits, *point)[1](p * (1 - p) * dz)


@pytest.mark.parametrize("name", ["rows", *cpu.instruction_sets()])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(21, 88, 37), (1, 1, 1), (9, 17, 64)])
@pytest.mark.parametrize("threads", [1, 3])
def test_products_with_the_curvature(
    name: str, dtype: torch.dtype, sizes: tuple[int, int, int], threads: int
) -> None:
    frames, visible, hidden = sizes
    values, *rest = problem(frames, visible, hidden, dtype=dtype)
    point = [x.detach() for x in rest]
    change = nade_cpu.Gradients(*(torch.randn(x.shape, generator=seeded(6), dtype=dtype) for x in point))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        if name == "rows":
            found = RowCurvature.at(values, *point).product(change)
        else:
            kernel = KernelCurvature.at(values, *point)
            found = nade_cpu.curvature(
                values, *point, kernel.variance, change, extension=cpu.Kernel(name).native
            )
    finally:
        torch.set_num_threads(before)
    wide = nade_cpu.Gradients(*(x.double() for x in change))
    expected = curvature_by_autograd(values, [x.double() for x in point], wide)
    bound = 1e-5 if dtype is torch.float32 else 1e-13
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.double() - theirs).abs().max() <= bound * theirs.abs().max().clamp_min(1)


def test_no_frames_have_no_curvature() -> None:
    values, *point = problem(0, 5, 3)
    change = nade_cpu.Gradients(*(x.detach() for x in point))
    found = nade_cpu.curvature(
        values, *(x.detach() for x in point), torch.zeros(0, 5, dtype=torch.float64), change
    )
    assert [tuple(x.shape) for x in found] == [(0, 8), (5, 3), (5, 3)]
    assert not found.encoder.any()
    assert not found.decoder.any()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_float32_gradients_are_as_good_as_torchs(kernel: str | None, scale: float) -> None:
    values, *rest = problem(200, 88, 150, dtype=torch.float32)
    single = [(scale * x.detach()).requires_grad_() for x in rest]
    double = [x.detach().double().requires_grad_() for x in single]
    exact = torch.autograd.grad(nade.nll(values, *double, kernel="definition"), double)
    plain = torch.autograd.grad(nade.nll(values, *single, kernel="definition"), single)
    ours = torch.autograd.grad(nade.nll(values, *single, kernel=kernel), single)
    for x, y, z in zip(ours, plain, exact, strict=True):
        largest = z.abs().max()
        error, usual = ((w.double() - z).abs().max() / largest for w in (x, y))
        assert error <= 4 * usual + 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel: str | None) -> None:
    values, *rest = problem(5, 6, 4)
    assert torch.autograd.gradcheck(lambda *x: nade.log_prob(values, *x, kernel=kernel), rest)
    assert torch.autograd.gradcheck(lambda *x: nade.nll(values, *x, kernel=kernel), rest)
    if kernel == "torch":
        assert torch.autograd.gradgradcheck(lambda *x: nade.log_prob(values, *x, kernel=kernel), rest)


def test_threads_change_only_rounding() -> None:
    given_ = problem(100, 88, 20)
    before = torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(torch.autograd.grad(nade.nll(*given_), given_[1:]))
    finally:
        torch.set_num_threads(before)
    for other in made[1:]:
        torch.testing.assert_close(other, made[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_extreme_logits_and_nan(kernel: str | None) -> None:
    biases = torch.tensor([[200.0, -200.0, 0.0], [float("nan"), 0.0, 0.0]])
    zeros = torch.zeros(2, 1)
    values = torch.tensor([[1, 0], [1, 0]])
    right, spoilt = nade.log_prob(values, biases, zeros, zeros, kernel=kernel).tolist()
    assert right == 0
    assert spoilt != spoilt
    wrong = nade.log_prob(1 - values, biases, zeros, zeros, kernel=kernel)[0]
    assert wrong.item() == -400


@pytest.mark.parametrize("order", ["low-to-high", "high-to-low"])
@pytest.mark.parametrize("kernel", ["torch", ""])
def test_samples_match_the_exact_distribution(
    order: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "torch":
        monkeypatch.setattr("ostinato.nn.kernels.select.is_native", lambda _: False)
    output = NADE(2, 5, 4, order=order, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        output.encoder.mul_(3)
        output.decoder.mul_(2)
    frames = output(torch.zeros(2, dtype=torch.float64))
    drawn = frames.sample((20000,), generator=seeded(1))
    assert drawn.dtype is torch.uint8
    observed = (drawn.long() @ (2 ** torch.arange(4, -1, -1))).bincount(minlength=32)
    expected = 20000 * frames.log_prob(every_frame(5)).exp().detach()
    assert expected.min() > 5
    assert stats.chisquare(observed.numpy(), expected.numpy()).pvalue > 0.001


def test_fixed_notes_stay_and_weights_are_those_of_importance_sampling() -> None:
    output = NADE(2, 5, 4, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        output.encoder.mul_(4)
        output.decoder.mul_(4)
        frames = output(torch.zeros(2, dtype=torch.float64))
    fixed = torch.tensor([False, True, False, False, True])
    values = torch.tensor([0, 1, 1, 1, 0])
    many = NADEFrames(frames.biases.expand(40000, -1), frames.encoder, frames.decoder)
    drawn, log_weight = many.sample_given(fixed, values, generator=seeded(2))
    assert (drawn[:, fixed] == values[fixed]).all()
    # the mean weight estimates p(fixed notes); weighted samples have the conditional distribution
    every = every_frame(5)
    matching = (every[:, fixed] == values[fixed]).all(1)
    p = frames.log_prob(every).exp() * matching
    weight = log_weight.exp()
    error = weight.std() / len(weight) ** 0.5
    assert abs(weight.mean() - p.sum()) < 4 * error
    expected = (p.unsqueeze(1) * every).sum(0) / p.sum()
    estimate = (weight.unsqueeze(1) * drawn).sum(0) / weight.sum()
    torch.testing.assert_close(estimate, expected, atol=0.02, rtol=0)
    single, log_w = frames.sample_given(fixed, values, generator=seeded())
    assert single.shape == (5,)
    assert log_w.shape == ()


def test_marginals_estimate_the_mean() -> None:
    output = NADE(2, 6, 4, order="high-to-low", generator=seeded(), dtype=torch.float64)
    frames = output(torch.randn(3, 2, generator=seeded(1), dtype=torch.float64))
    every = every_frame(6)
    p = torch.stack([frames.log_prob(v.expand(3, 6)).exp() for v in every])
    exact = (p.unsqueeze(2) * every.unsqueeze(1)).sum(0)
    torch.testing.assert_close(frames.marginals(2000, generator=seeded()), exact, atol=0.02, rtol=0)
    assert torch.equal(frames.mean, frames.mean)


def test_shapes_broadcast_and_temperature_sharpens() -> None:
    output = NADE(3, 8, 5, generator=seeded())
    frames = output(torch.randn(4, 2, 3, generator=seeded(1)))
    assert frames.batch_shape == (4, 2)
    assert frames.sample((3,), generator=seeded()).shape == (3, 4, 2, 8)
    assert frames.log_prob(torch.zeros(8)).shape == (4, 2)
    assert frames.log_prob(torch.zeros(3, 4, 2, 8)).shape == (3, 4, 2)
    torch.testing.assert_close(frames.tempered(1.0).log_prob(torch.ones(8)), frames.log_prob(torch.ones(8)))
    cold = frames.tempered(1e-4)
    torch.testing.assert_close(
        cold.log_prob(cold.sample(generator=seeded())), torch.zeros(4, 2), atol=1e-3, rtol=0
    )


def test_training_starts_near_the_note_frequencies() -> None:
    output = NADE(4, 3, 50, generator=seeded())
    output.initialize_bias_(torch.tensor([0.1, 0.5, 0.9]))
    mean = output(torch.zeros(4)).marginals(500, generator=seeded())
    torch.testing.assert_close(mean, torch.tensor([0.1, 0.5, 0.9]), atol=0.08, rtol=0)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="permutation of 3 notes"):
        NADE(2, 3, order=torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="low-to-high, high-to-low"):
        NADE(2, 3, order="sideways")
    with pytest.raises(ValueError, match="definition, torch, cpu"):
        nade.log_prob(*problem(1, 2, 3), kernel="gpu")
    values, biases, encoder, decoder = problem(2, 3, 4)
    with pytest.raises(ValueError, match=r"biases must be torch.float64 \(2, 7\)"):
        nade_cpu.likelihood(values, biases[:, 1:], encoder, decoder)
