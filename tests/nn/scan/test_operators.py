"""The recurrence's operators: everything that PyTorch may ask of them, one by one."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from ostinato.nn.kernels import definition
from ostinato.nn.scan import functions
from ostinato.nn.scan.layer import LAYER
from ostinato.nn.scan.operators import ADJOINT, SCAN, TANGENT
from ostinato.nn.scan.recurrence import leaky_scan

STEPS, STREAMS, HIDDEN = 3, 2, 2
STARTS = torch.tensor([[False, False], [True, False], [False, True]])


def draw(*shape: int, seed: int = 0, grad: bool = True) -> Tensor:
    source = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=source, dtype=torch.float64).requires_grad_(grad)


def arguments(name: str, *, leak: bool = True, starts: bool = True, grad: bool = True) -> list[Any]:
    frames, again = draw(STEPS, STREAMS, HIDDEN, grad=grad), draw(STEPS, STREAMS, HIDDEN, seed=1, grad=grad)
    weight, row = draw(HIDDEN, HIDDEN, grad=grad), draw(STREAMS, HIDDEN, seed=2, grad=grad)
    a = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=grad) if leak else None
    marks = STARTS if starts else None
    return {
        "scan": [frames, weight, a, row, marks, "tanh", ""],
        "adjoint": [frames, again, weight, a, marks, ""],
        "tangent": [frames, again, weight, a, row, marks, ""],
        "layer": [
            frames,
            weight,
            draw(HIDDEN),
            draw(HIDDEN, seed=3),
            draw(2, 2, seed=4),
            a,
            row,
            marks,
            "tanh",
        ],
    }[name]


OPERATORS = {"scan": SCAN, "adjoint": ADJOINT, "tangent": TANGENT, "layer": LAYER}
DEFINITIONS: dict[str, Callable[..., Any]] = {
    "scan": lambda *given: definition.forward(*given[:-1])[0],
    "adjoint": lambda *given: definition.adjoint(*given[:-1], want_adjoint_states=True),
    "tangent": lambda *given: definition.tangent(*given[:-1]),
}
THREE = [*DEFINITIONS]


def differentiable(name: str, given: list[Any]) -> tuple[Callable[..., Any], list[Tensor]]:
    """An operator as a function of its differentiable arguments, and those; of a scan the states only."""
    places = [i for i, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]

    def function(*tensors: Tensor) -> Any:
        filled = list(given)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        made = OPERATORS[name](*filled)
        return made[0] if name == "scan" else made

    return function, [given[i] for i in places]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("name", OPERATORS)
def test_opcheck(name: str) -> None:
    torch.library.opcheck(OPERATORS[name], arguments(name))


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("starts", [False, True])
def test_equals_the_definition(name: str, leak: bool, starts: bool) -> None:
    given = arguments(name, leak=leak, starts=starts)
    made = OPERATORS[name](*given)
    made = made[0] if name == "scan" else made
    torch.testing.assert_close(made, DEFINITIONS[name](*given), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("leak", [False, True])
def test_every_derivative(name: str, leak: bool) -> None:
    function, inputs = differentiable(name, arguments(name, leak=leak))
    more = {"check_batched_grad": True, "fast_mode": True}
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_forward_grad=True, **more)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, **more)


@pytest.mark.parametrize("name", THREE)
def test_third_derivatives(name: str) -> None:
    """The gradient of a Hessian-vector product: each operator's second derivative, differentiated."""
    function, inputs = differentiable(name, arguments(name))
    along = [x.detach().sin() for x in inputs]

    def product(*inputs: Tensor) -> Tensor:
        made = function(*inputs)
        total = sum((x**2).sum() for x in ((made,) if isinstance(made, Tensor) else made))
        gradients = torch.autograd.grad(total, inputs, create_graph=True)
        return sum((g * v).sum() for g, v in zip(gradients, along, strict=True))

    assert gradcheck(product, inputs, fast_mode=True)


