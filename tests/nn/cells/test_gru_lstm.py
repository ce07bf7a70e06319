"""GRU and LSTM against torch's, against their equations, and under every kind of differentiation."""

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils import parametrize, prune

from ostinato.nn import GRU, LSTM, RNN
from ostinato.nn.cells import Recurrence
from ostinato.nn.cells.state import map_state

CELLS = (GRU, LSTM)
TORCH = {GRU: nn.GRU, LSTM: nn.LSTM}
double = torch.float64


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = double) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def flat(state: Any) -> list[Tensor]:
    return [state] if isinstance(state, Tensor) else list(state)


def state_for(cell: Any, streams: int) -> Any:
    draws = iter(range(5, 9))
    return map_state(
        lambda x: normal(*x.shape, seed=next(draws), dtype=x.dtype).div(2), cell.initial_state(streams)
    )


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("shape", [(13, 4, 6, 20), (7, 3, 5, 17)])
def test_equals_torch_without_leak(
    kind: type, layers: int, batch_first: bool, bias: bool, dtype: torch.dtype, tolerance: float, shape: Any
) -> None:
    steps, streams, inputs, hidden = shape
    theirs = TORCH[kind](inputs, hidden, layers, bias, batch_first, dtype=dtype)
    ours = kind(inputs, hidden, layers, bias, batch_first, dtype=dtype, generator=seeded())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    lead = (streams, steps) if batch_first else (steps, streams)
    x, upstream = normal(*lead, inputs, dtype=dtype), normal(*lead, hidden, seed=2, dtype=dtype)
    start = state_for(ours, streams)
    results = []
    for module in (ours, theirs):
        leaves = [x.clone().requires_grad_(), *(s.clone().requires_grad_() for s in flat(start))]
        hx = leaves[1] if kind is GRU else tuple(leaves[1:])
        out, last = module(leaves[0], hx)
        (
            (out * upstream).sum() + sum((i + 1) * s.square().sum() for i, s in enumerate(flat(last)))
        ).backward()
        gradients = [leaf.grad for leaf in (*leaves, *module.parameters())]
        results.append([out, *flat(last), *gradients])
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        assert ((a - b).abs().max() / b.abs().max().clamp_min(1e-30)).item() < tolerance


@pytest.mark.parametrize("kind", CELLS)
def test_equals_torch_at_one_step_of_one_unit(kind: type) -> None:
    test_equals_torch_without_leak(kind, 2, False, True, double, 1e-10, (1, 1, 1, 1))


@pytest.mark.parametrize("kind", CELLS)
def test_state_dicts_load_both_ways(kind: type) -> None:
    ours, theirs = kind(3, 4, 2, generator=seeded()), TORCH[kind](3, 4, 2)
    theirs.load_state_dict(ours.state_dict())
    x = normal(5, 2, 3, dtype=torch.float32)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])
    torch.testing.assert_close(ours(x[:, 0])[0], theirs(x[:, 0])[0])  # unbatched
    leaky = kind(3, 4, 2, leak=0.5)
    leaky.load_state_dict(theirs.state_dict())
    assert leaky.leak.tolist() == [0.5] * 4
    copied = kind(3, 4, 2, leak=0.25)
    copied.load_state_dict(leaky.state_dict())
    torch.testing.assert_close(copied(x)[0], leaky(x)[0], rtol=0, atol=0)


