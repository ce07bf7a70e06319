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
from ostinato.nn.kernels import arguments, nonlinearities, unrolled

try:  # after torch: the extension borrows torch's thread pool
    from ostinato.nn.kernels import _native
except ImportError as error:
    _native = None  # type: ignore[assignment]
    _missing = f"the extension is not built: {error}"
else:
    _missing = ""

VARIABLE = "OSTINATO_KERNEL"
_HUGE = 4 << 20  # bytes from which a fresh tensor is asked to live on huge pages


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


class Kernel:
    """The kernels of one instruction set; the functions of this module are those of the best one.

    Example:
        >>> for name in instruction_sets():
        ...     states, slopes = Kernel(name).forward(
        ...         torch.ones(2, 1, 1), torch.ones(1, 1), None, torch.zeros(1, 1), None, "identity"
        ...     )
        ...     assert states.flatten().tolist() == [1.0, 2.0]
    """

    def __init__(self, instruction_set: str) -> None:
        self.instruction_set = instruction_set
        self.native = _native.Kernels(instruction_set)

    def forward(
        self,
        drive: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        h0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor]:
        """See the module's function of this name."""
        shape = _shape(drive)
        arguments.of_scan(drive, weight, leak, h0, starts, nonlinearity)
        if nonlinearity not in nonlinearities.FUSED:
            if not has_rates():
                return unrolled.forward(drive, weight, leak, h0, starts, nonlinearity)
            return self._further(drive, weight, leak, None, h0, starts, nonlinearity)
        owned = drive.contiguous()
        weight, h0, starts, leak = weight.contiguous(), h0.contiguous(), _dense(starts), _dense(leak)
        states = empty(drive, shape)
        slopes = owned if owned is not drive else empty(drive, shape)
        if states.numel():
            self.native.forward(
                drive.dtype is torch.float64,
                shape,
                owned.data_ptr(),
                weight.data_ptr(),
                _pointer(leak),
                h0.data_ptr(),
                _pointer(starts),
                states.data_ptr(),
                slopes.data_ptr(),
                nonlinearities.NONLINEARITIES.index(nonlinearity),
                torch.get_num_threads(),
            )
        return states, slopes

    def pushed(
        self,
        drive: Tensor,
        weight: Tensor,
        leak: Tensor,
        push: Tensor,
        h0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor]:
        """See `ostinato.nn.kernels.rates`."""
        _shape(drive)
        arguments.of_pushed(drive, weight, leak, push, h0, starts, nonlinearity)
        return self._further(drive, weight, leak, push, h0, starts, nonlinearity)

    def _further(
        self,
        drive: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        push: Tensor | None,
        h0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor]:
        """The forward scan with any nonlinearity, and maybe a push; the arguments were checked."""
        shape, (name, parameter) = tuple(drive.shape), nonlinearities.parse(nonlinearity)
        drive, weight, h0 = drive.contiguous(), weight.contiguous(), h0.contiguous()
        leak, push, starts = _dense(leak), _dense(push), _dense(starts)
        states, slopes = empty(drive, shape), empty(drive, shape)
        if states.numel():
            self.native.forward_further(
                drive.dtype is torch.float64,
                shape,
                drive.data_ptr(),
                weight.data_ptr(),
                _pointer(leak),
                _pointer(push),
                h0.data_ptr(),
                _pointer(starts),
                states.data_ptr(),
                slopes.data_ptr(),
                nonlinearities.NONLINEARITIES.index(name),
                parameter,
                torch.get_num_threads(),
            )
        return states, slopes

    def fed_back(
        self,
        drive: Tensor,
        weight: Tensor,
        leak: Tensor,
        h0: Tensor,
        r0: Tensor,
        starts: Tensor | None,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `ostinato.nn.kernels.rates`."""
        shape = _shape(drive)
        arguments.of_fed_back(drive, weight, leak, h0, r0, starts, nonlinearity)
        name, parameter = nonlinearities.parse(nonlinearity)
        drive, weight, leak = drive.contiguous(), weight.contiguous(), leak.contiguous()
        h0, r0, starts = h0.contiguous(), r0.contiguous(), _dense(starts)
        rates, states, slopes = (empty(drive, shape) for _ in range(3))
        if states.numel():
            self.native.fed_back(
                drive.dtype is torch.float64,
                shape,
                drive.data_ptr(),
                weight.data_ptr(),
                leak.data_ptr(),
                h0.data_ptr(),
                r0.data_ptr(),
                _pointer(starts),
                rates.data_ptr(),
                states.data_ptr(),
                slopes.data_ptr(),
                nonlinearities.NONLINEARITIES.index(name),
                parameter,
                torch.get_num_threads(),
            )
        return rates, states, slopes

    def fed_back_adjoint(
        self,
        grad_rates: Tensor | None,
        force: Tensor | None,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor,
        starts: Tensor | None,
    ) -> Tensor:
        """g_t = force_t + d_t (G_t + m_{t+1} g_{t+1} W) + m_{t+1} a g_{t+1}, (T, B, H); None is zero."""
        shape = _shape(slopes)
        for given in (grad_rates, force):
            if given is not None:
                arguments.of_adjoint(given, slopes, weight, leak, starts)
        slopes, weight, leak = slopes.contiguous(), weight.contiguous(), leak.contiguous()
        grad_rates, force, starts = _dense(grad_rates), _dense(force), _dense(starts)
        total = empty(slopes, shape)
        if total.numel():
            self.native.fed_back_adjoint(
                slopes.dtype is torch.float64,
                shape,
                _pointer(grad_rates),
                _pointer(force),
                slopes.data_ptr(),
                weight.data_ptr(),
                leak.data_ptr(),
                _pointer(starts),
                total.data_ptr(),
                torch.get_num_threads(),
            )
        return total

    def adjoint(
        self,
        grad_states: Tensor,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        starts: Tensor | None,
        *,
        want_adjoint_states: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """See the module's function of this name."""
        shape = _shape(slopes)
        arguments.of_adjoint(grad_states, slopes, weight, leak, starts)
        grad_states, slopes, weight = grad_states.contiguous(), slopes.contiguous(), weight.contiguous()
        starts, leak = _dense(starts), _dense(leak)
        delta, grad_h0 = empty(slopes, shape), slopes.new_empty(*shape[1:])
        total = empty(slopes, shape) if want_adjoint_states else None
        if delta.numel():
            self.native.adjoint(
                slopes.dtype is torch.float64,
                shape,
                grad_states.data_ptr(),
                slopes.data_ptr(),
                weight.data_ptr(),
                _pointer(leak),
                _pointer(starts),
                delta.data_ptr(),
                grad_h0.data_ptr(),
                _pointer(total),
                torch.get_num_threads(),
            )
        else:
            grad_h0.zero_()
        return delta, grad_h0, total

    def tangent(
        self,
        force: Tensor,
        slopes: Tensor,
        weight: Tensor,
        leak: Tensor | None,
        h0_tangent: Tensor,
        starts: Tensor | None,
    ) -> Tensor:
        """See the module's function of this name."""
        shape = _shape(slopes)
        arguments.of_tangent(force, slopes, weight, leak, h0_tangent, starts)
        force, slopes, weight = force.contiguous(), slopes.contiguous(), weight.contiguous()
        h0_tangent, starts, leak = h0_tangent.contiguous(), _dense(starts), _dense(leak)
        tangents = empty(slopes, shape)
        if tangents.numel():
            self.native.tangent(
                slopes.dtype is torch.float64,
                shape,
                force.data_ptr(),
                slopes.data_ptr(),
                weight.data_ptr(),
                _pointer(leak),
                h0_tangent.data_ptr(),
                _pointer(starts),
                tangents.data_ptr(),
                torch.get_num_threads(),
            )
        return tangents


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


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def empty(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A fresh tensor; a large one on huge pages, since touching it first is otherwise a fault per 4 KiB."""
    fresh = like.new_empty(*shape)
    if fresh.nbytes >= _HUGE:
        _native.prefer_huge_pages(fresh.data_ptr(), fresh.nbytes)
    return fresh


def _shape(like: Tensor) -> tuple[int, ...]:
    if like.dtype not in (torch.float32, torch.float64) or not like.is_cpu:
        raise ValueError(
            "expected a float32 or float64 tensor (T, B, H) on the CPU, "
            f"got {like.dtype} {tuple(like.shape)} on {like.device}"
        )
    return tuple(like.shape)
