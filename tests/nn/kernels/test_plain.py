"""What native code may be handed: every case in which it may not, and that ordinary ones pass."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.nn.kernels.plain import dense, plain, still_plain, unwatched


class Tagged(Tensor):
    """A subclass that changes nothing."""


class Watching(TorchDispatchMode):
    """A mode that changes nothing."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        return func(*args, **(kwargs or {}))


def freed(rows: Tensor) -> Tensor:
    rows.untyped_storage().resize_(0)
    return rows


def fake() -> Tensor:
    with FakeTensorMode():
        return torch.ones(3)


PLAIN: dict[str, Callable[[], Tensor | None]] = {
    "none": lambda: None,
    "float32": lambda: torch.ones(3),
    "bytes": lambda: torch.ones(3, dtype=torch.uint8),
    "parameter": lambda: nn.Parameter(torch.ones(3)),
    "with a graph": lambda: torch.ones(3, requires_grad=True) * 2,
    "empty": lambda: torch.ones(0, 3),
    "transposed": lambda: torch.ones(3, 2).T,
    "every other": lambda: torch.ones(5)[::2],
    "a part": lambda: torch.ones(5)[3:],
    "expanded": lambda: torch.ones(1).expand(4),
}
OTHER: dict[str, Callable[[], Tensor]] = {
    "meta": lambda: torch.ones(3, device="meta"),
    "fake": fake,
    "subclass": lambda: torch.ones(3).as_subclass(Tagged),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "another library's": lambda: torch.eye(3).to_mkldnn(),
    "negative of its memory": lambda: torch._neg_view(torch.ones(3)),
    "zeros without memory": lambda: torch._efficientzerotensor((3,)),
    "lazy module": lambda: nn.LazyLinear(2).weight,
    "freed": lambda: freed(torch.ones(3)),
    "part of a freed one": lambda: freed(torch.ones(6, 2)[3:]),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_ordinary_tensors_are_plain(kind: str) -> None:
    assert plain(PLAIN[kind]())
    assert dense(PLAIN[kind]())
    with torch.no_grad():
        assert plain(PLAIN[kind]())
    if "graph" not in kind:
        with torch.inference_mode():
            assert plain(PLAIN[kind]())


@pytest.mark.parametrize("kind", OTHER)
def test_others_are_not(kind: str) -> None:
    odd = OTHER[kind]()
    assert not plain(odd)
    assert not plain(torch.ones(3), odd)
    if kind != "lazy module":  # which has no size to ask for
        assert dense(odd) == (kind == "subclass")


def test_what_was_plain_and_is_freed() -> None:
    rows = [torch.ones(3), nn.Parameter(torch.ones(2)), torch.ones(0), None]
    assert still_plain(*rows)
    freed(rows[1].data)
    assert not still_plain(*rows)
    assert not still_plain(fake())


def seen_by(transform: Callable[[Callable[[Tensor], Tensor]], object]) -> list[bool]:
    """What `plain` says inside a function that is transformed."""
    said = []

    def function(x: Tensor) -> Tensor:
        said.append(plain(x) or unwatched())
        return x * 2

    transform(function)
    return said


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: torch.vmap(f)(torch.ones(3)),
        lambda f: torch.func.grad(lambda x: f(x).sum())(torch.ones(3)),
        lambda f: torch.func.jvp(f, (torch.ones(3),), (torch.ones(3),)),
        lambda f: torch.func.functionalize(f)(torch.ones(3)),
        lambda f: make_fx(f, tracing_mode="real")(torch.ones(3)),
        lambda f: torch.jit.trace(f, torch.ones(3), check_trace=False),
    ],
)
def test_nothing_is_plain_under(transform: Callable[[Callable[[Tensor], Tensor]], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert seen_by(transform) == [False]


def test_nothing_is_plain_in_a_batch_of_gradients() -> None:
    said = []

    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return 2 * x

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            said.append(plain(grad))
            return 2 * grad

    x = torch.ones(3, requires_grad=True)
    torch.autograd.grad(Doubled.apply(x), x, torch.ones(3))
    torch.autograd.grad(Doubled.apply(x), x, torch.eye(3), is_grads_batched=True)
    assert said == [True, False]


def test_nothing_is_plain_while_a_mode_is_on() -> None:
    x = torch.ones(3)
    for mode in (Watching(), FakeTensorMode(), torch.autocast("cpu", torch.bfloat16)):
        with mode:
            assert not plain(x)
        assert plain(x)


def test_a_compiler_sees_that_nothing_is_plain() -> None:
    said = torch.compile(lambda x: x + plain(x), backend="eager", fullgraph=True)(torch.zeros(2))
    assert said.tolist() == [0, 0]
