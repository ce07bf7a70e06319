"""The scans of cells with gates in native code: what `native/gated/cells.hpp` offers.

The functions are those of `ostinato.nn.kernels.gated`, whose equations these are, and `backward`, which does
in one call what training needs: the adjoint scan, from what the forward scan saved, and the gradients of
weight and bias. Whoever calls has asked `ostinato.nn.kernels.plain` about the tensors.

Shapes: T time, B streams, H hidden, and K, D, S, C, R of a cell.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ostinato.nn.kernels import arguments, cpu
from ostinato.nn.kernels.gated_cells import Cell, named


def available() -> bool:
    """Whether the native kernels can run here, and the extension has these."""
    return cpu.available() and hasattr(cpu.extension(), "gated_forward")


def projects() -> bool:
    """Whether the extension projects inputs, too, as one built before that does not."""
    return available() and hasattr(cpu.extension(), "project")


class Gradients(NamedTuple):
    """What `backward` finds; None where it was not asked for."""

    deltas: Tensor  # (T, B, R, H)
    total_states: Tensor | None  # g of h (T, B, H)
    total_cells: Tensor | None  # g of c
    h0: Tensor  # (B, H)
    c0: Tensor
    weight: Tensor | None  # (K H, H)
    bias: Tensor | None  # (K H,)
    input_weight: Tensor | None  # (D H, I)
    input_bias: Tensor | None  # (D H,)


class _Wanted(NamedTuple):
    totals: bool = False
    weight: bool = False
    bias: bool = False
    input_weight: bool = False
    input_bias: bool = False


class Kernel:
    """The kernels of one instruction set; the functions of this module are those of the best one.

    Example:
        >>> x, w, h = torch.zeros(2, 1, 3), torch.zeros(3, 1), torch.ones(1, 1)
        >>> for name in cpu.instruction_sets():
        ...     kernel = Kernel(cpu.Kernel(name).native)
        ...     states, _, _ = kernel.forward(x, w, None, None, h, torch.ones(1, 0), None, "gru")
        ...     assert states.flatten().tolist() == [0.5, 0.25]
    """

    def __init__(self, native: Any = None) -> None:
        self._native = native

    @property
    def native(self) -> Any:
        """The extension's own object."""
        return self._native or cpu.extension()

    def forward(
        self,
        drive: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        leak: Tensor | None,
        h0: Tensor,
        c0: Tensor,
        starts: Tensor | None,
        name: str,
        *,
        want_saved: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `ostinato.nn.kernels.gated`; nothing is saved where it is not wanted."""
        cell = named(name)
        arguments.of_gated(drive, weight, bias, leak, h0, c0, starts, cell)
        shape = (drive.shape[0], drive.shape[1], weight.shape[1])
        # held in names: an address is good for as long as its tensor lives
        drive, weight, h0, c0 = drive.contiguous(), weight.contiguous(), h0.contiguous(), c0.contiguous()
        bias, leak, starts = _dense(bias), _dense(leak), _dense(starts)
        states = cpu.empty(drive, shape)
        cells = cpu.empty(drive, shape) if cell.has_cell else drive.new_empty(*shape[:2], 0)
        saved = _kept((*shape[:2], cell.saved if want_saved else 0, shape[2]), drive.dtype)
        if states.numel():
            self.native.gated_forward(
                cell.code,
                drive.dtype is torch.float64,
                shape,
                drive.data_ptr(),
                weight.data_ptr(),
                _address(bias),
                _address(leak),
                h0.data_ptr(),
                _address_of_c(cell, c0),
                _address(starts),
                states.data_ptr(),
                _address_of_c(cell, cells),
                saved.data_ptr() if want_saved else 0,
                torch.get_num_threads(),
            )
        return states, cells, saved

    def project(
        self, inputs: Tensor, weight: Tensor, bias: Tensor | None, second_bias: Tensor | None
    ) -> Tensor:
        """x U^T + b + b2 (T, B, D H), of inputs (T, B, I) and U (D H, I)."""
        arguments.of_projection(inputs, weight, bias, second_bias)
        inputs, weight = inputs.contiguous(), weight.contiguous()
        bias, second_bias = _dense(bias), _dense(second_bias)
        steps, streams, size = inputs.shape
        drive = _kept((steps, streams, weight.shape[0]), weight.dtype)
        if drive.numel():
            self.native.project(
                weight.dtype is torch.float64,
                (steps * streams, size, weight.shape[0]),
                inputs.data_ptr(),
                weight.data_ptr(),
                _address(bias),
                _address(second_bias),
                drive.data_ptr(),
                torch.get_num_threads(),
            )
        return drive

    def backward(
        self,
        grad_states: Tensor,
        grad_cells: Tensor | None,
        weight: Tensor,
        leak: Tensor | None,
        h0: Tensor,
        c0: Tensor,
        starts: Tensor | None,
        states: Tensor,
        cells: Tensor,
        saved: Tensor,
        name: str,
        *,
        want_totals: bool = False,
        want_weight: bool = False,
        want_bias: bool = False,
        inputs: Tensor | None = None,
        want_input_weight: bool = False,
        want_input_bias: bool = False,
    ) -> Gradients:
        """The way back through `forward`, of whose results and arguments these are; and through `project`."""
        cell = named(name)
        h0, c0, leak, weight = h0.contiguous(), c0.contiguous(), _dense(leak), weight.contiguous()
        point = (
            0,
            saved.data_ptr(),
            states.data_ptr(),
            _address_of_c(cell, cells),
            h0.data_ptr(),
            _address_of_c(cell, c0),
            _address(leak),
        )
        return self._adjoint(
            cell,
            point,
            tuple(states.shape),
            grad_states,
            grad_cells if cell.has_cell else None,
            weight,
            starts,
            _Wanted(want_totals, want_weight, want_bias, want_input_weight, want_input_bias),
            inputs,
        )

    def adjoint(
        self,
        grad_states: Tensor,
        grad_cells: Tensor,
        coefficients: Tensor,
        weight: Tensor,
        starts: Tensor | None,
        name: str,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """See `ostinato.nn.kernels.gated`."""
        cell = named(name)
        arguments.of_gated_linear(grad_states, grad_cells, coefficients, weight, starts, cell)
        coefficients, weight = coefficients.contiguous(), weight.contiguous()
        found = self._adjoint(
            cell,
            (coefficients.data_ptr(), 0, 0, 0, 0, 0, 0),
            tuple(grad_states.shape),
            grad_states,
            grad_cells if cell.has_cell else None,
            weight,
            starts,
            _Wanted(totals=True),
        )
        assert found.total_states is not None
        assert found.total_cells is not None
        return found.deltas, found.total_states, found.total_cells, found.h0, found.c0

    def _adjoint(
        self,
        cell: Cell,
        point: tuple[int, ...],
        shape: tuple[int, ...],
        grad_states: Tensor,
        grad_cells: Tensor | None,
        weight: Tensor,
        starts: Tensor | None,
        wanted: _Wanted,
        inputs: Tensor | None = None,
    ) -> Gradients:
        if grad_states.shape != shape or grad_states.dtype is not weight.dtype:
            raise ValueError(
                f"the gradient must be {weight.dtype} {shape}, "
                f"got {grad_states.dtype} {tuple(grad_states.shape)}"
            )
        grad_states, grad_cells, starts = grad_states.contiguous(), _dense(grad_cells), _dense(starts)
        inputs = None if inputs is None else inputs.contiguous()
        own, of_c = shape[1:], (*shape[:2], shape[2] if cell.has_cell else 0)
        deltas = _kept((*shape[:2], cell.deltas, shape[2]), weight.dtype)
        total_states = cpu.empty(weight, shape) if wanted.totals else None
        total_cells = cpu.empty(weight, of_c) if wanted.totals else None
        start_h, start_c = weight.new_empty(*own), weight.new_empty(*of_c[1:])
        size = 0 if inputs is None else inputs.shape[2]
        rows = cell.drives * shape[2]
        of_weight = torch.empty_like(weight) if wanted.weight else None
        of_bias = weight.new_empty(weight.shape[0]) if wanted.bias else None
        of_inputs = weight.new_empty(rows, size) if wanted.input_weight else None
        of_input_bias = weight.new_empty(rows) if wanted.input_bias else None
        if deltas.numel():
            self.native.gated_adjoint(
                cell.code,
                weight.dtype is torch.float64,
                shape,
                point,
                grad_states.data_ptr(),
                _address(grad_cells),
                weight.data_ptr(),
                _address(starts),
                deltas.data_ptr(),
                _address(total_states),
                _address_of_c(cell, total_cells),
                start_h.data_ptr(),
                _address_of_c(cell, start_c),
                _address(of_weight),
                _address(of_bias),
                _address(inputs),
                size,
                _address(of_inputs),
                _address(of_input_bias),
                torch.get_num_threads(),
            )
        else:
            for given in (start_h, start_c, of_weight, of_bias, of_inputs, of_input_bias):
                if given is not None:
                    given.zero_()
        return Gradients(
            deltas, total_states, total_cells, start_h, start_c, of_weight, of_bias, of_inputs, of_input_bias
        )

    def tangent(
        self,
        force_states: Tensor,
        force_cells: Tensor,
        coefficients: Tensor,
        weight: Tensor,
        h0_tangent: Tensor,
        c0_tangent: Tensor,
        starts: Tensor | None,
        name: str,
    ) -> tuple[Tensor, Tensor]:
        """See `ostinato.nn.kernels.gated`."""
        cell = named(name)
        before = (h0_tangent, c0_tangent)
        arguments.of_gated_linear(force_states, force_cells, coefficients, weight, starts, cell, before)
        shape = tuple(force_states.shape)
        force_states, force_cells = force_states.contiguous(), force_cells.contiguous()
        coefficients, weight, starts = coefficients.contiguous(), weight.contiguous(), _dense(starts)
        h0_tangent, c0_tangent = h0_tangent.contiguous(), c0_tangent.contiguous()
        states = cpu.empty(weight, shape)
        cells = cpu.empty(weight, shape) if cell.has_cell else torch.empty_like(force_cells)
        if states.numel():
            self.native.gated_tangent(
                cell.code,
                weight.dtype is torch.float64,
                shape,
                coefficients.data_ptr(),
                force_states.data_ptr(),
                _address_of_c(cell, force_cells),
                weight.data_ptr(),
                h0_tangent.data_ptr(),
                _address_of_c(cell, c0_tangent),
                _address(starts),
                states.data_ptr(),
                _address_of_c(cell, cells),
                torch.get_num_threads(),
            )
        return states, cells


BEST = Kernel()


def _kept(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A fresh tensor in memory that is kept for the next one; see `cpu.scratch`."""
    numbers = math.prod(shape)
    return cpu.scratch(numbers, dtype).view(shape) if numbers else torch.empty(shape, dtype=dtype)


def _dense(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _address_of_c(cell: Cell, tensor: Tensor | None) -> int:
    """Of what a cell without c has none."""
    return _address(tensor) if cell.has_cell else 0
