"""Derivatives of whole networks of every cell, in every way that PyTorch takes them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call

from ostinato.nn import GRU, LSTM, RNN
from ostinato.nn.kernels.nonlinearities import NONLINEARITIES

Network = tuple[Callable[..., tuple[Tensor, ...]], list[Tensor]]

CELLS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    **{name: (RNN, {"nonlinearity": name}) for name in NONLINEARITIES},
    "GRU": (GRU, {}),
    "LSTM": (LSTM, {}),
}
# leak, layers, whether there are starts, whether an initial state
KINDS = [("none", 1, False, False), ("fixed", 1, True, True), ("learned", 2, True, True)]
STARTS = torch.tensor([[False, False], [True, False], [False, True]])


def network(cell: str, leak: str, layers: int, starts: bool, state: bool) -> Network:
    """(x, states..., parameters...) -> outputs and last states, and a point."""
    kind, settings = CELLS[cell]
    draw = torch.Generator().manual_seed(3)
    share = None if leak == "none" else torch.tensor([0.3, 0.6], dtype=torch.float64)
    if share is not None and leak == "learned":
        share.requires_grad_()
    module = kind(2, 2, layers, leak=share, dtype=torch.float64, generator=draw, **settings)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    names, parameters = zip(*module.named_parameters(), strict=True)
    count = (2 if kind is LSTM else 1) if state else 0
    point = [normal(3, 2, 2), *(normal(layers, 2, 2) for _ in range(count))]
    point += [p.detach().clone().requires_grad_() for p in parameters]
    marks = STARTS if starts else None

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        hx = (None, rest[0] if count else None, rest[:2])[count]
        values = dict(zip(names, rest[count:], strict=True))
        output, last = functional_call(module, values, (x, hx, marks))
        return output, *(last if isinstance(last, tuple) else (last,))

    return run, point


def loss_of(run: Callable[..., tuple[Tensor, ...]]) -> Callable[..., Tensor]:
    return lambda *point: sum((made**2).sum() for made in run(*point))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
@pytest.mark.parametrize("cell", CELLS)
def test_checked_by_differences(cell: str, kind: tuple[str, int, bool, bool]) -> None:
    """First and second derivatives, in both modes, one at a time and in batches."""
    run, point = network(cell, *kind)
    more = {"check_batched_grad": True, "fast_mode": True}
    assert gradcheck(run, point, check_forward_ad=True, check_batched_forward_grad=True, **more)
    assert gradgradcheck(run, point, check_fwd_over_rev=True, **more)


def products(loss: Callable[..., Tensor], point: list[Tensor], along: list[Tensor]) -> dict[str, Any]:
    """The Hessian times a vector in every order of the two modes."""
    where = tuple(range(len(point)))
    plain = tuple(x.detach() for x in point)
    gradient = torch.func.grad(loss, argnums=where)

    def backward_twice() -> tuple[Tensor, ...]:
        first = torch.autograd.grad(loss(*point), point, create_graph=True)
        return torch.autograd.grad(first, point, along)

    def forward_over_backward() -> tuple[Tensor, ...]:
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(x, v) for x, v in zip(point, along, strict=True)]
            found = torch.autograd.grad(loss(*duals), duals)
            return tuple(forward_ad.unpack_dual(g).tangent for g in found)

    def slope(*at: Tensor) -> Tensor:
        return torch.func.jvp(loss, at, tuple(along))[1]

    with torch.no_grad():
        unwatched = torch.func.jvp(gradient, plain, tuple(along))[1]
    return {
        "backward twice": backward_twice(),
        "forward over backward": forward_over_backward(),
        "jvp of grad": torch.func.jvp(gradient, plain, tuple(along))[1],
        "jvp of grad without a graph": unwatched,
        "grad of jvp": torch.func.grad(slope, argnums=where)(*plain),
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
@pytest.mark.parametrize("cell", CELLS)
def test_products_with_the_hessian(cell: str, kind: tuple[str, int, bool, bool]) -> None:
    run, point = network(cell, *kind)
    loss, step = loss_of(run), 1e-5
    draw = torch.Generator().manual_seed(4)
    along = [torch.randn(x.shape, generator=draw, dtype=x.dtype) for x in point]

    def gradient(share: float) -> tuple[Tensor, ...]:
        moved = [(x.detach() + share * v).requires_grad_() for x, v in zip(point, along, strict=True)]
        return torch.autograd.grad(loss(*moved), moved)

    pairs = zip(gradient(step), gradient(-step), strict=True)
    expected = torch.cat([((a - b) / (2 * step)).flatten() for a, b in pairs])
    for way, found in products(loss, point, along).items():
        ours = torch.cat([x.flatten() for x in found])
        assert (ours - expected).norm() <= 1e-6 * expected.norm(), way


@pytest.mark.parametrize("cell", ["tanh", "GRU", "LSTM"])
def test_vectorized_jacobians_and_hessians(cell: str) -> None:
    run, point = network(cell, "fixed", 1, True, True)
    x, *rest = (p.detach() for p in point)
    functional = torch.autograd.functional

    def output(x: Tensor) -> Tensor:
        return run(x, *rest)[0]

    def loss(x: Tensor) -> Tensor:
        return output(x).square().sum()

    one_by_one = functional.jacobian(output, x)
    for found in (
        functional.jacobian(output, x, vectorize=True),
        functional.jacobian(output, x, vectorize=True, strategy="forward-mode"),
        torch.func.jacrev(output)(x),
        torch.func.jacfwd(output)(x),
    ):
        torch.testing.assert_close(found, one_by_one)
    one_by_one = functional.hessian(loss, x)
    assert one_by_one.abs().max() > 1e-3
    for found in (functional.hessian(loss, x, vectorize=True), torch.func.hessian(loss)(x)):
        torch.testing.assert_close(found, one_by_one)


@pytest.mark.parametrize("cell", ["relu", "GRU", "LSTM"])
def test_compiled(cell: str) -> None:
    """A tangent, a gradient and a Hessian-vector product in one graph: equal to eager ones, never zeros."""
    torch.compiler.reset()
    run, point = network(cell, "fixed", 1, True, False)
    x, weight, *rest = (p.detach() for p in point)
    loss = loss_of(run)

    def all_of_them(weight: Tensor) -> tuple[Tensor, ...]:
        def of_weight(weight: Tensor) -> Tensor:
            return loss(x, weight, *rest)

        along = torch.ones_like(weight)
        tangent = torch.func.jvp(of_weight, (weight,), (along,))[1]
        return tangent, *torch.func.jvp(torch.func.grad(of_weight), (weight,), (along,))

    made = torch.compile(all_of_them, backend="aot_eager", fullgraph=True)(weight)
    torch.testing.assert_close(made, all_of_them(weight), rtol=1e-10, atol=1e-12)
    assert all(part.abs().max() > 1e-4 for part in made)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", ["tanh", "GRU", "LSTM"])
@pytest.mark.parametrize("leak", [None, 0.5])
def test_autocast_trains(cell: str, half: torch.dtype, leak: float | None) -> None:
    """Linear, then a recurrence, under autocast: in float32 after the cast that the linear layer makes."""
    kind, settings = CELLS[cell]
    draw = torch.Generator().manual_seed(0)
    linear, recurrence = nn.Linear(3, 4), kind(4, 5, leak=leak, generator=draw, **settings)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.uniform_(-0.5, 0.5, generator=draw)
    x = torch.randn(7, 2, 3, generator=draw)
    optimizer = torch.optim.SGD([*linear.parameters(), *recurrence.parameters()], 0.01)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        with torch.autocast("cpu", half):
            read = linear(x)
            output, _ = recurrence(read)
            losses.append((output.float() - 0.5).square().sum())
        assert (read.dtype, output.dtype) == (half, torch.float32)
        # the layer by itself is one call, under autocast several, which may round otherwise
        torch.testing.assert_close(output, recurrence(read.float())[0], rtol=1e-5, atol=1e-6)
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("cell", ["tanh", "GRU", "LSTM"])
def test_complex_weights_are_refused(cell: str) -> None:
    kind, settings = CELLS[cell]
    with pytest.raises((ValueError, TypeError, NotImplementedError), match=r"floating|real|complex"):
        kind(2, 3, dtype=torch.complex64, **settings)(torch.zeros(4, 1, 2, dtype=torch.complex64))
