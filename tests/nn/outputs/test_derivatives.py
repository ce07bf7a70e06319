"""Derivatives of every output, of every order and in every mode, against finite differences."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from ostinato.nn.kernels.by_stream import StreamGradients
from ostinato.nn.outputs import RBM, Annealing, ClassSoftmax, DirectNgrams, Softmax
from ostinato.nn.outputs.base import HasObjectives
from output_rows import DOUBLE, HIDDEN, ROWS, SIZE, STEPS, STREAMS, Row, Scored, seeded, states

rows = pytest.mark.parametrize("row", ROWS, ids=str)
by = pytest.mark.parametrize("by", ["nll", "log_prob"])

Function = Callable[..., Tensor]


def directions(point: Sequence[Tensor]) -> list[Tensor]:
    draw = seeded(7)
    return [torch.randn(x.shape, generator=draw, dtype=x.dtype) for x in point]


def gradient(function: Function, point: Sequence[Tensor], graph: bool = False) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(*point).sum(), point, create_graph=graph, materialize_grads=True)


def along(gradients: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    return torch.stack([(g * v).sum() for g, v in zip(gradients, directions, strict=True)]).sum()


def by_double_backward(function: Function, point: Sequence[Tensor]) -> Tensor:
    slope = along(gradient(function, point, graph=True), directions(point))
    return flat(torch.autograd.grad(slope, point, materialize_grads=True))


def by_differences(function: Function, point: Sequence[Tensor], step: float = 1e-4) -> Tensor:
    """Of the gradient along the directions, of fourth order."""

    def at(factor: float) -> Tensor:
        moved = [
            (x.detach() + factor * step * v).requires_grad_()
            for x, v in zip(point, directions(point), strict=True)
        ]
        return flat(gradient(function, moved))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


def flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([x.detach().reshape(-1) for x in tensors])


def assert_near(found: Tensor, wanted: Tensor) -> None:
    assert float((found - wanted).norm() / wanted.norm()) < 1e-6


@rows
@by
def test_first_and_second_derivatives_of_every_output(row: Row, by: str) -> None:
    function, point = Scored(row.layer(), by).of(row.values(3))
    assert gradcheck(
        function,
        point,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )
    assert gradgradcheck(
        function,
        point,
        check_fwd_over_rev=True,
        check_rev_over_rev=True,
        check_batched_grad=True,
        fast_mode=True,
    )


@rows
@by
def test_hessian_vector_products_of_every_output(row: Row, by: str) -> None:
    function, point = Scored(row.layer(), by).of(row.values(3))
    wanted = by_differences(function, point)
    assert_near(by_double_backward(function, point), wanted)
    fixed = tuple(x.detach() for x in point)
    every = tuple(range(len(point)))

    def total(*point: Tensor) -> Tensor:
        return function(*point).sum()

    _, forward = torch.func.jvp(torch.func.grad(total, every), fixed, tuple(directions(point)))
    assert_near(flat(forward), wanted)
    _, reverse = torch.autograd.functional.vhp(total, fixed, tuple(directions(point)))
    assert_near(flat(reverse), wanted)


@rows
def test_hessians_whole_and_batched(row: Row) -> None:
    function, point = Scored(row.layer(), "nll").of(row.values(2))
    parameters = tuple(x.detach() for x in point[1:])

    def of_states(hidden: Tensor) -> Tensor:
        return function(hidden, *parameters)

    hidden = point[0].detach()
    wanted = torch.autograd.functional.hessian(of_states, hidden)
    assert float(wanted.abs().max()) > 1e-3
    for found in (
        torch.autograd.functional.hessian(of_states, hidden, vectorize=True),
        torch.func.hessian(of_states)(hidden),
        torch.func.jacrev(torch.func.jacrev(of_states))(hidden),
        torch.func.jacfwd(torch.func.jacfwd(of_states))(hidden),
    ):
        torch.testing.assert_close(found, wanted)


@rows
def test_batches_of_parameters_states_and_values(row: Row) -> None:
    function, point = Scored(row.layer(), "log_prob").of(row.values(2))
    many = [torch.stack([x, 0.5 * x]).detach() for x in point]
    layer, values = row.layer(), torch.stack([row.values(2), row.values(2, seed=8)])

    def scored(values: Tensor, *point: Tensor) -> Tensor:
        names = [name for name, _ in layer.named_parameters()]
        hidden, *parameters = point
        own = dict(zip(names, parameters, strict=True))
        distribution = torch.func.functional_call(layer, own, (hidden,))
        return distribution.log_prob(values)

    found = torch.func.vmap(scored)(values, *many)
    each = [scored(values[i], *(x[i] for x in many)) for i in range(2)]
    torch.testing.assert_close(found, torch.stack(each))
    frames = torch.func.vmap(torch.func.grad(lambda h, v: function(h[None], *point[1:]).sum()), (0, None))
    assert frames(point[0].detach(), None).shape == point[0].shape


@pytest.mark.long
@pytest.mark.parametrize("row", {row.name: row for row in reversed(ROWS)}.values(), ids=str)
def test_compiled_as_in_eager_code(row: Row) -> None:
    values, layer = row.values(2), row.layer()
    (nll, point), (log_prob, _) = (Scored(layer, by).of(values) for by in ("nll", "log_prob"))
    tangents, every = tuple(directions(point)), tuple(range(len(point)))

    def total(*point: Tensor) -> Tensor:
        return nll(*point) + log_prob(*point)[0]

    def both_modes(*point: Tensor) -> tuple[object, object]:
        return torch.func.jvp(total, point, tangents), torch.func.grad(total, every)(*point)

    torch._dynamo.reset()
    fixed = tuple(x.detach() for x in point)
    compiled = torch.compile(both_modes, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*fixed), both_modes(*fixed))
    compiled = torch.compile(total, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradient(compiled, point), gradient(total, point))


class Costs(torch.nn.Module):
    """A model's loss on a segment, with the same draws every time."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.model, self.inputs = row.model(), row.inputs()
        self.targets = row.values(STEPS, STREAMS)
        self.model.rnn.generator = seeded(9)
        self.starts = torch.zeros(STEPS, STREAMS, dtype=torch.bool)
        self.starts[1, 0] = True
        self.mask = torch.ones(STEPS, STREAMS, dtype=torch.bool)
        self.mask[2, 1] = False

    def forward(self) -> Tensor:
        self.model.rnn.generator.manual_seed(9)
        return self.model.loss(self.inputs, self.targets, None, self.starts, self.mask).objective

    def of(self) -> tuple[Function, tuple[Tensor, ...]]:
        names = [name for name, _ in self.named_parameters()]
        point = tuple(p.detach().clone().requires_grad_() for p in self.parameters())

        def function(*parameters: Tensor) -> Tensor:
            return torch.func.functional_call(self, dict(zip(names, parameters, strict=True)), ())

        return function, point


