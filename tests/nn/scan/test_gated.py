"""The operators of cells with gates: everything that PyTorch may ask of them, one by one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from ostinato.nn.kernels import gated
from ostinato.nn.kernels.gated_cells import CELLS
from ostinato.nn.scan import gated as scans
from ostinato.nn.scan.gated import ADJOINT, SCAN, TANGENT, gated_scan

STEPS, STREAMS, HIDDEN = 3, 2, 2
STARTS = torch.tensor([[False, False], [True, False], [False, True]])
OPERATORS = {"scan": SCAN, "adjoint": ADJOINT, "tangent": TANGENT}
DEFINITIONS = {"scan": gated.forward, "adjoint": gated.adjoint, "tangent": gated.tangent}
both = pytest.mark.parametrize("cell", CELLS)
three = pytest.mark.parametrize("name", OPERATORS)


def draw(*shape: int, seed: int = 0, grad: bool = True) -> Tensor:
    source = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_(grad)


def arguments(
    name: str, cell: str, *, leak: bool = True, starts: bool = True, bias: bool = True, grad: bool = True
) -> list[Any]:
    kind = CELLS[cell]
    of_c = HIDDEN if kind.has_cell else 0
    weight = draw(kind.gates * HIDDEN, HIDDEN, grad=grad)
    rows = draw(STREAMS, HIDDEN, seed=2, grad=grad), draw(STREAMS, of_c, seed=3, grad=grad)
    frames = (
        draw(STEPS, STREAMS, HIDDEN, seed=4, grad=grad),
        draw(STEPS, STREAMS, of_c, seed=5, grad=grad),
        draw(STEPS, STREAMS, kind.coefficients, HIDDEN, seed=6, grad=grad),
    )
    marks = STARTS if starts else None
    if name == "scan":
        drive = draw(STEPS, STREAMS, kind.drives * HIDDEN, grad=grad)
        a = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=grad) if leak else None
        b = draw(kind.gates * HIDDEN, seed=1, grad=grad) if bias else None
        return [drive, weight, b, a, *rows, marks, cell]
    return [*frames, weight, *(rows if name == "tangent" else ()), marks, cell]


def differentiable(name: str, given: list[Any]) -> tuple[Callable[..., Any], list[Tensor]]:
    """An operator as a function of its differentiable arguments, and those."""
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad and x.numel()]

    def function(*tensors: Tensor) -> Any:
        filled = [x.detach() if isinstance(x, Tensor) else x for x in given]
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        return tuple(x for x in OPERATORS[name](*filled) if x.numel())

    return function, [given[i] for i in places]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@both
@three
def test_opcheck(name: str, cell: str) -> None:
    torch.library.opcheck(OPERATORS[name], arguments(name, cell))


@both
@three
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("starts", [False, True])
def test_equals_the_definition(name: str, cell: str, leak: bool, starts: bool) -> None:
    given = arguments(name, cell, leak=leak, starts=starts, bias=starts)
    torch.testing.assert_close(OPERATORS[name](*given), DEFINITIONS[name](*given), rtol=1e-12, atol=1e-13)


@both
@three
@pytest.mark.parametrize("leak", [False, True])
def test_every_derivative(name: str, cell: str, leak: bool) -> None:
    function, inputs = differentiable(name, arguments(name, cell, leak=leak, bias=leak))
    more = {"check_batched_grad": True, "fast_mode": True}
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_forward_grad=True, **more)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, **more)


@both
def test_training_takes_the_whole_adjoint_in_one_call(cell: str) -> None:
    """The first derivative by the native kernel alone, in every entry of the Jacobian."""
    for leak in (False, True):
        given = arguments("scan", cell, leak=leak)
        places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad and x.numel()]

        def states(*tensors: Tensor, given: list[Any] = given, places: list[int] = places) -> Any:
            filled = list(given)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            return tuple(x for x in gated_scan(*filled) if x.numel())

        assert gradcheck(states, [given[i] for i in places])


@both
@three
def test_third_derivatives(name: str, cell: str) -> None:
    """The gradient of a Hessian-vector product: each operator's second derivative, differentiated."""
    function, inputs = differentiable(name, arguments(name, cell))
    along = [x.detach().sin() for x in inputs]

    def product(*inputs: Tensor) -> Tensor:
        total = sum((x**2).sum() for x in function(*inputs))
        gradients = torch.autograd.grad(total, inputs, create_graph=True)
        return sum((g * v).sum() for g, v in zip(gradients, along, strict=True))

    assert gradcheck(product, inputs, fast_mode=True)


