"""Registered operators: what `torch.library.opcheck` asks, and derivatives in both modes without a layer."""

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from ostinato.nn.kernels import nade, nade_cpu, nade_torch, operator
from ostinato.nn.outputs import by_class

N, V, J, H, K = 3, 4, 2, 3, 2
DOUBLE = torch.float64


def numbers(*shape: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(sum(shape) + seed)
    return torch.randn(shape, generator=draw, dtype=DOUBLE)


def frames() -> Tensor:
    return (numbers(N, V) > 0).to(torch.uint8)


def of_nade() -> tuple[Tensor, ...]:
    return numbers(N, V + J), numbers(V, J), numbers(V, J, seed=1)


def of_classes() -> tuple[Tensor, ...]:
    return numbers(N, H), numbers(K, H), numbers(K), numbers(V, H), numbers(V)


BINARY = frames()

# By name: the arguments that are differentiated, with those before and after them.
OPERATORS = {
    "nade_log_prob": ((frames(),), of_nade(), ()),
    "nade_gradients": ((), (numbers(N), *of_nade()), ()),
    "nade_sample": ((), (), (*of_nade(), numbers(N, V).sigmoid(), frames() > 0, frames())),
    "class_softmax_log_prob": (
        (),
        of_classes(),
        (torch.tensor([3, 0, 3]), torch.tensor([0, 0, 1, 1]), [0, 2, 4]),
    ),
    "class_softmax_gradients": (
        (),
        (numbers(N), *of_classes()),
        (torch.tensor([3, 0, 3]), torch.tensor([0, 0, 1, 1]), [0, 2, 4]),
    ),
}


def call(name: str, point: tuple[Tensor, ...]) -> object:
    before, _, after = OPERATORS[name]
    made = getattr(torch.ops.ostinato, name)
    if name == "nade_gradients":
        weights, *rest = point
        return made(weights, BINARY, *rest)
    return made(*before, *point, *after)


def test_every_operator_registered_here_is_tried() -> None:
    registered = {name.partition("::")[2] for name in operator._LIBRARY._op_defs} - {"_example"}
    assert nade.KERNELS  # its module and the next register theirs when they are imported
    assert by_class.ByClass
    assert registered == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_keep_what_they_promise(name: str) -> None:
    before, point, after = OPERATORS[name]
    point = tuple(x.clone().requires_grad_() for x in point)
    arguments = (*before, *point, *after)
    if name == "nade_gradients":
        arguments = (point[0], frames(), *point[1:])
    torch.library.opcheck(getattr(torch.ops.ostinato, name).default, arguments)


@pytest.mark.parametrize("name", [name for name, (_, point, _) in OPERATORS.items() if point])
def test_operators_have_derivatives_of_both_modes(name: str) -> None:
    point = tuple(x.clone().requires_grad_() for x in OPERATORS[name][1])

    def function(*point: Tensor) -> object:
        return call(name, point)

    modes = {"check_batched_grad": True, "fast_mode": True}
    assert gradcheck(function, point, check_forward_ad=True, check_batched_forward_grad=True, **modes)
    assert gradgradcheck(function, point, check_fwd_over_rev=True, check_rev_over_rev=True, **modes)
    many = tuple(torch.stack([x, 0.5 * x]).detach() for x in point)
    batched = torch.func.vmap(function)(*many)
    each = [function(*(x[i] for x in many)) for i in range(2)]
    alone = (
        torch.stack(each) if isinstance(batched, Tensor) else tuple(map(torch.stack, zip(*each, strict=True)))
    )
    torch.testing.assert_close(batched, alone)


def test_nade_by_all_its_ways() -> None:
    values, (biases, encoder, decoder), weights = frames(), of_nade(), numbers(N)
    wanted = nade_torch.definition(values, biases, encoder, decoder)
    point = values, biases, encoder, decoder
    for found in (
        nade.log_prob(*point),
        nade_torch.log_prob(*point),
        nade_torch.unseen_log_prob(*point),
        torch.ops.ostinato.nade_log_prob(*point),
    ):
        torch.testing.assert_close(found, wanted)
    own = tuple(x.clone().requires_grad_() for x in point[1:])
    slope = torch.autograd.grad((weights * nade_torch.definition(values, *own)).sum(), own)
    for made in (
        torch.ops.ostinato.nade_gradients(weights, *point),
        nade_torch.unseen_gradients(weights, *point),
        nade_torch.gradients_in_pieces(weights, *point),
    ):
        for mine, theirs in zip(made, slope, strict=True):
            torch.testing.assert_close(mine, theirs)
    # frames as numbers that are differentiated themselves
    relaxed = values.to(DOUBLE).requires_grad_()
    assert gradcheck(lambda v: nade.log_prob(v, *point[1:]), (relaxed,))
    assert gradcheck(lambda v: torch.ops.ostinato.nade_log_prob(v, *point[1:]), (relaxed,))


@pytest.mark.parametrize("wrong", [frames() * 2, frames() * 0.5, -1.0 * frames()])
def test_frames_that_are_not_binary_are_refused(wrong: Tensor) -> None:
    for score in (nade.log_prob, nade.nll, torch.ops.ostinato.nade_log_prob, nade.note_log_probs):
        with pytest.raises(ValueError, match="neither 0 nor 1"):
            score(wrong, *of_nade())


def test_native_code_takes_no_tensor_without_memory() -> None:
    values, point = frames(), of_nade()
    freed = numbers(V, J)
    freed.untyped_storage().resize_(0)
    for bad in (freed, torch._efficientzerotensor(V, J, dtype=DOUBLE), torch._neg_view(point[2])):
        with pytest.raises(ValueError, match="in the memory of the CPU"):
            nade_cpu.likelihood(values, point[0], point[1], bad)
    # a lazy negation is worked out instead
    lazy = torch._neg_view(point[2])
    torch.testing.assert_close(
        nade.log_prob(values, *point[:2], lazy), nade.log_prob(values, *point[:2], -point[2])
    )


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def test_a_quick_path_is_for_tensors_that_nobody_watches() -> None:
    x = torch.ones(2)
    assert operator.eager(x, None)
    assert operator.eager(torch.nn.Parameter(x))
    for odd in (x.to("meta"), torch._neg_view(x), x.to_sparse(), torch.nn.Buffer(x).as_subclass(Tagged)):
        assert not operator.eager(x, odd)
    with Watching():
        assert not operator.eager(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not operator.eager(x)
    with forward_ad.dual_level():
        assert not operator.eager(x)
    seen: list[bool] = []
    for transform in (torch.func.vmap, torch.func.grad):
        transform(lambda y: (seen.append(operator.eager(x)), y.sum())[1])(x)
    assert seen == [False, False]


class Tagged(Tensor):
    pass
