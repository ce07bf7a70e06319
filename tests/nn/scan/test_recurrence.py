import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ostinato.nn.kernels.nonlinearities import NONLINEARITIES
from ostinato.nn.scan.recurrence import leaky_scan

KERNELS = ("unrolled", None)


def problem(
    steps: int, streams: int, hidden: int, *, leak: bool = True, starts: bool = True, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor | None]:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    drive = normal(steps, streams, hidden)
    weight = (normal(hidden, hidden) / hidden**0.5).detach().requires_grad_()
    a = torch.rand(hidden, generator=draw, dtype=torch.float64).mul_(0.9).requires_grad_()
    marks = torch.rand(steps, streams, generator=draw) < 0.3
    return drive, weight, a if leak else None, normal(streams, hidden), marks if starts else None


def wanted(problem: tuple[Tensor | None, ...]) -> list[Tensor]:
    return [x for x in problem if x is not None and x.requires_grad]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("starts", [False, True])
def test_matches_the_definition(kernel: str | None, nonlinearity: str, leak: bool, starts: bool) -> None:
    given_ = problem(7, 3, 5, leak=leak, starts=starts)
    states = leaky_scan(*given_, nonlinearity, kernel=kernel)
    expected = leaky_scan(*given_, nonlinearity, kernel="definition")
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-13)
    upstream = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ours = torch.autograd.grad(states, wanted(given_), upstream)
    theirs = torch.autograd.grad(expected, wanted(given_), upstream)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.sampled_from([1, 2, 9]),
    streams=st.sampled_from([1, 2, 5]),
    hidden=st.sampled_from([1, 17, 65]),
    nonlinearity=st.sampled_from(NONLINEARITIES),
    leak=st.booleans(),
    starts=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape_matches_the_definition(
    steps: int, streams: int, hidden: int, nonlinearity: str, leak: bool, starts: bool, seed: int
) -> None:
    given_ = problem(steps, streams, hidden, leak=leak, starts=starts, seed=seed)
    expected = leaky_scan(*given_, nonlinearity, kernel="definition")
    theirs = torch.autograd.grad(expected.pow(2).sum(), wanted(given_))
    for kernel in KERNELS:
        states = leaky_scan(*given_, nonlinearity, kernel=kernel)
        torch.testing.assert_close(states, expected, rtol=1e-10, atol=1e-11)
        ours = torch.autograd.grad(states.pow(2).sum(), wanted(given_))
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
@pytest.mark.parametrize("leak", [False, True])
def test_gradcheck_and_gradgradcheck(kernel: str | None, nonlinearity: str, leak: bool) -> None:
    drive, weight, a, h0, marks = problem(4, 2, 3, leak=leak)

    def scan(*inputs: Tensor) -> Tensor:
        drive, weight, h0, *rest = inputs
        return leaky_scan(drive, weight, rest[0] if rest else None, h0, marks, nonlinearity, kernel=kernel)

    inputs = (drive, weight, h0) if a is None else (drive, weight, h0, a)
    assert torch.autograd.gradcheck(scan, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(scan, inputs)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_jvp_against_finite_differences(kernel: str | None, nonlinearity: str) -> None:
    drive, weight, a, h0, marks = (x if x is None else x.detach() for x in problem(6, 2, 4))

    def scan(drive: Tensor, weight: Tensor, a: Tensor, h0: Tensor) -> Tensor:
        return leaky_scan(drive, weight, a, h0, marks, nonlinearity, kernel=kernel)

    primals = (drive, weight, a, h0)
    draw = torch.Generator().manual_seed(3)
    tangents = tuple(torch.randn(p.shape, generator=draw, dtype=p.dtype) for p in primals)
    _, directional = torch.func.jvp(scan, primals, tangents)
    step = 1e-6
    ahead = scan(*(p + step * t for p, t in zip(primals, tangents, strict=True)))
    behind = scan(*(p - step * t for p, t in zip(primals, tangents, strict=True)))
    torch.testing.assert_close(directional, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_functional_transforms_match_the_definition(kernel: str | None) -> None:
    drive, weight, a, h0, marks = (x if x is None else x.detach() for x in problem(4, 2, 3))

    def loss(weight: Tensor, a: Tensor, kernel: str | None) -> Tensor:
        return leaky_scan(drive, weight, a, h0, marks, "tanh", kernel=kernel).square().sum()

    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacrev, torch.func.jacfwd):
        ours = transform(lambda w, a: loss(w, a, kernel), argnums=(0, 1))(weight, a)
        theirs = transform(lambda w, a: loss(w, a, "definition"), argnums=(0, 1))(weight, a)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("batched", [(0,), (0, 1), (0, 1, 2, 3), (3,), (1,), (2,)])
def test_vmap_over_a_batch_of_models(kernel: str | None, batched: tuple[int, ...]) -> None:
    problems = [[x.detach() for x in problem(4, 2, 3, seed=seed)] for seed in range(3)]
    marks = problems[0].pop()
    args = [torch.stack([p[i] for p in problems]) if i in batched else problems[0][i] for i in range(4)]
    in_dims = tuple(0 if i in batched else None for i in range(4))

    def gradients(kernel: str | None, *args: Tensor) -> tuple[Tensor, ...]:
        def loss(*args: Tensor) -> Tensor:
            return leaky_scan(*args, marks, "tanh", kernel=kernel).pow(2).sum()

        return torch.func.grad(loss, argnums=(0, 1, 2, 3))(*args)

    ours = torch.vmap(lambda *x: gradients(kernel, *x), in_dims=in_dims)(*args)
    for model in range(3):
        own = [a[model] if i in batched else a for i, a in enumerate(args)]
        theirs = gradients("definition", *own)
        torch.testing.assert_close(tuple(x[model] for x in ours), theirs, rtol=1e-10, atol=1e-11)


def test_a_start_shields_against_a_spoilt_state() -> None:
    drive, weight, a, h0, _ = problem(3, 1, 2)
    spoilt = torch.full_like(h0, float("nan"))
    marks = torch.tensor([[True], [False], [False]])
    for kernel in ("definition", *KERNELS):
        assert leaky_scan(drive, weight, a, spoilt, marks, kernel=kernel).isfinite().all()


def test_shapes_are_checked_with_their_names() -> None:
    drive, weight, a, h0, marks = problem(3, 2, 4)
    with pytest.raises(ValueError, match=r"leak must have shape \(4,\).*got \(2,\)"):
        leaky_scan(drive, weight, torch.zeros(2, dtype=torch.float64), h0, marks)
    with pytest.raises(ValueError, match="one of tanh"):
        leaky_scan(drive, weight, a, h0, marks, "gelu")
    with pytest.raises(ValueError, match="starts must be boolean"):
        leaky_scan(drive, weight, a, h0, marks.double())