@both
@three
def test_jvp_of_a_jvp(name: str, cell: str) -> None:
    """The transform that PyTorch's own functions answer with zeros."""
    function, inputs = differentiable(name, arguments(name, cell))
    points = [x.detach() for x in inputs]
    along = [x.cos() for x in points]

    def slope(at: Tensor) -> Tensor:
        moved = tuple(x + at * v for x, v in zip(points, along, strict=True))
        return sum(x.sum() for x in torch.func.jvp(function, moved, tuple(along))[1])

    zero, step = torch.zeros((), dtype=torch.float64), 1e-5
    curvature = torch.func.jvp(slope, (zero,), (zero + 1,))[1]
    torch.testing.assert_close(
        curvature, (slope(zero + step) - slope(zero - step)) / (2 * step), rtol=1e-6, atol=1e-7
    )
    assert curvature.abs() > 1e-3


@both
@three
@pytest.mark.parametrize("shared", [True, False])
def test_batches(name: str, cell: str, shared: bool) -> None:
    """Batches over every argument, or over none of those that models share with their streams."""
    given = arguments(name, cell, grad=False)
    weight = given[1 if name == "scan" else 3]
    own = [i for i, x in enumerate(given) if isinstance(x, Tensor) and not (shared and x.dim() < 2)]
    if shared:
        own = [i for i in own if given[i] is not weight]
    many = [torch.stack([x, x.flip(0), x]) if i in own else x for i, x in enumerate(given)]
    dims = tuple(0 if i in own else None for i in range(len(given)))
    made = torch.vmap(OPERATORS[name], dims)(*many)
    alone = [OPERATORS[name](*(x[m] if i in own else x for i, x in enumerate(many))) for m in range(3)]
    for part, parts in zip(made, zip(*alone, strict=True), strict=True):
        torch.testing.assert_close(part, torch.stack(parts))


@three
def test_an_unknown_cell_is_refused_by_name(name: str) -> None:
    given = [*arguments(name, "gru", grad=False)[:-1], "elman"]
    with pytest.raises(ValueError, match="cell must be one of gru and lstm, got 'elman'"):
        OPERATORS[name](*given)


@both
@three
def test_shapes_without_numbers(name: str, cell: str) -> None:
    given = arguments(name, cell, grad=False)
    made = OPERATORS[name](*given)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = [mode.from_tensor(x) if isinstance(x, Tensor) else x for x in given]
        shapes = OPERATORS[name](*fake)
    meta = [x.to("meta") if isinstance(x, Tensor) else x for x in given]
    for others in (shapes, OPERATORS[name](*meta)):
        assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in zip(made, others, strict=True))


@both
@three
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_takes_the_widest_type(name: str, cell: str, half: torch.dtype) -> None:
    given = arguments(name, cell, grad=False)
    wide = [x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given]
    mixed = [wide[0].to(half), *wide[1:]]
    with torch.autocast("cpu", half):
        made = OPERATORS[name](*mixed)
    expected = OPERATORS[name](mixed[0].float(), *wide[1:])
    torch.testing.assert_close(made, expected, rtol=0, atol=0)
    with pytest.raises((ValueError, RuntimeError), match=r"must be|same dtype"):
        OPERATORS[name](*mixed)


