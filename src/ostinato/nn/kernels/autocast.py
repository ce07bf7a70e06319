"""What a recurrence does under `torch.autocast`: it computes in the widest type that it is given, uncast.

A recurrence adds up over many steps, for which half precision is too short, and its native kernels are for
float32 and float64. Autocast has operations of both kinds; recurrences are of the kind of sums and losses.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# What autocast casts; it leaves float64 alone.
_CAST = (torch.float16, torch.bfloat16, torch.float32)


def in_widest_type(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, where autocast is on without it and on tensors of one type: the widest of their types.

    Of the tensors among the positional arguments, those that autocast would cast. The first argument is one,
    on the device whose autocast that is.

    Example:
        >>> @in_widest_type
        ... def product(x: Tensor, y: Tensor) -> Tensor:
        ...     return x @ y
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     product(torch.eye(2, dtype=torch.bfloat16), torch.eye(2)).dtype
        torch.float32
    """

    @functools.wraps(function)
    def wide(*arguments: Any, **others: Any) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return function(*arguments, **others)
        device = arguments[0].device.type
        with torch.autocast(device, enabled=False):
            return function(*_widened(arguments), **others)

    return wide


def _widened(arguments: tuple[Any, ...]) -> list[Any]:
    kinds = [x.dtype for x in arguments if isinstance(x, Tensor) and x.dtype in _CAST]
    if not kinds:
        return list(arguments)
    widest = functools.reduce(torch.promote_types, kinds)
    return [x.to(widest) if isinstance(x, Tensor) and x.dtype in _CAST else x for x in arguments]
