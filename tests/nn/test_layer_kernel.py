import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ostinato.nn import RNN
from ostinato.nn.kernels import cpu, definition, layer_cpu

pytestmark = pytest.mark.skipif(
    not cpu.available(), reason=cpu.why_unavailable() or "native kernel available"
)

SETS = cpu.instruction_sets()
sizes = st.one_of(st.integers(1, 40), st.sampled_from([63, 64, 65, 96, 100, 127, 200, 257]))
# What `draw_layer` takes, but for the seed.
LAYERS: dict[str, st.SearchStrategy] = {
    "shape": st.tuples(st.integers(1, 12), st.integers(1, 40), st.integers(1, 100), sizes),
    "kind": st.sampled_from(["real", "uint8", "bool"]),
    "share": st.sampled_from([0.0, 0.05, 0.24, 1.0]),
    "options": st.integers(0, 31),
    "dtype": st.sampled_from([torch.float32, torch.float64]),
}


def draw_layer(
    shape: tuple[int, int, int, int], kind: str, share: float, options: int, dtype: torch.dtype, seed: int
) -> layer_cpu.Layer:
    """A layer of (T, B, I, H) whose inputs are not zero with probability `share`."""
    steps, streams, inputs, hidden = shape
    draw = torch.Generator().manual_seed(seed)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=draw).to(dtype)

    x = (torch.rand(steps, streams, inputs, generator=draw) < share).to(dtype)
    x = x * normal(*x.shape) if kind == "real" else x.to(getattr(torch, kind))
    has = [bool(options >> bit & 1) for bit in range(5)]
    return layer_cpu.Layer(
        x,
        normal(hidden, inputs),
        normal(hidden) if has[0] else None,
        normal(hidden) if has[1] else None,
        normal(hidden, hidden) / hidden**0.5,
        torch.rand(hidden, generator=draw).mul(0.9).to(dtype) if has[2] else None,
        normal(streams, hidden) if has[3] else None,
        torch.rand(steps, streams, generator=draw) < 0.3 if has[4] else None,
    )


def by_definition(layer: layer_cpu.Layer, upstream: Tensor) -> dict[str, Tensor]:
    """The same in float64, one step after another, and the gradients from autograd."""
    leaves: dict[str, Tensor] = {}
    for name in ("weight_ih", "bias", "second_bias", "weight_hh", "h0"):
        tensor = getattr(layer, name)
        if tensor is not None:
            leaves[name] = tensor.double().requires_grad_()
    drive = layer.inputs.double() @ leaves["weight_ih"].T
    for name in ("bias", "second_bias"):
        drive = drive + leaves.get(name, torch.zeros(()))
    h0 = leaves.get("h0", torch.zeros(drive.shape[1:], dtype=torch.float64))
    leak = None if layer.leak is None else layer.leak.double()
    states = definition.forward(drive, leaves["weight_hh"], leak, h0, layer.starts, "tanh")[0]
    grads = torch.autograd.grad(states, list(leaves.values()), upstream.double())
    return {"states": states.detach(), **dict(zip(leaves, grads, strict=True))}


def natively(layer: layer_cpu.Layer, upstream: Tensor, native: object) -> tuple[dict[str, Tensor], bool]:
    states, last, slopes, sparse = layer_cpu.forward(layer, "tanh", native)
    assert torch.equal(last, states[-1:])
    wanted = (True, layer.bias is not None, layer.second_bias is not None, True)
    made = layer_cpu.backward(layer, states, slopes, sparse, upstream, wanted, True, native)
    again = layer_cpu.backward(layer, states, slopes, sparse, upstream, wanted, False, native)
    assert again.delta is None
    for name, gradient in again._asdict().items():
        if gradient is not None:
            torch.testing.assert_close(gradient, getattr(made, name), rtol=0, atol=0, equal_nan=True)
    found = {"states": states, **{name: x for name, x in made._asdict().items() if x is not None}}
    return found, sparse


@pytest.mark.parametrize("instruction_set", SETS)
@settings(max_examples=40, deadline=None)
@given(threads=st.sampled_from([1, 2, 3]), **LAYERS)
def test_equals_the_definition(
    instruction_set: str,
    shape: tuple[int, int, int, int],
    kind: str,
    share: float,
    options: int,
    dtype: torch.dtype,
    threads: int,
) -> None:
    layer = draw_layer(shape, kind, share, options, dtype, sum(shape))
    steps, streams, _, hidden = shape
    upstream = torch.randn(steps, streams, hidden, generator=torch.Generator().manual_seed(1)).to(dtype)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, sparse = natively(layer, upstream, cpu.Kernel(instruction_set).native)
    finally:
        torch.set_num_threads(before)
    if share in (0.0, 1.0):
        assert sparse is (share == 0)
    bound = 1e-4 if dtype is torch.float32 else 1e-11
    for name, expected in by_definition(layer, upstream).items():
        deviation = (found[name].double() - expected).abs().max()
        assert deviation <= bound * expected.abs().max().clamp_min(1), name