def by_the_equations(cell: Any, x: Tensor, state: Any, starts: Tensor) -> tuple[Tensor, Tensor]:
    """One layer of either cell, one equation at a time; outputs and the last cell (an LSTM's)."""
    H, a = cell.hidden_size, cell.leak
    U, W, b, d = (getattr(cell, f"{k}_l0") for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

    def row(k: int) -> slice:
        return slice(k * H, (k + 1) * H)

    h, c = flat(state)[0][0], flat(state)[-1][0]
    outputs = []
    for t in range(len(x)):
        keep = (~starts[t]).double().unsqueeze(1)
        h, c = h * keep, c * keep

        def pre(k: int, h: Tensor = h, t: int = t) -> tuple[Tensor, Tensor]:
            return x[t] @ U[row(k)].T + b[row(k)], h @ W[row(k)].T + d[row(k)]

        if isinstance(cell, GRU):
            r, z = (torch.sigmoid(sum(pre(k))) for k in (0, 1))
            n = torch.tanh(pre(2)[0] + r * pre(2)[1])
            h = a * h + (1 - a) * ((1 - z) * n + z * h)
        else:
            i, f, o = (torch.sigmoid(sum(pre(k))) for k in (0, 1, 3))
            c = a * c + (1 - a) * (f * c + i * torch.tanh(sum(pre(2))))
            h = o * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), c if isinstance(cell, LSTM) else h


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("learned", [False, True])
def test_leaky_cells_follow_their_equations(kind: type, learned: bool) -> None:
    leak = torch.tensor([0.05, 0.3, 0.9], dtype=double, requires_grad=learned)
    cell = kind(2, 3, leak=leak, generator=seeded(), dtype=double)
    x, state = normal(9, 4, 2).requires_grad_(), map_state(Tensor.requires_grad_, state_for(cell, 4))
    starts = torch.rand(9, 4, generator=seeded(3)) < 0.3
    starts[0, 0], starts[0, 1] = True, False
    out, last = cell(x, state, starts)
    expected, end = by_the_equations(cell, x, state, starts)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(flat(last)[-1][0], end, rtol=1e-12, atol=1e-13)
    wanted = [x, *flat(state), *cell.parameters()]
    up, up_end = normal(9, 4, 3, seed=4), normal(4, 3, seed=5)
    ours = torch.autograd.grad((out * up).sum() + (flat(last)[-1][0] * up_end).sum(), wanted)
    theirs = torch.autograd.grad((expected * up).sum() + (end * up_end).sum(), wanted)
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)
    assert (cell.leak.grad_fn is not None) == learned


@pytest.mark.parametrize("kind", CELLS)
def test_a_leak_keeps_its_share_of_what_is_remembered(kind: type) -> None:
    """With all weights zero, memory decays by a + (1 - a) / 2 a step, and never faster."""
    cell = kind(1, 2, leak=torch.tensor([0.0, 0.8], dtype=double), dtype=double)
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            parameter.zero_() if name != "leak" else None
    start = torch.ones(1, 1, 2, dtype=double)
    _, last = cell(torch.zeros(3, 1, 1, dtype=double), start if kind is GRU else (0 * start, start))
    expected = torch.tensor([0.5**3, 0.9**3], dtype=double)
    torch.testing.assert_close(flat(last)[-1].flatten(), expected)


