import pytest
import torch
from torch import Tensor

from ostinato.nn.kernels import cpu
from ostinato.nn.kernels.projection import project
from ostinato.nn.scan import layer as fused_layer
from ostinato.nn.scan.recurrence import leaky_scan

pytestmark = pytest.mark.skipif(
    not cpu.available(), reason=cpu.why_unavailable() or "native kernel available"
)


def layer(
    kind: str = "real", *, leak: bool = True, starts: bool = True, bias: bool = True, frames: int = 24
) -> list[Tensor | None]:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64).requires_grad_()

    streams = 3
    x = normal(frames // streams, streams, 5)
    if kind != "real":
        x = (x > 0).to(torch.uint8 if kind == "uint8" else torch.bool)
    a = torch.rand(7, generator=draw, dtype=torch.float64).mul_(0.9)
    marks = torch.rand(x.shape[:2], generator=draw) < 0.3
    return [
        x,
        normal(7, 5),
        normal(7) if bias else None,
        normal(7, 7).detach().div_(3).requires_grad_(),
        a if leak else None,
        normal(streams, 7),
        marks if starts else None,
    ]


def composition(x: Tensor, weight_ih: Tensor, bias: Tensor | None, *rest: Tensor | None) -> Tensor:
    return leaky_scan(project(x, weight_ih, bias), *rest, "tanh")


def fused(*inputs: Tensor | None) -> Tensor:
    return fused_layer.recurrent_layer(*inputs, "tanh")[0]


def wanted(inputs: list[Tensor | None]) -> list[Tensor]:
    return [x for x in inputs if x is not None and x.requires_grad]


@pytest.mark.parametrize("kind", ["real", "uint8", "bool"])
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("starts", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frames", [3, 24, 2100])
def test_equals_the_composition(kind: str, leak: bool, starts: bool, bias: bool, frames: int) -> None:
    inputs = layer(kind, leak=leak, starts=starts, bias=bias, frames=frames)
    states, expected = fused(*inputs), composition(*inputs)
    assert type(states.grad_fn).__name__ == "_LayerBackward"
    torch.testing.assert_close(states, expected, rtol=1e-12, atol=1e-13)
    upstream = torch.randn(states.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad(states, wanted(inputs), upstream)
    theirs = torch.autograd.grad(expected, wanted(inputs), upstream)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_without_initial_state() -> None:
    inputs = layer()
    with_zeros = fused(*inputs[:5], torch.zeros(3, 7, dtype=torch.float64), inputs[6])
    assert torch.equal(fused(*inputs[:5], None, inputs[6]), with_zeros)


def test_second_derivatives() -> None:
    inputs = layer(frames=9)
    assert torch.autograd.gradgradcheck(
        lambda x, u, b, w, h0: fused(x, u, b, w, inputs[4], h0, inputs[6]), wanted(inputs)
    )


def test_inputs_that_depend_on_each_other() -> None:
    """A second derivative where the frames are themselves made from the weights."""
    x, u, b, w, a, h0, starts = layer(frames=9)

    def penalty(function) -> tuple[Tensor, ...]:  # type: ignore[no-untyped-def]
        states = function(x * u.sum(), u, b, w, a, h0, starts)
        (slope,) = torch.autograd.grad(states.pow(2).sum(), u, create_graph=True)
        return torch.autograd.grad(slope.pow(2).sum(), (x, u, b, w, h0))

    torch.testing.assert_close(penalty(fused), penalty(composition), rtol=1e-9, atol=1e-9)


def test_torch_func_sees_the_composition() -> None:
    x, u, b, w, a, h0, starts = layer(frames=9)

    def states(x: Tensor, w: Tensor) -> Tensor:
        return fused(x, u, b, w, a, h0, starts)

    def reference(x: Tensor, w: Tensor) -> Tensor:
        return composition(x, u, b, w, a, h0, starts)

    primals, tangents = (x, w), (torch.ones_like(x), torch.ones_like(w))
    torch.testing.assert_close(
        torch.func.jvp(states, primals, tangents), torch.func.jvp(reference, primals, tangents)
    )
    with torch.autograd.forward_ad.dual_level():
        dual = states(x, torch.autograd.forward_ad.make_dual(w, torch.ones_like(w)))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    expected = torch.func.jvp(lambda w: reference(x, w), (w,), (torch.ones_like(w),))[1]
    torch.testing.assert_close(tangent, expected)


def test_a_leak_with_a_gradient_gets_one() -> None:
    inputs = layer()
    inputs[4] = inputs[4].requires_grad_()
    ours = torch.autograd.grad(fused(*inputs).sum(), inputs[4])
    torch.testing.assert_close(ours, torch.autograd.grad(composition(*inputs).sum(), inputs[4]))


def test_changing_the_states_in_place_is_noticed() -> None:
    states = fused(*layer())
    states.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        states.sum().backward()