@pytest.mark.parametrize("instruction_set", SETS)
@settings(max_examples=40, deadline=None)
@given(**LAYERS)
def test_the_tangent_equals_the_definition(
    instruction_set: str,
    shape: tuple[int, int, int, int],
    kind: str,
    share: float,
    options: int,
    dtype: torch.dtype,
) -> None:
    layer, change = (draw_layer(shape, kind, share, options, dtype, seed) for seed in (0, 1))
    _, streams, _, hidden = shape
    native = cpu.Kernel(instruction_set).native
    made = layer_cpu.forward(layer, "tanh", native)
    found = layer_cpu.tangent(
        layer,
        made.states,
        made.slopes,
        change.weight_ih,
        change.weight_hh,
        change.bias,
        change.second_bias,
        native,
    )
    if share in (0.0, 1.0):
        assert (found is None) is (share == 1)
    if found is None:
        return
    start = torch.zeros(streams, hidden, dtype=torch.float64)
    h0 = start if layer.h0 is None else layer.h0.double()
    previous = definition.previous_states(made.states.double(), h0, layer.starts)
    drive = layer.inputs.double() @ change.weight_ih.double().T + previous @ change.weight_hh.double().T
    for bias in (change.bias, change.second_bias):
        drive = drive if bias is None else drive + bias.double()
    leak = None if layer.leak is None else layer.leak.double()
    drive_then = layer.inputs.double() @ layer.weight_ih.double().T
    for bias in (layer.bias, layer.second_bias):
        drive_then = drive_then if bias is None else drive_then + bias.double()
    slopes = definition.forward(drive_then, layer.weight_hh.double(), leak, h0, layer.starts, "tanh")[1]
    expected = definition.tangent(slopes * drive, slopes, layer.weight_hh.double(), leak, start, layer.starts)
    bound = 1e-4 if dtype is torch.float32 else 1e-11
    assert (found.double() - expected).abs().max() <= bound * expected.abs().max().clamp_min(1)


@pytest.mark.parametrize("name", ["ih", "hh", "bias"])
def test_a_change_that_does_not_fit_is_refused(name: str) -> None:
    layer = draw_layer((3, 2, 9, 5), "uint8", 0.05, 0, torch.float32, 0)
    made = layer_cpu.forward(layer, "tanh")
    change = {"ih": layer.weight_ih, "hh": layer.weight_hh, "bias": torch.zeros(5)}
    assert layer_cpu.tangent(layer, made.states, made.slopes, *change.values(), None) is not None
    for wrong in (change[name].double(), change[name][:-1]):
        with pytest.raises(ValueError, match=r"must be torch\.float32"):
            layer_cpu.tangent(layer, made.states, made.slopes, *(change | {name: wrong}).values(), None)


