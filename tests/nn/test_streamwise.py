"""Clipping stream by stream in one pass, against as many passes as there are streams."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ostinato.nn import GRU, LSTM, RNN, SequenceModel, streamwise
from ostinato.nn.cells.state import map_state, select
from ostinato.nn.kernels import by_stream
from ostinato.nn.kernels import select as kernels
from ostinato.nn.outputs.bernoulli import Bernoulli
from ostinato.nn.outputs.class_softmax import ClassSoftmax
from ostinato.nn.outputs.gaussian import Gaussian
from ostinato.nn.outputs.gaussian_mixture import GaussianMixture
from ostinato.nn.outputs.nade import NADE
from ostinato.nn.outputs.rbm import RBM
from ostinato.nn.outputs.softmax import Softmax
from ostinato.nn.streamwise import Minibatch, clipped_backward, clipped_one_by_one
from ostinato.optim import SimplifiedNesterov

T, B, H, V, DOUBLE = 9, 4, 6, 7, torch.float64


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


MADE: dict[str, Any] = {"dtype": DOUBLE}
CELLS = {
    "rnn": lambda **k: RNN(V, H, 2, leak=torch.linspace(0, 0.9, H, dtype=DOUBLE), **MADE, **k),
    "relu": lambda **k: RNN(V, H, nonlinearity="relu", bias=False, **MADE, **k),
    "learned leak": lambda **k: RNN(V, H, leak=torch.full((H,), 0.3).requires_grad_(), **MADE, **k),
    "gru": lambda **k: GRU(V, H, leak=0.3, **MADE, **k),
    "lstm": lambda **k: LSTM(V, H, 2, **MADE, **k),
}
OUTPUTS = {
    "bernoulli": lambda **k: Bernoulli(H, V, **MADE, **k),
    "nade": lambda **k: NADE(H, V, 5, **MADE, **k),
    "nade, high to low": lambda **k: NADE(H, V, 5, order="high-to-low", **MADE, **k),
    "rbm": lambda **k: RBM(H, V, 5, **MADE, **k),
    "softmax": lambda **k: Softmax(H, V, **MADE, **k),
    "class-softmax": lambda **k: ClassSoftmax(H, [1, 2, 4], **MADE, **k),
    "gaussian": lambda **k: Gaussian(H, V, **MADE, **k),
    "gaussian-mixture": lambda **k: GaussianMixture(H, V, 3, **MADE, **k),
}
TOKENS, REAL = ("softmax", "class-softmax"), ("gaussian", "gaussian-mixture")


def model_of(cell: str, output: str, l2: float = 0.1) -> SequenceModel:
    rnn = CELLS[cell](generator=draw(0), token_inputs=output in TOKENS)
    return SequenceModel(rnn, OUTPUTS[output](generator=draw(1)), l1=0.01, l2=l2)


def minibatch_of(model: SequenceModel, output: str, *, masked: bool) -> Minibatch:
    generator = draw(2)
    if output in TOKENS:
        inputs, targets = (torch.randint(V, (T, B), generator=generator) for _ in range(2))
    elif output in REAL:
        inputs, targets = (torch.randn(T, B, V, generator=generator, dtype=DOUBLE) for _ in range(2))
    else:
        drawn = torch.rand(2, T, B, V, generator=generator)
        inputs, targets = (drawn < 0.4).to(torch.uint8)
    starts = torch.rand(T, B, generator=generator) < 0.2
    mask = torch.ones(T, B, dtype=torch.bool)
    mask[6:, 2] = False
    mask[:, 3] = False
    states = map_state(
        lambda x: torch.randn(x.shape, dtype=DOUBLE, generator=generator), model.rnn.initial_state(B)
    )
    return Minibatch(inputs, targets, states, starts, mask if masked else None)


def gradients(model: nn.Module) -> dict[str, Tensor]:
    found = {name: p.grad.to_dense().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def separately(model: SequenceModel, minibatch: Minibatch, threshold: float | None) -> dict[str, Tensor]:
    """The definition, by `SequenceModel.loss` and `torch.nn.utils` alone."""
    total: dict[str, Tensor] = {}
    counts = [T] * B if minibatch.mask is None else minibatch.mask.sum(0).tolist()
    for b in (b for b in range(B) if counts[b]):
        model.zero_grad()
        model.loss(
            minibatch.inputs[:, b : b + 1],
            minibatch.targets[:, b : b + 1],
            select(minibatch.states, torch.tensor([b])),
            minibatch.starts[:, b : b + 1],
            None if minibatch.mask is None else minibatch.mask[:, b : b + 1],
        ).objective.backward()
        own = gradients(model)
        norm = float(torch.nn.utils.get_total_norm(list(own.values())))
        factor = counts[b] / sum(counts) * (1 if threshold is None else min(1, threshold / norm))
        for name, gradient in own.items():
            total[name] = total.get(name, 0) + factor * gradient
    return total


@pytest.fixture(autouse=True)
def _same_gibbs_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    # one pass and several would draw others: the chain's step is made a function of the biases
    step = lambda values, b, c, weight, generator, units: ((b + 0.3 * values.flip(-1)) > 0.1).to(b.dtype)  # noqa: E731
    monkeypatch.setattr("ostinato.nn.outputs.rbm.gibbs_step", step)


def check(model: SequenceModel, minibatch: Minibatch, threshold: float | None) -> streamwise.Streamwise:
    expected = separately(model, minibatch, threshold)
    found = clipped_backward(model, minibatch, threshold)
    made = gradients(model)
    assert made.keys() == expected.keys()
    for name, gradient in made.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)
    passes = clipped_one_by_one(model, minibatch, threshold)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-10, atol=1e-12)
    assert found.norms == pytest.approx(passes.norms, rel=1e-10)
    for one, other in (
        (found.loss.objective, passes.loss.objective),
        (found.loss.states, passes.loss.states),
    ):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert found.loss.frames == passes.loss.frames
    return found


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_one_pass_gives_the_average_of_clipped_gradients(cell: str, output: str) -> None:
    model = model_of(cell, output)
    for masked in (False, True):
        minibatch = minibatch_of(model, output, masked=masked)
        norms = check(model, minibatch, None).norms
        assert len(norms) == B - masked
        # some are clipped and some are not
        found = check(model, minibatch, sorted(norms)[1] * 1.0001)
        assert found.uncovered == ""


@pytest.mark.parametrize("output", ["bernoulli", "softmax", "rbm"])
@pytest.mark.parametrize("cell", CELLS)
def test_large_weights_are_not_multiplied_out(
    monkeypatch: pytest.MonkeyPatch, cell: str, output: str
) -> None:
    monkeypatch.setattr(by_stream, "LARGEST", 0)
    model = model_of(cell, output)
    check(model, minibatch_of(model, output, masked=True), 0.1)


@pytest.mark.parametrize("output", OUTPUTS)
def test_without_the_native_kernel(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.setattr(kernels, "_native", lambda: None)
    model = model_of("relu", output, l2=0.0)
    found = check(model, minibatch_of(model, output, masked=False), 0.1)
    # NADE's own gradients come from its native kernel
    assert bool(found.uncovered) == output.startswith("nade")


class Doubled(Bernoulli):
    """An output that knows nothing of streams, and draws and remembers something."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("calls", torch.zeros(()))

    def nll(self, hidden: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        logits = nn.functional.linear(hidden, 2 * self.weight, self.bias)
        return nn.functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), reduction="sum"
        )


