"""Layers that multiply the recurrent weights that are not zero alone, against a loop with all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ostinato
from ostinato.nn import CTRNN, RNN
from ostinato.nn.kernels import cpu, definition, layer_cpu, nonlinearities, rates, rates_cpu

pytestmark = pytest.mark.skipif(not cpu.has_sparse(), reason="the extension is not built, or built before")

SETS = cpu.instruction_sets()
TYPES = [torch.float32, torch.float64]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def sparse_weight(hidden: int, share: float, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """A matrix with units that have no weights, and ones that nobody hears."""
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(hidden, hidden, generator=draws, dtype=torch.float64)
    weight *= torch.rand(hidden, hidden, generator=draws) < share
    weight[::7], weight[:, 3::11] = 0, 0
    return (weight / max(1.0, (share * hidden) ** 0.5)).to(dtype)


def layer_of(
    weight: Tensor,
    steps: int,
    streams: int,
    inputs: int = 3,
    *,
    leaky: bool = True,
    starts: bool = True,
    seed: int = 1,
) -> layer_cpu.Layer:
    draws, hidden = torch.Generator().manual_seed(seed), len(weight)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, dtype=torch.float64).to(weight.dtype)

    return layer_cpu.Layer(
        normal(steps, streams, inputs),
        normal(hidden, inputs),
        normal(hidden),
        normal(hidden) if leaky else None,
        weight,
        torch.rand(hidden, generator=draws).mul(0.9).to(weight.dtype) if leaky else None,
        normal(streams, hidden),
        torch.rand(steps, streams, generator=draws) < 0.2 if starts else None,
    )


def by_loop(layer: layer_cpu.Layer, upstream: Tensor) -> dict[str, Tensor]:
    """The same in float64 with all weights, and the gradients of what is not constant."""
    leaves = {
        name: tensor.double().requires_grad_()
        for name, tensor in layer._asdict().items()
        if tensor is not None and name in ("weight_ih", "bias", "second_bias", "weight_hh", "h0")
    }
    drive = layer.inputs.double() @ leaves["weight_ih"].T + leaves["bias"] + leaves.get("second_bias", 0)
    leak = None if layer.leak is None else layer.leak.double()
    states = definition.forward(drive, leaves["weight_hh"], leak, leaves["h0"], layer.starts, "tanh")[0]
    grads = torch.autograd.grad(states, list(leaves.values()), upstream.double())
    return {"states": states.detach(), **dict(zip(leaves, grads, strict=True))}


def natively(layer: layer_cpu.Layer, upstream: Tensor, native: Any, **options: bool) -> dict[str, Tensor]:
    made = layer_cpu.forward(layer, "tanh", native, **options)
    assert made.slopes is not None
    wanted = (True, True, layer.second_bias is not None, True)
    grad = layer_cpu.backward(
        layer, made.states, made.slopes, made.sparse, upstream, wanted, True, native, **options
    )
    found = {name: x for name, x in grad._asdict().items() if x is not None}
    return {"states": made.states, **found}


class TestWhichWeightsAreSparse:
    def test_from_so_many_units_on(self) -> None:
        assert cpu.sparse_count(torch.eye(64)) == 64
        assert cpu.sparse_count(torch.eye(63)) is None

    @pytest.mark.parametrize("dtype", TYPES)
    def test_up_to_a_quarter_of_them(self, dtype: torch.dtype) -> None:
        # full vectors of rows, and so many units that what a unit costs besides is little
        weight = torch.zeros(600, 600, dtype=dtype)
        weight[1::2, 1::2] = 1
        assert cpu.sparse_count(weight, 128) == 90_000
        weight[0, 0] = 1
        assert cpu.sparse_count(weight, 128) is None

    def test_fewer_where_there_are_few_streams(self) -> None:
        weight = sparse_weight(200, 0.15, torch.float64)
        assert [cpu.sparse_count(weight, streams) is None for streams in (1, 8, 64)] == [True, False, False]

    def test_what_is_no_number_counts_and_negative_zeros_do_not(self) -> None:
        weight = torch.zeros(64, 64)
        weight[5, 6], weight[7, 8], weight[9, 10] = float("nan"), float("inf"), -0.0
        assert cpu.sparse_count(weight) == 2
        assert cpu.sparse_count(torch.zeros(64, 64)) == 0

    def test_a_matrix_in_any_layout(self) -> None:
        weight = sparse_weight(80, 0.1, torch.float32)
        assert cpu.sparse_count(weight.T.contiguous().T) == int((weight != 0).sum())

    @pytest.mark.parametrize(
        "weight", [torch.zeros(64, 65), torch.zeros(64), torch.zeros(64, 64, dtype=torch.float16)]
    )
    def test_refused(self, weight: Tensor) -> None:
        with pytest.raises(ValueError, match=r"weight must be float32 or float64 \(H, H\) on the CPU"):
            cpu.sparse_count(weight)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("hidden", "streams", "steps", "share"),
    [
        (64, 64, 4, 0.1),
        (97, 17, 5, 0.1),
        (131, 3, 6, 0.02),
        (200, 1, 40, 0.01),  # one stream: the gradient waits until after the scan
        (65, 150, 2, 0.1),  # several blocks of rows
        (100, 9, 3, 0.0),
        (303, 16, 3, 0.15),
    ],
)
@pytest.mark.parametrize("options", [{}, {"leaky": False, "starts": False}])
def test_states_and_gradients(
    instruction_set: str,
    dtype: torch.dtype,
    hidden: int,
    streams: int,
    steps: int,
    share: float,
    options: dict[str, bool],
) -> None:
    weight = sparse_weight(hidden, share, dtype)
    layer = layer_of(weight, steps, streams, **options)
    assert cpu.sparse_count(weight, streams) == int((weight != 0).sum())
    draws = torch.Generator().manual_seed(2)
    upstream = torch.randn(steps, streams, hidden, generator=draws, dtype=dtype)
    found = natively(layer, upstream, cpu.Kernel(instruction_set).native, may_be_sparse=True)
    bound = 1e-4 if dtype is torch.float32 else 1e-12
    for name, expected in by_loop(layer, upstream).items():
        apart = (found[name].double() - expected).abs().max()
        assert apart <= bound * expected.abs().max().clamp_min(1), name


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_sum_is_as_near_as_its_length_allows(instruction_set: str, dtype: torch.dtype) -> None:
    weight = sparse_weight(300, 0.2, dtype)
    layer = layer_of(weight, 1, 33, leaky=False, starts=False)
    layer = layer._replace(inputs=layer.inputs * 0, bias=None)
    made = layer_cpu.forward(layer, "identity", cpu.Kernel(instruction_set).native, may_be_sparse=True)
    assert layer.h0 is not None
    exact = layer.h0.double() @ weight.double().T
    sizes = layer.h0.double().abs() @ weight.double().abs().T
    terms = (weight != 0).sum(1) / 2 + 2  # two halves, their sum, and the drive
    allowed = terms * torch.finfo(dtype).eps * sizes
    if dtype is torch.float32:  # in float64 the reference is no nearer itself
        assert bool(((made.states[0].double() - exact).abs() <= allowed).all())
    assert bool(((made.states[0].double() - exact).abs() <= 2 * allowed).all())


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TYPES)
def test_the_same_to_the_bit_on_any_threads_and_beside_any_streams(
    instruction_set: str, dtype: torch.dtype
) -> None:
    native = cpu.Kernel(instruction_set).native
    layer = layer_of(sparse_weight(150, 0.03, dtype), 6, 70)
    upstream = torch.randn(6, 70, 150, generator=torch.Generator().manual_seed(2), dtype=dtype)
    found = natively(layer, upstream, native, may_be_sparse=True)
    for count in (2, 3, 5):
        with threads(count):
            again = natively(layer, upstream, native, may_be_sparse=True)
        for name, expected in found.items():
            assert torch.equal(again[name], expected), (count, name)
    assert layer.h0 is not None
    assert layer.starts is not None
    for part in (slice(0, 16), slice(30, 34), slice(3, 69)):
        few = layer._replace(
            inputs=layer.inputs[:, part], h0=layer.h0[part], starts=layer.starts[:, part].contiguous()
        )
        for count in (1, 2):
            with threads(count):
                states = layer_cpu.forward(few, "tanh", native, may_be_sparse=True).states
            assert torch.equal(states, found["states"][:, part])


@pytest.mark.parametrize("instruction_set", SETS)
def test_which_product_it_is(instruction_set: str) -> None:
    native, dtype = cpu.Kernel(instruction_set).native, torch.float32
    upstream = torch.randn(5, 8, 120, generator=torch.Generator().manual_seed(2), dtype=dtype)
    for share, differs in ((0.1, True), (1.0, False)):
        layer = layer_of(sparse_weight(120, share, dtype), 5, 8)
        either = natively(layer, upstream, native, may_be_sparse=True)
        dense = natively(layer, upstream, native)
        for name in ("states", "delta", "h0"):  # the order of sums tells in the last bits
            assert torch.equal(either[name], dense[name]) is not differs, name


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("streams", [4, 40])
def test_what_is_not_finite_goes_as_among_all_weights(
    instruction_set: str, dtype: torch.dtype, streams: int
) -> None:
    weight = sparse_weight(100, 0.05, dtype)
    weight[:, 50:52] = 0
    weight[2, 50], weight[4, 50], weight[4, 51] = -1, 2, 3
    layer = layer_of(weight, 1, streams, starts=False, leaky=False)
    assert layer.h0 is not None
    infinite, first, several = float("inf"), layer.h0.clone(), layer.h0.clone()
    first[0, 50] = infinite  # units 2 and 4 have a weight to it, others times zero
    several[0, 50], several[0, 51] = infinite, -infinite
    several[-1, 60] = float("nan")
    both = first.clone()
    both[0, 51] = infinite
    wild = weight.clone()
    wild[1, 10], wild[5, 20] = infinite, float("nan")
    native = cpu.Kernel(instruction_set).native
    for h0, own in ((first, weight), (several, weight), (both, weight), (layer.h0, wild)):
        given = layer._replace(h0=h0, weight_hh=own)
        made, expected = (
            layer_cpu.forward(given, "identity", native, may_be_sparse=may).states for may in (True, False)
        )
        assert cpu.sparse_count(own, streams) is not None
        assert not bool(expected.isfinite().all())
        torch.testing.assert_close(made, expected, equal_nan=True, rtol=1e-4, atol=1e-4)
        if h0 is first:
            assert made[0, 0, 2] == -infinite
            assert made[0, 0, 4] == infinite
            assert bool(made[0, 0, 5:].isnan().all())
            assert bool(made[0, 1:].isfinite().all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("inputs", [1, 16, 17])
@pytest.mark.parametrize("share", [0.1, 1.0])
def test_what_needs_no_way_back_keeps_no_slopes(dtype: torch.dtype, inputs: int, share: float) -> None:
    layer = layer_of(sparse_weight(96, share, dtype), 7, 20, inputs)
    upstream = torch.ones(7, 20, 96, dtype=dtype)
    for count in (1, 2):
        with threads(count):
            made = layer_cpu.forward(layer, "tanh", keep_slopes=False, may_be_sparse=True)
            kept = layer_cpu.forward(layer, "tanh", may_be_sparse=True)
        assert made.slopes is None
        assert torch.equal(made.states, kept.states)
        assert torch.equal(made.last, kept.last)
    expected = by_loop(layer, upstream)["states"]
    torch.testing.assert_close(made.states.double(), expected, rtol=1e-4, atol=1e-4)


class TestModules:
    def reservoir(self, connectivity: float = 0.1) -> RNN:
        return ostinato.reservoir(
            3,
            90,
            leak=0.6,
            connectivity=connectivity,
            bias_scaling=0.3,
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float64,
        )

    def input(self) -> Tensor:
        return torch.randn(11, 20, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def test_without_gradients_a_reservoir_is_sparse(self) -> None:
        cell, x = self.reservoir(), self.input()
        with torch.no_grad():
            made = cell(x)[0]
        trained = cell(x)[0]  # W may be about to change: the product is that of all its weights
        assert not torch.equal(made, trained)
        torch.testing.assert_close(made, trained, rtol=1e-13, atol=1e-13)
        dense = self.reservoir(1.0)
        with torch.no_grad():
            made = dense(x)[0]
        assert made.grad_fn is None
        assert torch.equal(made, dense(x)[0])

    def test_frozen_weights_pass_gradients_on(self) -> None:
        cell, x = self.reservoir(), self.input().requires_grad_()
        upstream = torch.randn(11, 20, 90, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        expected = torch.autograd.grad(cell(x)[0], [x, cell.weight_ih_l0], upstream)
        cell.weight_hh_l0.requires_grad_(False)
        made = torch.autograd.grad(cell(x)[0], [x, cell.weight_ih_l0], upstream)
        for a, b in zip(made, expected, strict=True):
            assert not torch.equal(a, b)
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize(
        ("form", "noise_at"),
        [("outside", "input"), ("outside", "state"), ("preactivation", "input"), ("inside", "input")],
    )
    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_masked_networks_train(self, form: str, noise: float, noise_at: str) -> None:
        draws = torch.Generator().manual_seed(6)
        mask = torch.rand(90, 90, generator=draws) < 0.08
        rnn = CTRNN(
            3,
            90,
            form=form,
            noise=noise,
            noise_at=noise_at,
            connectivity=mask,
            dale=0.8,
            dtype=torch.float64,
            generator=torch.Generator().manual_seed(7),
        )
        x, xi = self.input(), torch.randn(11, 20, 90, generator=draws, dtype=torch.float64)
        starts = torch.rand(11, 20, generator=draws) < 0.1
        upstream = torch.randn(11, 20, 90, generator=draws, dtype=torch.float64)
        own = [p for p in rnn.parameters() if p.requires_grad]
        made = rnn(x, None, starts, draws=xi if noise else None)[0]
        grads = torch.autograd.grad(made, own, upstream)
        with torch.no_grad():
            rnn.weight_hh_l0.mul_(mask)  # the same weights, and no mask that is known of
        rnn.constraints_hh[0].mask = None
        plain = rnn(x, None, starts, draws=xi if noise else None)[0]
        expected = torch.autograd.grad(plain, own, upstream)
        assert not torch.equal(made, plain)
        torch.testing.assert_close(made, plain, rtol=1e-12, atol=1e-12)
        for parameter, a, b in zip(own, grads, expected, strict=True):
            if parameter is rnn.weight_hh_l0:
                assert bool((a[~mask] == 0).all())
            existing = mask if parameter is rnn.weight_hh_l0 else 1
            torch.testing.assert_close(a, b * existing, rtol=1e-9, atol=1e-10)

    def test_a_batch_with_padding(self) -> None:
        cell, x = self.reservoir(), self.input()
        lengths = torch.tensor([11, 3, 7, 1] * 5)
        with torch.no_grad():
            made = cell(x, lengths=lengths)[0]
            for stream in (0, 1, 2, 3):
                alone = cell(x[: int(lengths[stream]), stream : stream + 1])[0]
                torch.testing.assert_close(made[: len(alone), stream], alone[:, 0], rtol=1e-12, atol=1e-12)
        assert bool((made[3:, 1] == 0).all())


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("fed_back", [True, False])
@pytest.mark.parametrize("streams", [4, 17])
def test_rate_layers(instruction_set: str, dtype: torch.dtype, fed_back: bool, streams: int) -> None:
    native = cpu.Kernel(instruction_set).native
    weight = sparse_weight(81, 0.02, dtype)
    steps, draws = 6, torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draws, dtype=torch.float64).to(dtype)

    drive, xi, h0 = normal(steps, streams, 81), normal(steps, streams, 81), normal(streams, 81)
    leak, scale = torch.rand(81, generator=draws).to(dtype), normal(81)
    starts = torch.rand(steps, streams, generator=draws) < 0.2
    r0 = h0.tanh() if fed_back else None
    layer = rates_cpu.RateLayer(None, None, None, None, drive, weight, leak, scale, xi, None, h0, r0, starts)
    assert cpu.sparse_count(weight, streams) is not None
    options = {"may_be_sparse": True}
    made = rates_cpu.forward(layer, "tanh", False, native, **options)
    assert made.slopes is not None
    upstream = normal(steps, streams, 81)
    grad = rates_cpu.backward(
        layer, made.rates, made.slopes, upstream, (False, False, False, True), True, native, **options
    )
    wide = [t.double().requires_grad_() for t in (drive, weight, h0)]
    if fed_back:
        wide.append(h0.double().tanh().detach().requires_grad_())
    total = wide[0] + xi.double() * scale.double()
    expected, _ = _steps(total, wide, leak.double(), starts)
    wanted = torch.autograd.grad(expected, wide, upstream.double())
    bound = 1e-4 if dtype is torch.float32 else 1e-11
    found = [made.rates, grad.drive, grad.weight_hh, grad.h0, *([grad.r0] if fed_back else [])]
    for ours, theirs in zip(found, [expected.detach(), *wanted], strict=True):
        assert ours is not None
        assert (ours.double() - theirs).abs().max() <= bound * theirs.abs().max().clamp_min(1)
    again = rates_cpu.forward(layer, "tanh", False, native, keep_slopes=False, **options)
    assert again.slopes is None
    assert torch.equal(again.rates, made.rates)
    assert torch.equal(again.last, made.last)


def _steps(total: Tensor, wide: list[Tensor], leak: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """The definition; the rates of the initial state are a tensor of their own."""
    if len(wide) == 3:
        return rates.steps(total, wide[1], leak, None, wide[2], starts, torch.tanh, feeds_back=False)
    h, r, made = wide[2], wide[3], []
    for t in range(len(total)):
        h, r = (x.masked_fill(starts[t].unsqueeze(-1), 0) for x in (h, r))
        h = leak * h + r @ wide[1].T + total[t]
        r = nonlinearities.value("tanh", h)
        made.append(r)
    return torch.stack(made), h


def test_the_whole_module_is_one_of_torch_s() -> None:
    """Its states are those of a leaky loop in PyTorch."""
    draws = torch.Generator().manual_seed(1)
    cell = ostinato.reservoir(2, 70, leak=0.5, generator=draws, dtype=torch.float64)
    x = torch.randn(9, 4, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    linear = nn.functional.linear
    h = torch.zeros(4, 70, dtype=torch.float64)
    with torch.no_grad():
        made = cell(x)[0]
        for t in range(9):
            z = linear(x[t], cell.weight_ih_l0, cell.bias_ih_l0) + linear(h, cell.weight_hh_l0)
            h = 0.5 * h + 0.5 * torch.tanh(z)
            torch.testing.assert_close(made[t], h, rtol=1e-12, atol=1e-13)