@pytest.mark.parametrize("name", THREE)
def test_jvp_of_a_jvp(name: str) -> None:
    """The transform that PyTorch's own functions answer with zeros."""
    function, inputs = differentiable(name, arguments(name))
    points = [x.detach() for x in inputs]
    along = [x.cos() for x in points]

    def slope(at: Tensor) -> Tensor:
        moved = tuple(x + at * v for x, v in zip(points, along, strict=True))
        made = torch.func.jvp(function, moved, tuple(along))[1]
        return sum(x.sum() for x in ((made,) if isinstance(made, Tensor) else made))

    zero, step = torch.zeros((), dtype=torch.float64), 1e-5
    curvature = torch.func.jvp(slope, (zero,), (zero + 1,))[1]
    torch.testing.assert_close(
        curvature, (slope(zero + step) - slope(zero - step)) / (2 * step), rtol=1e-7, atol=1e-7
    )
    assert curvature.abs() > 1e-3


@pytest.mark.parametrize("name", THREE)
@pytest.mark.parametrize("shared", [True, False])
def test_batches(name: str, shared: bool) -> None:
    """Batches over every argument, or over none of those that models share with their streams."""
    given = arguments(name, grad=False)
    own = [i for i, x in enumerate(given) if isinstance(x, Tensor) and not (shared and x.dim() < 2)]
    if shared:
        own = [i for i in own if given[i] is not given[1 if name == "scan" else 2]]
    many = [torch.stack([x, x.flip(0), x]) if i in own else x for i, x in enumerate(given)]
    dims = tuple(0 if i in own else None for i in range(len(given)))
    made = torch.vmap(OPERATORS[name], dims)(*many)
    alone = [OPERATORS[name](*(x[m] if i in own else x for i, x in enumerate(many))) for m in range(3)]
    if isinstance(made, Tensor):
        torch.testing.assert_close(made, torch.stack(alone))
    else:
        for part, parts in zip(made, zip(*alone, strict=True), strict=True):
            torch.testing.assert_close(part, torch.stack(parts))


@pytest.mark.parametrize("name", OPERATORS)
def test_shapes_without_numbers(name: str) -> None:
    given = arguments(name, grad=False)
    made = OPERATORS[name](*given)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = [mode.from_tensor(x) if isinstance(x, Tensor) else x for x in given]
        shapes = OPERATORS[name](*fake)
        if name == "scan":
            assert leaky_scan(*fake[:6]).shape == given[0].shape
    meta = [x.to("meta") if isinstance(x, Tensor) else x for x in given]
    for others in (shapes, OPERATORS[name](*meta)):
        pairs = (
            zip([made], [others], strict=True) if isinstance(made, Tensor) else zip(made, others, strict=True)
        )
        assert all(a.shape == b.shape and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_autocast_takes_the_widest_type(name: str, half: torch.dtype) -> None:
    given = arguments(name, grad=False)
    wide = [x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in given]
    mixed = [wide[0].to(half), *wide[1:]]
    with torch.autocast("cpu", half):
        made = OPERATORS[name](*mixed)
    expected = OPERATORS[name](mixed[0].float(), *wide[1:])
    torch.testing.assert_close(made, expected, rtol=0, atol=0)
    with pytest.raises((ValueError, RuntimeError), match=r"must be|same dtype"):
        OPERATORS[name](*mixed)


def test_plain_tensors_do_not_pass_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick path: were it lost, everything would be right and several times as slow."""

    def never(*_: Any) -> Any:
        raise AssertionError("an operator was called")

    for operator in ("SCAN", "ADJOINT", "TANGENT"):
        monkeypatch.setattr(functions, operator, never)
    given = arguments("scan")
    states = leaky_scan(*given[:6])
    states.square().sum().backward()
    assert given[1].grad is not None
    with pytest.raises(AssertionError, match="an operator was called"):
        torch.vmap(lambda drive: leaky_scan(drive, given[1]))(torch.ones(2, 1, 1, 2, dtype=torch.float64))


def test_memory_that_is_gone_is_an_error() -> None:
    for place in (0, 1, 2, 3):
        given = arguments("scan", grad=False)
        given[place].untyped_storage().resize_(0)
        with pytest.raises(RuntimeError, match=r"not allocated|was freed"):
            leaky_scan(*given[:6])
    given = arguments("scan")
    states = leaky_scan(*given[:6])
    given[1].data.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"not allocated|was freed"):
        states.sum().backward()


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64, torch.bool])
def test_other_types_are_refused(kind: torch.dtype) -> None:
    given = [x.to(kind) if isinstance(x, Tensor) else x for x in arguments("scan", grad=False)]
    with pytest.raises(ValueError, match=r"drive must be of a real floating type"):
        leaky_scan(given[0], given[1])
    with pytest.raises(ValueError, match=r"weight must be torch.float64"):
        leaky_scan(given[0].double() if kind is not torch.complex64 else given[0].real.double(), given[1])


def test_no_steps() -> None:
    """A scan over nothing has gradients of zero and passes its initial state's on."""
    weight, h0 = draw(2, 2), draw(1, 2)
    empty = torch.zeros(0, 1, 2, dtype=torch.float64, requires_grad=True)
    for kernel in ("definition", "unrolled", None):
        states = leaky_scan(empty, weight, h0=h0, kernel=kernel)
        assert states.shape == (0, 1, 2)
        if kernel != "definition":
            gradients = torch.autograd.grad(states.sum(), (empty, weight, h0), create_graph=True)
            assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients)


