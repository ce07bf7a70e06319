"""The scans of leaky and of rate networks by one instruction set's kernels.

Equations and shapes are in `ostinato.nn.kernels.cpu`, which offers those of the best set. That tensors go
together is checked here; whoever calls has asked `ostinato.nn.kernels.plain` about them.
"""

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, loaded, nonlinearities, unrolled


class Kernel:
    """The kernels of one instruction set; those of the best one are functions of `ostinato.nn.kernels.cpu`.

    Example:
        >>> from ostinato.nn.kernels import cpu
        >>> for name in cpu.instruction_sets():
        ...     states, slopes = Kernel(name).forward(
        ...         torch.ones(2, 1, 1), torch.ones(1, 1), None, torch.zeros(1, 1), None, "identity"
        ...     )
        ...     assert states.flatten().tolist() == [1.0, 2.0]
    """

    def __init__(self, instruction_set: str) -> None:
        self.instruction_set = instruction_set
        self.native = loaded.extension.Kernels(instruction_set)

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
            if not hasattr(self.native, "fed_back"):  # built before the scans of rate networks
                return unrolled.forward(drive, weight, leak, h0, starts, nonlinearity)
            return self._further(drive, weight, leak, None, h0, starts, nonlinearity)
        owned = drive.contiguous()
        weight, h0, starts, leak = weight.contiguous(), h0.contiguous(), _dense(starts), _dense(leak)
        states = loaded.empty(drive, shape)
        slopes = owned if owned is not drive else loaded.empty(drive, shape)
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
        states, slopes = loaded.empty(drive, shape), loaded.empty(drive, shape)
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
        rates, states, slopes = (loaded.empty(drive, shape) for _ in range(3))
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
        total = loaded.empty(slopes, shape)
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
        delta, grad_h0 = loaded.empty(slopes, shape), slopes.new_empty(*shape[1:])
        total = loaded.empty(slopes, shape) if want_adjoint_states else None
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
        tangents = loaded.empty(slopes, shape)
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


def _pointer(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _shape(like: Tensor) -> tuple[int, ...]:
    if like.dtype not in (torch.float32, torch.float64) or not like.is_cpu:
        raise ValueError(
            "expected a float32 or float64 tensor (T, B, H) on the CPU, "
            f"got {like.dtype} {tuple(like.shape)} on {like.device}"
        )
    return tuple(like.shape)
