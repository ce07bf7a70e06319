"""Captured by each of PyTorch's ways, a network is itself: on other inputs, of other lengths and batches."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from ostinato.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

STACKS, CELLS = (RNN, GRU, LSTM), (RNNCell, GRUCell, LSTMCell)
# PyTorch's own, of its tracing, scripting and older exporter
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning:torch"
)


def flat(found: Any) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else [x for part in found for x in flat(part)]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def marks(steps: int, streams: int) -> Tensor:
    starts = torch.zeros(steps, streams, dtype=torch.bool)
    starts[steps // 2, 1] = True
    return starts


def tokens(steps: int, streams: int) -> Tensor:
    return torch.randint(4, (steps, streams), generator=torch.Generator().manual_seed(steps))


class Named(nn.Module):
    """A network with a cell in its middle, and a name for the test's report."""

    def __init__(self, cell: nn.Module, operator: str | None) -> None:
        super().__init__()
        self.cell, self.operator = cell, operator
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        return self.cell(*inputs)

    def inputs(self, steps: int, streams: int) -> tuple[Tensor, ...]:
        return (drawn(steps, streams, 4, seed=steps),)

    def __repr__(self) -> str:
        return repr(self.cell)


class Unrolled(Named):
    """One step of a cell."""

    def forward(self, *inputs: Tensor) -> Any:
        return self.cell(inputs[0][0])


class WithStarts(Named):
    def inputs(self, steps: int, streams: int) -> tuple[Tensor, ...]:
        return drawn(steps, streams, 4, seed=steps), drawn(1, streams, 5, seed=1), marks(steps, streams)


class OfTokens(Named):
    def inputs(self, steps: int, streams: int) -> tuple[Tensor, ...]:
        return (tokens(steps, streams),)


class OfBytes(Named):
    def inputs(self, steps: int, streams: int) -> tuple[Tensor, ...]:
        return ((drawn(steps, streams, 4, seed=steps) > 0).byte(),)


def networks() -> list[Named]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [*_networks()]


def _networks() -> Iterator[Named]:
    for kind in STACKS:
        yield Named(kind(4, 5, 2, bidirectional=True, bias=kind is not GRU), kind.__name__)
        yield Named(kind(4, 5, leak=0.3, bias=kind is not GRU), None)
    for cell in CELLS:
        yield Unrolled(cell(4, 5), cell.__name__.removesuffix("Cell"))
    yield Unrolled(LSTMCell(4, 5, leak=0.2), None)
    yield Named(RNN(4, 5, leak=torch.full((5,), 0.4, requires_grad=True), nonlinearity="relu"), None)
    yield Named(RNN(4, 5, nonlinearity="sigmoid"), None)
    yield Named(LSTM(4, 5, proj_size=2, leak=0.1), None)
    yield WithStarts(GRU(4, 5, leak=0.2), None)
    yield OfTokens(GRU(4, 5, token_inputs=True), None)
    yield OfBytes(RNN(4, 5), "RNN")


def one_of_each_sort() -> list[Named]:
    """The newer exporter takes seconds a network."""
    every = [network for network in networks() if not isinstance(network, Unrolled | OfTokens | OfBytes)]
    operators = [network for network in every if network.operator]
    return [*operators, *(network for network in every if isinstance(network, WithStarts)), every[5]]


def agree(network: Named, captured: Any) -> None:
    for steps, streams in ((7, 3), (11, 2), (1, 4)):
        inputs = network.inputs(steps, max(streams, 2))
        with torch.no_grad():
            wanted, found = flat(network(*inputs)), flat(captured(*inputs))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", networks(), ids=repr)
def test_a_trace_saved_and_loaded_is_the_network(network: Named) -> None:
    traced = torch.jit.trace(network, network.inputs(7, 3))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    agree(network, torch.jit.load(file))