@both
def test_plain_tensors_do_not_pass_the_dispatcher(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick path: were it lost, everything would be right and several times as slow."""

    def never(*_: Any) -> Any:
        raise AssertionError("an operator was called")

    for operator in ("SCAN", "ADJOINT", "TANGENT"):
        monkeypatch.setattr(scans, operator, never)
    given = arguments("scan", cell)
    gated_scan(*given)[0].square().sum().backward()
    assert given[1].grad is not None
    with pytest.raises(AssertionError, match="an operator was called"):
        torch.vmap(lambda drive: gated_scan(drive, *given[1:])[0])(torch.stack([given[0]] * 2))


@both
def test_memory_that_is_gone_is_an_error(cell: str) -> None:
    for place in (0, 1, 2, 3, 4):
        given = arguments("scan", cell, grad=False)
        given[place].untyped_storage().resize_(0)
        with pytest.raises(RuntimeError, match=r"not allocated|was freed"):
            gated_scan(*given)
    given = arguments("scan", cell)
    states, _ = gated_scan(*given)
    given[1].data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"not allocated|was freed"):
        states.sum().backward()


@both
@pytest.mark.parametrize("place", range(7))
def test_what_does_not_fit_is_refused_by_name(cell: str, place: int) -> None:
    named = ("drive", "weight", "bias", "leak", "h0", "c0", "starts")
    given = arguments("scan", cell, grad=False)
    given[place] = torch.cat([given[place]] * 2, -1)
    if place == 0:
        given[0] = given[0][..., :-1]
    elif place == 5 and cell == "gru":
        given[5] = given[4]
    with pytest.raises(ValueError, match=f"^{named[place]} must have shape"):
        gated_scan(*given)
    if place not in (0, 6):
        given = arguments("scan", cell, grad=False)
        given[place] = given[place].float()
        with pytest.raises(ValueError, match=f"^{named[place]} must be torch.float64"):
            gated_scan(*given)


@both
@pytest.mark.parametrize("name", ["adjoint", "tangent"])
def test_linear_scans_refuse_what_does_not_fit(cell: str, name: str) -> None:
    for place in range(len(arguments(name, cell)) - 1):
        given = arguments(name, cell, grad=False)
        x = given[place]
        given[place] = torch.cat((x, x.new_zeros(*x.shape[:-1], 1)), -1)
        with pytest.raises(ValueError, match=r"must (have|be)"):
            OPERATORS[name](*given)


@both
def test_no_steps(cell: str) -> None:
    """A scan over nothing has gradients of zero."""
    given = arguments("scan", cell, starts=False)
    given[0] = given[0].detach()[:0].requires_grad_()
    states, cells = gated_scan(*given)
    assert states.shape == (0, STREAMS, HIDDEN)
    wanted = [x for x in given if isinstance(x, Tensor) and x.numel()]
    for gradient, x in zip(torch.autograd.grad(states.sum() + cells.sum(), wanted), wanted, strict=True):
        assert torch.equal(gradient, torch.zeros_like(x))


@both
def test_compiled_transforms_equal_eager_ones(cell: str) -> None:
    """In one graph, through ahead-of-time autograd; a wrong rule would show as zeros."""
    drive, weight, *rest = arguments("scan", cell, grad=False)

    def loss(weight: Tensor) -> Tensor:
        return gated_scan(drive, weight, *rest)[0].square().sum()

    def all_of_them(weight: Tensor) -> tuple[Tensor, ...]:
        along = torch.ones_like(weight)
        tangent = torch.func.jvp(loss, (weight,), (along,))[1]
        gradient, product = torch.func.jvp(torch.func.grad(loss), (weight,), (along,))
        return tangent, gradient, product

    made = torch.compile(all_of_them, backend="aot_eager", fullgraph=True)(weight)
    torch.testing.assert_close(made, all_of_them(weight), rtol=1e-12, atol=1e-12)
    assert all(x.abs().max() > 1e-3 for x in made)


@both
def test_derivatives_under_autocast_are_not_cast(cell: str) -> None:
    given = [
        x.detach().float().requires_grad_() if isinstance(x, Tensor) and x.is_floating_point() else x
        for x in arguments("scan", cell)
    ]
    expected = torch.autograd.grad(gated_scan(*given)[0].sum(), given[:5])
    states = gated_scan(*given)[0]
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(gated_scan(*given)[0].sum(), given[:5])
        late = torch.autograd.grad(states.sum(), given[:5])
    torch.testing.assert_close(inside, expected)
    torch.testing.assert_close(late, expected)


@both
@three
def test_all_names_are_registered(name: str, cell: str) -> None:
    keys = (
        "CompositeExplicitAutograd",
        "Autograd",
        "FuncTorchBatched",
        "Meta",
        "AutocastCPU",
        "AutocastCUDA",
    )
    for key in keys:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(OPERATORS[name].name(), key)