@pytest.mark.parametrize("kind", CELLS)
def test_carrying_the_state_equals_one_long_run(kind: type) -> None:
    cell = kind(2, 3, 2, leak=0.4, generator=seeded(), dtype=double)
    x = normal(10, 2, 2)
    whole, last = cell(x)
    for cuts in ((0, 4, 10), tuple(range(11))):
        state, parts = None, []
        for a, b in itertools.pairwise(cuts):
            out, state = cell(x[a:b], state)
            parts.append(out)
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-13, atol=1e-14)
        torch.testing.assert_close(state, last, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", CELLS)
def test_starts_forget_everything_and_stop_gradients(kind: type) -> None:
    cell = kind(2, 3, 2, leak=0.4, generator=seeded(), dtype=double)
    x = normal(10, 2, 2).requires_grad_()
    starts = torch.zeros(10, 2, dtype=torch.bool)
    starts[4, 1] = True
    out, last = cell(x, starts=starts)
    torch.testing.assert_close(out[4:, 1], cell(x[4:])[0][:, 1], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(out[:, 0], cell(x)[0][:, 0], rtol=1e-13, atol=1e-14)
    (gradient,) = torch.autograd.grad(out[4:].sum() + sum(s.sum() for s in flat(last)), x)
    assert gradient[:4, 1].abs().max() == 0
    assert gradient[:4, 0].abs().min() > 0


@pytest.mark.parametrize("kind", CELLS)
def test_what_is_not_finite_does_not_pass_a_start(kind: type) -> None:
    cell = kind(1, 2, generator=seeded(), dtype=double)
    state = map_state(lambda s: torch.full_like(s, torch.nan), cell.initial_state(1))
    starts = torch.tensor([[True], [False]])
    out, _ = cell(torch.ones(2, 1, 1, dtype=double), state, starts)
    out.sum().backward()
    assert out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in cell.parameters())


@pytest.mark.parametrize("kind", CELLS)
def test_inputs_of_every_kind_agree(kind: type) -> None:
    cell = kind(5, 3, generator=seeded(), dtype=double)
    tokens = torch.tensor([[0, 4], [2, 2], [1, 3]])
    one_hot = nn.functional.one_hot(tokens, 5)
    expected = cell(one_hot.double())[0]
    for given in (tokens, tokens.int(), one_hot.to(torch.uint8), one_hot.bool()):
        torch.testing.assert_close(cell(given)[0], expected)
    torch.testing.assert_close(cell(tokens[:, 0])[0], expected[:, 0])
    batch_first = kind(5, 3, batch_first=True, generator=seeded(), dtype=double)
    torch.testing.assert_close(batch_first(tokens.T)[0].transpose(0, 1), expected)


@pytest.mark.parametrize("kind", [RNN, *CELLS])
def test_an_embedding_is_the_transposed_input_weight_and_has_a_sparse_gradient(kind: type) -> None:
    plain = kind(5, 3, 2, generator=seeded(), dtype=double)
    cell = kind(5, 3, 2, token_inputs=True, dtype=double)
    cell.load_state_dict(plain.state_dict())
    tokens = torch.tensor([[0, 4], [2, 2], [0, 0]])
    for module in (plain, cell):
        module(tokens)[0].square().sum().backward()
    torch.testing.assert_close(cell(tokens)[0], plain(tokens)[0])
    assert cell.embedding.grad.is_sparse
    torch.testing.assert_close(cell.embedding.grad.to_dense().T, plain.weight_ih_l0.grad)
    # where it goes on through a graph, it is dense, and may be differentiated again
    doubled = cell.embedding * 2
    (through,) = torch.autograd.grad(
        functional_call(cell, {"embedding": doubled}, tokens)[0].sum(), doubled, create_graph=True
    )
    assert not through.is_sparse
    through.square().sum().backward()


class Scan(nn.Module):
    """A cell as a function of tensors only, which is what gradcheck takes."""

    def __init__(self, cell: Any, starts: Tensor) -> None:
        super().__init__()
        self.cell, self.starts = cell, starts
        self.names = [name for name, _ in cell.named_parameters()]

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        count = len(self.cell.state_tensors)
        state = rest[0] if count == 1 else rest[:count]
        parameters = dict(zip(self.names, rest[count:], strict=True))
        out, last = functional_call(self.cell, parameters, (x, state, self.starts))
        return (out, *flat(last))


def scan(kind: type, learned: bool) -> tuple[Scan, list[Tensor]]:
    leak = torch.tensor([0.1, 0.6], dtype=double, requires_grad=learned)
    cell = kind(2, 2, 2, leak=leak, generator=seeded(), dtype=double)
    starts = torch.zeros(3, 2, dtype=torch.bool)
    starts[1, 0] = True
    inputs = [normal(3, 2, 2), *flat(state_for(cell, 2)), *(p.detach() for p in cell.parameters())]
    return Scan(cell, starts), [x.clone().requires_grad_() for x in inputs]


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("learned", [False, True])
def test_first_derivatives(kind: type, learned: bool) -> None:
    function, inputs = scan(kind, learned)
    assert gradcheck(function, inputs, check_forward_ad=True)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("learned", [False, True])
def test_second_derivatives(kind: type, learned: bool) -> None:
    function, inputs = scan(kind, learned)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, fast_mode=True)


@pytest.mark.parametrize("kind", CELLS)
def test_the_hand_written_derivative_is_the_one_of_the_steps(kind: type) -> None:
    cell = kind(3, 17, leak=0.3, generator=seeded(), dtype=double)
    x, starts = normal(12, 5, 3), torch.rand(12, 5, generator=seeded()) < 0.2
    out, last = cell(x, starts=starts)
    assert "_Layer" in str(out.grad_fn)
    loss = out.square().sum() + sum(s.sum() for s in flat(last))
    by_hand = torch.autograd.grad(loss, list(cell.parameters()))

    def of(parameters: dict[str, Tensor]) -> Tensor:
        out, last = functional_call(cell, parameters, (x, None, starts))
        return out.square().sum() + sum(s.sum() for s in flat(last))

    by_steps = torch.func.grad(of)({k: p.detach() for k, p in cell.named_parameters()})
    torch.testing.assert_close(by_hand, tuple(by_steps.values()), rtol=1e-11, atol=1e-13)
    with torch.no_grad():
        again, _ = cell(x, starts=starts)
    assert torch.equal(again, out)