def session(model: bytes) -> Any:
    ort = pytest.importorskip("onnxruntime")
    made = ort.InferenceSession(model)
    names = [entry.name for entry in made.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        return [
            torch.from_numpy(x)
            for x in made.run(None, dict(zip(names, (x.numpy() for x in inputs), strict=True)))
        ]

    return run


def operators(model: bytes) -> set[str]:
    onnx = pytest.importorskip("onnx")
    return {node.op_type for node in onnx.load_from_string(model).graph.node}


@pytest.mark.parametrize("network", networks(), ids=repr)
def test_the_older_onnx_exporter_writes_the_network(network: Named) -> None:
    pytest.importorskip("onnx")
    file = io.BytesIO()
    inputs = network.inputs(7, 3)
    names = [f"input_{k}" for k in range(len(inputs))]
    axes = {name: {0: "T", 1: "B"} if k != 1 else {1: "B"} for k, name in enumerate(names)}
    torch.onnx.export(network, inputs, file, dynamo=False, input_names=names, dynamic_axes=axes)
    wanted = network.operator or "Loop"
    assert operators(file.getvalue()) & {"RNN", "GRU", "LSTM", "Loop"} == {wanted}
    agree(network, session(file.getvalue()))


@pytest.mark.parametrize("network", one_of_each_sort(), ids=repr)
def test_the_newer_onnx_exporter_writes_the_network(network: Named) -> None:
    pytest.importorskip("onnxscript")
    free = torch.export.Dim.DYNAMIC
    inputs = network.inputs(7, 3)
    shapes = tuple({0: free, 1: free} if k != 1 else {1: free} for k, _ in enumerate(inputs))
    program = torch.onnx.export(network, inputs, dynamo=True, dynamic_shapes=(shapes,), verbose=False)
    model = program.model_proto.SerializeToString()
    wanted = network.operator or "Scan"
    assert operators(model) & {"RNN", "GRU", "LSTM", "Scan"} == {wanted}
    agree(network, session(model))


@pytest.mark.parametrize(("kind", "settings"), [(RNN, {"leak": 0.3}), (GRU, {}), (LSTM, {"leak": 0.3})])
def test_an_exported_program_saved_and_loaded_is_the_network(kind: type, settings: dict[str, Any]) -> None:
    network = Named(kind(4, 5, **settings), None)
    free = torch.export.Dim.DYNAMIC
    axes = {0: free, 1: free}
    if kind is GRU:
        # PyTorch's operators are exported for as many steps as there are
        with pytest.raises(Exception, match="as dynamic but your code specialized it to be a constant"):
            torch.export.export(network, network.inputs(7, 3), dynamic_shapes=((axes,),))
        del axes[0]
    program = torch.export.export(network, network.inputs(7, 3), dynamic_shapes=((axes,),))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    again = torch.export.load(file).module()
    for steps, streams in ((7, 2), (11, 3)):
        if steps == 7 or 0 in axes:
            inputs = network.inputs(steps, streams)
            torch.testing.assert_close(flat(again(*inputs)), flat(network(*inputs)))
        else:
            with pytest.raises(AssertionError, match="7"):
                again(*network.inputs(steps, streams))


@pytest.mark.parametrize("kind", [*STACKS, *CELLS])
def test_scripted_it_is_torch_s_own_with_its_weights(kind: type) -> None:
    x = drawn(3, 4, 4) if kind in STACKS else drawn(4, 4)
    settings = {"num_layers": 2, "bidirectional": True, "bias": False} if kind in STACKS else {}
    module = kind(4, 5, **settings)
    scripted = torch.jit.script(nn.Sequential(module))
    torch.testing.assert_close(flat(scripted(x)), flat(module(x)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.5)
    torch.testing.assert_close(flat(scripted(x)), flat(module(x)))
    pruned = kind(4, 5)
    prune.random_unstructured(pruned, "weight_hh_l0" if kind in STACKS else "weight_hh", 0.5)
    wrong = [(kind(4, 5, leak=0.3), "a leak"), (pruned, "weights that are made from others")]
    if kind in (RNN, RNNCell):
        wrong.append((kind(4, 5, nonlinearity="sigmoid"), "nonlinearity='sigmoid'"))
    if kind in STACKS:
        wrong.append((kind(4, 5, token_inputs=True), "token_inputs"))
    for refused, why in wrong:
        with pytest.raises(RuntimeError, match=f"torch.jit.script knows no {kind.__name__} with {why}"):
            torch.jit.script(refused)


def test_lengths_are_not_frozen_into_a_trace_or_an_export() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = RNN(4, 5)

        def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
            return self.rnn(x, lengths=lengths)[0]

    inputs = drawn(7, 2, 4), torch.tensor([3, 7])
    with pytest.raises(RuntimeError, match="which a trace or an export would"):
        torch.jit.trace(Padded(), inputs)
    with pytest.raises(Exception, match="which a trace or an export would"):
        torch.export.export(Padded(), inputs)


def test_nothing_is_captured_while_nothing_captures() -> None:
    """The kernels run as they always do, after a capture too."""
    module = GRU(4, 5)
    x = drawn(3, 2, 4)
    wanted = module(x)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, (x,))
    torch.testing.assert_close(module(x)[0], wanted, rtol=0, atol=0)
    assert module(x)[0].grad_fn is not None
