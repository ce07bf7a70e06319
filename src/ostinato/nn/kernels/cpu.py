"""The recurrence in native code: the C++ of `native/`, on the CPU, in float32 and float64.

    forward    h_t = a hp_t + (1 - a) phi(drive_t + hp_t W^T),  hp_t = 0 where starts_t, else h_{t-1}
    adjoint    g_t = G_t + m_{t+1} (delta_{t+1} W + a g_{t+1}),  delta_t = d_t g_t
    tangent    s_t = a m_t s_{t-1} + d_t (m_t s_{t-1} W^T) + force_t

The extension is optional: without it this module imports, `available()` is False and `why_unavailable()`
says why. It holds one build of the kernels per instruction set; the best that this machine runs is taken,
or the one that the environment variable OSTINATO_KERNEL names.

It reads and writes memory at the tensors' addresses: whoever calls it has asked
`ostinato.nn.kernels.plain` about them.

Shapes: T time, B streams, H hidden.
"""

import functools
import os
from typing import Any

import torch
from torch import Tensor

from ostinato.errors import UserError
from ostinato.nn.kernels.loaded import empty as empty
from ostinato.nn.kernels.loaded import extension as _native
from ostinato.nn.kernels.loaded import missing as _missing
from ostinato.nn.kernels.scans_cpu import Kernel as Kernel

VARIABLE = "OSTINATO_KERNEL"


def available() -> bool:
    """Whether the native kernels can run here."""
    return _native is not None and os.environ.get(VARIABLE) != "torch"


def why_unavailable() -> str:
    """Why they cannot; empty where they can."""
    return _missing or (f"{VARIABLE}=torch" if os.environ.get(VARIABLE) == "torch" else "")


def instruction_sets() -> tuple[str, ...]:
    """The instruction sets that are built in and that this machine runs, best first."""
    return () if _native is None else tuple(_native.instruction_sets())


def instruction_set() -> str:
    """The instruction set in use; "torch" where there is none."""
    return _chosen().instruction_set if available() else "torch"


def thread_pool() -> str:
    """Path of the OpenMP runtime shared with torch; empty where kernels run on the calling thread alone."""
    return "" if _native is None else _native.thread_pool()


def extension() -> Any:
    """The extension's own object for the instruction set in use, for the other modules of kernels."""
    return _chosen().native


def scratch(numbers: int, dtype: torch.dtype) -> Tensor:
    """A tensor (numbers,) in memory that is kept for the next one when it goes.

    What a pass allocates and frees can be enough for the C library to return it to the system, and page
    faults cost the next pass as much as half of itself.
    """
    return torch.frombuffer(_native.Scratch(numbers * dtype.itemsize), dtype=dtype)


def forward(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """States h (T, B, H) and slopes (1 - a) phi'(z) (T, B, H)."""
    return _chosen().forward(drive, weight, leak, h0, starts, nonlinearity)


def adjoint(
    grad_states: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    *,
    want_adjoint_states: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """delta = dL/dz (T, B, H), dL/dh0 (B, H) and, if wanted, the total dL/dh (T, B, H)."""
    return _chosen().adjoint(
        grad_states, slopes, weight, leak, starts, want_adjoint_states=want_adjoint_states
    )


def tangent(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """s_t = a s_{t-1} + slope_t * (s_{t-1} W^T) + force_t, from s_{-1} = h0_tangent (T, B, H)."""
    return _chosen().tangent(force, slopes, weight, leak, h0_tangent, starts)


def has_rates() -> bool:
    """Whether the extension has the scans of rate networks, as one built before they existed does not."""
    return _native is not None and hasattr(_native.Kernels, "fed_back")


def has_noise() -> bool:
    """Whether the extension makes noise, and layers with it, as one built before that does not."""
    return available() and hasattr(_native.Kernels, "rate_forward")


def has_sparse() -> bool:
    """Whether layers multiply sparse recurrent weights as such, as those of one built before do not."""
    return available() and hasattr(_native.Kernels, "sparse_count")


def may_be_sparse(wanted: bool) -> tuple[bool, ...]:
    """The layers' argument of that name; an extension built before it has none."""
    return (wanted,) if has_sparse() else ()


def sparse_count(weight: Tensor, streams: int = 64) -> int | None:
    """How many recurrent weights (H, H) are not zero where layers multiply these alone; None elsewhere.

    That is where it is quicker: for 64 units or more, a quarter of the weights or fewer, and fewer still
    where there are few streams. Only layers that are told that their weights may be sparse do. Their sums
    have another order than those of a dense product: one of n weights is at most (n / 2 + 2) eps times the
    sum of its terms' sizes from the exact one. What is not finite goes as in a dense product.

    Args:
        weight: W.
        streams: B.

    Raises:
        ValueError: the weight is no float32 or float64 matrix (H, H) of the CPU.

    Example:
        >>> sparse_count(torch.eye(64)), sparse_count(torch.ones(64, 64)), sparse_count(torch.eye(63))
        (64, None, None)
    """
    floating = weight.dtype in (torch.float32, torch.float64) and weight.is_cpu
    if not floating or weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
        raise ValueError(
            f"weight must be float32 or float64 (H, H) on the CPU, got {weight.dtype} {tuple(weight.shape)} "
            f"on {weight.device}"
        )
    weight = weight.contiguous()
    if not has_sparse() or not weight.numel():
        return None
    count: int = extension().sparse_count(
        weight.dtype is torch.float64, weight.shape[0], streams, weight.data_ptr()
    )
    return None if count < 0 else count


def pushed(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    push: Tensor,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor]:
    """States h and slopes (1 - a) phi'(z), each (T, B, H), of h_t = a hp_t + (1 - a) phi(z_t) + push_t."""
    return _chosen().pushed(drive, weight, leak, push, h0, starts, nonlinearity)


def fed_back(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    h0: Tensor,
    r0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rates phi(h), states h and slopes phi'(h), each (T, B, H), of h_t = a hp_t + rp_t W^T + drive_t."""
    return _chosen().fed_back(drive, weight, leak, h0, r0, starts, nonlinearity)


def fed_back_adjoint(
    grad_rates: Tensor | None,
    force: Tensor | None,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor,
    starts: Tensor | None,
) -> Tensor:
    """g_t = force_t + d_t (G_t + m_{t+1} g_{t+1} W) + m_{t+1} a g_{t+1}, (T, B, H); None is zero."""
    return _chosen().fed_back_adjoint(grad_rates, force, slopes, weight, leak, starts)


@functools.cache
def _chosen() -> Kernel:
    """The kernels that OSTINATO_KERNEL names, or the best.

    Raises:
        UserError: the variable names none that this machine and this build have.
    """
    wanted, known = os.environ.get(VARIABLE, ""), instruction_sets()
    if wanted and wanted not in known:
        raise UserError(
            f"{VARIABLE} must be one of {', '.join((*known, 'torch'))} on this machine, got {wanted!r}"
            + (f"; {_missing}" if _missing else "")
        )
    if not known:
        raise UserError(_missing)
    return Kernel(wanted or known[0])