@rows
def test_the_loss_of_a_model_has_second_derivatives_or_refuses_them(row: Row) -> None:
    costs = Costs(row)
    function, point = costs.of()
    if isinstance(costs.model.output, HasObjectives):
        with pytest.raises(NotImplementedError, match="no second derivatives"):
            by_double_backward(function, point)
        every, fixed = tuple(range(len(point))), tuple(x.detach() for x in point)
        torch.testing.assert_close(torch.func.grad(function, every)(*fixed), gradient(function, point))
        with pytest.raises(NotImplementedError, match="no second derivatives"):
            torch.func.jvp(torch.func.grad(function, every), fixed, tuple(directions(point)))
        return
    assert_near(by_double_backward(function, point), by_differences(function, point))


@pytest.mark.parametrize("kind", [Softmax, ClassSoftmax])
def test_hessian_vector_products_with_ngram_features(kind: type) -> None:
    layer = kind(HIDDEN, SIZE if kind is Softmax else [2, 3], generator=seeded(0), dtype=DOUBLE)
    direct = DirectNgrams(50, order=3, widest=layer.widest, dtype=DOUBLE)
    tokens = torch.randint(SIZE, (STEPS, STREAMS), generator=seeded(1))
    contexts = direct.contexts(tokens, torch.zeros(1, STREAMS, dtype=torch.int64))
    targets = tokens.flip(0)

    def function(hidden: Tensor, table: Tensor, weight: Tensor) -> Tensor:
        def features(group: int, width: int, chosen: Tensor | None = None) -> Tensor:
            flat = contexts.flatten(0, 1) if chosen is None else contexts.flatten(0, 1)[chosen]
            own = table[direct.indices(flat, group, width)].sum(1)
            return own if chosen is not None else own.view(STEPS, STREAMS, width)

        features.expand = lambda shape: features
        own = {"weight": weight}
        return torch.func.functional_call(layer, own, (hidden, features)).log_prob(targets)

    table = torch.randn(50, generator=seeded(2), dtype=DOUBLE)
    point = tuple(x.detach().clone().requires_grad_() for x in (states(STEPS, STREAMS), table, layer.weight))
    assert_near(by_double_backward(function, point), by_differences(function, point))


@rows
def test_collecting_streams_gradients_refuses_a_graph(row: Row) -> None:
    costs = Costs(row)
    with (
        StreamGradients(STEPS, STREAMS, costs.mask).recording(),
        pytest.raises(RuntimeError, match="create_graph"),
    ):
        torch.autograd.grad(costs(), [*costs.parameters()], create_graph=True, allow_unused=True)


def test_an_estimated_likelihood_has_no_gradient_and_says_so() -> None:
    small = Annealing(steps=3, chains=2, frames=4)
    layer = RBM(HIDDEN, 24, 22, annealing=small, generator=seeded(0), dtype=DOUBLE)
    hidden, frames = states(4), torch.zeros(4, 24, dtype=torch.uint8)
    found = layer.nll(hidden, frames)
    with pytest.raises(NotImplementedError, match="training_loss"):
        found.backward()
    with pytest.raises(NotImplementedError, match="estimated"):
        torch.func.grad(lambda h: layer.nll(h, frames))(hidden)
    with torch.no_grad():
        torch.testing.assert_close(layer.nll(hidden, frames), found.detach())


@pytest.mark.long
@pytest.mark.parametrize("row", {row.name: row for row in ROWS}.values(), ids=str)
def test_a_compiled_model_has_the_loss_and_gradients_of_an_eager_one(row: Row) -> None:
    costs = Costs(row)
    if isinstance(costs.model.output, HasObjectives):
        return  # drawn at random, which a compiler does in its own order
    costs.mask = None  # which frames count, a compiler cannot know
    wanted = costs()
    torch._dynamo.reset()
    found = torch.compile(costs, backend="aot_eager")()
    torch.testing.assert_close(found, wanted)
    parameters = [*costs.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(found, parameters), torch.autograd.grad(wanted, parameters)
    )