@pytest.mark.parametrize("streams", [3, 16])
@pytest.mark.parametrize("crowded", ["nowhere", "at first", "at last"])
def test_many_frames_in_chunks_and_the_number_of_threads_changes_no_bit(streams: int, crowded: str) -> None:
    """Some chunks of frames may be dense although the inputs as a whole are not."""
    steps = 1120 // streams
    layer = draw_layer((steps, streams, 88, 101), "uint8", 0.05, 31, torch.float32, 0)
    if crowded != "nowhere":
        layer.inputs[slice(200 // streams) if crowded == "at first" else slice(-200 // streams, None)] = 1
    upstream = torch.randn(steps, streams, 101, generator=torch.Generator().manual_seed(1))
    before, runs = torch.get_num_threads(), []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        found, sparse = natively(layer, upstream, None)
        assert sparse
        runs.append(found)
    torch.set_num_threads(before)
    for name, expected in by_definition(layer, upstream).items():
        for run in runs:
            assert (run[name].double() - expected).abs().max() <= 1e-5 * expected.abs().max(), name
        # with few streams, threads share a step's columns, and one alone goes back and forth through them
        assert streams < 8 or all(torch.equal(run[name], runs[0][name]) for run in runs), name


@pytest.mark.parametrize("streams", [9, 20])
@pytest.mark.parametrize("share", [0.05, 1.0])
@pytest.mark.parametrize("forth", [1, 2])
def test_the_way_back_may_have_another_number_of_threads(streams: int, share: float, forth: int) -> None:
    """Slopes are in an order of frames that depends on the shape alone."""
    layer = draw_layer((30, streams, 20, 33), "uint8", share, 31, torch.float32, 0)
    upstream = torch.randn(30, streams, 33, generator=torch.Generator().manual_seed(1))
    before, runs = torch.get_num_threads(), []
    torch.set_num_threads(forth)
    made = layer_cpu.forward(layer, "tanh")
    known = (layer, made.states, made.slopes)
    for threads in (2, 1, 3):
        torch.set_num_threads(threads)
        gradients = layer_cpu.backward(*known, made.sparse, upstream, (True,) * 4, True)
        change = layer_cpu.tangent(*known, layer.weight_ih, None, None, None)
        runs.append([*gradients, *([] if change is None else [change])])
        torch.testing.assert_close(layer_cpu.forward(layer, "tanh").slopes, made.slopes)
    torch.set_num_threads(before)
    assert all(torch.equal(x, y) for run in runs for x, y in zip(run, runs[0], strict=True))


@pytest.mark.parametrize("kind", ["real", "uint8"])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_finite_reaches_what_it_reaches_in_a_dense_product(kind: str, poison: float) -> None:
    """An infinity times a zero input is NaN, though the sparse sum would leave it out."""
    layer = draw_layer((5, 3, 40, 9), kind, 0.05, 0, torch.float32, 0)
    layer.inputs[:, :, 7] = 0
    upstream = torch.ones(5, 3, 9)
    weight = layer.weight_ih.clone()
    weight[4, 7] = poison
    states, _, _, sparse = layer_cpu.forward(layer._replace(weight_ih=weight), "tanh")
    assert not sparse
    assert states[0, :, 4].isnan().all()
    assert not states[0, :, :4].isnan().any()

    upstream[4, 0, 2] = poison
    found, sparse = natively(layer, upstream, None)
    assert sparse
    expected = by_definition(layer, upstream)["weight_ih"]
    assert torch.equal(found["weight_ih"].isnan(), expected.isnan())
    assert expected.isnan().any()


def test_dense_inputs_are_not_taken_for_sparse() -> None:
    sparse = draw_layer((50, 2, 80, 8), "real", 0.2, 3, torch.float32, 0)
    dense = draw_layer((50, 2, 80, 8), "real", 0.3, 3, torch.float32, 0)
    assert layer_cpu.forward(sparse, "tanh").sparse
    assert not layer_cpu.forward(dense, "tanh").sparse


def test_inputs_need_not_be_lying_in_a_row() -> None:
    layer = draw_layer((6, 4, 30, 20), "real", 0.1, 31, torch.float64, 0)
    upstream = torch.randn(6, 4, 20, dtype=torch.float64)
    strided = layer_cpu.Layer(*(x.mT.contiguous().mT if x is not None and x.dim() > 1 else x for x in layer))
    found, sparse = natively(strided, upstream.mT.contiguous().mT, None)
    for name, expected in natively(layer, upstream, None)[0].items():
        assert torch.equal(found[name], expected), name
    made = layer_cpu.forward(layer, "tanh")
    states, slopes = made.states.mT.contiguous().mT, made.slopes.repeat_interleave(2)[::2]
    again = layer_cpu.backward(layer, states, slopes, sparse, upstream, (True,) * 4, False)
    assert torch.equal(again.weight_hh, found["weight_hh"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight_ih": torch.zeros(4, 6)},
        {"weight_hh": torch.zeros(4, 5)},
        {"bias": torch.zeros(5)},
        {"second_bias": torch.zeros(4, dtype=torch.float64)},
        {"leak": torch.zeros(1, 4)},
        {"h0": torch.zeros(3, 4)},
        {"starts": torch.zeros(3, 2)},
        {"inputs": torch.zeros(3, 2, 5, dtype=torch.int64)},
        {"inputs": torch.zeros(3, 2, 0), "weight_ih": torch.zeros(4, 0)},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Tensor]) -> None:
    layer = draw_layer((3, 2, 5, 4), "real", 0.5, 31, torch.float32, 0)
    layer_cpu.forward(layer, "tanh")
    with pytest.raises(ValueError, match="must be"):
        layer_cpu.forward(layer._replace(**wrong), "tanh")


@pytest.mark.parametrize("layers", [1, 2])
def test_the_last_states_carry_gradients(layers: int) -> None:
    draw = torch.Generator().manual_seed(0)
    rnn = RNN(5, 7, layers, leak=0.3, generator=draw, dtype=torch.float64)
    x = torch.randn(4, 3, 5, generator=draw, dtype=torch.float64)
    out, last = rnn(x)
    assert torch.equal(last[-1], out[-1])
    for use in (lambda out, last: last.pow(2).sum(), lambda out, last: last.pow(2).sum() + out.sin().sum()):
        outputs, last = rnn(x, all_layers=True)
        got = torch.autograd.grad(use(outputs[-1], last), list(rnn.parameters()))
        outputs, _ = rnn(x, all_layers=True)
        again = torch.stack([states[-1] for states in outputs])
        expected = torch.autograd.grad(use(outputs[-1], again), list(rnn.parameters()))
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
