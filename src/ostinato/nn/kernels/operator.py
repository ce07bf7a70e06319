"""Operations that PyTorch is told about: each is written twice, as a kernel and as a definition.

A kernel is quick, takes tensors that hold numbers, and has no derivatives. Its definition is made of
PyTorch's own differentiable operations, with shapes that do not depend on the numbers. `register` makes one
operator of both, `torch.ops.ostinato.NAME`, that does what is asked of it: the kernel computes; the
definition differentiates in forward mode and batches under `vmap`; shapes are made without numbers for
compilers and fake tensors; under autocast what it computes is computed in float32.

An operator costs some microseconds of dispatch for that. `eager` says where nobody asks, and a quick path
that knows only reverse differentiation will do.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from ostinato.nn.kernels.plain import unwatched

_LIBRARY = torch.library.Library("ostinato", "FRAGMENT")

_PLAIN = (Tensor, nn.Parameter)


def _bits(*names: str) -> int:
    keys = [torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)) for name in names]
    return functools.reduce(operator.or_, keys).raw_repr()


# What the calls of a dense tensor go through, made inside or outside of `torch.inference_mode`. Batches, fake
# and sparse tensors, lazy negations and zeros without memory all differ.
_DENSE = frozenset(
    _bits(kind, f"Autocast{kind}", *autograd)
    for kind in ("CPU", "CUDA")
    for autograd in ((), (f"Autograd{kind}", "ADInplaceOrView"))
)


def eager(*tensors: Tensor | None) -> bool:
    """Whether these are tensors with numbers, and nobody but reverse differentiation looks at what is done.

    Not so for subclasses and meta tensors, and while a compiler or tracer, a transform of `torch.func`,
    forward-mode differentiation, a dispatch mode or autocast is at work.

    Example:
        >>> eager(torch.zeros(1)), eager(torch.zeros(1, device="meta"))
        (True, False)
        >>> torch.func.vmap(lambda x: x * eager(x))(torch.ones(2))
        tensor([0., 0.])
    """
    return (
        unwatched()
        and forward_ad._current_level < 0
        and all(
            x is None or (type(x) in _PLAIN and torch._C._dispatch_keys(x).raw_repr() in _DENSE)
            for x in tensors
        )
    )


def full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """No casts to half precision inside the `with` block, whatever `torch.autocast` says outside."""
    if not torch._C._is_any_autocast_enabled():
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def register(
    schema: str,
    kernel: Callable[..., Any],
    definition: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    backward: Callable[..., tuple[Tensor | None, ...]] | None = None,
    left_out: Sequence[int] = (),
) -> Any:
    """An operator, `torch.ops.ostinato.NAME.default`.

    Args:
        schema: "NAME(Tensor x, ...) -> Tensor".
        kernel: the operation on tensors with numbers; its results are new and contiguous.
        definition: the same, differentiable to any order in both modes, its shapes known beforehand.
        fake: the same, of which only shapes and types are looked at.
        backward: (gradients of the results, the arguments) -> gradients of the arguments, in differentiable
            operations; without it the definition is what is differentiated.
        left_out: the places of arguments that `backward` knows no gradient of. Where one is asked for, the
            definition is differentiated.

    Example:
        >>> double = register(
        ...     "_example(Tensor x) -> Tensor", lambda x: x + x, lambda x: 2 * x, fake=torch.empty_like
        ... )
        >>> torch.func.jvp(double, (torch.ones(1),), (torch.ones(1),))
        (tensor([2.]), tensor([2.]))
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    operator = getattr(torch.ops.ostinato, name).default
    _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(operator, fake, lib=_LIBRARY)
    below = _below_autograd(operator)
    node = None if backward is None else _node(name, below, backward)

    def differentiated(keys: Any, *arguments: Any) -> Any:
        tensors = [x for x in arguments if isinstance(x, Tensor)]
        if any(_has_tangent(x) for x in tensors):
            return definition(*arguments)
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            # an autograd function of its own would stand between the levels of `torch.func`
            rare = any(arguments[place].requires_grad for place in left_out)
            if node is None or rare or torch._C._are_functorch_transforms_active():
                return definition(*arguments)
            return node.apply(keys, *arguments)
        return below(keys, *arguments)

    _LIBRARY.impl(name, differentiated, "Autograd", with_keyset=True)

    _LIBRARY.impl(name, definition, "FuncTorchBatched")
    for key in ("AutocastCPU", "AutocastCUDA"):
        _LIBRARY.impl(name, _in_float32(operator, key), key)
    return operator


def _has_tangent(x: Tensor) -> bool:
    # whatever the level that Python knows of: a compiled graph enters it without telling
    return torch._VF._unpack_dual(x, level=0)[1] is not None


def _below_autograd(operator: Any) -> Callable[..., Any]:
    def below(keys: Any, *arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            return operator.redispatch(keys & torch._C._after_autograd_keyset, *arguments)

    return below


def _node(name: str, below: Callable[..., Any], backward: Callable[..., Any]) -> Any:
    """The autograd function of an operator: the same operator below autograd, and its derivative."""

    def forward(ctx: Any, keys: Any, *arguments: Any) -> Any:
        # what is no tensor is kept in its place among the tensors
        ctx.others = [None if isinstance(x, Tensor) else x for x in arguments]
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in arguments))
        return below(keys, *arguments)

    def back(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        pairs = zip(ctx.saved_tensors, ctx.others, strict=True)
        return None, *backward(gradients, *(other if x is None else x for x, other in pairs))

    functions = {"forward": staticmethod(forward), "backward": staticmethod(back)}
    return type(name, (torch.autograd.Function,), functions)


def _in_float32(operator: Any, key: str) -> Callable[..., Any]:
    excluded = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, key))

    def cast(*arguments: Any) -> Any:
        halves = (torch.float16, torch.bfloat16)
        with torch._C._ExcludeDispatchKeyGuard(excluded):
            return operator(
                *(x.float() if isinstance(x, Tensor) and x.dtype in halves else x for x in arguments)
            )

    return cast
