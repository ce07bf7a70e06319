"""What every kernel of the recurrence asks of its arguments; those that break it are refused by name.

Shapes: T time, B streams, H hidden.
"""

from typing import Any

import torch
from torch import Tensor

from ostinato.nn.kernels import nonlinearities

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def of_scan(
    drive: Tensor, weight: Tensor, leak: Tensor | None, h0: Tensor, starts: Tensor | None, nonlinearity: str
) -> None:
    """Refuse arguments of `forward` that do not go together.

    Raises:
        ValueError: one is of another shape, type or device than the drive says, or the drive's is no real
            floating type, or there is no such nonlinearity.
    """
    nonlinearities.check(nonlinearity)
    _check("drive", drive, weight, leak, starts, (("h0", h0, drive.shape[1:]),))


def of_pushed(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    push: Tensor,
    h0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> None:
    """Refuse arguments of a pushed scan that do not go together; raises as `of_scan` does."""
    nonlinearities.check(nonlinearity)
    others = (("h0", h0, drive.shape[1:]), ("push", push, drive.shape))
    _check("drive", drive, weight, leak, starts, others)


def of_fed_back(
    drive: Tensor,
    weight: Tensor,
    leak: Tensor,
    h0: Tensor,
    r0: Tensor,
    starts: Tensor | None,
    nonlinearity: str,
) -> None:
    """Refuse arguments of a scan with rates fed back that do not go together; raises as `of_scan` does."""
    nonlinearities.check(nonlinearity)
    others = (("h0", h0, drive.shape[1:]), ("r0", r0, drive.shape[1:]))
    _check("drive", drive, weight, leak, starts, others)


def of_adjoint(
    grad_states: Tensor, slopes: Tensor, weight: Tensor, leak: Tensor | None, starts: Tensor | None
) -> None:
    """Refuse arguments of `adjoint` that do not go together; raises as `of_scan` does."""
    _check("slopes", slopes, weight, leak, starts, (("grad_states", grad_states, slopes.shape),))


def of_tangent(
    force: Tensor,
    slopes: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    h0_tangent: Tensor,
    starts: Tensor | None,
) -> None:
    """Refuse arguments of `tangent` that do not go together; raises as `of_scan` does."""
    others = (("force", force, slopes.shape), ("h0_tangent", h0_tangent, slopes.shape[1:]))
    _check("slopes", slopes, weight, leak, starts, others)


def of_gated(
    drive: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    leak: Tensor | None,
    h0: Tensor,
    c0: Tensor,
    starts: Tensor | None,
    cell: Any,
) -> None:
    """Refuse arguments of a scan with gates that do not go together; raises as `of_scan` does."""
    if drive.dim() != 3 or drive.shape[2] % cell.drives:
        raise ValueError(f"drive must have shape (T, B, {cell.drives} H), got {tuple(drive.shape)}")
    check_floating("drive", drive)
    (_, streams, _), hidden, own = drive.shape, drive.shape[2] // cell.drives, (drive.dtype, drive.device)
    rows = cell.gates * hidden
    for name, tensor, shape in (
        ("weight", weight, (rows, hidden)),
        ("bias", bias, (rows,)),
        ("leak", leak, (hidden,)),
        ("h0", h0, (streams, hidden)),
        ("c0", c0, (streams, hidden if cell.has_cell else 0)),
    ):
        if tensor is not None:
            _check_one(name, tensor, shape, *own, "drive")
    _check_starts(starts, drive, "drive")


def of_projection(inputs: Tensor, weight: Tensor, bias: Tensor | None, second_bias: Tensor | None) -> None:
    """Refuse arguments of a projection that do not go together; raises as `of_scan` does."""
    if inputs.dim() != 3 or weight.dim() != 2:
        raise ValueError(
            f"inputs and weight must have shapes (T, B, I) and (D H, I), got {tuple(inputs.shape)} and "
            f"{tuple(weight.shape)}"
        )
    check_floating("weight", weight)
    own = weight.dtype, weight.device
    _check_one("inputs", inputs, (*inputs.shape[:2], weight.shape[1]), *own, "weight")
    for name, tensor in (("bias", bias), ("the second bias", second_bias)):
        if tensor is not None:
            _check_one(name, tensor, (weight.shape[0],), *own, "weight")


def of_gated_linear(
    states: Tensor,
    cells: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    starts: Tensor | None,
    cell: Any,
    before: tuple[Tensor, ...] = (),
) -> None:
    """Refuse arguments of a linearised scan with gates that do not go together; raises as `of_scan` does."""
    if coefficients.dim() != 4 or coefficients.shape[2] != cell.coefficients:
        raise ValueError(
            f"coefficients must have shape (T, B, {cell.coefficients}, H), got {tuple(coefficients.shape)}"
        )
    check_floating("coefficients", coefficients)
    steps, streams, _, hidden = coefficients.shape
    own = coefficients.dtype, coefficients.device
    of_h, of_c = (streams, hidden), (streams, hidden if cell.has_cell else 0)
    for name, tensor, shape in (
        ("weight", weight, (cell.gates * hidden, hidden)),
        ("what belongs to h", states, (steps, *of_h)),
        ("what belongs to c", cells, (steps, *of_c)),
        *zip(("h0_tangent", "c0_tangent"), before, (of_h, of_c), strict=False),
    ):
        _check_one(name, tensor, shape, *own, "coefficients")
    _check_starts(starts, coefficients, "coefficients")


def check_floating(name: str, tensor: Tensor) -> None:
    """Refuse a tensor whose derivatives would not be those of real numbers.

    Raises:
        ValueError: its type is complex or no floating one.
    """
    if tensor.dtype not in FLOATING:
        raise ValueError(f"{name} must be of a real floating type, as recurrences are, got {tensor.dtype}")


def _check(
    name: str,
    like: Tensor,
    weight: Tensor,
    leak: Tensor | None,
    starts: Tensor | None,
    others: tuple[tuple[str, Tensor, torch.Size], ...],
) -> None:
    if like.dim() != 3:
        raise ValueError(f"{name} must have shape (T, B, H), got {tuple(like.shape)}")
    dtype, device, hidden = like.dtype, like.device, like.shape[2]
    check_floating(name, like)
    _check_one("weight", weight, (hidden, hidden), dtype, device, name)
    if leak is not None:
        _check_one("leak", leak, (hidden,), dtype, device, name)
    for other, tensor, shape in others:
        _check_one(other, tensor, shape, dtype, device, name)
    _check_starts(starts, like, name)


def _check_starts(starts: Tensor | None, like: Tensor, name: str) -> None:
    if starts is not None:
        if starts.dtype is not torch.bool:
            raise ValueError(f"starts must be boolean, got {starts.dtype}")
        _check_one("starts", starts, like.shape[:2], torch.bool, like.device, name)


def _check_one(
    name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, like: str
) -> None:
    if tensor.shape != shape:
        raise ValueError(
            f"{name} must have shape {tuple(shape)} to go with {like}, got {tuple(tensor.shape)}"
        )
    if tensor.dtype is not dtype or tensor.device != device:
        raise ValueError(
            f"{name} must be {dtype} on {device}, as {like} is, got {tensor.dtype} on {tensor.device}"
        )
