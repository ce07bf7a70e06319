"""What PyTorch asks of an operator besides its kernel: derivatives in both modes, batches, autocast.

`torch.library.register_autograd` gives an operator a backward pass and, without a word, tangents of zero.
Here an operator gets a whole `autograd.Function`, which has a `jvp` too, and the transforms of `torch.func`,
one level at a time, go through it likewise, in eager code and in what a compiler traces.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.autograd.function import _SingleLevelFunction

from ostinato.nn.kernels.autocast import in_widest_type


def add_rules(
    operator: Any, function: type[torch.autograd.Function], batched: Callable[..., Any], library: Any
) -> None:
    """Register how an operator is differentiated, batched and cast.

    Args:
        operator: whose arguments are those of the function's `forward`, and which that calls.
        function: with `setup_context`, `backward` and `jvp`.
        batched: the rule of `torch.library.register_vmap`.
        library: that holds the operator.
    """
    library.impl(operator, _differentiated(operator, function), "Autograd")
    torch.library.register_vmap(operator, batched, lib=library)
    for key in ("AutocastCPU", "AutocastCUDA"):
        library.impl(operator, in_widest_type(operator), key)


def _differentiated(operator: Any, function: type[torch.autograd.Function]) -> Callable[..., Any]:
    def below(*arguments: Any) -> Any:
        # Other levels of transforms are still to come: they need what is switched off at this one.
        with torch.enable_grad(), _set_fwd_grad_enabled(True), torch._C._AutoDispatchBelowAutograd():
            return operator(*arguments)

    def jvp(ctx: Any, *tangents: Any) -> Any:
        # Likewise, and PyTorch forgets it here: a jvp of a jvp would be zero without a word. At this level
        # nothing has a tangent of its own but what is given.
        with _set_fwd_grad_enabled(True):
            primals = [None if x is None else _primal(x) for x in ctx.saved_tensors]
            return function.jvp(SimpleNamespace(saved_tensors=primals, **vars(ctx)), *tangents)

    static = {
        name: staticmethod(rule)
        for name, rule in (
            ("forward", below),
            ("setup_context", function.setup_context),
            ("backward", function.backward),
            ("jvp", jvp),
        )
    }
    one_level: Any = type(function.__name__, (_SingleLevelFunction,), static)

    def differentiated(*arguments: Any) -> Any:
        if torch._C._are_functorch_transforms_active():
            with enable_single_level_autograd_function():
                return one_level.apply(*arguments)
        return function.apply(*arguments)

    return differentiated


def _primal(tensor: Tensor) -> Tensor:
    """A tensor without its tangent at the level of a transform, which is always PyTorch's level 0."""
    # `forward_ad.unpack_dual` asks a count of levels that a traced graph does not keep
    return torch._VF._unpack_dual(tensor, level=0)[0]
