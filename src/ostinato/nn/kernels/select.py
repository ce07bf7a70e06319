"""Which kernel runs a scan: the native one where it is built and applies, else PyTorch."""

import functools
import logging
import os
from types import ModuleType

import torch
from torch import Tensor

from ostinato.nn.kernels import definition, unrolled
from ostinato.nn.kernels.plain import dense


@functools.cache
def _native() -> ModuleType | None:
    """The native kernel module, or None, with one notice, where it is not built."""
    if os.environ.get("OSTINATO_KERNEL") == "torch":
        return None
    from ostinato.nn.kernels import cpu

    if cpu.available():
        return cpu
    logging.getLogger("ostinato").warning(
        "the native kernel is not in use (%s); running the slower PyTorch path", cpu.why_unavailable()
    )
    return None


def has_native(dtype: torch.dtype) -> bool:
    """Whether the native kernels serve plain tensors of this type."""
    return dtype in (torch.float32, torch.float64) and _native() is not None


def is_native(x: Tensor) -> bool:
    """Whether the native kernels serve tensors like this one: its device, its type, and numbers in memory."""
    return has_native(x.dtype) and dense(x)


def kernel_for(drive: Tensor, name: str | None = None) -> ModuleType:
    """The module whose forward, adjoint and tangent serve a drive of this device and type.

    Raises:
        ValueError: `name` is not a kernel, or is "cpu" where the native kernel does not apply.
    """
    if name == "definition":
        return definition
    if name == "unrolled":
        return unrolled
    if name not in (None, "cpu"):
        raise ValueError(f"kernel must be 'definition', 'unrolled', 'cpu' or None, got {name!r}")
    native = _native() if is_native(drive) else None
    if name == "cpu" and native is None:
        raise ValueError("the native kernel is not available here for this device and type")
    return native or unrolled