@pytest.mark.parametrize("kind", CELLS)
def test_forward_mode_is_the_derivative(kind: type) -> None:
    cell = kind(3, 4, 2, leak=0.3, generator=seeded(), dtype=double)
    x, parameters = normal(6, 2, 3), {k: p.detach() for k, p in cell.named_parameters()}
    tangents = {k: normal(*p.shape, seed=7) for k, p in parameters.items()}

    def of(p: dict[str, Tensor]) -> Tensor:
        return functional_call(cell, p, x)[0]

    _, change = torch.func.jvp(of, (parameters,), (tangents,))
    step = 1e-6
    moved = [of({k: parameters[k] + s * tangents[k] for k in parameters}) for s in (step, -step)]
    torch.testing.assert_close(change, (moved[0] - moved[1]) / (2 * step), rtol=1e-7, atol=1e-8)
    with forward_ad.dual_level():
        # parameters that also want gradients: the hand-written derivative has no forward mode
        leaves = {k: p.clone().requires_grad_() for k, p in parameters.items()}
        dual = {k: forward_ad.make_dual(p, tangents[k]) for k, p in leaves.items()}
        torch.testing.assert_close(forward_ad.unpack_dual(of(dual)).tangent, change)


@pytest.mark.parametrize("kind", CELLS)
def test_models_are_batched_by_vmap(kind: type) -> None:
    cells = [kind(3, 4, leak=0.3, generator=seeded(i), dtype=double) for i in range(3)]
    parameters, buffers = stack_module_state(cells)  # type: ignore[arg-type]
    base, x = copy.deepcopy(cells[0]), normal(5, 2, 3)
    starts = torch.zeros(5, 2, dtype=torch.bool)
    starts[2] = True

    def loss(parameters: Any, buffers: Any, x: Tensor) -> Tensor:
        return functional_call(base, (parameters, buffers), (x, None, starts))[0].square().sum()

    together = vmap(torch.func.grad(loss), (0, 0, None))(parameters, buffers, x)
    for i, cell in enumerate(cells):
        alone = torch.autograd.grad(cell(x, None, starts)[0].square().sum(), list(cell.parameters()))
        for name, gradient in zip(dict(cell.named_parameters()), alone, strict=True):
            torch.testing.assert_close(together[name][i], gradient)


@pytest.mark.parametrize("kind", CELLS)
def test_compiles_as_one_graph(kind: type) -> None:
    cell = kind(3, 4, 2, leak=0.3, generator=seeded(), dtype=double)
    compiled = torch.compile(cell, fullgraph=True, backend="aot_eager")
    x, starts = normal(4, 2, 3), torch.zeros(4, 2, dtype=torch.bool)
    starts[2, 0] = True
    results = [module(x, None, starts)[0] for module in (compiled, cell)]
    torch.testing.assert_close(*results)
    gradients = [torch.autograd.grad(out.square().sum(), list(cell.parameters())) for out in results]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("kind", CELLS)
def test_a_replaced_weight_is_the_one_that_is_used(kind: type) -> None:
    cell, half = (kind(3, 5, leak=0.5, generator=seeded(), dtype=double) for _ in range(2))
    with torch.no_grad():
        half.weight_hh_l0.mul_(0.5)
    x = normal(4, 2, 3)

    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 0.5

    parametrize.register_parametrization(cell, "weight_hh_l0", Halved())
    torch.testing.assert_close(cell(x)[0], half(x)[0])
    parametrize.remove_parametrizations(cell, "weight_hh_l0")
    prune.custom_from_mask(cell, "weight_hh_l0", torch.zeros(kind.blocks * 5, 5))
    with torch.no_grad():
        half.weight_hh_l0.zero_()
    torch.testing.assert_close(cell(x)[0], half(x)[0])


