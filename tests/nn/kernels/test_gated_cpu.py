"""The native scans of cells with gates, of every instruction set, against `torch.nn` and the definitions."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ostinato.nn import GRU, LSTM
from ostinato.nn.kernels import cpu, gated, gated_cpu
from ostinato.nn.kernels.gated_cells import CELLS

pytestmark = pytest.mark.skipif(not cpu.available(), reason="needs the native kernel")

# (T, B, H): tiles and panels whole and cut, one stream and several, one team's rows and two
SHAPES = [(1, 1, 1), (5, 1, 33), (4, 3, 7), (6, 9, 40), (3, 17, 65), (7, 8, 16), (2, 5, 100)]
sets = pytest.mark.parametrize("isa", cpu.instruction_sets())
both = pytest.mark.parametrize("cell", CELLS)
of_torch = pytest.mark.parametrize("cell", ["gru", "lstm"])
types = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])


def kernel(isa: str) -> gated_cpu.Kernel:
    return gated_cpu.Kernel(cpu.Kernel(isa).native)


def normal(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def problem(cell: str, shape: tuple[int, int, int], dtype: torch.dtype, *, plain: bool = False) -> list[Any]:
    """Arguments of `forward`; `plain` without bias, leak and starts."""
    kind, (steps, streams, hidden) = CELLS[cell], shape
    starts = torch.rand(steps, streams, generator=torch.Generator().manual_seed(1)) < 0.3
    return [
        normal(steps, streams, kind.drives * hidden, dtype=dtype),
        normal(kind.gates * hidden, hidden, dtype=dtype, seed=1) / hidden**0.5,
        None if plain else normal(kind.gates * hidden, dtype=dtype, seed=2),
        None if plain else torch.linspace(0, 0.9, hidden, dtype=dtype),
        normal(streams, hidden, dtype=dtype, seed=3),
        normal(streams, hidden if kind.has_cell else 0, dtype=dtype, seed=4),
        None if plain else starts,
        cell,
    ]


def close(found: Any, expected: Any, tolerance: float) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        if b.numel():
            assert ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() < tolerance


def double(given: list[Any]) -> list[Any]:
    return [x.double() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given]


@sets
@both
@types
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_equals_the_definitions(
    isa: str, cell: str, dtype: torch.dtype, tolerance: float, shape: Any, plain: bool, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        native, given = kernel(isa), problem(cell, shape, dtype, plain=plain)
        made, wide = native.forward(*given), double(given)
        close(made, gated.forward(*wide), tolerance)
        close(native.forward(*given, want_saved=False)[:2], made[:2], 1e-30)

        _, weight, _, leak, h0, c0, starts, _ = given
        drive, weight_wide, bias = (None if x is None else x.requires_grad_() for x in wide[:3])
        states, cells, _ = gated.forward(drive, weight_wide, bias, *wide[3:])
        up, up_c = normal(*shape, dtype=dtype, seed=8), normal(*cells.shape, dtype=dtype, seed=9)
        wanted = [x for x in (drive, weight_wide, bias) if x is not None]
        loss = (states * up.double()).sum() + (cells * up_c.double()).sum()
        expected = torch.autograd.grad(loss, wanted)
        found = native.backward(
            up, up_c, weight, leak, h0, c0, starts, *made, cell, want_weight=True, want_bias=not plain
        )
        of_drive = CELLS[cell].drive_deltas(found.deltas).flatten(2)
        close([x for x in (of_drive, found.weight, found.bias) if x is not None], expected, 10 * tolerance)
    finally:
        torch.set_num_threads(before)


@sets
@both
@types
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_scans_equal_the_definitions(
    isa: str, cell: str, dtype: torch.dtype, tolerance: float, shape: Any
) -> None:
    native, kind = kernel(isa), CELLS[cell]
    _, weight, _, _, h0, c0, starts, _ = problem(cell, shape, dtype)
    coefficients = normal(*shape[:2], kind.coefficients, shape[2], dtype=dtype, seed=6).tanh()
    of_h, of_c = normal(*shape, dtype=dtype, seed=5), normal(*shape[:2], c0.shape[1], dtype=dtype, seed=7)
    given = [of_h, of_c, coefficients, weight, starts, cell]
    close(native.adjoint(*given), gated.adjoint(*double(given)), 10 * tolerance)
    given = [of_h, of_c, coefficients, weight, h0, c0, starts, cell]
    close(native.tangent(*given), gated.tangent(*double(given)), 10 * tolerance)


@both
@pytest.mark.parametrize("shape", [(5, 9, 33), (4, 1, 40)])
def test_threads_change_no_bit_where_rows_are_shared_out(cell: str, shape: Any) -> None:
    given, results, before = problem(cell, shape, torch.float32), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            made = gated_cpu.BEST.forward(*given)
            _, weight, _, leak, h0, c0, starts, _ = given
            up = normal(*shape, dtype=torch.float32)
            found = gated_cpu.BEST.backward(
                up, None, weight, leak, h0, c0, starts, *made, cell, want_weight=True, want_bias=True
            )
            results.append([*made, found.deltas, found.weight, found.bias])
        finally:
            torch.set_num_threads(before)
    if shape[1] > 8:
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    close(*results, 1e-4)


@of_torch
@types
def test_whole_layers_equal_torch(cell: str, dtype: torch.dtype, tolerance: float) -> None:
    theirs: Any = {"gru": nn.GRU, "lstm": nn.LSTM}[cell](5, 37, dtype=torch.float64)
    ours = {"gru": GRU, "lstm": LSTM}[cell](5, 37, dtype=dtype)
    ours.load_state_dict(theirs.state_dict())
    x, up = normal(11, 9, 5, dtype=dtype), normal(11, 9, 37, dtype=dtype, seed=1)
    results = []
    for module in (ours, theirs):
        own = x.to(module.weight_ih_l0.dtype, copy=True).requires_grad_()
        out, last = module(own)
        end = last if cell == "gru" else last[1]
        ((out * up).sum() + end.square().sum()).backward()
        results.append([out, end, own.grad, *(p.grad for p in module.parameters())])
    close(*results, 10 * tolerance)


@both
def test_what_is_not_finite_stays(cell: str) -> None:
    given = problem(cell, (4, 2, 20), torch.float32, plain=True)
    given[0][1, 0, 3], given[0][1, 1, 3] = torch.nan, torch.inf
    states, cells, _ = gated_cpu.BEST.forward(*given)
    expected, expected_c, _ = gated.forward(*given)
    for found, wanted in ((states, expected), (cells, expected_c)):
        assert torch.equal(found.isnan(), wanted.isnan())
        torch.testing.assert_close(found.nan_to_num(), wanted.nan_to_num(), rtol=1e-4, atol=1e-5)


@of_torch
def test_the_fallback_is_the_same_module(cell: str) -> None:
    """OSTINATO_KERNEL=torch runs the definitions: a layer there agrees with the native one."""
    program = (
        "import torch; from ostinato.nn import GRU, LSTM; torch.manual_seed(0);"
        "g = torch.Generator().manual_seed(0);"
        f"m = {cell.upper()}(3, 9, leak=0.2, dtype=torch.float64, generator=g);"
        "x = torch.linspace(-1, 1, 42, dtype=torch.float64).view(7, 2, 3);"
        "m(x)[0].square().sum().backward();"
        "print(sum(p.grad.sum().item() for p in m.parameters()))"
    )
    printed = [
        float(
            subprocess.check_output(
                [sys.executable, "-c", program], text=True, env=os.environ | {"OSTINATO_KERNEL": which}
            )
        )
        for which in ("torch", cpu.instruction_sets()[0])
    ]
    assert printed[0] == pytest.approx(printed[1], rel=1e-12)