@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "identity"])
def test_compiled_transforms_equal_eager_ones(name: str) -> None:
    """In one graph, through ahead-of-time autograd; a wrong rule would show as zeros."""
    drive, weight, leak, h0, _, *_ = arguments("scan", grad=False)

    def loss(weight: Tensor) -> Tensor:
        return leaky_scan(drive, weight, leak, h0, STARTS, name).square().sum()

    def all_of_them(weight: Tensor) -> tuple[Tensor, ...]:
        along = torch.ones_like(weight)
        tangent = torch.func.jvp(loss, (weight,), (along,))[1]
        gradient, product = torch.func.jvp(torch.func.grad(loss), (weight,), (along,))
        return tangent, gradient, product

    made = torch.compile(all_of_them, backend="aot_eager", fullgraph=True)(weight)
    torch.testing.assert_close(made, all_of_them(weight), rtol=1e-12, atol=1e-12)
    assert all(x.abs().max() > 1e-3 for x in made)


def test_compiled_backward() -> None:
    torch.compiler.reset()
    given = arguments("scan")
    tensors = [x for x in given if isinstance(x, Tensor) and x.requires_grad]

    def loss(*given: Any) -> Tensor:
        return leaky_scan(*given).square().sum()

    ours = torch.autograd.grad(torch.compile(loss, backend="aot_eager", fullgraph=True)(*given[:6]), tensors)
    torch.testing.assert_close(ours, torch.autograd.grad(loss(*given[:6]), tensors))


def test_derivatives_under_autocast_are_not_cast() -> None:
    given = [x.detach().float().requires_grad_() if isinstance(x, Tensor) and i != 4 else x
             for i, x in enumerate(arguments("scan"))]  # fmt: skip
    expected = torch.autograd.grad(leaky_scan(*given[:6]).sum(), given[:4])
    states = leaky_scan(*given[:6])
    with torch.autocast("cpu", torch.bfloat16):
        inside = torch.autograd.grad(leaky_scan(*given[:6]).sum(), given[:4])
        late = torch.autograd.grad(states.sum(), given[:4])
    torch.testing.assert_close(inside, expected)
    torch.testing.assert_close(late, expected)


def test_all_names_are_registered() -> None:
    keys = (
        "CompositeExplicitAutograd",
        "Autograd",
        "FuncTorchBatched",
        "Meta",
        "AutocastCPU",
        "AutocastCUDA",
    )
    for operator, key in itertools.product((SCAN, ADJOINT, TANGENT), keys):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(operator.name(), key)