def test_what_knows_nothing_of_streams_gets_a_pass_for_each() -> None:
    model = SequenceModel(model_of("rnn", "bernoulli").rnn, Doubled(H, V, generator=draw(1), **MADE), l2=0.1)
    minibatch = minibatch_of(model, "bernoulli", masked=True)
    found = clipped_backward(model, minibatch, 0.1)
    assert found.uncovered == "output.weight"
    # the pass that was of no use has left no trace
    assert float(model.output.calls) == B
    model.output.calls.zero_()
    model.zero_grad()
    check(model, minibatch, 0.1)


def test_a_weight_that_is_made_from_parameters_gets_a_pass_for_each() -> None:
    model = model_of("rnn", "bernoulli", l2=0.0)
    nn.utils.parametrizations.weight_norm(model.output, "weight")
    assert check(model, minibatch_of(model, "bernoulli", masked=False), 0.1).uncovered


def test_a_stream_that_is_not_finite_leaves_no_gradient() -> None:
    model = model_of("rnn", "gaussian")
    minibatch = minibatch_of(model, "gaussian", masked=False)
    minibatch.inputs[3, 1, 0] = math.inf
    found = clipped_backward(model, minibatch, 1.0)
    assert not found.finite
    assert gradients(model) == {}
    assert not clipped_one_by_one(model, minibatch, 1.0).finite
    assert gradients(model) == {}


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_norms_whose_squares_leave_float32(size: float) -> None:
    model = SequenceModel(RNN(V, H, generator=draw(0)), Gaussian(H, V, generator=draw(1)))
    inputs = torch.randn(T, B, V, generator=draw(2))
    found = by_stream.StreamGradients(T, B)
    with found.recording():
        loss = model.loss(inputs, inputs)
        (loss.objective * size).backward()
    again = by_stream.StreamGradients(T, B)
    with again.recording():
        model.loss(inputs, inputs).objective.backward()
    torch.testing.assert_close(found.norms() / size, again.norms(), rtol=1e-5, atol=0)


def test_a_sparse_gradient_stays_sparse_and_trains() -> None:
    model = model_of("rnn", "softmax", l2=0.0)
    minibatch = minibatch_of(model, "softmax", masked=False)
    clipped_backward(model, minibatch, 0.1)
    assert model.rnn.embedding.grad.is_sparse
    before = model.rnn.embedding.detach().clone()
    SimplifiedNesterov(model.parameters(), lr=0.1, momentum=0.9).step()
    assert (model.rnn.embedding != before).any()


def test_a_parameter_that_is_frozen_gets_none() -> None:
    model = model_of("rnn", "bernoulli", l2=0.0)
    model.rnn.weight_hh_l0.requires_grad_(False)
    model.output.bias.requires_grad_(False)
    assert not check(model, minibatch_of(model, "bernoulli", masked=False), 0.1).uncovered


@pytest.mark.parametrize("cell", [*CELLS])
@pytest.mark.parametrize("how", ["create_graph", "is_grads_batched"])
def test_only_a_plain_backward_pass_is_collected(cell: str, how: str) -> None:
    """What differentiates gradients again, or many at once, would get those of the streams wrong."""
    rnn = CELLS[cell](generator=draw(0))
    x = torch.randn(T, B, V, generator=draw(1), dtype=DOUBLE)
    parameters = [*rnn.parameters()]
    with by_stream.StreamGradients(T, B).recording():
        output = rnn(x)[0]
        grads = torch.ones(2, *output.shape, dtype=DOUBLE) if how == "is_grads_batched" else output.cos()
        with pytest.raises(RuntimeError, match="streams' own gradients are collected by a backward pass"):
            torch.autograd.grad(output, parameters, grads, **{how: True})
