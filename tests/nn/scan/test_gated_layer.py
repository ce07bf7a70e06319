"""A layer of a cell with gates as one step of the graph, against the composition of its two operators."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ostinato.nn.kernels import gated_cpu
from ostinato.nn.kernels.gated_cells import CELLS
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan import gated_layer as module
from ostinato.nn.scan.gated import gated_scan
from ostinato.nn.scan.gated_layer import gated_layer

pytestmark = pytest.mark.skipif(not gated_cpu.projects(), reason="needs the native kernel")
SHAPES = [(1, 1, 1, 1), (5, 1, 88, 33), (3, 9, 7, 20), (130, 3, 20, 17), (2, 17, 50, 65)]
both = pytest.mark.parametrize("cell", CELLS)


def arguments(cell: str, shape: tuple[int, int, int, int], dtype: torch.dtype = torch.float64) -> list[Any]:
    """(T, B, I, H)."""
    steps, streams, inputs, hidden = shape
    kind, draws = CELLS[cell], itertools.count()

    def normal(*sizes: int) -> Tensor:
        source = torch.Generator().manual_seed(next(draws))
        return torch.randn(*sizes, generator=source, dtype=torch.float64).to(dtype).requires_grad_()

    rows = kind.gates * hidden
    starts = torch.rand(steps, streams, generator=torch.Generator().manual_seed(1)) < 0.3
    return [
        normal(steps, streams, inputs),
        normal(rows, inputs),
        normal(rows),
        normal(rows),
        normal(rows, hidden),
        normal(rows),
        torch.linspace(0, 0.9, hidden, dtype=dtype),
        normal(streams, hidden),
        normal(streams, hidden if kind.has_cell else 0),
        starts,
        cell,
    ]


def composed(*given: Any) -> Any:
    return gated_scan(project(*given[:4]), *given[4:])


def gradients(function: Any, given: list[Any]) -> list[Tensor]:
    states, cells = function(*given)
    wanted = [x for x in given if isinstance(x, Tensor) and x.requires_grad and x.numel()]
    made = torch.autograd.grad(states.square().sum() + cells.sin().sum(), wanted)
    return [states.detach(), cells.detach(), *made]


@both
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (5, 1, 88, 33), (3, 9, 7, 20), (130, 3, 20, 17), (2, 17, 50, 65)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 3e-4)])
def test_equals_the_composition(
    cell: str, threads: int, shape: Any, dtype: torch.dtype, tolerance: float
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = arguments(cell, shape, dtype)
        found, expected = gradients(gated_layer, given), gradients(composed, arguments(cell, shape))
    finally:
        torch.set_num_threads(before)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        if b.numel():
            assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-30)


@both
def test_every_first_and_second_derivative(cell: str) -> None:
    given = arguments(cell, (3, 2, 2, 2))
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad and x.numel()]

    def function(*tensors: Tensor) -> Any:
        filled = list(given)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        return tuple(x for x in gated_layer(*filled) if x.numel())

    inputs = [given[i] for i in places]
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True, fast_mode=True)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs, fast_mode=True)


@both
def test_the_quick_path_is_taken(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("composed")

    monkeypatch.setattr(module, "_composition", never)
    given = arguments(cell, (3, 2, 2, 2))
    states, _ = gated_layer(*given)
    states.sum().backward()
    with torch.no_grad():
        assert torch.equal(gated_layer(*given)[0], states)
    for other in ([given[0].to(torch.uint8), *given[1:]], [x.double() for x in given[:1]] + given[1:]):
        if other[0].dtype is not given[1].dtype:
            with pytest.raises(AssertionError, match="composed"):
                gated_layer(*other)
    with pytest.raises(AssertionError, match="composed"):
        torch.vmap(lambda x: gated_layer(x, *given[1:])[0])(torch.stack([given[0]] * 2))


@both
def test_only_what_is_asked_for(cell: str) -> None:
    """Gradients of some arguments alone are those of all."""
    given = arguments(cell, (4, 3, 5, 6))
    every = gradients(gated_layer, given)[2:]
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad and x.numel()]
    for place, whole in zip(places, every, strict=True):
        own = [x.detach() if isinstance(x, Tensor) else x for x in given]
        own[place].requires_grad_()
        (_, _, alone) = gradients(gated_layer, own)
        assert torch.equal(alone, whole)


@both
def test_memory_that_is_gone_is_an_error(cell: str) -> None:
    given = arguments(cell, (3, 2, 2, 2))
    states, _ = gated_layer(*given)
    given[4].data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"not allocated|was freed"):
        states.sum().backward()