@pytest.mark.parametrize("kind", CELLS)
def test_dropout_is_between_layers_and_takes_the_generator(kind: type) -> None:
    def outputs(probability: float, seed: int = 0, train: bool = True) -> list[Tensor]:
        cell = kind(2, 30, 2, dropout=probability, generator=seeded(seed), dtype=double).train(train)
        return cell(torch.ones(3, 1, 2, dtype=double), all_layers=True)[0]

    torch.testing.assert_close(outputs(0.5), outputs(0.5), rtol=0, atol=0)
    torch.testing.assert_close(outputs(0.5, train=False), outputs(0.0), rtol=0, atol=0)
    torch.testing.assert_close(outputs(0.5)[0], outputs(0.0)[0], rtol=0, atol=0)
    assert not torch.allclose(outputs(0.5)[1], outputs(0.0)[1])
    # the second layer reads nothing but its biases
    cell = kind(2, 30, 2, dropout=1.0, generator=seeded(), dtype=double)
    one, other = (cell(normal(3, 1, 2, seed=s))[0] for s in (1, 2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", CELLS)
def test_an_initialization_is_that_of_every_block(kind: type) -> None:
    cell = kind(3, 40, initialization="orthogonal", generator=seeded(), dtype=double)
    for block in cell.weight_hh_l0.detach().chunk(kind.blocks):
        torch.testing.assert_close(block @ block.T, torch.eye(40, dtype=double))
    first, second = cell.weight_hh_l0.detach().chunk(kind.blocks)[:2]
    assert not torch.allclose(first, second)
    uniform = kind(3, 40, generator=seeded())
    for parameter in uniform.parameters():
        assert parameter.abs().max() <= 40**-0.5
        assert parameter.abs().max() > 0.9 * 40**-0.5


@pytest.mark.parametrize("kind", [RNN, *CELLS])
def test_every_cell_is_a_recurrence(kind: type) -> None:
    cell = kind(2, 3, 2, generator=seeded())
    assert isinstance(cell, Recurrence)
    _, last = cell(torch.zeros(1, 4, 2))
    for zero, reached in zip(flat(cell.initial_state(4)), flat(last), strict=True):
        assert zero.shape == reached.shape
        assert not zero.any()
    started = cell(torch.ones(3, 4, 2), cell.initial_state(4))
    torch.testing.assert_close(started, cell(torch.ones(3, 4, 2)), rtol=0, atol=0)


def test_representations_name_what_differs() -> None:
    assert repr(GRU(2, 3)) == "GRU(2, 3)"
    assert repr(LSTM(2, 3, 2, leak=0.5)) == "LSTM(2, 3, num_layers=2, leaky_units=3)"


def wrong() -> Iterator[tuple[Any, str]]:
    """What `torch.nn` knows nothing of; its own mistakes are in `test_as_torch_nn`."""
    x, h = torch.ones(4, 1, 2), torch.ones(1, 1, 3)
    for kind in (RNN, *CELLS):
        yield lambda kind=kind: kind(2, 3, leak=1.0), r"lie in \[0, 1\)"
        yield lambda kind=kind: kind(2, 3, leak=torch.zeros(2)), r"shape \(3,\)"
        yield lambda kind=kind: kind(2, 3)(x, None, torch.ones(4, 1)), "starts must be boolean"
        yield lambda kind=kind: kind(2, 3)(x, None, torch.ones(3, 1) > 0), r"starts must have shape \(4, 1\)"
        yield lambda kind=kind: kind(2, 3, token_inputs=True)(x), "expected token ids"
        yield lambda kind=kind: kind(2, 3)(x.long()), "convert frames to floating point"
        yield lambda kind=kind: kind(2, 3)(x, lengths=[5]), r"lengths must lie in 1 ... 4, .* got 5 to 5"
        yield lambda kind=kind: kind(2, 3)(x, lengths=[0]), r"lengths must lie in 1 ... 4, .* got 0 to 0"
        yield lambda kind=kind: kind(2, 3)(x, lengths=[2, 2]), r"lengths must have shape \(1,\)"
        yield lambda kind=kind: kind(2, 3)(x, lengths=[2.0]), "lengths must be whole numbers"
        yield lambda kind=kind: kind(2, 3)(x, None, x[..., 0] > 0, lengths=[2]), "either starts or lengths"
        yield lambda kind=kind: kind(2, 3)(x[:, 0], lengths=[2]), "without a stream dimension"
    yield lambda: GRU(2, 3)(x, (h, h)), "as one tensor, got a tuple"
    yield lambda: RNN(2, 3)(x, (h, h)), "as one tensor, got a tuple"
    yield lambda: LSTM(2, 3)(x, h), r"tensors \(h, c\), got one tensor"
    yield lambda: LSTM(2, 3)(x, (h,)), r"tensors \(h, c\), got 1 of them"
    yield lambda: LSTM(2, 3, proj_size=2, initialization="echo-state"), "proj_size must be 0"


@pytest.mark.parametrize(("make", "message"), list(wrong()))
def test_wrong_arguments_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
